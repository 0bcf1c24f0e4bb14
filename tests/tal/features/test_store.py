"""The store: nothing finished is lost, redone or half there, whatever happens to the process."""

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tal.errors import FeatureError, GridError
from tal.features import FeatureSpec, FeatureStore, open_features
from tal.features.files import WriteError
from tal.features.fingerprint import Fingerprint
from tal.timeline import SnippetGrid

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from killing import kill_some_time_after

SPEC = FeatureSpec(backbone="tiny", weights="shipped", width=3, clip_frames=4, fps=10.0, stride_s=0.2, window_s=0.4)


def grid(count):
    return SnippetGrid(stride_s=0.2, window_s=0.4, count=count)


def array(count=5, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def source_of(path):
    return {"path": str(path), **Fingerprint.of(path).as_dict()}


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "video.bin"
    path.write_bytes(b"first version" * 100)
    return path


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "store", SPEC)


def write(store, video, path, features=None, **changes):
    features = array() if features is None else features
    arguments = {"duration_s": 1.2, "source": source_of(path)} | changes
    return store.write(video, features, grid(len(features)), **arguments)


def test_what_is_written_comes_back(store, video):
    assert write(store, "v", video, losses=["packet 3 is damaged"])
    back = open_features(store.folder).load("v")
    np.testing.assert_array_equal(back.features, array())
    assert back.features.dtype == np.float32
    assert (back.video, back.duration_s, back.grid) == ("v", 1.2, grid(5))
    record = store.record("v")
    assert record["losses"] == ["packet 3 is damaged"]
    assert record["source"]["path"] == str(video)
    np.testing.assert_array_equal(np.load(store.folder / "v.npy", allow_pickle=False), array())


@pytest.mark.parametrize("shape", [(7, 3), (2, 5, 3)])
def test_arrays_larger_than_a_block_and_with_tokens(store, video, shape, monkeypatch):
    monkeypatch.setattr("tal.features.rows._BLOCK_VALUES", 6)
    features = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    write(store, "v", video, features)
    np.testing.assert_array_equal(store.load("v").features, features)
    features[1, ..., 2] = np.nan
    with pytest.raises(FeatureError, match="first in row 1"):
        write(store, "w", video, features)


@pytest.mark.parametrize(
    "name", ["a/b.mp4", "../escape", "spec", "v.failed", "x" * 400, "ü 目.mp4", ".hidden", "a%2Fb"]
)
def test_any_id_stays_in_the_folder_and_comes_back(store, video, name):
    write(store, name, video)
    write(store, "v", video)
    store.record_failure("w", stage="decode", error="damaged")
    assert sorted(store.ids()) == sorted([name, "v"])
    assert [each.video for each in store.failures()] == ["w"]
    np.testing.assert_array_equal(store.load(name).features, array())
    assert {path.parent for path in store.folder.parent.rglob("*.npy")} == {store.folder}
    FeatureStore.create(store.folder, SPEC)


def test_a_store_holds_one_spec(store):
    with pytest.raises(FeatureError) as caught:
        FeatureStore.create(store.folder, replace(SPEC, stride_s=0.4, weights_hash="abc"))
    assert "stride_s: asked for 0.4, stored 0.2" in str(caught.value)
    assert "weights_hash: asked for 'abc', stored ''" in str(caught.value)
    with pytest.raises(FeatureError, match="dtype: asked for 'float16', stored 'float32'"):
        FeatureStore.create(store.folder, replace(SPEC, dtype="float16"))
    FeatureStore.create(store.folder, replace(SPEC, transform={}))


def test_a_folder_with_other_files_is_not_made_a_store(tmp_path):
    (tmp_path / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(FeatureError, match=r"not empty: holiday\.mp4"):
        FeatureStore.create(tmp_path, SPEC)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["holiday.mp4"]


def test_a_store_of_another_version_is_refused(store):
    path = store.folder / "spec.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(FeatureError, match="schema 99"):
        FeatureStore.open(store.folder)
    path.write_text("{")
    for folder in (FeatureStore.open, lambda folder: FeatureStore.create(folder, SPEC)):
        with pytest.raises(FeatureError, match=r"spec\.json is damaged(.|\n)*put back"):
            folder(store.folder)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.full((2, 3), np.nan), "6 of 6 values are NaN"),
        (np.array([[1.0, 2.0, 3.0], [1.0, np.inf, 3.0]]), "1 of 6 values are NaN or infinite, first in row 1"),
        (np.ones((2, 4)), "width 4"),
        (np.ones((3, 2)), r"the axes are \(C, T\)"),
        (np.ones(3), "shape"),
        (np.ones((0, 3)), "no rows"),
    ],
)
def test_bad_features_are_not_written(store, video, features, message):
    with pytest.raises(FeatureError, match=message):
        write(store, "v", video, features)
    assert store.ids() == []
    assert not list(store.folder.glob("v*"))


