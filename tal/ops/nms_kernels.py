"""Inner loops of non-maximum suppression over groups of time-sorted segments: compiled by numba, or in NumPy.

A kernel sees columns sorted by group (class), then start. Rows `bounds[g]` to `bounds[g + 1]` are group g. `reach[i]`
is the latest end among the group's rows up to i: it never falls, so the rows that overlap [s, e] lie between the first
with reach > s and the last with start < e. Segments far apart in time never meet, however long the video.

The loops are written for the compiler; `numpy_kernels` does the same with array operations where numba is missing.
"""

import logging
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EPS = 1e-6
"""Added to lengths in soft suppression, as ActionFormer's extension does."""


class Kernels(NamedTuple):
    """soft, hard, vote: see `_soft`, `_hard`, `_vote` for what they take and give."""

    soft: Callable[..., tuple[Ints, Floats]]
    hard: Callable[..., Ints]
    vote: Callable[..., tuple[Floats, Floats]]


def _soft(
    start: Floats,
    end: Floats,
    reach: Floats,
    log_score: Floats,
    rank: Ints,
    bounds: Ints,
    linear: bool,
    strength: float,
    floor: float,
    slope: float,
    lowest: float,
    most: int,
) -> tuple[Ints, Floats]:
    """Repeatedly take a group's best row and lower the log scores of those that overlap it.

    Args:
        start, end, reach: (N,).
        log_score: (N,), changed in place.
        rank: (N,) which of two rows with equal scores comes first.
        bounds: (G + 1,).
        linear: By log(1 - tIoU) where tIoU >= strength; otherwise by -tIoU^2 / strength.
        strength: The tIoU threshold, or sigma.
        floor, slope: Not linear: only where tIoU > floor + slope * length of the row taken; floor -1 for everywhere.
        lowest: Log score below which a row is dropped; a group's very best row is always taken.
        most: Rows to take per group.

    Returns:
        Rows taken, group after group, best first, and their log scores.
    """
    taken = np.empty(len(start), np.int64)
    scores = np.empty(len(start), np.float64)
    count = 0
    for group in range(len(bounds) - 1):
        low, high = bounds[group], bounds[group + 1]
        if low == high:
            continue
        # A tournament: leaf `leaves + i` is the best row of the group's i-th block of 64, node n the best of its two
        # children 2n and 2n + 1, -1 where there is none.
        blocks = (high - low + 63) // 64
        leaves = 1
        while leaves < blocks:
            leaves *= 2
        best = np.full(2 * leaves, -1)
        stale, fresh = 0, blocks  # blocks whose best row has to be found again
        first = count
        while count - first < most:
            for block in range(stale, fresh):
                top = low + block * 64
                for row in range(top + 1, min(top + 64, high)):
                    if log_score[row] > log_score[top] or (log_score[row] == log_score[top] and rank[row] < rank[top]):
                        top = row
                best[leaves + block] = top
            left, right = leaves + stale, leaves + fresh - 1
            while left > 1:
                left, right = left // 2, right // 2
                for node in range(left, right + 1):
                    top, row = best[2 * node], best[2 * node + 1]
                    if row >= 0 and (
                        log_score[row] > log_score[top] or (log_score[row] == log_score[top] and rank[row] < rank[top])
                    ):
                        top = row
                    best[node] = top
            top = best[1]
            if log_score[top] == -np.inf or (count > first and log_score[top] < lowest):
                break
            taken[count], scores[count] = top, log_score[top]
            count += 1
            log_score[top] = -np.inf

            begin, stop = start[top], end[top]
            left, right = low, top
            while left < right:
                middle = (left + right) // 2
                if reach[middle] > begin:
                    right = middle
                else:
                    left = middle + 1
            row = left
            while row < high and start[row] < stop:
                inter = min(stop, end[row]) - max(begin, start[row])
                if inter > 0 and log_score[row] > -np.inf:
                    overlap = inter / ((stop - begin + 1e-6) + (end[row] - start[row] + 1e-6) - inter)
                    if not linear:
                        if overlap > floor + slope * (stop - begin):
                            log_score[row] -= overlap * overlap / strength
                    elif overlap >= strength:
                        log_score[row] += np.log(1 - overlap)
                    if log_score[row] < lowest:
                        log_score[row] = -np.inf
                row += 1
            stale, fresh = (left - low) // 64, min((max(row, top + 1) - low + 63) // 64, blocks)
    return taken[:count], scores[:count]


def _hard(start: Floats, end: Floats, reach: Floats, order: Ints, bounds: Ints, threshold: float, most: int) -> Ints:
    """Take a group's rows from the best down, skipping those whose tIoU with a taken one exceeds the threshold.

    Args:
        start, end, reach: (N,).
        order: (N,) rows, group after group, best first.
        bounds: (G + 1,).
        threshold: tIoU.
        most: Rows to take per group.

    Returns:
        Rows taken, group after group, best first.
    """
    taken = np.empty(len(start), np.int64)
    gone = np.zeros(len(start), np.bool_)
    count = 0
    for group in range(len(bounds) - 1):
        low, high = bounds[group], bounds[group + 1]
        first = count
        for place in range(low, high):
            top = order[place]
            if gone[top]:
                continue
            if count - first == most:
                break
            taken[count] = top
            count += 1
            begin, stop = start[top], end[top]
            left, right = low, top
            while left < right:
                middle = (left + right) // 2
                if reach[middle] > begin:
                    right = middle
                else:
                    left = middle + 1
            row = left
            while row < high and start[row] < stop:
                inter = min(stop, end[row]) - max(begin, start[row])
                if inter > 0 and inter / ((stop - begin) + (end[row] - start[row]) - inter) > threshold:
                    gone[row] = True
                row += 1
    return taken[:count]


