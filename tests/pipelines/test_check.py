"""The command finds each kind of trouble where it was put, and nothing in a sound dataset."""

import json
import shutil

import numpy as np
import pytest

from tal.cli import main
from tal.features import FeatureSpec, FeatureStore
from tal.timeline import SnippetGrid


def _entry(subset, rows=((0.0, 1.0, "run"),), **facts):
    return {"subset": subset, "annotations": [{"segment": list(row[:2]), "label": row[2]} for row in rows], **facts}


def _write(path, database):
    path.write_text(json.dumps({"database": database}))
    return path


def _check(tmp_path, *words):
    """(exit code, kind -> [finding])"""
    report = tmp_path / "report.json"
    code = main(["check", *map(str, words), "--json", str(report)])
    found = {}
    for finding in json.loads(report.read_text())["findings"] if report.exists() else ():
        found.setdefault(finding["kind"], []).append(finding)
    return code, found


def test_a_sound_dataset(tmp_path, capsys):
    path = _write(tmp_path / "a.json", {"v": _entry("training"), "w": _entry("validation")})
    assert _check(tmp_path, path) == (0, {})
    assert "nothing wrong" in capsys.readouterr().out


def test_annotation_faults_and_classes_without_training(tmp_path):
    rows = [(0, 1, "run"), (2, 1, "run"), (0, 99, "run")]
    database = {"v": _entry("Train", rows, duration=10), "w": _entry("val", [(0, 1, "jump")], duration=0)}
    code, found = _check(tmp_path, _write(tmp_path / "a.json", database))
    assert code == 1
    assert {kind: len(each) for kind, each in found.items()} == {
        "reversed": 1,
        "past_end": 2,
        "duration": 1,
        "class_without_training": 1,
    }
    assert "jump" in found["class_without_training"][0]["message"]
    assert "class_without_training" not in _check(tmp_path, tmp_path / "a.json", "--train-subset", "val", "train")[1]


def test_a_video_in_two_splits(tmp_path):
    first = _write(tmp_path / "train.json", {"v": _entry("training"), "w": _entry("training")})
    second = _write(tmp_path / "val.json", {"v": _entry("validation")})
    code, found = _check(tmp_path, first, second)
    assert code == 1
    assert [each["video"] for each in found["split_leak"]] == ["v"]
    twice = json.dumps({"database": {"v": _entry("training"), "x": _entry("validation")}}).replace('"x"', '"v"')
    (tmp_path / "twice.json").write_text(twice)
    assert [each["video"] for each in _check(tmp_path, tmp_path / "twice.json")[1]["split_leak"]] == ["v"]
    (tmp_path / "a.csv").write_text("video,start,end,label,split\nv,0,1,run,train\nv,2,3,run,val\nw,0,1,run,train\n")
    assert [each["video"] for each in _check(tmp_path, tmp_path / "a.csv")[1]["split_leak"]] == ["v"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "good.mp4", frames=50, fps=25)
    (folder / "deep").mkdir()
    make_video(folder / "deep" / "long.mp4", frames=60, fps=25)
    make_video(folder / "variable.mp4", times=[0, 0.04, 0.08, 0.5, 0.54, 1.2, 1.24, 1.9])
    shutil.copy(folder / "good.mp4", folder / "copy.mp4")
    (folder / "broken.mp4").write_bytes((folder / "good.mp4").read_bytes()[:600])
    return folder


def test_videos(tmp_path, videos):
    database = {
        "good": _entry("train", duration=2.0),
        "long": _entry("train", duration=2.4),
        "variable": _entry("train"),
        "copy": _entry("val"),
        "broken": _entry("val"),
        "absent": _entry("val"),
    }
    code, found = _check(tmp_path, _write(tmp_path / "a.json", database), "--videos", videos, "--thorough")
    assert code == 1
    assert {kind: [each["video"] for each in group] for kind, group in found.items()} == {
        "missing_video": ["absent"],
        "undecodable_video": ["broken"],
        "variable_rate": ["variable"],
        "split_leak": ["good"],
    }
    assert "copy" in found["split_leak"][0]["message"]


def test_duration_that_disagrees_names_both_numbers(tmp_path, videos):
    path = _write(tmp_path / "a.json", {"good": _entry("train", duration=12.0)})
    _, found = _check(tmp_path, path, "--videos", videos)
    assert "12.00 s" in found["duration_mismatch"][0]["message"]
    assert "2.00 s" in found["duration_mismatch"][0]["message"]


