"""Packed stores: read like any other, added to, resumed on, and whole whenever the packing is killed."""

import json
import pickle
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tal.cli import main
from tal.errors import FeatureError
from tal.features import FeatureSpec, FeatureStore, open_features
from tal.features.fingerprint import Fingerprint
from tal.features.packing import pack
from tal.features.verify import verify
from tal.timeline import SnippetGrid

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from killing import kill_some_time_after

SPEC = FeatureSpec(backbone="tiny", width=3, clip_frames=4, fps=10.0, stride_s=0.2, window_s=0.4)
NAMES = ["a", "b.mp4", "deep/c", "ü 目", "x" * 400, "spec", "d", "e"]


def array(seed, count=5):
    return np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)


def write(store, video, seed, source=None):
    grid = SnippetGrid(stride_s=0.2, window_s=0.4, count=5)
    return store.write(video, array(seed), grid, duration_s=1.2, source={"size": seed} if source is None else source)


def own_files(store):
    return sorted(path.name for path in store.folder.iterdir() if path.suffix in (".npy", ".json"))


@pytest.fixture
def store(tmp_path):
    store = FeatureStore.create(tmp_path / "store", SPEC)
    for seed, video in enumerate(NAMES):
        write(store, video, seed)
    return store


def check(folder, seeds):
    source = open_features(folder)
    assert source.ids() == sorted(seeds)
    for video, seed in seeds.items():
        loaded = source.load(video, duration_s=1.2)
        np.testing.assert_array_equal(loaded.features, array(seed))
        assert (loaded.video, loaded.grid.count, loaded.duration_s) == (video, 5, 1.2)
    assert verify(source) == []


@pytest.mark.parametrize("limits", [{}, {"shard_videos": 3}, {"shard_bytes": 1}])
def test_a_packed_store_reads_as_before(store, limits):
    reader = open_features(store.folder)  # opened before, reads on while its files go
    reader.load("a")
    done = pack(store, **limits)
    tars = {"shard_videos": 3, "shard_bytes": 8}[next(iter(limits))] if limits else 1
    assert (done.packed, done.known, done.tars, done.damaged) == (8, 0, tars, {})
    assert own_files(store) == ["spec.json"]
    check(store.folder, dict(zip(NAMES, range(8), strict=True)))
    np.testing.assert_array_equal(reader.load("d").features, array(6))
    assert pickle.loads(pickle.dumps(reader)).ids() == sorted(NAMES)  # noqa: S301


def test_another_store_gets_tars_and_this_one_stays(store, tmp_path):
    before = {name: (store.folder / name).read_bytes() for name in own_files(store)}
    assert pack(store, tmp_path / "copy").packed == 8
    assert {name: (store.folder / name).read_bytes() for name in own_files(store)} == before
    check(tmp_path / "copy", dict(zip(NAMES, range(8), strict=True)))
    write(store, "later", 20)
    again = pack(store, tmp_path / "copy")
    assert (again.packed, again.known, again.tars) == (1, 8, 1)
    check(tmp_path / "copy", dict(zip([*NAMES, "later"], [*range(8), 20], strict=True)))
    assert pack(FeatureStore.open(tmp_path / "copy"), tmp_path / "third").packed == 9


def test_a_tar_unpacks_to_the_stores_own_files(store, tmp_path):
    before = {name: (store.folder / name).read_bytes() for name in own_files(store)}
    pack(store)
    with tarfile.open(store.folder / "packed/000000.tar") as tar:
        tar.extractall(store.folder, filter="data")
    assert {name: (store.folder / name).read_bytes() for name in own_files(store)} == before


def test_what_is_added_later_stands_beside_and_is_packed_in_its_turn(store):
    pack(store)
    assert not write(store, "a", 0)  # another process finished the same file
    write(store, "new", 30)
    write(store, "d", 31)  # its file was replaced
    seeds = dict(zip(NAMES, range(8), strict=True)) | {"new": 30, "d": 31}
    check(store.folder, seeds)
    assert (pack(store).packed, own_files(store)) == (2, ["spec.json"])
    check(store.folder, seeds)
    assert pack(store).tars == 0


def test_resuming_knows_packed_videos(store, tmp_path):
    video = tmp_path / "v.bin"
    video.write_bytes(b"first")
    write(store, "v", 40, {"path": str(video), **Fingerprint.of(video).as_dict()})
    store.record_failure("bad", stage="decode", error="damaged")
    pack(store)
    assert store.state("v", video) == "done"
    assert FeatureStore.create(store.folder, SPEC).state("v", video) == "done"
    assert FeatureStore.open(store.folder).failures()[0].video == "bad"
    (store.folder / "packed/000000.tar").rename(store.folder / "away")  # it is not looked into
    assert FeatureStore.open(store.folder).state("v", video) == "done"
    (store.folder / "away").rename(store.folder / "packed/000000.tar")
    video.write_bytes(b"second")
    assert store.state("v", video) == "replaced"
    assert store.state("other", video) == "new"
    assert store.record("other") is None
    with pytest.raises(FeatureError, match="no features of video 'other'"):
        store.load("other")


