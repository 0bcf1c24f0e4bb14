"""What is found in a store that is damaged or senseless."""

import json

import numpy as np
import pytest

from tal.features import FeatureSpec, FeatureStore
from tal.features.verify import verify
from tal.timeline import SnippetGrid

SPEC = FeatureSpec(backbone="tiny", width=300, clip_frames=4, fps=10.0, stride_s=0.2, window_s=0.4)


@pytest.fixture
def store(tmp_path):
    return FeatureStore.create(tmp_path / "store", SPEC)


def walk(seed, count=50, width=300):
    """Features that drift, as a video's do."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=width) + 0.3 * rng.normal(size=(count, width)).cumsum(axis=0)).astype(np.float32)


def write(store, video, features, duration_s=None):
    grid = SnippetGrid(stride_s=0.2, window_s=0.4, count=len(features))
    store.write(video, features, grid, duration_s=grid.end_s if duration_s is None else duration_s, source={})


def kinds(found):
    return [(each.kind, each.video) for each in found]


def test_a_sound_store_has_no_findings(store):
    for seed in range(5):
        write(store, f"v{seed}", walk(seed))
    write(store, "short", walk(9, count=1))
    write(store, "tokens", np.stack([walk(1), walk(2)], axis=1))
    store.record_failure("bad", stage="decode", error="damaged")
    splits = {"v0": "train", "v1": "val", "v2": "train", "v3": "val", "tokens": "test"}
    assert verify(store, subsets=splits) == []


def test_each_fault_is_found_and_named(store):
    for video in ("good", "flipped", "cut", "no record", "no array", "broken", "nan"):
        write(store, video, walk(1))
    write(store, "zero", np.concatenate([walk(2)[:10], np.zeros((5, 300)), walk(2)[:10]]))
    write(store, "still", np.repeat(walk(3)[:1], 20, axis=0))
    write(store, "fast", walk(4), duration_s=20.0)
    store.record_failure("failed", stage="decode", error="damaged")
    folder = store.folder
    for video, change in (("flipped", lambda data: data[:-4] + b"ruin"), ("cut", lambda data: data[:-4])):
        (folder / f"{video}.npy").write_bytes(change((folder / f"{video}.npy").read_bytes()))
    (folder / "no record.json").unlink()  # unfinished: extraction does it again
    (folder / "no array.npy").unlink()
    (folder / "broken.json").write_text("{")
    (folder / "failed.failed.json").write_text("[")
    _put_unchecked(folder / "nan", np.where(np.arange(300) == 7, np.nan, walk(5)).astype(np.float32))
    found = verify(store)
    assert sorted(kinds(found)) == [
        ("all_zero", "zero"),
        ("constant", "still"),
        ("damaged_array", "cut"),
        ("damaged_array", "flipped"),
        ("damaged_record", ""),
        ("damaged_record", "broken"),
        ("grid_mismatch", "fast"),
        ("lost_array", ""),
        ("not_finite", "nan"),
    ]
    told = {(each.kind, each.video): each.message for each in found}
    assert "5 of 25 snippets are all zero, first snippet 10" in told["all_zero", "zero"]
    assert "failed.failed.json" in told["damaged_record", ""]
    assert "no array.json" in told["lost_array", ""]
    assert "20.00 s" in told["grid_mismatch", "fast"]


def _put_unchecked(path, features):
    """Features that no store takes, with a record that fits them: as of another writer."""
    import hashlib

    np.save(path.with_suffix(".npy"), features)
    record = json.loads(path.with_suffix(".json").read_text())
    record["array"]["sha256"] = hashlib.sha256(path.with_suffix(".npy").read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(record))


def test_durations_of_annotations_are_compared(store):
    write(store, "v", walk(1))
    (finding,) = verify(store, durations_s={"v": 30.0, "other": 1.0})
    assert (finding.kind, finding.video) == ("grid_mismatch", "v")
    assert "the annotations" in finding.message


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_near_duplicates_across_splits(store, noise):
    rng = np.random.default_rng(0)
    for seed in range(6):
        write(store, f"train{seed}", walk(seed, count=50 + seed))
    again = walk(3, count=53)
    write(store, "copy", again + noise * rng.normal(size=again.shape).astype(np.float32))
    write(store, "other", walk(77, count=53))
    splits = {f"train{seed}": "train" for seed in range(6)}
    assert kinds(verify(store, subsets=splits | {"copy": "val", "other": "val"})) == [("near_duplicate", "copy")]
    assert verify(store, subsets=splits | {"copy": "Train", "other": "train"}) == []
    assert verify(store, subsets=splits) == []
