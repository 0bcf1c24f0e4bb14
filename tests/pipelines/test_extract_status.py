"""tal extract --status and --verify."""

import json
import os

import numpy as np
import pytest

from tal.cli import main
from tal.features import FeatureSpec, FeatureStore
from tal.timeline import SnippetGrid

SPEC = FeatureSpec(backbone="tiny", width=3, clip_frames=4, fps=10.0, stride_s=0.2, window_s=0.4)


@pytest.fixture
def store(tmp_path):
    """Two finished videos, 30 s apart, and one that failed; four files are there."""
    store = FeatureStore.create(tmp_path / "store", SPEC)
    (tmp_path / "videos").mkdir()
    for video in ("a", "b", "c", "d"):
        (tmp_path / f"videos/{video}.mp4").write_bytes(b"x")
    for number, video in enumerate("ab"):
        features = np.random.default_rng(number).normal(size=(5, 3))
        store.write(video, features, SnippetGrid(stride_s=0.2, window_s=0.4, count=5), duration_s=1.2, source={})
        os.utime(store.folder / f"{video}.json", (1e9 + 30 * number,) * 2)
    store.record_failure("c", stage="decode", error="it is broken")
    return store


def status(store, *words):
    code = main(["extract", "--status", str(store.folder), *map(str, words)])
    return code


def test_what_is_done_failed_and_missing(store, tmp_path, capsys):
    assert status(store) == 1
    out = capsys.readouterr().out
    assert "2 done, 1 failed (1 decode), 0 in work; " in out
    assert "120 videos an hour lately\n" in out
    assert "  failed: c: decode: it is broken" in out
    assert status(store, tmp_path / "videos") == 1
    out = capsys.readouterr().out
    assert "2 done, 1 failed (1 decode), 1 missing, 0 in work" in out
    assert "120 videos an hour lately; 30 s left at this rate" in out
    assert "  missing: d" in out


def test_all_done_is_zero_and_json_says_the_same(store, tmp_path, capsys):
    assert status(store, tmp_path / "videos/a.mp4", "--json", tmp_path / "status.json") == 1
    (store.folder / "c.failed.json").unlink()
    assert status(store, tmp_path / "videos/a.mp4", tmp_path / "videos/b.mp4") == 0
    capsys.readouterr()
    assert status(store, tmp_path / "videos", "--json", "-") == 1
    values = json.loads(capsys.readouterr().out)
    assert (values["done"], values["failed"], values["missing"], values["in_work"]) == (2, {}, ["c", "d"], 0)
    assert values["bytes"] == sum(path.stat().st_size for path in store.folder.iterdir())
    assert values["videos_per_hour"] == 120
    assert values["left_s"] == 60
    assert json.loads((tmp_path / "status.json").read_text())["failed"] == {"decode": 1}


def test_what_is_being_written_and_what_is_damaged(store, capsys):
    (store.folder / ".tmp-1-left").write_bytes(b"of a killed process")
    (store.folder / "e.failed.json").write_text("{")
    with store.writing("d") as rows:
        rows.append(np.ones((2, 3)))
        before = {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()}
        assert status(store) == 1
        assert {path.name: path.stat().st_mtime_ns for path in store.folder.iterdir()} == before
    out = capsys.readouterr().out
    assert "1 in work" in out
    assert "e.failed.json is damaged" in out


def test_a_new_store_has_no_rate(tmp_path, capsys):
    store = FeatureStore.create(tmp_path / "store", SPEC)
    assert status(store) == 0
    assert capsys.readouterr().out.startswith(f"{store.folder}: 0 done, 0 failed, 0 in work")


def test_verify_lists_findings(store, tmp_path, capsys):
    verify = ["extract", "--verify", str(store.folder)]
    assert main(verify) == 0
    assert "checked features of 2 videos" in capsys.readouterr().out
    (store.folder / "a.npy").write_bytes(b"ruin")
    entries = {"a": {"subset": "train", "annotations": []}, "b": {"subset": "val", "duration": 50, "annotations": []}}
    (tmp_path / "gt.json").write_text(json.dumps({"database": entries}))
    assert main([*verify, "--annotations", str(tmp_path / "gt.json"), "--json", "-"]) == 1
    values = json.loads(capsys.readouterr().out)
    assert values["counts"] == {"damaged_array": 1, "grid_mismatch": 1}


def test_misuse(tmp_path, capsys):
    for word in ("--status", "--verify"):
        assert main(["extract", word, str(tmp_path)]) == 2
        assert "is no feature store" in capsys.readouterr().err
        with pytest.raises(SystemExit) as ended:
            main(["extract", word, "--help"])
        assert ended.value.code == 0
        assert "--json" in capsys.readouterr().out
