"""Every registered method by the commands a user types: train, resume, localize from features, evaluate.

In bf16, with workers and video-level scores, on videos of unlike lengths: single snippets, and one without instances.
"""

import json
from dataclasses import fields

import numpy as np
import pytest
import torch
import yaml

from tal.cli import main
from tal.pipelines.train_module import LocalizerModule
from tal.registry import METHODS

from .conftest import FPS, STRIDE, recipe_values, write_data
from .query_data import WIDTHS, query_recipe, write_queries

EPOCHS = 2
ORDINARY = ("temporalmaxer", "moment_detr")
"""One that finds classes and one that answers queries; the others take long together."""
SMALL = {
    "hidden": 32,
    "queries": 6,
    "evaluator_width": 16,
    "decoder_layers": 2,
    "audio_heads": 2,
    "map_width": 8,
    "sampled_width": 16,
    "reduced_width": 8,
    "samples": 4,
    "groups": 2,
}
"""Of the recipes' methods, where they have a setting of the name."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """`write_data`'s videos with sound, which one lacks; two are a single snippet, and one has no instance."""
    folder = write_data(tmp_path_factory.mktemp("videos") / "data", videos=8)
    document = json.loads((folder / "annotations.json").read_text())
    database = document["database"]
    for name in ("video0", "video6"):
        path = folder / "features" / f"{name}.npy"
        np.save(path, np.load(path)[:1])
        duration_s = STRIDE / FPS
        database[name] |= {
            "duration": duration_s,
            "annotations": [{"label": "jump", "segment": [0.0, duration_s]}],
        }
    database["video2"]["annotations"] = []
    (folder / "annotations.json").write_text(json.dumps(document))
    (folder / "sound").mkdir()
    for path in (folder / "features").glob("*.npy"):
        if path.stem != "video1":
            np.save(folder / "sound" / path.name, np.load(path)[:, :2])
    (folder / "scores.json").write_text(json.dumps({name: {"jump": 0.7, "squat": 0.3} for name in database}))
    return folder


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    return write_queries(tmp_path_factory.mktemp("queries"), train=8, validation=4)


def _settings(name):
    return {entry.name for entry in fields(METHODS.load(name).Config)}


def _recipe(name, videos, queries, path):
    """A recipe of a method with small widths, written to a file."""
    known = _settings(name)
    trainer = {"max_epochs": EPOCHS, "validate_every": 2, "precision": "bf16", "workers": 2, "checkpoint_minutes": 1e-6}
    if "text_width" in known:
        values = query_recipe(queries, name, **trainer)
    else:
        values = recipe_values(videos, **trainer) | {"method": name}
        values["data"]["video_scores"] = str(videos / "scores.json")
        if "audio" in known:
            heard = {**values["data"]["features"]["rgb"], "folder": str(videos / "sound"), "optional": True}
            values["data"]["features"]["audio"] = heard
    values["model"] = {key: value for key, value in (values["model"] | SMALL).items() if key in known}
    values["optim"] |= {"warmup_epochs": 0, "batch_size": 2}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(path)


class _Stop(Exception):  # noqa: N818
    pass


def _train_cut_short(words, monkeypatch):
    """`tal train` that dies within its second epoch, after a step of it; returns the steps until then."""
    steps, whole = [], LocalizerModule.training_step

    def dying(self, batch, batch_idx):
        if self.current_epoch == 1 and batch_idx == 1:
            steps.append(self.trainer.num_training_batches + 1)
            raise _Stop
        return whole(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr("tal.pipelines.train_checkpoints.PATIENCE", 0.0)
        patch.setattr(LocalizerModule, "training_step", dying)
        with pytest.raises(_Stop):
            main(words)
    return steps[0]


def _localize_and_evaluate(name, videos, queries, model, out):
    """What `tal evaluate` makes of `tal localize`'s detections on the validation split."""
    known = _settings(name)
    words = ["localize", "--model", str(model), "--out", str(out), "--no-report", "--features"]
    if "text_width" in known:
        truth, found, protocol = queries / "validation.jsonl", "predictions.jsonl", "qvhighlights"
        words += [f"{stream}={queries / stream}" for stream in WIDTHS]
        words += ["--queries", str(truth), "--text", str(queries / "text")]
    else:
        truth, found, protocol = videos / "annotations.json", "predictions.json", "generic"
        words += [f"rgb={videos / 'features'}", *([f"audio={videos / 'sound'}"] if "audio" in known else [])]
        words += ["--video-scores", str(videos / "scores.json"), "--threshold", "0"]
        words += ["--annotations", str(truth), "--subset", "validation"]
    assert main(words) == 0
    words = ["evaluate", protocol, "--annotations", str(truth), "--predictions", str(out / found)]
    words += [] if "text_width" in known else ["--subset", "validation"]
    assert main([*words, "--json", str(out / "scores.json")]) == 0
    return json.loads((out / "scores.json").read_text())


def _checkpoint(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ORDINARY else [pytest.mark.full]) for name in METHODS]
)
def test_trained_resumed_localized_evaluated(name, videos, queries, tmp_path, monkeypatch):
    recipe, run = _recipe(name, videos, queries, tmp_path / "recipe.yaml"), tmp_path / "run"
    steps = _train_cut_short(["train", recipe, "--out", str(run)], monkeypatch)
    assert _checkpoint(run)["global_step"] == steps
    assert main(["train", recipe, "--out", str(run), "--resume"]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    found = _localize_and_evaluate(name, videos, queries, run / "model", tmp_path / "found")
    assert found["counts"]["predictions"] > 0
    shared = found["metrics"].keys() & metrics.keys()
    assert {"mAP", "MR-mAP"} & shared
    for key in shared:
        assert found["metrics"][key] == pytest.approx(metrics[key], abs=6e-5), key  # QVHighlights' are rounded to 1e-4
    if name not in ORDINARY:
        assert main(["train", recipe, "--out", str(tmp_path / "whole")]) == 0
        resumed, whole = (_checkpoint(each)["state_dict"] for each in (run, tmp_path / "whole"))
        assert resumed.keys() == whole.keys()
        for key, value in whole.items():
            assert torch.equal(resumed[key], value), key
