"""Frame mAP of boxes at the size of AVA's validation split, against a plain loop over keyframes, rows and classes."""

import argparse
import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bench_evaluate import timed

from tal.annotations.ava import write_ava
from tal.boxes import KeyframeBoxes, box_iou
from tal.datasets.ava import CLASSES
from tal.evaluation import evaluate
from tal.ops.ties import numpy_order

KEYFRAMES, KEYFRAMES_PER_VIDEO, ROWS, BOXES_PER_KEYFRAME = 57_371, 897, 50, 2
CALL_BAR_S, MEMORY_BAR_GIB = 15.0, 2.0
_COMMAND = """
import sys
from tal.cli import main
main(sys.argv[1:])
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")), file=sys.stderr)
"""
"""The command, telling its own peak: what a parent sees of a child's (ru_maxrss) has its own memory in it."""
NUMBERS = np.array([number for number, _ in CLASSES])


def made(keyframes: int = KEYFRAMES, seed: int = 0) -> tuple[KeyframeBoxes, KeyframeBoxes]:
    """(ground truth, detections): persons with two actions each; half of the detections are near one of them."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(keyframes), rng.integers(1, 2 * BOXES_PER_KEYFRAME, keyframes))
    corner = rng.uniform(0, 0.6, (len(frame), 2))
    persons = np.column_stack([corner, corner + rng.uniform(0.1, 0.4, (len(frame), 2))])
    truth = _columns(
        keyframes,
        np.repeat(frame, 2),
        np.repeat(persons, 2, axis=0).round(3),
        NUMBERS[rng.zipf(1.5, 2 * len(frame)) % 60],
        None,
    )
    of_row = np.repeat(np.arange(keyframes), ROWS)
    first = np.searchsorted(truth.frame_idx, of_row)
    chosen = first + rng.integers(0, np.searchsorted(truth.frame_idx, of_row, "right") - first)
    near = rng.random(len(of_row)) < 0.5
    corner = rng.uniform(0, 0.6, (len(of_row), 2))
    boxes = np.column_stack([corner, corner + rng.uniform(0.1, 0.4, (len(of_row), 2))])
    boxes = np.where(near[:, None], truth.boxes[chosen] + rng.normal(0, 0.03, boxes.shape), boxes).clip(0, 1)
    number = np.where(rng.random(len(of_row)) < 0.3, truth.class_id[chosen], NUMBERS[rng.integers(0, 60, len(of_row))])
    score = (rng.random(len(of_row)) * np.where(near, 1.0, 0.6)).round(4)  # As tools write them: there are ties.
    return truth, _columns(keyframes, of_row, boxes.round(3), number, score)


def _columns(
    keyframes: int, frame: np.ndarray, boxes: np.ndarray, number: np.ndarray, score: np.ndarray | None
) -> KeyframeBoxes:
    every = np.arange(keyframes)
    return KeyframeBoxes(
        videos=tuple(f"film_{video:03d}" for video in range(1 + keyframes // KEYFRAMES_PER_VIDEO)),
        frame_video_idx=every // KEYFRAMES_PER_VIDEO,
        frame_time_s=902.0 + every % KEYFRAMES_PER_VIDEO,
        frame_idx=frame,
        class_id=number,
        boxes=boxes,
        score=score,
    )


def plain_mean_average_precision(truth: KeyframeBoxes, found: KeyframeBoxes) -> float:
    """mAP at IoU 0.5 as the public evaluators loop: a heap per keyframe, then class by class, row by row."""
    heaps: dict[int, list[tuple[float, ...]]] = {}
    rows = zip(
        found.frame_idx.tolist(), found.score.tolist(), found.class_id.tolist(), found.boxes.tolist(), strict=True
    )
    for frame, score, number, (left, top, right, bottom) in rows:
        heap, entry = heaps.setdefault(frame, []), (score, number, top, left, bottom, right)
        if len(heap) < 50:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    by_frame: dict[int, dict[int, list[list[float]]]] = {}
    for frame, number, box in zip(truth.frame_idx.tolist(), truth.class_id.tolist(), truth.boxes.tolist(), strict=True):
        by_frame.setdefault(frame, {}).setdefault(number, []).append(box)
    judged: dict[int, list[tuple[float, bool]]] = {number: [] for number in NUMBERS.tolist()}
    for frame, heap in heaps.items():
        ordered = np.array(sorted(heap, key=lambda entry: -entry[0]))
        ordered = ordered[(ordered[:, 2] < ordered[:, 4]) & (ordered[:, 3] < ordered[:, 5])]
        for number in NUMBERS.tolist():
            ours = ordered[ordered[:, 1] == number]
            theirs = by_frame.get(frame, {}).get(number)
            overlap = box_iou(ours[:, [3, 2, 5, 4]], theirs) if theirs and len(ours) else None
            taken: set[int] = set()
            for row, score in enumerate(ours[:, 0].tolist()):
                best = -1 if overlap is None else int(overlap[row].argmax())
                right = best >= 0 and overlap[row, best] >= 0.5 and best not in taken
                if right:
                    taken.add(best)
                judged[number].append((score, right))
    values = []
    for number, count in zip(*np.unique(truth.class_id, return_counts=True), strict=True):
        scores, hits = (np.array(column) for column in zip(*judged[int(number)], strict=True))
        right = hits[numpy_order(scores)[::-1]]
        precision = np.cumsum(right) / np.arange(1, len(right) + 1)
        values.append((np.maximum.accumulate(precision[::-1])[::-1] * right).sum() / count)
    return float(np.mean(values))


def command_s(truth: KeyframeBoxes, found: KeyframeBoxes, repeats: int) -> tuple[float, float, float]:
    """(median seconds, median processor seconds, peak GiB) of `tal evaluate ava` as a process, reading included."""
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "truth.csv"), Path(folder, "found.csv")
        for path, boxes in zip(paths, (truth, found), strict=True):
            write_ava(path, boxes)
        words = ["evaluate", "ava", "--annotations", str(paths[0]), "--predictions", str(paths[1]), "--json", "-"]

        peaks: list[float] = []

        def run() -> None:
            command = [sys.executable, "-c", _COMMAND, *words]
            environment = os.environ | {"OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, check=True, env=environment, text=True)
            assert 0 < json.loads(done.stdout)["metrics"]["mAP@0.50"] < 1
            peaks.append(int(done.stderr.split()[-2]) / 2**20)

        seconds = timed(run, repeats)
    return *seconds, max(peaks)


def main(argv: Sequence[str] = ()) -> int:
    """Print times, bars and the ratio; exit 1 if a bar is missed or the plain loop gives another mAP."""
    parser = argparse.ArgumentParser(prog="bench_ava.py", description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--reference_keyframes", type=int, default=1500, help="how many the plain loop is timed on")
    options = parser.parse_args(argv)
    truth, found = made()
    call_s, call_cpu_s = timed(lambda: evaluate("ava", truth, found), options.repeats)
    value = evaluate("ava", truth, found).metrics["mAP@0.50"]
    few = options.reference_keyframes
    part = made(few)
    began = time.perf_counter()
    reference = plain_mean_average_precision(*part)
    reference_s = (time.perf_counter() - began) * KEYFRAMES / few
    difference = abs(reference - evaluate("ava", *part).metrics["mAP@0.50"])
    whole_s, whole_cpu_s, peak_gib = command_s(truth, found, options.repeats)
    print(
        f"ava: {KEYFRAMES} keyframes, {len(found)} detections, {len(truth)} rows of truth, mAP@0.50 {value:.4f}\n"
        f"  metric call    {call_s:7.3f} s (bar {CALL_BAR_S:g} s), {call_cpu_s:.3f} s of processor time\n"
        f"  plain loop     {reference_s:7.1f} s, {reference_s / call_s:.0f} times as long "
        f"(measured on {few} keyframes, scaled; mAP differs by {difference:.1e})\n"
        f"  whole command  {whole_s:7.3f} s, {whole_cpu_s:.3f} s of processor time, "
        f"peak memory {peak_gib:.2f} GiB (bar {MEMORY_BAR_GIB:g} GiB)"
    )
    return int(call_s > CALL_BAR_S or peak_gib > MEMORY_BAR_GIB or difference > 1e-9)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
