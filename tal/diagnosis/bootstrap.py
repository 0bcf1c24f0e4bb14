"""How sure a mAP is: the videos are drawn again and again, with replacement.

Drawing videos changes neither what a prediction takes nor the order of judging, only how often each counts. So the
matches are computed once, and AP is computed with weights: exactly that of the drawn set, in which the copies of a
video stand side by side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from tal.diagnosis.area import Floats, Ints, mean_over_classes
from tal.diagnosis.errors import Judged

CONFIDENCE = 0.95
_AT_ONCE = 250


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranked:
    """Judged predictions and instances, each belonging to a unit that can count any number of times.

    Args:
        label: (N,) classes of the predictions, ascending; within a class in the order of judging.
        right: (M, N) whether each takes an instance, per threshold.
        unit: (N,) the unit of each prediction.
        truth_label: (G,) classes of the instances.
        truth_unit: (G,) their units.
        class_count: K.
        unit_count: U.
    """

    label: Ints
    right: NDArray[np.bool_]
    unit: Ints
    truth_label: Ints
    truth_unit: Ints
    class_count: int
    unit_count: int


def ranked_by_video(judged: Judged, unit: Ints, truth_unit: Ints, unit_count: int) -> Ranked:
    """The judged predictions with their units; see `Ranked`. `unit` is in the order of judging."""
    return Ranked(
        label=judged.predictions.label,
        right=judged.taken >= 0,
        unit=unit,
        truth_label=judged.truth.label,
        truth_unit=truth_unit,
        class_count=judged.class_count,
        unit_count=unit_count,
    )


def draws(unit_count: int, resamples: int, *, seed: int = 0) -> Ints:
    """(resamples, U) how often each unit is drawn; every row adds up to U."""
    random = np.random.default_rng(seed)
    return random.multinomial(unit_count, np.full(unit_count, 1 / unit_count), size=resamples)


def weighted_precision(ranked: Ranked, weights: NDArray[np.generic]) -> Floats:
    """(W, M, K) AP for each row of weights; NaN where a class has no instance of positive weight.

    Args:
        ranked: The judged predictions.
        weights: (W, U) how often each unit counts, not negative.
    """
    result = np.full((len(weights), len(ranked.right), ranked.class_count), np.nan)
    bounds = np.searchsorted(ranked.label, np.arange(ranked.class_count + 1))
    scored = np.unique(ranked.truth_label)
    truth = _counts(ranked.truth_unit, np.argsort(ranked.truth_label, kind="stable"), ranked)
    for begin in range(0, len(weights), _AT_ONCE):
        part = np.ascontiguousarray(weights[begin : begin + _AT_ONCE].T, np.float64)  # (U, W)
        instances = truth @ part  # (K, W)
        for label in scored.tolist():
            area = _areas(ranked, slice(bounds[label], bounds[label + 1]), part)  # (M, W)
            with np.errstate(invalid="ignore", divide="ignore"):
                value = np.where(instances[label] > 0, area / instances[label], np.nan)
            result[begin : begin + _AT_ONCE, :, label] = value.T
    return result


def _counts(unit: Ints, by_class: Ints, ranked: Ranked) -> sparse.csr_array:
    """(K, U) instances of each class in each unit."""
    pointers = np.searchsorted(ranked.truth_label[by_class], np.arange(ranked.class_count + 1))
    return sparse.csr_array(
        (np.ones(len(unit)), unit[by_class], pointers), shape=(ranked.class_count, ranked.unit_count)
    )


def _areas(ranked: Ranked, rows: slice, weights: Floats) -> Floats:
    """(M, W) sum of the interpolated precision at the hits of one class, each as often as it counts."""
    right, unit = ranked.right[:, rows], ranked.unit[rows]
    hits = np.flatnonzero(right.any(axis=0))
    areas = np.zeros((len(right), weights.shape[1]))
    if not len(hits):
        return areas
    # Row h holds the predictions after hit h - 1 up to hit h.
    pointers = np.concatenate([[0], hits + 1])
    between = sparse.csr_array((np.ones(pointers[-1]), unit[: pointers[-1]], pointers), shape=(len(hits), len(weights)))
    so_far = np.cumsum(between @ weights, axis=0)  # (H, W)
    counting = weights[unit[hits]]
    for row, hit in enumerate(right[:, hits]):
        found = np.cumsum(counting[hit], axis=0)
        precision = np.divide(found, so_far[hit], out=np.zeros_like(found), where=so_far[hit] > 0)
        best_from_here = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
        areas[row] = (best_from_here * counting[hit]).sum(axis=0)
    return areas


def mean_precision(values: Floats) -> Floats:
    """(W, M) mAP per threshold from (W, M, K): the mean over the classes that have instances."""
    return mean_over_classes(values)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and how far it would vary with other videos of the same kind: a 95 % interval.

    AP of drawn sets lies above that of the set itself, the more the fewer instances a class has (copies of a video find
    each other's instances at the same rank, and the interpolation takes the highest precision). So the percentiles of
    the draws are moved by that bias: an interval that leaves the bias in need not even hold the value.

    Args:
        value: Of the set itself.
        low, high: Percentiles of the draws, less the bias.
        deviation: Standard deviation of the draws.
        bias: Mean of the draws less the value.
    """

    value: float
    low: float
    high: float
    deviation: float
    bias: float

    @classmethod
    def of(cls, value: float, drawn: Floats, *, possible: tuple[float, float] = (0.0, 1.0)) -> "Interval":
        """From the value in each draw (W,); NaN among them, where nothing could be measured, is left out.

        `possible` is the range of the value, which the interval does not leave.
        """
        known = drawn[~np.isnan(drawn)]
        if not len(known):
            return cls(value=value, low=np.nan, high=np.nan, deviation=np.nan, bias=np.nan)
        bias = float(known.mean() - value)
        low, high = np.quantile(known - bias, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).clip(*possible)
        return cls(value=value, low=float(low), high=float(high), deviation=float(known.std()), bias=bias)
