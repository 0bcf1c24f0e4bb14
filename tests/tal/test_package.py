"""Model packages: what was saved is what is loaded, and everything else is refused in words."""

import json
import pickle
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import SafetensorError

from tal.errors import FeatureError, PackageError, TalError
from tal.features.base import FeatureSpec
from tal.features.layout import Layout
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Batch
from tal.ops.nms import NmsConfig
from tal.package import load_model, save_package
from tal.timeline import SnippetGrid

CONFIG = ActionFormerConfig(
    streams={"rgb": 6, "flow": 4},
    classes=("run", "jump é"),
    train_snippets=32,
    width=16,
    heads=2,
    branch_layers=2,
    window=(5, 5, 0),
    projection={"rgb": 10, "flow": 6},
    regression_ranges=((0, 4), (2, 8), (4, float("inf"))),
    nms=NmsConfig(sigma=0.7),
)
SPECS = {"rgb": FeatureSpec(backbone="i3d", width=6), "flow": FeatureSpec(backbone="i3d-flow", width=4)}


def _save(folder, **changes):
    torch.manual_seed(0)
    model = ActionFormer(CONFIG)
    model.set_feature_stats({"rgb": (torch.full((6,), 2.0), torch.full((6,), 3.0))})
    parts = {
        "method": "actionformer",
        "model": model,
        "features": SPECS,
        "thresholds": {"run": 0.3},
        "card": "# card\n",
        "layouts": {"rgb": Layout(stride_frames=4, window_frames=16, fps=30.0, nan="zero")},
    }
    save_package(folder, **(parts | changes))
    return model


@pytest.fixture
def saved(tmp_path):
    _save(tmp_path / "model")
    return tmp_path / "model"


def _batch():
    generator = torch.Generator().manual_seed(1)
    return Batch(
        streams={name: torch.randn(1, width, 32, generator=generator) for name, width in CONFIG.streams.items()},
        mask=torch.ones(1, 1, 32, dtype=torch.bool),
        grids=(SnippetGrid(stride_s=0.5, window_s=1.0, count=32),),
        durations_s=(16.5,),
        videos=("v",),
    )


