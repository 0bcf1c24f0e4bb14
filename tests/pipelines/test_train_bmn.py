"""BMN from a recipe to proposals and their score: resized videos, and windows that slide over them."""

import json

import pytest

from tal.cli import main
from tal.methods.batching import sliding_starts
from tal.methods.bmn import Bmn
from tal.package import load_model
from tal.pipelines.train import train
from tal.pipelines.train_data import LocalizerData
from tal.pipelines.train_derive import derive
from tal.pipelines.train_recipe import build_recipe
from tal.pipelines.train_samples import open_data

from .conftest import recipe_values

OPTIM = {"optimizer": "adam", "lr": 5e-3, "schedule": "constant", "warmup_epochs": 0, "batch_size": 4, "ema_decay": 0}
SMALL = {
    "width": 16,
    "groups": 2,
    "samples": 4,
    "reduced_width": 16,
    "sampled_width": 24,
    "map_width": 16,
    "standardize": True,
}
SLIDE = {
    "train_snippets": 32,
    "windows": "slide",
    "origin": "centers",
    "layout": "duration_start",
    "durations": 20,
    "window_nms": True,
}


def values(folder, slides, **trainer):
    found = recipe_values(folder, **trainer)
    model = {**SMALL, **(SLIDE if slides else {"train_snippets": 48})}
    windows = {"choice": "all", "trunc": 0.9} if slides else {"crop_ratio": None, "trunc": 0.01}
    found["data"] = {**found["data"], "protocol": "proposals"}
    return {**found, "method": "bmn", "model": model, "windows": windows, "optim": OPTIM}


@pytest.mark.parametrize("slides", [False, True], ids=["resized", "sliding"])
def test_learns_localizes_and_is_scored_by_recall(data_folder, tmp_path, slides, capsys):
    recipe = build_recipe(values(data_folder, slides, max_epochs=25, validate_every=25))
    trained = train(recipe, tmp_path / "run")
    assert trained.metrics["AR@5"] > 0.35
    package = load_model(tmp_path / "run" / "model")
    assert package.model.inputs.window_snippets == (32 if slides else None)

    words = ["localize", "--model", str(tmp_path / "run" / "model"), "--threshold", "0"]
    words += ["--features", str(data_folder / "features"), "--out", str(tmp_path / "out")]
    assert main(words) == 0
    predictions = next((tmp_path / "out").glob("*.json"))
    for protocol in ("proposals", "activitynet-proposals"):
        capsys.readouterr()
        words = ["evaluate", protocol, "--annotations", str(data_folder / "annotations.json")]
        assert main([*words, "--predictions", str(predictions), "--subset", "validation", "--json", "-"]) == 0
        scored = json.loads(capsys.readouterr().out)["metrics"]
        assert scored["AR@5"] == pytest.approx(trained.metrics["AR@5"], abs=1e-6)


def test_all_windows_with_an_instance_are_trained_on(data_folder):
    recipe = build_recipe(values(data_folder, True))
    data = open_data(recipe.data)
    inputs = Bmn(derive(recipe, data).config).inputs
    loaders = LocalizerData(data, recipe, inputs, None)
    batches = list(loaders.train_dataloader())
    places = loaders.windows
    assert len(places) > len(data.train)
    assert len(batches) == loaders.steps_per_epoch(1)
    every = sum(len(sliding_starts(sample.grid.count, inputs)) for sample in data.train)
    assert len(places) <= every
    for batch in batches:
        assert batch.mask.shape[-1] == 32
        assert all(len(each) for each in batch.targets)
