"""Detection mAP: the metric call and the whole command, against a plain loop that judges predictions one by one."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tal.annotations.activitynet import write as write_annotations
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import write_results
from tal.datasets.protocol import steps
from tal.metrics.detection import Rows, average_precision, overlaps
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a benchmark is, and the bars for it in seconds."""

    protocol: str
    subset: str
    videos: int
    instances: int
    predictions: int
    classes: int
    tious: tuple[float, ...]
    call_bar_s: float
    command_bar_s: float


SIZES = (
    Size(
        protocol="thumos14",
        subset="test",
        videos=213,
        instances=3358,
        predictions=42_600,
        classes=20,
        tious=steps(0.3, 0.7, 5),
        call_bar_s=0.3,
        command_bar_s=1.5,
    ),
    Size(
        protocol="activitynet",
        subset="validation",
        videos=4728,
        instances=7293,
        predictions=472_800,
        classes=200,
        tious=steps(0.5, 0.95, 10),
        call_bar_s=2.0,
        command_bar_s=6.0,
    ),
)


def made(size: Size, seed: int = 0) -> tuple[Rows, Rows]:
    """(ground truth, predictions): a few classes per video, predictions around instances and at random."""
    rng = np.random.default_rng(seed)
    duration_s = 120.0
    video = np.sort(rng.integers(0, size.videos, size.instances))
    main_class = rng.integers(0, size.classes, size.videos)
    length_s = rng.gamma(2.0, 8.0, size.instances).clip(0.5, 100)
    start_s = rng.uniform(0, 1, size.instances) * (duration_s - length_s)
    truth = Rows(video_idx=video, label=main_class[video], start_s=start_s, end_s=start_s + length_s)
    of_video = np.repeat(np.arange(size.videos), size.predictions // size.videos)
    first = np.searchsorted(video, of_video)
    count = np.searchsorted(video, of_video, "right") - first
    near = (count > 0) & (rng.random(len(of_video)) < 0.5)
    chosen = (first + rng.integers(0, np.maximum(count, 1))).clip(max=size.instances - 1)
    begin = np.where(near, start_s[chosen] + rng.normal(0, 2, len(of_video)), rng.uniform(0, 100, len(of_video)))
    length = np.where(near, length_s[chosen] * rng.uniform(0.7, 1.4, len(of_video)), rng.gamma(2, 8, len(of_video)))
    label = np.where(
        rng.random(len(of_video)) < 0.5, main_class[of_video], rng.integers(0, size.classes, len(of_video))
    )
    score = rng.random(len(of_video)) * np.where(near, 1.0, 0.6)
    predictions = Rows(video_idx=of_video, label=label, start_s=begin, end_s=begin + length, score=score)
    return truth, predictions


def plain_average_precision(
    truth: Rows, predictions: Rows, tious: Sequence[float], classes: Sequence[int]
) -> np.ndarray:
    """(M, len(classes)) AP, one prediction after another, as the public evaluators loop (without pandas)."""
    result = np.zeros((len(tious), len(classes)))
    for column, label in enumerate(classes):
        ours, theirs = np.flatnonzero(truth.label == label), np.flatnonzero(predictions.label == label)
        theirs = theirs[np.argsort(-predictions.score[theirs], kind="stable")]
        by_video: dict[int, np.ndarray] = {}
        for video in np.unique(truth.video_idx[ours]):
            by_video[int(video)] = ours[truth.video_idx[ours] == video]
        taken = np.zeros((len(tious), len(truth)), bool)
        hit = np.zeros((len(tious), len(theirs)), bool)
        for rank, row in enumerate(theirs):
            rows = by_video.get(int(predictions.video_idx[row]))
            if rows is None:
                continue
            inter = np.minimum(predictions.end_s[row], truth.end_s[rows])
            inter = (inter - np.maximum(predictions.start_s[row], truth.start_s[rows])).clip(0)
            union = truth.end_s[rows] - truth.start_s[rows] + predictions.end_s[row] - predictions.start_s[row] - inter
            value = inter / union
            for position, threshold in enumerate(tious):
                for best in value.argsort()[::-1]:
                    if value[best] < threshold:
                        break
                    if not taken[position, rows[best]]:
                        taken[position, rows[best]] = hit[position, rank] = True
                        break
        precision = np.cumsum(hit, axis=1) / np.arange(1, len(theirs) + 1)
        best_after = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        result[:, column] = (best_after * hit).sum(axis=1) / max(len(ours), 1)
    return result


def timed(function: Callable[[], object], repeats: int) -> tuple[float, float]:
    """(median seconds by the clock, median processor seconds with children) of a call.

    On a machine that others use, the second says what the first would be on an idle one.
    """
    wall, cpu = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), sum(os.times()[:4])
        function()
        wall.append(time.perf_counter() - began)
        cpu.append(sum(os.times()[:4]) - used)
    return float(np.median(wall)), float(np.median(cpu))


