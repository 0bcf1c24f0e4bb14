"""Windows that answer queries: overlap with the ground truth, mean average precision and R1 of moment retrieval.

The definition is that of jayleicn/moment_detr, standalone_eval/eval.py and utils.py (QVHighlights). Windows of a query
have the order in which its predictions list them. Average precision ranks them by score, as detection does
(`tal.metrics.detection`); R1 judges the first one, whatever its score.

The overlap that is compared with a threshold divides by the hull of both windows, from the earlier start to the later
end; that is their union where they overlap, and otherwise the value is 0 anyway. Which of a query's instances counts is
decided by the overlap over the true union.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.metrics import detection

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows of many queries as columns of equal length N; those of a query stand together.

    Args:
        query_idx: (N,) ascending, from 0.
        start_s, end_s: (N,) any one unit of time.
        score: (N,); None for ground truth, and for predictions that are only ranked.
    """

    query_idx: Ints
    start_s: Floats
    end_s: Floats
    score: Floats | None = None

    def __len__(self) -> int:
        return len(self.query_idx)

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> "Windows":
        """The chosen rows."""
        return Windows(
            query_idx=self.query_idx[rows],
            start_s=self.start_s[rows],
            end_s=self.end_s[rows],
            score=None if self.score is None else self.score[rows],
        )

    @property
    def rank(self) -> Ints:
        """(N,) position of each window in its query, from 0."""
        return np.arange(len(self)) - np.searchsorted(self.query_idx, self.query_idx, "left")

    def first(self, count: int) -> "Windows":
        """The first `count` windows of each query."""
        return self[self.rank < count]


def best_overlaps(truth: Windows, predictions: Windows) -> Floats:
    """(N,) overlap of each prediction with its query's instance that it overlaps most; 0 for queries without any."""
    first = np.searchsorted(truth.query_idx, predictions.query_idx, "left")
    count = np.searchsorted(truth.query_idx, predictions.query_idx, "right") - first
    row = np.repeat(np.arange(len(predictions)), count)
    instance = np.arange(len(row)) - np.repeat(np.cumsum(count) - count - first, count)
    start_s, end_s = predictions.start_s[row], predictions.end_s[row]
    begin_s, stop_s = truth.start_s[instance], truth.end_s[instance]
    inter = np.clip(np.minimum(end_s, stop_s) - np.maximum(start_s, begin_s), 0, None)
    union = (end_s - start_s) + (stop_s - begin_s) - inter
    hull = np.maximum(end_s, stop_s) - np.minimum(start_s, begin_s)
    by_union = np.divide(inter, union, out=np.zeros(len(row)), where=union > 0)
    best_first = np.lexsort((-by_union, row))
    chosen = best_first[np.flatnonzero(np.diff(row[best_first], prepend=-1))]
    found = np.zeros(len(predictions))
    found[row[chosen]] = np.divide(inter, hull, out=np.zeros(len(row)), where=hull > 0)[chosen]
    return found


def first_overlaps(truth: Windows, predictions: Windows, *, query_count: int) -> Floats:
    """(Q,) `best_overlaps` of each query's first window; 0 for queries without predictions."""
    found = np.zeros(query_count)
    top = predictions.first(1)
    found[top.query_idx] = best_overlaps(truth, top)
    return found


def average_precision(truth: Windows, predictions: Windows, tious: ArrayLike, *, query_count: int) -> Floats:
    """(M, Q) AP per threshold and query: NaN for queries without instances, 0 for those without predictions.

    Args:
        truth: Ground truth.
        predictions: With scores.
        tious: (M,) thresholds.
        query_count: Q; every `query_idx` is below it.
    """
    pairs = detection.overlaps(_as_rows(truth), _as_rows(predictions), tious, class_count=query_count)
    found = np.array([detection.matched(pairs, threshold) for threshold in pairs.tious]).reshape(len(pairs.tious), -1)
    rank = np.arange(len(pairs.label)) - np.searchsorted(pairs.label, pairs.label, "left")
    table = np.zeros((len(found), query_count, 1 + int(rank.max(initial=0))), bool)
    table[:, pairs.label, rank] = found
    precision = np.cumsum(table, axis=2) / np.arange(1, table.shape[2] + 1)
    envelope = np.maximum.accumulate(precision[..., ::-1], axis=2)[..., ::-1]
    instances = np.bincount(truth.query_idx, minlength=query_count)
    with np.errstate(invalid="ignore"):
        result: Floats = np.where(instances > 0, (envelope * table).sum(axis=2) / instances, np.nan)
    return result


def _as_rows(windows: Windows) -> detection.Rows:
    """Each query is a class of its own in one video."""
    return detection.Rows(
        video_idx=np.zeros(len(windows), np.int64),
        label=windows.query_idx,
        start_s=windows.start_s,
        end_s=windows.end_s,
        score=windows.score,
    )
