"""Repetition counts against the true ones. Arrays in, numbers out.

Rounding is to the nearest whole number, halves to the even one, as torch and NumPy round.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.metrics import quality

Floats = NDArray[np.float64]

TRANSRAC_OFFSET = 0.1
PLAIN_OFFSET = 1e-9


def relative_error(
    predicted: ArrayLike, truth: ArrayLike, *, offset: float = TRANSRAC_OFFSET, rounded: bool = True
) -> Floats:
    """(N,) |p - g| / (g + offset) of each video; its mean is the MAE of the field.

    Args:
        predicted: (N,) counts, whole or not.
        truth: (N,) true counts.
        offset: What keeps a count of 0 from dividing by 0: 0.1 in SvipRepetitionCounting/TransRAC,
            testing/test_looping.py; 1e-9 in MiracleDance/PoseRAC, eval.py.
        rounded: Round `predicted` first, as TransRAC's test does and its training log does not.
    """
    p, g = _pair(predicted, truth, rounded)
    return np.abs(p - g) / (g + offset)


def within(predicted: ArrayLike, truth: ArrayLike, *, tolerance: float = 1, rounded: bool = True) -> NDArray[np.bool_]:
    """(N,) whether a count is off by at most `tolerance`: the mean is OBO for 1, OBZ for 0."""
    p, g = _pair(predicted, truth, rounded)
    return np.abs(p - g) <= tolerance


def rmse(predicted: ArrayLike, truth: ArrayLike, *, rounded: bool = True) -> float:
    """Root of the mean squared error, in repetitions; NaN of nothing."""
    return quality.rmse(*_pair(predicted, truth, rounded))


def density_count(cycles: Sequence[tuple[int, int]], frame_count: int, *, bins: int = 64) -> int:
    """The count that TransRAC's test compares with: the rounded sum of the density it trains on.

    Boundaries become bins, are sorted and paired again; a cycle from bin a to b is a normal distribution around their
    middle with (b - a) / 6 as deviation, integrated over each bin. Where two cycles share a bin the later one alone
    stands in it, so that many short cycles sum to less than their number: SvipRepetitionCounting/TransRAC,
    dataset/RepCountA_Loader.py and dataset/label_norm.py.

    Args:
        cycles: (first frame, last frame) of each.
        frame_count: Frames of the whole video.
        bins: Length of the density.
    """
    places = sorted(min(math.ceil(frame / frame_count * bins), bins - 1) for cycle in cycles for frame in cycle)
    density = np.zeros(bins)
    for first, last in zip(places[::2], places[1::2], strict=True):
        middle, deviation = (first + last) / 2, (last - first) / 6
        if first == last:
            density[first] = 1
            continue
        edges = [math.erf((edge - 0.5 - middle) / (deviation * math.sqrt(2))) / 2 for edge in range(first, last + 2)]
        density[first : last + 1] = np.diff(edges)
    return round(density.sum())


def _pair(predicted: ArrayLike, truth: ArrayLike, rounded: bool) -> tuple[Floats, Floats]:
    p, g = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    return (np.round(p) if rounded else p), g