def _vote(
    start: Floats, end: Floats, reach: Floats, score: Floats, kept: Ints, threshold: float, closer: bool
) -> tuple[Floats, Floats]:
    """The mean of all rows with tIoU >= threshold to each kept row, weighted by their scores.

    Args:
        start, end, reach, score: (N,), one group.
        kept: (M,) rows.
        threshold: tIoU, positive.
        closer: Weights are times tIoU.

    Returns:
        (M,) starts and ends.
    """
    starts, ends = np.empty(len(kept)), np.empty(len(kept))
    for place in range(len(kept)):
        begin, stop = start[kept[place]], end[kept[place]]
        left, right = 0, kept[place]
        while left < right:
            middle = (left + right) // 2
            if reach[middle] > begin:
                right = middle
            else:
                left = middle + 1
        total, first_sum, last_sum = 0.0, 0.0, 0.0
        row = left
        while row < len(start) and start[row] < stop:
            inter = min(stop, end[row]) - max(begin, start[row])
            if inter > 0:
                overlap = inter / ((stop - begin) + (end[row] - start[row]) - inter)
                if overlap >= threshold:
                    weight = score[row] * overlap if closer else score[row]
                    total += weight
                    first_sum += weight * start[row]
                    last_sum += weight * end[row]
            row += 1
        starts[place] = first_sum / total if total > 0 else begin
        ends[place] = last_sum / total if total > 0 else stop
    return starts, ends


@cache
def kernels() -> Kernels:
    """The compiled kernels, or NumPy's where numba cannot be used; compiled once, then loaded from numba's cache."""
    try:
        from numba import njit
    except ImportError as error:
        logging.getLogger(__name__).warning("numba cannot be used (%s): suppression runs in NumPy, slower", error)
        return numpy_kernels()
    return Kernels(*(_compiled(njit, function) for function in (_soft, _hard, _vote)))


def _compiled(njit: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder for its cache that can be written
        return njit(nogil=True)(function)


def numpy_kernels() -> Kernels:
    """The kernels in array operations."""
    return Kernels(_soft_numpy, _hard_numpy, _vote_numpy)


def _overlapping(start: Floats, end: Floats, reach: Floats, row: int, low: int, high: int) -> tuple[Ints, Floats]:
    """Rows of the group low:high that overlap `row`, and by how much."""
    left = low + int(np.searchsorted(reach[low:high], start[row], side="right"))
    right = low + int(np.searchsorted(start[low:high], end[row], side="left"))
    inter = np.minimum(end[row], end[left:right]) - np.maximum(start[row], start[left:right])
    some = inter > 0
    return left + np.flatnonzero(some), inter[some]


def _soft_numpy(
    start: Floats,
    end: Floats,
    reach: Floats,
    log_score: Floats,
    rank: Ints,
    bounds: Ints,
    linear: bool,
    strength: float,
    floor: float,
    slope: float,
    lowest: float,
    most: int,
) -> tuple[Ints, Floats]:
    taken, scores = [], []
    length = end - start + EPS
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        for count in range(min(most, high - low)):
            highest = log_score[low:high].max()
            if highest == -np.inf or (count and highest < lowest):
                break
            ties = low + np.flatnonzero(log_score[low:high] == highest)
            top = int(ties[np.argmin(rank[ties])])
            taken.append(top)
            scores.append(highest)
            log_score[top] = -np.inf
            rows, inter = _overlapping(start, end, reach, top, low, high)
            overlap = inter / (length[top] + length[rows] - inter)
            near = overlap >= strength if linear else overlap > floor + slope * (end[top] - start[top])
            rows, overlap = rows[near], overlap[near]
            lowered = log_score[rows] + (np.log(1 - overlap) if linear else -(overlap * overlap / strength))
            log_score[rows] = np.where(lowered < lowest, -np.inf, lowered)
    return np.array(taken, np.int64), np.array(scores, np.float64)


def _hard_numpy(
    start: Floats, end: Floats, reach: Floats, order: Ints, bounds: Ints, threshold: float, most: int
) -> Ints:
    taken: list[int] = []
    gone = np.zeros(len(start), np.bool_)
    length = end - start
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        first = len(taken)
        for top in order[low:high].tolist():
            if gone[top]:
                continue
            if len(taken) - first == most:
                break
            taken.append(top)
            rows, inter = _overlapping(start, end, reach, top, low, high)
            gone[rows[inter / (length[top] + length[rows] - inter) > threshold]] = True
    return np.array(taken, np.int64)


def _vote_numpy(
    start: Floats, end: Floats, reach: Floats, score: Floats, kept: Ints, threshold: float, closer: bool
) -> tuple[Floats, Floats]:
    voted = np.stack([start[kept], end[kept]])
    length = end - start
    for place, row in enumerate(kept.tolist()):
        rows, inter = _overlapping(start, end, reach, row, 0, len(start))
        overlap = inter / (length[row] + length[rows] - inter)
        weight = np.where(overlap >= threshold, score[rows] * (overlap if closer else 1.0), 0.0)
        if weight.sum() > 0:
            voted[:, place] = (weight @ start[rows]) / weight.sum(), (weight @ end[rows]) / weight.sum()
    return voted[0], voted[1]