def test_values_that_overflow_the_stores_type_are_not_written(tmp_path, video):
    store = FeatureStore.create(tmp_path / "half", replace(SPEC, dtype="float16"))
    with pytest.raises(FeatureError, match="float16"):
        write(store, "v", video, np.full((2, 3), 1e6, np.float32))
    write(store, "w", video)
    assert np.load(store.folder / "w.npy").dtype == np.float16
    np.testing.assert_allclose(store.load("w").features, array(), atol=2e-3)


def test_a_grid_of_another_count_is_not_written(store, video):
    with pytest.raises(FeatureError, match="5 rows"):
        store.write("v", array(), grid(6), duration_s=1.2, source=source_of(video))


def test_the_grid_is_checked_against_the_duration(store, video):
    write(store, "v", video, array(50), duration_s=10.2)
    assert store.load("v", duration_s=10.0).grid.count == 50
    with pytest.raises(GridError, match=r"10\.20 s, the video at 25\.00 s"):
        store.load("v", duration_s=25.0)


def test_a_damaged_array_is_noticed(store, video):
    write(store, "v", video)
    path = store.folder / "v.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"ruin")
    with pytest.raises(FeatureError, match="not the array that its record describes"):
        store.load("v")


def test_missing_features_name_the_closest_ids_and_the_failure(store, video):
    write(store, "video_0001", video)
    with pytest.raises(FeatureError, match="video_0001"):
        store.load("video_0002")
    store.record_failure("video_0003", stage="decode", error="no frame could be read")
    with pytest.raises(FeatureError, match="decode failed 1 times: no frame could be read"):
        store.load("video_0003")


def test_failures_count_their_attempts_until_the_video_is_done(store, video):
    assert store.state("v", video) == "new"
    store.record_failure("v", stage="decode", error="damaged", source=source_of(video))
    assert store.record_failure("v", stage="decode", error="damaged", source=source_of(video)).attempts == 2
    assert store.state("v", video) == "failed"
    write(store, "v", video)
    assert store.failure("v") is None
    assert store.state("v", video) == "done"


def test_a_replaced_video_is_told_from_a_touched_one(store, video):
    write(store, "v", video)
    os.utime(video, (1, 1))
    assert store.state("v", video) == "done"
    video.write_bytes(b"other version" * 100)
    assert store.state("v", video) == "replaced"
    assert write(store, "v", video, array(seed=1))
    np.testing.assert_array_equal(store.load("v").features, array(seed=1))
    store.record_failure("w", stage="decode", error="damaged", source=source_of(video))
    video.write_bytes(b"mended")
    assert store.state("w", video) == "replaced"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"id": "v"}'])
def test_a_damaged_record_is_the_videos_and_it_is_made_anew(store, video, content):
    write(store, "v", video)
    write(store, "w", video)
    (store.folder / "v.json").write_text(content)
    assert store.ids() == ["v", "w"]
    with pytest.raises(FeatureError, match=r"v\.json is damaged(.|\n)*run tal extract again"):
        store.load("v")
    assert store.state("v", video) == "damaged"
    assert write(store, "v", video, array(seed=1))
    np.testing.assert_array_equal(store.load("v").features, array(seed=1))


def test_a_damaged_failure_is_told_and_written_over(store, video, caplog):
    store.record_failure("v", stage="decode", error="damaged")
    (store.folder / "v.failed.json").write_text("nothing")
    assert store.state("v", video) == "damaged"
    assert store.failures() == []
    assert "v.failed.json is damaged" in caplog.text
    assert store.record_failure("v", stage="decode", error="again").attempts == 1
    assert [each.error for each in store.failures()] == ["again"]