def command_s(size: Size, truth: Rows, predictions: Rows, repeats: int) -> tuple[float, float, float]:
    """(median seconds, median processor seconds, peak GiB) of `tal evaluate` as a process, reading included."""
    names = tuple(f"class {label:03d}" for label in range(size.classes))

    def per_video(rows: Rows) -> dict[str, Segments]:
        order = np.argsort(rows.video_idx, kind="stable")
        bounds = np.searchsorted(rows.video_idx[order], np.arange(size.videos + 1))
        return {
            f"video_{video:05d}": Segments(
                start_s=rows.start_s[part].round(4),
                end_s=rows.end_s[part].round(4),
                label=rows.label[part],
                score=np.ones(len(part)) if rows.score is None else rows.score[part].round(9),
                classes=names,
            )
            for video, part in enumerate(np.split(order, bounds[1:-1]))
        }

    records = {
        video: VideoRecord(video=video, subset=size.subset, duration_s=120.0, instances=instances)
        for video, instances in per_video(truth).items()
    }
    with tempfile.TemporaryDirectory() as folder:
        annotations, found = Path(folder, "annotations.json"), Path(folder, "predictions.json")
        write_annotations(annotations, Annotations(classes=names, videos=records))
        write_results(found, per_video(predictions))
        return run_command(size.protocol, annotations, found, "mAP", repeats)


COMMAND = """
import re, sys
from pathlib import Path
from tal.cli import main
code = main(sys.argv[1:])
status = Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s*(\\d+)", status.read_text()) if status.exists() else None
print(peak[1] if peak else "nan", file=sys.stderr)
sys.exit(code)
"""
"""`tal` that ends by telling its peak memory in KiB; the system's own figure counts the process that started it too."""


def run_command(
    protocol: str, annotations: Path, predictions: Path, metric: str, repeats: int, words: Sequence[str] = ()
) -> tuple[float, float, float]:
    """(median seconds, median processor seconds, peak GiB) of `tal evaluate` as a process, reading included."""
    files = ["--annotations", str(annotations), "--predictions", str(predictions)]
    command = [sys.executable, "-c", COMMAND, "evaluate", protocol, *files, *words, "--json", "-"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    peaks_kib = []

    def run() -> None:
        done = subprocess.run(command, capture_output=True, check=True, env=environment)
        peaks_kib.append(float(done.stderr.split()[-1]))
        if not 0 < json.loads(done.stdout)["metrics"][metric] < 1:
            raise RuntimeError(f"tal evaluate {protocol}: {metric} is out of range")

    return *timed(run, repeats), max(peaks_kib) / 2**20


def main(argv: Sequence[str] = ()) -> int:
    """Print times, bars and ratios; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench.py evaluate", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reference_classes", type=int, default=5, help="classes that the slow reference is timed on")
    options = parser.parse_args(argv)
    missed = False
    for size in SIZES:
        truth, predictions = made(size)
        pairs = overlaps(truth, predictions, size.tious, class_count=size.classes)
        ours = average_precision(pairs)

        def call(size: Size = size, truth: Rows = truth, predictions: Rows = predictions) -> object:
            return average_precision(overlaps(truth, predictions, size.tious, class_count=size.classes))

        call_s, call_cpu_s = timed(call, options.repeats)
        classes = list(range(0, size.classes, max(1, size.classes // options.reference_classes)))
        began = time.perf_counter()
        reference = plain_average_precision(truth, predictions, size.tious, classes)
        share = np.isin(predictions.label, classes).mean()
        reference_s = (time.perf_counter() - began) / share
        difference = np.abs(reference - ours[:, classes]).max()
        whole_s, whole_cpu_s, peak_gib = command_s(size, truth, predictions, options.repeats)
        missed |= call_s > size.call_bar_s or whole_s > size.command_bar_s or difference > 1e-9
        print(
            f"{size.protocol}: {size.videos} videos, {size.predictions} predictions, {len(size.tious)} tIoU, "
            f"mAP {np.nanmean(ours):.4f}\n"
            f"  metric call    {call_s:7.3f} s (bar {size.call_bar_s:g} s), {call_cpu_s:.3f} s of processor time\n"
            f"  plain loop     {reference_s:7.1f} s, {reference_s / call_s:.0f} times as long "
            f"(measured on {share:.0%} of the predictions, scaled; AP differs by {difference:.1e})\n"
            f"  whole command  {whole_s:7.3f} s (bar {size.command_bar_s:g} s), {whole_cpu_s:.3f} s of processor time, "
            f"peak memory {peak_gib:.2f} GiB"
        )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
