"""Suppression of 2,000 segments against plain loops, in torch and in NumPy, and against torchvision.

    python tools/bench.py nms [--segments 2000] [--classes 20] [--repeats 30]

The plain loops follow the definitions with one array operation per segment taken, as evaluators without a compiled
extension do; the results are compared before anything is timed. One core, warm, medians of processor time, so that
other work on the machine does not count. Bars: soft suppression spread over 20 classes under 3 ms, one class with
voting under 10 ms. Beside these two stand the times of the compiled extension that original releases build; it is not
run here, they were taken on another machine and say how large, not how much faster.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import nms as box_nms

from tal.ops.nms import hard_nms, soft_nms, vote

COMPILED_MS = {"soft, 20 classes": 1.4, "soft and voting, one class": 9.0}
"""The compiled extension's, 2,000 segments, on another machine."""

SIGMA, MIN_SCORE, TIOU, VOTING_TIOU = 0.5, 0.001, 0.5, 0.7


def plain_soft(start: Tensor, end: Tensor, score: Tensor) -> tuple[list[int], list[float]]:
    """Gaussian soft suppression of one class, a torch operation over all that is left per segment taken."""
    score, left = score.clone(), torch.arange(len(score))
    rows, scores = [], []
    while len(left):
        top = int(left[score[left].argmax()])
        rows.append(top)
        scores.append(float(score[top]))
        left = left[left != top]
        inter = (torch.minimum(end[left], end[top]) - torch.maximum(start[left], start[top])).clamp(min=0)
        overlap = inter / (end[left] - start[left] + end[top] - start[top] + 2e-6 - inter)
        score[left] *= torch.exp(-(overlap**2) / SIGMA)
        left = left[score[left] >= MIN_SCORE]
    return rows, scores


def plain_vote(start: Tensor, end: Tensor, score: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Voting with one matrix of all overlaps."""
    inter = (torch.minimum(end[kept, None], end) - torch.maximum(start[kept, None], start)).clamp(min=0)
    overlap = inter / ((end - start)[kept, None] + (end - start) - inter)
    weight = torch.where(overlap >= VOTING_TIOU, overlap * score, 0.0)
    weight /= weight.sum(1, keepdim=True)
    return weight @ start, weight @ end


def plain_hard(start: NDArray, end: NDArray, score: NDArray) -> list[int]:
    """Hard suppression, a NumPy operation over all that is left per segment taken."""
    left, rows = np.argsort(-score, kind="stable"), []
    while len(left):
        top, left = left[0], left[1:]
        rows.append(int(top))
        inter = np.clip(np.minimum(end[left], end[top]) - np.maximum(start[left], start[top]), 0, None)
        left = left[inter / (end[left] - start[left] + end[top] - start[top] - inter) <= TIOU]
    return rows


def milliseconds(function: Callable[[], object], repeats: int) -> float:
    """Median processor time of a call, after one that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return 1e3 * median(times)


def main(argv: Sequence[str]) -> int:
    """Print a table of medians and ratios; 1 if a result differs from the plain loops' or a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench.py nms", description=__doc__.splitlines()[0])
    parser.add_argument("--segments", type=int, default=2000)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=30)
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    start = rng.uniform(0, options.segments / 10, options.segments)
    end = start + rng.exponential(8, options.segments) + 0.1
    score, label = rng.uniform(MIN_SCORE, 1, options.segments), rng.integers(0, options.classes, options.segments)
    columns, tensors = (start, end, score), [torch.from_numpy(each) for each in (start, end, score)]
    boxes = torch.from_numpy(np.stack([start, np.zeros_like(start), end, np.ones_like(start)], axis=1))
    groups = [torch.from_numpy(np.flatnonzero(label == each)) for each in range(options.classes)]
    kept = soft_nms(*columns)[0]

    def ours_voted() -> object:
        return vote(*columns, kept=soft_nms(*columns)[0], tiou=VOTING_TIOU)

    def plain_voted() -> object:
        return plain_vote(*tensors, torch.tensor(plain_soft(*tensors)[0]))

    same = (
        kept.tolist() == plain_soft(*tensors)[0]
        and np.allclose(ours_voted(), [each.numpy() for each in plain_voted()])
        and hard_nms(*columns, tiou=TIOU).tolist() == plain_hard(*columns) == box_nms(boxes, tensors[2], TIOU).tolist()
    )
    rows = [
        (
            f"soft, {options.classes} classes",
            lambda: soft_nms(*columns, label=label),
            "torch loop",
            lambda: [plain_soft(*(each[group] for each in tensors)) for group in groups],
            3.0,
        ),
        ("soft, one class", lambda: soft_nms(*columns), "torch loop", lambda: plain_soft(*tensors), None),
        ("soft and voting, one class", ours_voted, "torch loop", plain_voted, 10.0),
        ("hard, one class", lambda: hard_nms(*columns, tiou=TIOU), "NumPy loop", lambda: plain_hard(*columns), None),
        (
            "hard, one class",
            lambda: hard_nms(*columns, tiou=TIOU),
            "torchvision",
            lambda: box_nms(boxes, tensors[2], TIOU),
            None,
        ),
    ]
    print(
        f"{options.segments} segments, one core, medians of processor time over {options.repeats}; same results: {same}"
    )
    missed = not same
    for name, ours, baseline, theirs, bar in rows:
        ours_ms, theirs_ms = milliseconds(ours, options.repeats), milliseconds(theirs, max(options.repeats // 6, 3))
        missed |= bar is not None and ours_ms > bar
        told = "" if bar is None else f"   bar {bar:g} ms: {'met' if ours_ms <= bar else 'MISSED'}"
        if options.segments == 2000 and name in COMPILED_MS:
            told += f"   compiled extension, measured elsewhere: {COMPILED_MS[name]:g} ms"
        print(f"{name:<28}{ours_ms:7.2f} ms   {baseline} {theirs_ms:7.2f} ms   {theirs_ms / ours_ms:5.1f}x{told}")
    return int(missed)
