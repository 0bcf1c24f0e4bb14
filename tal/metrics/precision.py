"""Average precision of a ranking, in each of the forms that public evaluators use. Arrays in, numbers out.

A ranking is judged before it comes here: `right` says, from the best to the last, which predictions are right, and
`positives` how many things there were to find. Recall grows at each right prediction; the forms differ in how they
read the precision between these points.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def precision_recall(right: ArrayLike, positives: ArrayLike) -> tuple[Floats, Floats]:
    """((..., N) precision, (..., N) recall) after each prediction.

    Args:
        right: (..., N) whether each prediction is right, the best first.
        positives: (...) number of things to find; recall is NaN where it is 0.
    """
    hits = np.cumsum(np.asarray(right, bool), axis=-1)
    total = np.asarray(positives, np.float64)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        return hits / np.arange(1, hits.shape[-1] + 1), np.where(total > 0, hits / total, np.nan)


def interpolated_ap(right: ArrayLike, positives: ArrayLike, *, envelope: bool = True) -> Floats:
    """(...) area under the precision-recall curve; NaN where there is nothing to find.

    With `envelope` the precision at a recall is the highest at that recall or beyond: the rule of Pascal VOC from
    2010 on (VOCdevkit, VOCap), which the ActivityNet toolkit and the AVA evaluator took over. Without it each right
    prediction counts with the precision at its own rank.

    Args:
        right: (..., N) whether each prediction is right, the best first.
        positives: (...) number of things to find.
        envelope: Take the highest precision from each point on.
    """
    found = np.asarray(right, bool)
    precision, _ = precision_recall(found, positives)
    if envelope:
        precision = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    return _per_positive((precision * found).sum(axis=-1), positives)


def trapezoid_ap(right: ArrayLike, positives: ArrayLike, *, first_precision: float = 1.0) -> Floats:
    """(...) area under the precision-recall curve with straight lines between its points.

    The curve begins at recall 0 with `first_precision` and ends at the last prediction: the rule of the action tube
    evaluators that follow ACT (vkalogeiton/caffe, act-detector branch, ACT_utils.py). NaN where there is nothing to
    find.

    Args:
        right: (..., N) whether each prediction is right, the best first.
        positives: (...) number of things to find.
        first_precision: The curve's precision at recall 0.
    """
    found = np.asarray(right, bool)
    precision, _ = precision_recall(found, positives)
    before = np.concatenate([np.full((*precision.shape[:-1], 1), first_precision), precision[..., :-1]], axis=-1)
    return _per_positive((found * (before + precision) / 2).sum(axis=-1), positives)


def eleven_point_ap(right: ArrayLike, positives: ArrayLike, *, points: ArrayLike | None = None) -> Floats:
    """(...) mean over recall 0, 0.1, ..., 1 of the highest precision from there on; NaN where nothing is to find.

    The rule of Pascal VOC until 2009 (VOCdevkit, VOCevaldet).

    Args:
        right: (..., N) whether each prediction is right, the best first.
        positives: (...) number of things to find.
        points: (11,) the very floats to compare recall with, where an evaluator has others: `numpy.arange(0, 1.1, 0.1)`
            holds 0.30000000000000004, which a recall of 3 / 10 does not reach.
    """
    precision, recall = precision_recall(right, positives)
    levels = np.arange(11) / 10 if points is None else np.asarray(points, np.float64)
    reached = recall[..., None, :] >= levels[:, None]
    highest = np.where(reached, precision[..., None, :], 0.0).max(axis=-1, initial=0.0)
    return np.where(np.asarray(positives) > 0, highest.mean(axis=-1), np.nan)


def _per_positive(total: Floats, positives: ArrayLike) -> Floats:
    count = np.asarray(positives, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, total / count, np.nan)


def ranking_ap(score: ArrayLike, right: ArrayLike, *, ties: Literal["order", "together"] = "order") -> float:
    """AP of one ranking in which everything to find has a score; NaN where nothing is to find.

    The mean, over what is right, of the precision at its rank; no envelope. Equal scores come in the order of the rows
    ("order", as a stable sort does in Charades_v1_localize.m), or count "together", as one step of the curve
    (scikit-learn's `average_precision_score`).

    Args:
        score: (N,) higher is better; -inf is the last rank.
        right: (N,) whether each row is one of those to find.
        ties: What equal scores do.
    """
    score, right = np.asarray(score), np.asarray(right, bool)
    found = score[right]
    if not len(found):
        return float("nan")
    ascending = np.sort(score)
    below = np.searchsorted(ascending, found, "left")
    if ties == "together":
        hits = len(found) - np.searchsorted(np.sort(found), found, "left")
        return float((hits / (len(score) - below)).mean())
    upper = np.searchsorted(ascending, found, "right")
    rank = np.sort(len(score) - upper + 1 + _equal_before(score, right, found[upper - below > 1]))
    return float((np.arange(1, len(rank) + 1) / rank).mean())


def _equal_before(score: NDArray[np.generic], right: NDArray[np.bool_], tied: NDArray[np.generic]) -> NDArray[np.int64]:
    """For each row that is right, how many earlier rows have its score; only those with a score in `tied` have any."""
    before = np.zeros(len(score), np.int64)
    if len(tied):
        rows = np.flatnonzero(np.isin(score, np.unique(tied)))
        order = np.argsort(score[rows], kind="stable")
        ordered = score[rows[order]]
        before[rows[order]] = np.arange(len(rows)) - np.searchsorted(ordered, ordered, "left")
    return before[right]