def test_damaged_videos_are_left_and_told(store, capsys):
    (store.folder / "a.npy").write_bytes(b"ruin")
    (store.folder / "d.json").write_text("{")
    assert main(["extract", "--pack", str(store.folder)]) == 1
    out = capsys.readouterr().out
    assert "6 videos packed into 1 tars, 2 damaged ones left" in out
    assert "damaged: a: " in out
    assert own_files(store) == ["a.json", "a.npy", "d.json", "d.npy", "spec.json"]
    write(store, "d", 6)
    write(store, "a", 100)
    assert main(["extract", "--pack", str(store.folder)]) == 0


def test_damage_to_a_tar_is_told(store, tmp_path, capsys):
    pack(store)
    tar, index = store.folder / "packed/000000.tar", store.folder / "packed/000000.json"
    data, places = tar.read_bytes(), json.loads(index.read_text())
    at = places["places"][places["ids"].index("a")]
    tar.write_bytes(data[: at[2] + at[3] - 4] + b"ruin" + data[at[2] + at[3] :])
    (finding,) = verify(FeatureStore.open(store.folder))
    assert (finding.kind, finding.video) == ("damaged_array", "a")
    assert "000000.tar: a.npy" in finding.message
    tar.write_bytes(data[: at[0]] + b"ruin" + data[at[0] + 4 :])
    assert [each.kind for each in verify(FeatureStore.open(store.folder))] == ["damaged_record"]
    tar.write_bytes(data[: at[0]])
    with pytest.raises(FeatureError, match="cut off"):
        FeatureStore.open(store.folder).load(places["ids"][-1])
    tar.write_bytes(data)
    index.write_text(json.dumps(places | {"places": [[1, 2], "x"]}))
    with pytest.raises(FeatureError, match=r"000000\.json is damaged"):
        FeatureStore.open(store.folder).load("a")
    index.write_text("{}")
    with pytest.raises(FeatureError, match=r"000000\.json is damaged(.|\n)*--pack"):
        FeatureStore.open(store.folder).ids()
    assert [each.kind for each in verify(FeatureStore.open(store.folder))] == ["damaged_record"]
    index.unlink()
    assert main(["extract", "--pack", str(store.folder)]) == 0  # as the message says
    check(store.folder, dict(zip(NAMES, range(8), strict=True)))
    (store.folder / "packed/000001.tar").write_bytes(b"no tar" * 1000)
    with pytest.raises(FeatureError, match="no tar of packed videos"):
        pack(store)


def test_status_and_another_spec(store, tmp_path, capsys):
    pack(store)
    assert main(["extract", "--status", str(store.folder)]) == 0
    assert "8 done, 0 failed, 0 in work" in capsys.readouterr().out
    FeatureStore.create(tmp_path / "other", FeatureSpec(backbone="tiny", width=4))
    assert main(["extract", "--pack", str(store.folder), "--out", str(tmp_path / "other")]) == 2
    assert "another spec" in capsys.readouterr().err


def test_only_one_process_packs(store):
    (store.folder / "packed").mkdir()
    with (store.folder / "packed/.lock").open("ab") as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(FeatureError, match="another process is packing"):
            pack(store)
    assert pack(store).packed == 8


def _pack_for_ever(folder):
    while True:
        pack(FeatureStore.open(folder), shard_videos=7)


def _write_on(folder):
    store = FeatureStore.create(folder, SPEC)
    for number in range(100_000):
        write(store, f"v{number:05d}", number)


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.2])
def test_writer_and_packer_killed_at_any_instant_lose_nothing(tmp_path, delay_s):
    folder = tmp_path / "store"
    FeatureStore.create(folder, SPEC)
    kill_some_time_after(folder / "packed/000001.json", delay_s, (_write_on, folder), (_pack_for_ever, folder))
    store = FeatureStore.create(folder, SPEC)
    done = store.ids()
    assert len(done) >= 2
    assert done == [f"v{number:05d}" for number in range(len(done))]
    check(folder, {video: number for number, video in enumerate(done)})
    assert not any(write(store, video, number) for number, video in enumerate(done))
    pack(store)
    assert set(own_files(store)) <= {"spec.json", f"v{len(done):05d}.npy"}  # the one that was being finished
    check(folder, {video: number for number, video in enumerate(done)})