def test_what_was_saved_is_loaded(tmp_path):
    model = _save(tmp_path / "a" / "model").eval()
    package = load_model(tmp_path / "a" / "model")
    assert package.method == "actionformer"
    assert package.classes == CONFIG.classes
    assert package.model.config == CONFIG
    assert not package.model.training
    assert package.features == SPECS
    assert package.layouts["rgb"] == Layout(stride_frames=4, window_frames=16, fps=30.0, nan="zero")
    assert package.thresholds == {"run": 0.3, "jump é": 0.0}
    assert package.card == "# card\n"
    with torch.no_grad():
        for ours, theirs in zip(model(_batch()).logits, package.model(_batch()).logits, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model"]


def test_a_package_replaces_an_older_one_but_nothing_else(saved):
    _save(saved, card="new")
    assert load_model(saved).card == "new"
    other = saved.parent / "notes"
    other.mkdir()
    (other / "a.txt").write_text("mine")
    with pytest.raises(PackageError, match="something else"):
        _save(other)
    (other / "config.yaml").write_text("model: theirs")  # the folder of another project's experiment
    with pytest.raises(PackageError, match=r"something else than a model package: a\.txt"):
        _save(other)
    assert (other / "a.txt").read_text() == "mine"
    (other / "a.txt").unlink()
    with pytest.raises(PackageError, match="something else"):
        _save(other)
    (saved / "notes.txt").write_text("mine")
    with pytest.raises(PackageError, match=r"notes\.txt"):
        _save(saved)


@pytest.mark.parametrize(
    ("raised", "told"), [(OSError(28, "No space left on device"), OSError), (SafetensorError("No space"), PackageError)]
)
def test_a_failed_write_leaves_nothing_and_keeps_the_old(saved, monkeypatch, raised, told):
    def full(*_, **__):
        raise raised

    monkeypatch.setattr("tal.package.save_file", full)
    with pytest.raises(told, match="No space"):
        _save(saved, card="new")
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
    assert load_model(saved).card == "# card\n"


def test_an_interruption_between_old_and_new_keeps_the_old(saved, monkeypatch):
    replace = Path.replace

    def interrupted(self, target):
        if ".new-" in self.name:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _save(saved, card="new")
    assert [path.name for path in saved.parent.iterdir()] == ["model"]
    assert load_model(saved).card == "# card\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "labels.json", "features.json", "card.md"])
def test_a_missing_part_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(PackageError, match=name):
        load_model(saved)


def test_no_package_at_all(tmp_path):
    with pytest.raises(PackageError, match="does not exist"):
        load_model(tmp_path / "none")
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(PackageError, match="is a file") as caught:
        load_model(tmp_path / "a.pth")
    assert "tal convert" in str(caught.value)


def test_the_run_folder_instead_of_its_package(saved):
    with pytest.raises(PackageError) as caught:
        load_model(saved.parent)
    assert str(saved) in str(caught.value)


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


def test_a_pickle_is_never_loaded(saved):
    (saved / "model.safetensors").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(PackageError, match="cannot be read") as caught:
        load_model(saved)
    assert "pickle" in str(caught.value)


def test_truncated_weights(saved):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(PackageError, match="cannot be read"):
        load_model(saved)


def _change(path, edit):
    values = yaml.safe_load(path.read_text())
    edit(values)
    path.write_text(json.dumps(values) if path.suffix == ".json" else yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("name", "edit", "message"),
    [
        ("config.yaml", lambda v: v.update(schema=99), "newer version"),
        ("config.yaml", lambda v: v.pop("schema"), "schema None"),
        ("config.yaml", lambda v: v.update(method="tridet9"), "unknown method"),
        ("config.yaml", lambda v: v["config"].update(widht=3), "widht"),
        ("config.yaml", lambda v: v["config"].update(heads=3), "heads"),
        ("config.yaml", lambda v: v["config"].update(width="wide"), "wrong kind"),
        ("config.yaml", lambda v: v["config"].update(nms=3), "settings of NmsConfig: 3"),
        ("config.yaml", lambda v: v["config"].update(stem_layers=1), "other settings"),
        ("config.yaml", lambda v: v["config"].update(streams={"rgb": 7, "flow": 4}), "two packages"),
        ("features.json", lambda v: v["rgb"]["spec"].update(width=7), "two packages"),
        ("features.json", lambda v: v["rgb"].pop("spec"), "without spec"),
        ("features.json", lambda v: v["rgb"]["spec"].update(schema=9), "schema"),
        ("labels.json", lambda v: v["classes"].append("third"), "other settings"),
        ("labels.json", lambda v: v["classes"].append("run"), "twice"),
        ("labels.json", lambda v: v["thresholds"].update(walk=0.5), "walk"),
        ("labels.json", lambda v: v["thresholds"].update(run="high"), "high"),
    ],
)
def test_parts_that_do_not_fit(saved, name, edit, message):
    _change(saved / name, edit)
    with pytest.raises(PackageError) as caught:
        load_model(saved)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["config.yaml", "labels.json", "features.json"])
@pytest.mark.parametrize("text", ["", "[1, 2", "3", "!!python/object/apply:os.getcwd []"])
def test_damaged_text(saved, name, text):
    (saved / name).write_text(text)
    with pytest.raises(PackageError, match=name):
        load_model(saved)


def test_other_features_are_refused_with_both_specs(saved):
    package = load_model(saved)
    package.check_features(SPECS)
    with pytest.raises(FeatureError, match="'flow'"):
        package.check_features({"rgb": SPECS["rgb"]})
    with pytest.raises(FeatureError) as caught:
        package.check_features(SPECS | {"rgb": FeatureSpec(backbone="clip", width=6)})
    assert "'clip'" in str(caught.value)
    assert "'i3d'" in str(caught.value)


def test_unknown_device(saved):
    with pytest.raises(TalError, match="device"):
        load_model(saved, device="gpu0")
