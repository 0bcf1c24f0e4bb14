"""Features that are appended as they come."""

import multiprocessing
import os
import resource
import tracemalloc

import numpy as np
import pytest

from tal.errors import FeatureError
from tal.features import FeatureSpec, FeatureStore
from tal.features.files import WriteError
from tal.features.fingerprint import Fingerprint
from tal.features.rows import SourceChangedError
from tal.timeline import SnippetGrid

SPEC = FeatureSpec(backbone="tiny", width=3, clip_frames=4, fps=10.0, stride_s=0.2, window_s=0.4)


def grid(count):
    return SnippetGrid(stride_s=0.2, window_s=0.4, count=count)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "store", SPEC)


def commit(rows, count, **changes):
    return rows.commit(grid(count), **({"duration_s": count * 0.2, "source": {"path": "v.mp4"}} | changes))


@pytest.mark.parametrize("shape", [(11, 3), (11, 5, 3)])
def test_pieces_make_the_same_file_as_the_whole(store, shape):
    features = np.random.default_rng(0).normal(size=shape)
    with store.writing("pieces") as rows:
        for first, stop in ((0, 4), (4, 4), (4, 5), (5, 11)):
            rows.append(features[first:stop])
        assert store.ids() == []
        assert commit(rows, 11)
    store.write("whole", features, grid(11), duration_s=2.2, source={})
    assert (store.folder / "pieces.npy").read_bytes() == (store.folder / "whole.npy").read_bytes()
    assert store.record("pieces")["array"] == store.record("whole")["array"]
    np.testing.assert_array_equal(store.load("pieces").features, features.astype(np.float32))


@pytest.mark.parametrize(
    ("pieces", "count", "message"),
    [
        ([np.ones((2, 3)), np.full((1, 3), np.nan)], 3, "first in row 2"),
        ([np.ones((2, 3)), np.ones((2, 2, 3))], 4, r"rows of shape \(2, 3\)(.|\n)*\(3,\), as those before"),
        ([np.ones((2, 4))], 2, "width 4"),
        ([np.ones((2, 3))], 3, "2 rows(.|\n)*3, as the grid says"),
        ([], 0, "no rows"),
    ],
)
def test_bad_pieces_leave_nothing(store, pieces, count, message):
    def write():
        with store.writing("v") as rows:
            for piece in pieces:
                rows.append(piece)
            commit(rows, count)

    with pytest.raises(FeatureError, match=message):
        write()
    assert {path.name for path in store.folder.iterdir()} == {"spec.json", ".lock"}


def test_what_is_not_committed_leaves_nothing(store):
    with store.writing("v") as rows:
        rows.append(np.ones((2, 3)))
    assert store.ids() == []
    assert not list(store.folder.glob(".tmp-*"))


def test_a_living_writers_file_stays_however_old(store):
    with store.writing("v") as rows:
        rows.append(np.ones((2, 3)))
        (temporary,) = store.folder.glob(".tmp-*")
        os.utime(temporary, (1, 1))
        FeatureStore.create(store.folder, SPEC)
        assert commit(rows, 2)
    assert store.ids() == ["v"]


def test_memory_does_not_grow_with_the_length(store):
    block = np.ones((1000, 3), np.float32)

    def peak(blocks):
        tracemalloc.start()
        with store.writing(f"v{blocks}") as rows:
            for _ in range(blocks):
                rows.append(block)
            commit(rows, 1000 * blocks)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(500) < 1.1 * peak(100)
    assert (store.folder / "v500.npy").stat().st_size == 128 + 500_000 * 12


def test_a_file_that_changes_meanwhile_has_no_features_yet(store, tmp_path):
    video = tmp_path / "v.bin"
    video.write_bytes(b"the first half")
    source = {"path": str(video), **Fingerprint.of(video).as_dict()}
    with store.writing("v") as rows:
        rows.append(np.ones((2, 3)))
        with video.open("ab") as file:
            file.write(b" and the second")
        with pytest.raises(SourceChangedError, match="changed while its features were made"):
            commit(rows, 2, source=source)
    store.record_failure("v", stage="decode", error="changed", source=source)
    assert store.state("v", video) == "replaced"  # the next run does it
    video.unlink()
    with store.writing("v") as rows:
        rows.append(np.ones((2, 3)))
        assert commit(rows, 2, source=source)  # what was read is gone, but was whole


def test_what_the_system_refuses_to_write_leaves_nothing(store):
    """In a process of its own, in which files may not grow beyond 40 KB."""

    def write():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000,) * 2)
        store.write("small", np.ones((2, 3)), grid(2), duration_s=0.4, source={})
        try:
            store.write("large", np.ones((5000, 3)), grid(5000), duration_s=1000.0, source={})
        except WriteError as error:
            os._exit(7 if "cannot be written: File too large" in str(error) else 8)
        os._exit(9)

    process = multiprocessing.get_context("fork").Process(target=write)
    process.start()
    process.join()
    assert process.exitcode == 7
    assert {path.name for path in store.folder.iterdir()} == {"spec.json", ".lock", "small.json", "small.npy"}
    store.write("large", np.ones((5000, 3)), grid(5000), duration_s=1000.0, source={})
    assert store.ids() == ["large", "small"]


def test_a_folder_that_is_gone_is_one_clear_error(store):
    for path in store.folder.iterdir():
        path.unlink()
    store.folder.rmdir()
    with pytest.raises(WriteError, match="cannot be written"):
        store.writing("v")
