"""Two sets of predictions on the same ground truth: how far apart they are, and whether by more than chance."""

import numpy as np
from numpy.typing import NDArray

from tal.diagnosis.area import Floats, Ints
from tal.diagnosis.bootstrap import Interval, Ranked, mean_precision, weighted_precision
from tal.diagnosis.errors import Judged

_NO_DIFFERENCE = 1e-12
"""Sums in another order differ by less."""


def paired_bootstrap(difference: float, drawn: Floats) -> tuple[Interval, float]:
    """(interval, two-sided p value) of a difference.

    p is twice the share of draws in which the difference, less the bias of the draws, is not on its side of 0; at most
    1, and never below 2 / (draws + 1).

    Args:
        difference: Of the whole set.
        drawn: (W,) difference in each draw; both sets are measured on the same drawn videos.
    """
    known = np.where(np.abs(drawn) < _NO_DIFFERENCE, 0.0, drawn)
    known = known[~np.isnan(known)]
    interval = Interval.of(difference, known, possible=(-1.0, 1.0))
    centred = known - interval.bias
    tail = min(int((centred <= _NO_DIFFERENCE).sum()), int((centred >= -_NO_DIFFERENCE).sum()))
    return interval, min(1.0, 2 * (1 + tail) / (1 + len(known)))


def permutation_p(first: Ranked, second: Ranked, difference: float, exchanges: NDArray[np.bool_]) -> float:
    """p value of a difference of mAP if the two sets were exchangeable video by video.

    The statistic is the difference of mAP between the two sets after exchanging, in some videos, all of the one's
    predictions for the other's. Since two models' scores need not be on one scale, predictions of both are ranked
    together by their rank within their own set and class, which leaves the AP of each set as it is.

    Args:
        first: Judged predictions of the one set, units being videos.
        second: Of the other, with the same units.
        difference: mAP of the second minus the first.
        exchanges: (P, U) which videos are exchanged.
    """
    both = _side_by_side(first, second)
    flips = exchanges.astype(np.float64)
    ones = np.ones_like(flips[:, :1])
    mine = mean_precision(weighted_precision(both, np.hstack([1 - flips, flips, ones]))).mean(axis=1)
    other = mean_precision(weighted_precision(both, np.hstack([flips, 1 - flips, ones]))).mean(axis=1)
    as_large = np.abs(other - mine) >= abs(difference) - _NO_DIFFERENCE
    return float((1 + as_large.sum()) / (1 + len(flips)))


def _side_by_side(first: Ranked, second: Ranked) -> Ranked:
    """Both sets in one list, by rank within set and class. Units: videos of the first, of the second, the truth."""
    label = np.concatenate([first.label, second.label])
    rank = np.concatenate([_ranks(first.label), _ranks(second.label)])
    order = np.lexsort((rank, label))
    return Ranked(
        label=label[order],
        right=np.concatenate([first.right, second.right], axis=1)[:, order],
        unit=np.concatenate([first.unit, first.unit_count + second.unit])[order],
        truth_label=first.truth_label,
        truth_unit=np.full(len(first.truth_label), 2 * first.unit_count),
        class_count=first.class_count,
        unit_count=2 * first.unit_count + 1,
    )


def _ranks(label: Ints) -> Ints:
    return np.arange(len(label)) - np.searchsorted(label, label, "left")


def precision_per_video(judged: Judged, video_count: int) -> Floats:
    """(V,) mean over thresholds and over the classes with ground truth in a video of the AP within that video alone.

    NaN for a video without ground truth. Predictions of other classes do not count here: AP has no place for them.
    """
    label, video = judged.predictions.label, judged.predictions.video_idx
    inside = np.flatnonzero(video < video_count)
    inside = inside[np.argsort(video[inside] * judged.class_count + label[inside], kind="stable")]
    group = video[inside] * judged.class_count + label[inside]
    truth_group = judged.truth.video_idx * judged.class_count + judged.truth.label
    groups, instances = np.unique(truth_group, return_counts=True)
    area = np.zeros(len(groups))
    known = np.isin(group, groups)
    rows, compact = inside[known], np.searchsorted(groups, group[known])
    for right in judged.taken[:, rows] >= 0:
        hits = np.flatnonzero(right)
        of = compact[hits]
        nth = 1 + np.arange(len(hits)) - np.searchsorted(of, of, "left")
        rank = 1 + hits - np.searchsorted(compact, of, "left")
        precision = nth / rank
        for begin, end in _runs(of):
            precision[begin:end] = np.maximum.accumulate(precision[begin:end][::-1])[::-1]
        np.add.at(area, of, precision / instances[of])
    area /= len(judged.tious)
    of_video = groups // judged.class_count
    count = np.bincount(of_video, minlength=video_count)[:video_count]
    total = np.bincount(of_video, area, minlength=video_count)[:video_count]
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def _runs(values: Ints) -> list[tuple[int, int]]:
    """(begin, end) of each run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    bounds = np.concatenate([[0], edges, [len(values)]]) if len(values) else np.zeros(1, np.int64)
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))
