"""Moment retrieval with ranked windows: R@n at IoU m, after the suppression that some public evaluators apply.

Sources: jiyanggao/TALL, main.py and dataset.py (CTRL); microsoft/2D-TAN, lib/core/eval.py. A query is found at n and m
if one of its first n windows overlaps the ground truth by at least m (CTRL, Moment-DETR) or by more than m (2D-TAN).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tal.metrics.moments import Windows, best_overlaps

Floats = NDArray[np.float64]


def by_score(windows: Windows) -> Windows:
    """Each query's windows, highest score first, of equal scores the later row first; as they are if without scores.

    That is the order of CTRL's suppression, which takes windows from the end of a stable ascending sort.
    """
    if windows.score is None:
        return windows
    return windows[np.lexsort((-np.arange(len(windows)), -windows.score, windows.query_idx))]


def suppressed(windows: Windows, overlap: float, count: int) -> Windows:
    """The first `count` windows of each query that remain if each removes later ones it overlaps more than `overlap`.

    The overlap of two windows without any length, 0/0, removes the later one, as it does in both public evaluators.
    """
    alive = np.ones(len(windows), bool)
    starts = np.flatnonzero(np.diff(windows.query_idx, prepend=-1))
    group = np.cumsum(np.diff(windows.query_idx, prepend=-1) != 0) - 1
    rows = np.arange(len(windows))
    kept = np.zeros(len(windows), bool)
    for _ in range(count):
        if not alive.any():
            break
        leader = np.minimum.reduceat(np.where(alive, rows, len(rows)), starts)
        kept[leader[leader < len(rows)]] = True
        alive &= rows > leader[group]
        alive[alive] = ~_removes(windows, leader[group[alive]], rows[alive], overlap)
    return windows[kept]


def _removes(windows: Windows, leader: NDArray[np.int64], row: NDArray[np.int64], overlap: float) -> NDArray[np.bool_]:
    start_s, end_s = windows.start_s, windows.end_s
    inter = np.clip(np.minimum(end_s[leader], end_s[row]) - np.maximum(start_s[leader], start_s[row]), 0, None)
    union = (end_s[leader] - start_s[leader]) + (end_s[row] - start_s[row]) - inter
    with np.errstate(divide="ignore", invalid="ignore"):
        removed: NDArray[np.bool_] = ~(inter / union <= overlap)
    return removed


def recall(
    truth: Windows,
    predictions: Windows,
    tious: Sequence[float],
    top: Sequence[int],
    *,
    query_count: int,
    strict: bool = False,
    nms: float | None = None,
    nms_margin: float | None = None,
) -> Floats:
    """(M, n) share of queries found among the first n windows at each threshold.

    Args:
        truth: Ground truth.
        predictions: In ranked order.
        tious: (M,) thresholds.
        top: (n,) numbers of windows.
        query_count: Q; queries without predictions are not found.
        strict: The overlap has to exceed the threshold (2D-TAN).
        nms: Overlap above which a window removes later ones before they are counted (2D-TAN).
        nms_margin: The same, with an overlap this far below each threshold (CTRL: 0.05).
    """
    result = np.empty((len(tious), len(top)))
    remaining = predictions if nms is None else suppressed(predictions, nms, max(top))
    for row, tiou in enumerate(tious):
        if nms_margin is not None:
            remaining = suppressed(predictions, tiou - nms_margin, max(top))
        result[row] = _found(truth, remaining.first(max(top)), tiou, top, query_count=query_count, strict=strict)
    return result


def _found(
    truth: Windows, windows: Windows, tiou: float, top: Sequence[int], *, query_count: int, strict: bool
) -> list[float]:
    overlap = best_overlaps(truth, windows)
    hit = overlap > tiou if strict else overlap >= tiou
    rank = windows.rank
    return [len(np.unique(windows.query_idx[hit & (rank < count)])) / query_count for count in top]
