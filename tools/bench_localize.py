"""Detections of many videos from features on disk: time by part, memory, and against the same videos one by one.

    python tools/bench.py localize [--videos 200] [--recipe thumos14/actionformer_i3d] [--width 128] [--threads 2]

Features are float32 files of the recipe's grid, of lengths that spread as the data set's do (`LENGTHS`); a few distinct
files, linked under all names, so that they come from the page cache. The network is the recipe's, of another width
where that is given, with random weights: the prior probability of every point is over the threshold, so that
suppression has more to do than in earnest. Parts are told in processor time of all threads, which other work on the
machine disturbs less. Bars: 200 videos of THUMOS14's length under 60 s on two cores, memory flat, suppression never the
largest share.
"""

import argparse
import logging
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tal.features import Layout
from tal.features.foreign import layout_spec
from tal.localization import Localizer, open_sources
from tal.package import load_model, save_package
from tal.pipelines.train_derive import method_config
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.pipelines.train_settings import Recipe
from tal.registry import METHODS
from tal.segments import Segments

WIDTHS = {"i3d": 2048, "tsp": 512}
LENGTHS = {  # median, spread of the logarithm, shortest and longest, seconds
    "thumos14": (180.0, 0.7, 20.0, 1800.0),
    "activitynet": (115.0, 0.5, 5.0, 240.0),
}
FPS = 30.0  # where the recipe leaves it to the annotations


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


def layout_of(recipe: Recipe) -> tuple[str, Layout]:
    """The recipe's stream, and its layout with frames per second."""
    ((stream, told),) = recipe.data.features.items()
    layout = told.layout or Layout(stride_frames=4, window_frames=16)
    return stream, replace(layout, fps=layout.fps or FPS, prefix="")


def write_features(folder: Path, recipe: Recipe, dataset: str, videos: int, distinct: int) -> float:
    """Write the files; returns how many seconds of video they stand for."""
    rng = np.random.default_rng(0)
    stream, layout = layout_of(recipe)
    median_s, spread, shortest_s, longest_s = LENGTHS[dataset]
    durations = np.clip(rng.lognormal(np.log(median_s), spread, distinct), shortest_s, longest_s)
    per_s = (layout.fps or FPS) / layout.stride_frames
    for index in range(videos):
        first = folder / f"v{index % distinct}.npy"
        if index < distinct:
            np.save(first, rng.standard_normal((max(int(durations[index] * per_s), 1), WIDTHS[stream]), np.float32))
        else:
            os.link(first, folder / f"v{index}.npy")
    return float(sum(durations[index % distinct] for index in range(videos)))


def make_package(folder: Path, recipe: Recipe) -> None:
    """A package with random weights."""
    stream, layout = layout_of(recipe)
    config = method_config(recipe, {stream: WIDTHS[stream]}, tuple(f"class{index}" for index in range(20)))
    torch.manual_seed(0)
    save_package(
        folder,
        method=recipe.method,
        model=METHODS.load(recipe.method)(config),
        features={stream: layout_spec(layout, width=WIDTHS[stream])},
        layouts={stream: layout},
        thresholds={},
        card="random weights",
    )


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(model: Path, features: Path, videos: int, *, together: bool = True) -> dict[str, float]:
    """Localize all videos: processor seconds by part and in "all", seconds "elapsed", detections, peaks of memory.

    Args:
        model: A package.
        features: The folder.
        videos: How many.
        together: Windows of several videos may go through the network together; False: each video by itself.
    """
    package, clock = load_model(model), Clock()
    sources = open_sources(features, package)
    localizer = Localizer(package, sources=sources)
    network: Any = package.model
    for source in sources.values():
        source.load = clock.timed("reading", source.load)  # type: ignore[method-assign]
    network.forward = clock.timed("network", network.forward)
    network.candidates = clock.timed("decoding", network.candidates)
    network.suppress = clock.timed("suppression", network.suppress)
    names = [f"v{index}" for index in range(videos)]
    alone = ((name, localizer.detect(name)) for name in names)
    outcomes = localizer.detect_many(dict.fromkeys(names)) if together else alone
    began, used, found, early = time.perf_counter(), time.process_time(), 0, 0.0
    for done, (_, detections) in enumerate(outcomes, start=1):
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
    parser.add_argument("--recipe", default="thumos14/actionformer_i3d", help="one with a single stream, i3d or tsp")
    parser.add_argument("--width", type=int, help="in place of the recipe's")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(argv)
    torch.set_num_threads(options.threads)
    logging.getLogger("tal").setLevel(logging.ERROR)
    words = [] if options.width is None else ["--model.width", str(options.width)]
    recipe = build_recipe(read_recipe(options.recipe), words)
    with tempfile.TemporaryDirectory() as place:
        features, model = Path(place) / "features", Path(place) / "model"
        features.mkdir()
        distinct, dataset = min(options.distinct, options.videos), options.recipe.partition("/")[0]
        of_video_s = write_features(features, recipe, dataset, options.videos, distinct)
        make_package(model, recipe)
        measure(model, features, distinct, together=False)  # memory is taken from the system, kernels are loaded
        found = measure(model, features, options.videos)
        alone = measure(model, features, options.videos, together=False)
    print(
        f"{options.videos} videos, {of_video_s / 3600:.1f} hours, {options.recipe} of width {recipe.model.width}, "
        f"{options.threads} threads: {found['elapsed']:.1f} s, {found['all']:.1f} s of processor time, "
        f"{found['detections']:.0f} detections"
    )
    parts = {name: found[name] for name in ("reading", "network", "decoding", "suppression", "rest")}
    for name, seconds in parts.items():
        print(f"  {name:<12} {seconds:7.2f} s  {seconds / found['all']:6.1%}")
    for column, what in (("elapsed", "elapsed"), ("all", "processor time"), ("network", "the network's")):
        ratio = alone[column] / found[column]
        print(f"  one by one: {what} {alone[column]:.2f} s, {ratio:.2f} times as long")
    print(f"  peak memory {found['early']:.0f} MiB after a fifth of the videos, {found['end']:.0f} MiB at the end")
    return int(max(parts, key=parts.__getitem__) == "suppression")


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
