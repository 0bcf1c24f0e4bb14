"""Detections of many videos of THUMOS14's length from features on disk: time by part, and memory.

    python tools/bench.py localize [--videos 200] [--method actionformer] [--width 128] [--threads 2]

Features are (T, 2048) float32 files, 7.5 snippets per second, of lengths that spread as THUMOS14's do (20 s to half an
hour, the median about three minutes); a few distinct files, linked under all names, so that they come from the page
cache. The network is the method's recipe for THUMOS14 with a small width and random weights: the prior probability of
every point is over the threshold, so that suppression has more to do than in earnest. Parts are told in processor time
of all threads, which other work on the machine disturbs less. Bars: 200 videos under 60 s on two cores, memory flat,
suppression never the largest share.
"""

import argparse
import logging
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tal.features.foreign import layout_spec
from tal.features.layout import Layout
from tal.localization import Localizer, open_sources
from tal.package import load_model, save_package
from tal.pipelines.train_derive import method_config
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.registry import METHODS
from tal.segments import Segments

WIDTH, STREAM = 2048, "i3d"
LAYOUT = Layout(stride_frames=4, window_frames=16, fps=30)
SNIPPETS_PER_S = 7.5


class Clock:
    """Processor seconds by part; a part's own, without those of parts that it calls."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner = 0.0

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time counted."""

        def counted(*args: Any, **options: Any) -> Any:
            began, outer, self._inner = time.process_time(), self._inner, 0.0
            try:
                return function(*args, **options)
            finally:
                took = time.process_time() - began
                self.seconds[part] = self.seconds.get(part, 0.0) + took - self._inner
                self._inner = outer + took

        return counted


def write_features(folder: Path, videos: int, distinct: int, *, longest_s: float = 1800.0) -> float:
    """Write the files; returns how many seconds of video they stand for."""
    rng = np.random.default_rng(0)
    durations = np.clip(rng.lognormal(np.log(180), 0.7, distinct), 20, longest_s)
    for index in range(videos):
        first = folder / f"v{index % distinct}.npy"
        if index < distinct:
            np.save(first, rng.standard_normal((int(durations[index] * SNIPPETS_PER_S), WIDTH), np.float32))
        else:
            os.link(first, folder / f"v{index}.npy")
    return float(sum(durations[index % distinct] for index in range(videos)))


def make_package(folder: Path, method: str, width: int) -> None:
    """A package with random weights."""
    words = ["--model.width", str(width)]
    recipe = build_recipe(read_recipe(f"thumos14/{method}_i3d"), words)
    config = method_config(recipe, {STREAM: WIDTH}, tuple(f"class{index}" for index in range(20)))
    torch.manual_seed(0)
    save_package(
        folder,
        method=recipe.method,
        model=METHODS.load(recipe.method)(config),
        features={STREAM: layout_spec(LAYOUT, width=WIDTH)},
        layouts={STREAM: LAYOUT},
        thresholds={},
        card="random weights",
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(model: Path, features: Path, videos: int) -> dict[str, float]:
    """Localize all videos: processor seconds by part and in "all", seconds "elapsed", detections, peaks of memory."""
    package, clock = load_model(model), Clock()
    sources = open_sources(features, package)
    localizer = Localizer(package, sources=sources)
    network: Any = package.model
    for source in sources.values():
        source.load = clock.timed("reading", source.load)  # type: ignore[method-assign]
    network.forward = clock.timed("network", network.forward)
    network.candidates = clock.timed("decoding", network.candidates)
    network.suppress = clock.timed("suppression", network.suppress)
    began, used, found, early = time.perf_counter(), time.process_time(), 0, 0.0
    for done, (_, detections) in enumerate(localizer.detect_many({f"v{i}": None for i in range(videos)}), start=1):
        if not isinstance(detections, Segments):
            raise detections
        found += len(detections)
        early = _peak_mib() if done <= max(videos // 5, 1) else early
    taken, used = time.perf_counter() - began, time.process_time() - used
    rest = used - sum(clock.seconds.values())
    return {
        **clock.seconds,
        "rest": rest,
        "elapsed": taken,
        "all": used,
        "detections": found,
        "early": early,
        "end": _peak_mib(),
    }


def main(argv: Sequence[str]) -> int:
    """Print the time by part and the peaks of memory; 1 if suppression took the largest share."""
    parser = argparse.ArgumentParser(prog="bench.py localize", description=__doc__.partition("\n")[0])
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--distinct", type=int, default=20, help="files that are written; the others are links")
    parser.add_argument("--method", default="actionformer", help="one with a recipe thumos14/METHOD_i3d")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    logging.getLogger("tal").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as place:
        features, model = Path(place) / "features", Path(place) / "model"
        features.mkdir()
        of_video_s = write_features(features, options.videos, min(options.distinct, options.videos))
        make_package(model, options.method, options.width)
        found = measure(model, features, options.videos)
    print(
        f"{options.videos} videos, {of_video_s / 3600:.1f} hours, {options.method} of width {options.width}, "
        f"{options.threads} threads: {found['elapsed']:.1f} s, {found['all']:.1f} s of processor time, "
        f"{found['detections']:.0f} detections"
    )
    parts = {name: found[name] for name in ("reading", "network", "decoding", "suppression", "rest")}
    for name, seconds in parts.items():
        print(f"  {name:<12} {seconds:7.2f} s  {seconds / found['all']:6.1%}")
    print(f"  peak memory {found['early']:.0f} MiB after a fifth of the videos, {found['end']:.0f} MiB at the end")
    return int(max(parts, key=parts.__getitem__) == "suppression")


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
