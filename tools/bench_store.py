"""What a store of very many videos costs per video: to list, to resume on, to open, to look at; own files and packed.

python tools/bench.py store --videos 100000

The files are written without waiting for the disk, and read while the system still has them in memory: figures are of
the work of the processor, and those of a cold or distant disk come on top, once per file that is opened.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tal.features import FeatureSpec, FeatureStore
from tal.features.fingerprint import Fingerprint
from tal.features.packing import pack
from tal.features.records import file_stem
from tal.features.survey import survey
from tal.timeline import SnippetGrid

SPEC = FeatureSpec(backbone="bench", width=8, clip_frames=4, fps=10.0, stride_s=0.2, window_s=0.4, dtype="float16")
OPENED = 2000


def main(words: list[str]) -> int:
    """Make a store, measure it, pack it, measure it again."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where to make the store; a temporary folder if not given")
    arguments = parser.parse_args(words)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        folder = Path(place, "store")
        video = Path(place, "video.mp4")
        video.write_bytes(b"x" * 4096)
        _fill(FeatureStore.create(folder, SPEC), video, arguments.videos)
        print(f"{arguments.videos} videos; microseconds per video unless said")
        _measure("own files", folder, video, arguments.videos)
        began = time.perf_counter()
        pack(FeatureStore.open(folder))
        print(f"  packing {(time.perf_counter() - began) / arguments.videos * 1e6:8.1f}")
        _measure("packed", folder, video, arguments.videos)
        shutil.rmtree(folder)
    return 0


def _fill(store: FeatureStore, video: Path, count: int) -> None:
    """What `FeatureStore.write` would write, without waiting for the disk each time."""
    features = np.ones((5, SPEC.width), np.float16)
    grid = SnippetGrid(stride_s=0.2, window_s=0.4, count=5)
    source = {"path": str(video), **Fingerprint.of(video).as_dict()}
    store.write("first", features, grid, duration_s=1.2, source=source)
    record = store.record("first") or {}
    data = (store.folder / "first.npy").read_bytes()
    if hashlib.sha256(data).hexdigest() != record["array"]["sha256"]:
        raise RuntimeError("the store does not write what it says")
    for number in range(1, count):
        name = _id(number)
        (store.folder / f"{file_stem(name)}.npy").write_bytes(data)
        (store.folder / f"{file_stem(name)}.json").write_text(json.dumps(record | {"id": name}, indent=1))


def _id(number: int) -> str:
    return f"video_{number:07d}"


def _measure(kind: str, folder: Path, video: Path, count: int) -> None:
    """One table row per thing that is done."""
    known = ["first", *map(_id, range(1, count))]
    some = [known[at] for at in np.random.default_rng(0).permutation(count)[:OPENED]]
    store = FeatureStore.open(folder)
    print(kind)
    _told("listing all ids", count, store.ids)
    _told("listing again", count, store.ids)
    fresh = FeatureStore.open(folder)
    _told("resuming, done", count, lambda: [fresh.state(each, video) for each in known])
    _told("resuming, new", count, lambda: [fresh.state(f"new {each}", video) for each in known])
    _told("status", count, lambda: survey(fresh))
    _told("opening features", len(some), lambda: [fresh.load(each) for each in some])
    size = sum(path.stat().st_size for path in folder.rglob("*"))
    blocks = sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))
    print(f"  {size / 2**20:.0f} MiB, {blocks / 2**20:.0f} MiB on the disk")


def _told(what: str, count: int, run: Callable[[], object]) -> None:
    began = time.perf_counter()
    run()
    took_s = time.perf_counter() - began
    print(f"  {what:<18} {took_s / count * 1e6:8.1f}   ({took_s:.2f} s together)")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
