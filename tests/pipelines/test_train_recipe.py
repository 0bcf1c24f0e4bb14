"""Recipes: every one that ships parses, builds and has a header; mistakes are told with the closest names."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tal.errors import TalError
from tal.pipelines.packaged import recipe_names
from tal.pipelines.train_recipe import (
    build_recipe,
    differences,
    read_recipe,
    recipe_values,
    write_recipe,
)
from tal.registry import METHODS

CONFIGS = Path(__file__).parents[2] / "configs"
WANTED = {
    "thumos14/actionformer_i3d",
    "activitynet/actionformer_tsp",
    "activitynet/actionformer_i3d",
    "epic_kitchens/actionformer_verb",
    "epic_kitchens/actionformer_noun",
    "ego4d_mq/actionformer_slowfast",
    "ego4d_mq/actionformer_egovlp",
    "multithumos/actionformer_i3d",
    "multithumos/actionformer_rgb",
    "charades/actionformer_i3d",
    "thumos14/tridet_i3d",
    "activitynet/tridet_tsp",
    "epic_kitchens/tridet_verb",
    "epic_kitchens/tridet_noun",
    "hacs/tridet_slowfast",
    "hacs/tridet_i3d",
    "thumos14/temporalmaxer_i3d",
    "multithumos/temporalmaxer_i3d",
    "epic_kitchens/temporalmaxer_verb",
    "epic_kitchens/temporalmaxer_noun",
    "qvhighlights/moment_detr",
    "utkinect/actionformer",
    "repcount_pose/actionformer",
    "playground/actionformer",
    "own_data",
}


def test_the_promised_recipes_are_there():
    assert set(recipe_names()) >= WANTED


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_parses_and_builds(name):
    recipe = build_recipe(read_recipe(name))
    streams = dict.fromkeys(recipe.data.features, 32)
    asked = recipe.data.queries.text is not None
    from_data = {"text_width": 32} if asked else {"classes": ("a", "b")}
    config = replace(recipe.model, streams=streams, **from_data)
    with torch.device("meta"):
        method = METHODS.load(recipe.method)(config)
    assert method.classes == (() if asked else ("a", "b"))
    assert sum(parameter.numel() for parameter in method.parameters()) > 1000


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_says_what_it_is(name):
    lines = (CONFIGS / f"{name}.yaml").read_text().splitlines()
    header = lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))]
    text = re.sub(r"\\\n#", "", "\n".join(header))
    assert "Published" in text
    assert "Cost:" in text
    command = re.search(rf"^# +tal train {re.escape(name)}\b.*$", text, re.MULTILINE)
    assert command, f"{name} does not give its command"
    options = command[0].split()[4:]
    build_recipe(read_recipe(name), [*options])


@pytest.mark.parametrize("name", recipe_names())
def test_written_recipe_is_the_same_recipe(name, tmp_path):
    recipe = build_recipe(read_recipe(name))
    write_recipe(recipe, tmp_path / "recipe.yaml")
    again = build_recipe(read_recipe(str(tmp_path / "recipe.yaml")))
    assert differences(recipe, again) == []
    assert again == recipe


def test_overrides_win(recipe, data_folder):
    values = recipe_values(recipe)
    words = [
        "--optim.lr=0.5",
        "--model.width",
        "32",
        "--data.features.rgb.layout.stride_frames",
        "3",
        "--data.tiou",
        "[0.5]",
    ]
    changed = build_recipe(values, words)
    assert changed.optim.lr == 0.5
    assert changed.model.width == 32
    assert changed.data.features["rgb"].layout.stride_frames == 3
    assert changed.data.tiou == (0.5,)
    assert len(differences(recipe, changed)) == 4


def test_where_a_run_runs_is_no_difference(recipe):
    words = ["--trainer.workers=2", "--trainer.accelerator=cpu", "--data.memory_gib=1"]
    changed = build_recipe(recipe_values(recipe), words)
    assert changed != recipe
    assert differences(recipe, changed) == []
    assert differences(recipe, build_recipe(recipe_values(recipe), [*words, "--trainer.seed=9"])) == [
        f"trainer.seed: {recipe.trainer.seed} and 9"
    ]


def test_auto_is_noted_and_can_be_overridden(recipe):
    values = recipe_values(recipe)
    values["model"]["branch_layers"] = "auto"
    assert build_recipe(values).auto == ("model.branch_layers",)
    assert build_recipe(values, ["--model.branch_layers", "4"]).auto == ()
    chosen = build_recipe(recipe_values(recipe), ["--model.branch_layers=auto", "--trainer.max_epochs", "auto"])
    assert chosen.auto == ("model.branch_layers", "trainer.max_epochs")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"optimm": {}}, "did you mean optim"),
        ({"optim": {"learning_rate": 1}}, "unknown setting optim.learning_rate"),
        ({"model": {"widht": 1}}, "did you mean model.width"),
        ({"model": {"classes": ["a"]}}, "unknown setting model.classes"),
        ({"model": {"nms": {"sigm": 1}}}, "did you mean model.nms.sigma"),
        ({"data": {"features": {"rgb": {"foldr": "x"}}}}, "did you mean data.features.rgb.folder"),
        ({"method": "actionfromer"}, "did you mean actionformer"),
        ({"data": None}, "no data"),
    ],
)
def test_unknown_settings_are_refused_with_close_names(recipe, tmp_path, change, text):
    values = recipe_values(recipe) | change
    if values["data"] is None:
        del values["data"]
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(TalError) as error:
        read_recipe(str(path))
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--optim.lrr", "1"], "--optim.lr"),
        (["--optim.lr", "fast"], "optim.lr"),
        (["--optim.lr", "-1"], "positive"),
        (["--trainer.precision", "8"], "precision"),
        (["--windows.crop_ratio", "[0.9, 1.5]"], "crop_ratio"),
        (["--data.validation_subsets", "[training]"], "both trained and validated"),
        (["--model.width", "30", "--model.heads", "4"], "multiple of heads"),
        (["--optim.warmup_epochs", "3"], "warm-up"),
        (["--trainer.keep", "best", "--trainer.validate_every", "0"], "without validation"),
        (["--trainer.keep", "best", "--trainer.validate_every", "99"], "every 99 epochs of"),
    ],
)
def test_impossible_overrides_are_refused(recipe, words, text):
    with pytest.raises(TalError) as error:
        build_recipe(recipe_values(recipe), words)
    assert text in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("thumos14/actionformer", "did you mean"), ("nowhere.yaml", "no recipe file")],
)
def test_unknown_recipe(name, text):
    with pytest.raises(TalError, match=text):
        read_recipe(name)


def test_file_that_is_no_recipe(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(b"\x80\x04\x95\xff")
    with pytest.raises(TalError, match="not text"):
        read_recipe(str(path))
    path.write_text("a: [")
    with pytest.raises(TalError, match="not YAML"):
        read_recipe(str(path))
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(TalError, match="not YAML"):
        read_recipe(str(path))


def test_a_nested_setting_that_is_refused_is_one_message():
    words = ["--data.annotations", "a.json", "--data.features.main.folder", "f"]
    with pytest.raises(TalError, match=r"stride 4\.0 and window None"):
        build_recipe(read_recipe("own_data"), [*words, "--data.features.main.layout.stride_frames", "4"])