def test_features(tmp_path):
    folder = tmp_path / "features"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("good", 75), ("short", 30), ("twin", 75), ("holes", 75)):
        np.save(folder / f"{name}.npy", rng.random((count, 4), np.float32))
    shutil.copy(folder / "good.npy", folder / "twin.npy")
    np.save(folder / "holes.npy", np.full((75, 4), np.nan, np.float32))
    database = {name: _entry("train", duration=10.0, fps=30.0) for name in ("good", "short", "holes", "absent")}
    path = _write(tmp_path / "a.json", database | {"twin": _entry("val", duration=10.0, fps=30.0)})
    (folder / "absent").mkdir()  # videos' own folders beside their features
    (folder / "good.zip").mkdir()
    words = (path, "--features", folder, "--stride-frames", "4", "--window-frames", "4")
    code, found = _check(tmp_path, *words)
    assert code == 1
    assert {kind: [each["video"] for each in group] for kind, group in found.items()} == {
        "missing_features": ["absent"],
        "grid_mismatch": ["short"],
        "damaged_features": ["holes"],
        "split_leak": ["good"],
    }
    assert "4.00 s" in found["grid_mismatch"][0]["message"]
    assert "10.00 s" in found["grid_mismatch"][0]["message"]
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"method: actionformer\ndata:\n  annotations: {path}\n  train_subsets: [train]\n  validation_subsets: [val]\n"
        f"  features:\n    rgb: {{folder: {folder}, layout: {{stride_frames: 4, window_frames: 4}}}}\n"
    )
    assert _check(tmp_path, recipe) == (1, found)


def test_a_store_tells_why_features_are_missing(tmp_path):
    store = FeatureStore.create(tmp_path / "store", FeatureSpec(backbone="none", width=4, stride_s=0.5, window_s=0.5))
    grid = SnippetGrid(stride_s=0.5, window_s=0.5, count=20)
    store.write("good v", np.zeros((20, 4), np.float32), grid, duration_s=10.0, source={})
    store.record_failure("bad", stage="decode", error="it is broken")
    database = {"good v": _entry("train", duration=10.0), "bad": _entry("train", duration=10.0)}
    code, found = _check(tmp_path, _write(tmp_path / "a.json", database), "--features", tmp_path / "store")
    assert code == 1
    assert [finding["cause"] for finding in found.pop("missing_features")] == [
        "extraction failed: decode: it is broken"
    ]
    assert found == {}


def test_misuse(tmp_path, capsys):
    assert _check(tmp_path, tmp_path / "none.json")[0] == 2
    path = _write(tmp_path / "a.json", {"v": _entry("train")})
    assert _check(tmp_path, path, "--subset", "tset")[0] == 2
    assert _check(tmp_path, path, "--features", tmp_path)[0] == 2
    assert _check(tmp_path, tmp_path)[0] == 2
    assert capsys.readouterr().err.count("tal: ") == 4


def test_json_alone_on_standard_output(tmp_path, capsys):
    path = _write(tmp_path / "a.json", {"v": _entry("train", [(2, 1, "run")])})
    assert main(["check", str(path), "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["counts"] == {"reversed": 1}


def test_damaged_records_of_a_store_are_findings(tmp_path):
    store = FeatureStore.create(tmp_path / "store", FeatureSpec(backbone="none", width=4, stride_s=0.5, window_s=0.5))
    grid = SnippetGrid(stride_s=0.5, window_s=0.5, count=20)
    for video in ("good", "record", "failure"):
        store.write(video, np.ones((20, 4), np.float32), grid, duration_s=10.0, source={})
    for name in ("failure.npy", "failure.json"):
        (store.folder / name).unlink()
    (store.folder / "record.json").write_text("{")
    (store.folder / "failure.failed.json").write_text("[]")
    database = {video: _entry("train", duration=10.0) for video in ("good", "record", "failure")}
    code, found = _check(tmp_path, _write(tmp_path / "a.json", database), "--features", store.folder)
    assert code == 1
    assert set(found) == {"damaged_features", "missing_features"}
    assert "record.json is damaged" in found["damaged_features"][0]["message"]
    assert "failure.failed.json is damaged" in found["missing_features"][0]["cause"]