def test_a_file_replaced_by_a_bad_one_is_tried_once(store, video):
    write(store, "v", video)
    video.write_bytes(b"bad")
    assert store.state("v", video) == "replaced"
    store.record_failure("v", stage="open", error="no video", source=source_of(video))
    assert store.state("v", video) == "failed"
    os.utime(video, (1, 1))
    assert store.state("v", video) == "replaced"


def test_a_failure_beside_the_same_files_features_is_not_kept(store, video):
    write(store, "v", video)
    store.record_failure("v", stage="network", error="a slower process", source=source_of(video))
    assert store.failures() == []


def test_state_needs_only_the_facts_of_an_unchanged_file(store, video):
    write(store, "v", video)
    video.chmod(0)
    assert store.state("v", video) == "done"


def test_the_first_to_finish_a_video_stays(store, video):
    assert write(store, "v", video, array(seed=0))
    assert not write(FeatureStore.open(store.folder), "v", video, array(seed=1))
    np.testing.assert_array_equal(store.load("v").features, array(seed=0))


def test_an_array_without_record_is_unfinished(store, video):
    write(store, "v", video)
    (store.folder / "v.json").unlink()
    assert store.ids() == []
    assert store.state("v", video) == "new"
    assert write(store, "v", video, array(seed=1))
    np.testing.assert_array_equal(store.load("v").features, array(seed=1))


def test_a_record_without_array_is_unfinished(store, video):
    write(store, "v", video)
    (store.folder / "v.npy").unlink()
    assert store.ids() == []
    assert store.state("v", video) == "new"
    assert write(store, "v", video, array(seed=1))


def test_a_full_disk_keeps_what_is_finished(store, video, monkeypatch):
    write(store, "done", video)

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(WriteError, match="No space left on device"):
        write(store, "v", video)
    assert store.ids() == ["done"]
    assert not list(store.folder.glob(".tmp-*"))


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/proc"), reason="needs a folder that nobody can write")
def test_a_read_only_place_is_one_clear_error():
    with pytest.raises(WriteError, match="cannot be written"):
        FeatureStore.create("/proc/tal-store", SPEC)


@pytest.mark.parametrize("clock_s", [0, -86_400, 86_400])
def test_old_temporary_files_go_and_young_ones_stay_whatever_this_machines_clock_says(store, monkeypatch, clock_s):
    now_s = time.time()
    monkeypatch.setattr(time, "time", lambda: now_s + clock_s)
    past, future, young = (store.folder / f".tmp-1-{name}" for name in "abc")
    for path in (past, future, young):
        path.write_bytes(b"x")
    os.utime(past, (now_s - 7200,) * 2)
    os.utime(future, (now_s + 7200,) * 2)
    FeatureStore.create(store.folder, SPEC)
    assert [path.exists() for path in (past, future, young)] == [False, False, True]


def _write_for_ever(folder, path, seed):
    store = FeatureStore.create(folder, SPEC)
    for number in range(10_000):
        write(store, f"v{number:03d}", path, array(5, seed + number))


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03, 0.06, 0.1])
def test_two_writers_killed_at_any_instant_leave_whole_videos(tmp_path, video, delay_s):
    folder = tmp_path / "store"
    writers = [(_write_for_ever, folder, video, seed) for seed in (0, 1_000_000)]
    kill_some_time_after(folder / "v005.json", delay_s, *writers)
    store = FeatureStore.create(folder, SPEC)
    done = store.ids()
    assert len(done) > 5
    before = {name: store.load(name).features for name in done}
    for name in done:
        assert not write(store, name, video, array(5, 99))
        np.testing.assert_array_equal(store.load(name).features, before[name])
    unfinished = f"v{len(done):03d}"
    assert write(store, unfinished, video)
    assert unfinished in store.ids()


def test_without_file_locks_a_store_works_and_says_so_once(tmp_path, video, monkeypatch, caplog):
    monkeypatch.setattr("tal.features.files.fcntl", None)  # as on Windows
    store = FeatureStore.create(tmp_path / "store", SPEC)
    for name in ("v", "w"):
        assert write(store, name, video)
    store.record_failure("x", stage="decode", error="damaged")
    assert FeatureStore.create(store.folder, SPEC).ids() == ["v", "w"]
    assert caplog.text.count("no file locks on this system: run one process per store") == 1
