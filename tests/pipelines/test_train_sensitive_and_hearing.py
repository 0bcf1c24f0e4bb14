"""ASL and MRAV-FF from recipe to detections: `tal train`, `tal localize`, videos with and without sound."""

import json

import numpy as np
import pytest
import yaml

from tal.cli import main
from tal.package import load_model

from .conftest import FPS, STRIDE, recipe_values, write_data


@pytest.fixture
def audible_folder(tmp_path):
    """`write_data`'s videos, in which pictures show that something happens, and sound alone what; one is silent."""
    folder = write_data(tmp_path / "data", videos=12)
    (folder / "sound").mkdir()
    annotations = json.loads((folder / "annotations.json").read_text())["database"]
    for path in (folder / "features").glob("*.npy"):
        rows = np.load(path)
        seen, sound = np.concatenate([rows[:, :2] + rows[:, 2:4], rows[:, 4:]], 1), rows[:, [0, 2]]
        np.save(path, np.ascontiguousarray(seen))
        if path.stem != "video1":
            centers = (np.arange(len(rows)) + 0.5) * STRIDE / FPS
            slow = np.arange(0.25, annotations[path.stem]["duration"], 0.5)  # a vector per 0.5 s, on its own grid
            np.save(folder / "sound" / path.name, np.stack([np.interp(slow, centers, x) for x in sound.T], 1))
    return folder


def _written(values, path):
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(path)


def test_asl_trains_and_localizes(data_folder, tmp_path, capsys):
    values = recipe_values(data_folder, max_epochs=8, validate_every=0) | {"method": "asl"}
    values["model"] |= {"evaluator_width": 16, "normalize_weights": True, "clamp_gaussians": True}
    run = tmp_path / "run"
    assert main(["train", _written(values, tmp_path / "asl.yaml"), "--out", str(run)]) == 0
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["mAP"] > 0.4
    logged = (run / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    for name in ("contrast", "evaluators", "weight_classification", "mu_cls", "sigma_end"):
        assert f"train/{name}" in logged
    package = load_model(run / "model")
    assert package.method == "asl"
    assert package.model.gaussians.mu_cls.any()
    words = ["--features", str(data_folder / "features"), "--out", str(tmp_path / "found"), "--threshold", "0"]
    assert main(["localize", "--model", str(run / "model"), *words, "--no-report"]) == 0
    assert len(json.loads((tmp_path / "found" / "predictions.json").read_text())["results"]) == 8


def test_sound_tells_what_pictures_do_not(audible_folder, tmp_path, capsys):
    values = recipe_values(audible_folder, max_epochs=15, validate_every=0) | {"method": "mrav_ff"}
    values["optim"]["lr"] = 5e-3
    values["model"] |= {"audio_heads": 2, "audio_window": 5}
    layout = {"stride_frames": 0.5, "window_frames": 0.5, "fps": 1}
    values["data"]["features"]["audio"] = {
        "folder": str(audible_folder / "sound"),
        "layout": layout,
        "optional": True,
    }
    run = tmp_path / "run"
    assert main(["train", _written(values, tmp_path / "recipe.yaml"), "--out", str(run)]) == 0
    assert json.loads((run / "metrics.json").read_text())["mAP"] > 0.85
    assert "1 train videos have no audio, and are used without: video1" in capsys.readouterr().err
    for name, streams in (("heard", ("rgb", "audio")), ("deaf", ("rgb",))):
        folders = {"rgb": audible_folder / "features", "audio": audible_folder / "sound"}
        words = [f"{stream}={folders[stream]}" for stream in streams]
        words = ["localize", "--model", str(run / "model"), "--features", *words, "--out", str(tmp_path / name)]
        assert main([*words, "--threshold", "0", "--no-report"]) == 0
    heard, deaf = (
        json.loads((tmp_path / name / "predictions.json").read_text())["results"] for name in ("heard", "deaf")
    )
    assert heard.keys() == deaf.keys()
    assert heard["video1"] == deaf["video1"]
    assert heard["video0"] != deaf["video0"]
