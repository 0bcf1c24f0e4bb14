"""Temporal detection: average precision and recall of segments against ground truth. Arrays in, numbers out.

The definition is that of the ActivityNet toolkit (activitynet/ActivityNet, Evaluation/eval_detection.py), which
ActionFormer's evaluator (happyharrycn/actionformer_release, libs/utils/metrics.py) shares. Per class, predictions of
all videos are taken from the highest score to the lowest; each takes, of its video's instances that are still free and
that it overlaps by at least the threshold, the one with the highest tIoU. AP is the area under the interpolated
precision-recall curve.

Ties, which the toolkit leaves to an unstable sort, are settled: of equal scores the earlier row comes first, of equal
tIoU the later instance. Where prediction and instance of one video both have no length, the toolkit's tIoU is 0/0,
which its comparisons take for the best match: that is kept, since ActivityNet's published ground truth has such rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.metrics.precision import interpolated_ap
from tal.segments import tiou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_PAIRS_AT_ONCE = 2_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Segments of many videos as columns of equal length N.

    Args:
        video_idx: (N,) any integer per video.
        label: (N,) class index from 0.
        start_s, end_s: (N,) any one unit of time.
        score: (N,); None for ground truth.
    """

    video_idx: Ints
    label: Ints
    start_s: Floats
    end_s: Floats
    score: Floats | None = None

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> "Rows":
        """The chosen rows."""
        return Rows(
            video_idx=self.video_idx[rows],
            label=self.label[rows],
            start_s=self.start_s[rows],
            end_s=self.end_s[rows],
            score=None if self.score is None else self.score[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """Predictions in the order in which they are judged, and every overlap with ground truth that can matter.

    Args:
        class_count: K.
        tious: (M,) thresholds.
        order: (N,) the predictions' rows in the order in which they are judged.
        truth_label: (G,) classes of the ground truth.
        label: (N,) classes of the predictions, ascending; within a class the scores descend.
        score: (N,) their scores.
        group_rank: (N,) position of a prediction among those of its class and video, from 0.
        group_size: (N,) number of instances of its class in its video.
        pair_prediction, pair_truth, pair_tiou: (P,) the overlaps of at least the lowest threshold; those of one
            prediction stand together, the highest first.
    """

    class_count: int
    tious: Floats
    order: Ints
    truth_label: Ints
    label: Ints
    score: Floats
    group_rank: Ints
    group_size: Ints
    pair_prediction: Ints
    pair_truth: Ints
    pair_tiou: Floats

    @property
    def truth_count(self) -> Ints:
        """(K,) instances of each class."""
        return np.bincount(self.truth_label, minlength=self.class_count)


def overlaps(
    truth: Rows, predictions: Rows, tious: ArrayLike, *, class_count: int, union_margin_s: float = 0.0
) -> Overlaps:
    """Sort the predictions and find the overlaps, in time and memory linear in the rows (times instances per group).

    Args:
        truth: Ground truth.
        predictions: With scores.
        tious: (M,) thresholds.
        class_count: K; labels are below it.
        union_margin_s: Added to every union, as MCG-NJU/PointTAD (datasets/evaluate.py) does to avoid 0/0.
    """
    thresholds = np.atleast_1d(np.asarray(tious, np.float64))
    order = np.lexsort((-_scores(predictions), predictions.label))
    ordered = predictions[order]
    video_count = 1 + max((int(rows.video_idx.max()) for rows in (truth, ordered) if len(rows)), default=0)
    truth_key = truth.label * video_count + truth.video_idx
    key = ordered.label * video_count + ordered.video_idx
    by_key = np.argsort(truth_key, kind="stable")
    first = np.searchsorted(truth_key[by_key], key, "left")
    group_size = np.searchsorted(truth_key[by_key], key, "right") - first
    prediction, position, value = _pairs(
        truth[by_key], ordered, first, group_size, float(thresholds.min()), union_margin_s
    )
    best_first = np.lexsort((-by_key[position], -value, prediction))
    return Overlaps(
        class_count=class_count,
        tious=thresholds,
        order=order,
        truth_label=truth.label,
        label=ordered.label,
        score=_scores(ordered),
        group_rank=_rank_in_group(key),
        group_size=group_size,
        pair_prediction=prediction[best_first],
        pair_truth=by_key[position[best_first]],
        pair_tiou=value[best_first],
    )


def _scores(rows: Rows) -> Floats:
    return np.zeros(len(rows)) if rows.score is None else rows.score


def _rank_in_group(key: Ints) -> Ints:
    """(N,) how many earlier rows have the same key."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    rank = np.empty(len(key), np.int64)
    rank[order] = np.arange(len(key)) - np.searchsorted(ordered, ordered, "left")
    return rank


def _pairs(
    truth: Rows, predictions: Rows, first: Ints, count: Ints, lowest: float, union_margin_s: float
) -> tuple[Ints, Ints, Floats]:
    """(prediction, truth, tIoU) of the pairs that share class and video and overlap by `lowest`; bounded memory."""
    candidates = np.flatnonzero(count)
    ends = np.cumsum(count[candidates])
    chunks = np.searchsorted(ends, np.arange(_PAIRS_AT_ONCE, ends[-1] if len(ends) else 0, _PAIRS_AT_ONCE))
    found: list[tuple[Ints, Ints, Floats]] = []
    for rows in np.split(candidates, chunks):
        prediction = np.repeat(rows, count[rows])
        starts = np.cumsum(count[rows]) - count[rows]
        position = np.arange(len(prediction)) + np.repeat(first[rows] - starts, count[rows])
        value = toolkit_tiou(predictions[prediction], truth[position], union_margin_s=union_margin_s)
        kept = value >= lowest
        found.append((prediction[kept], position[kept], value[kept]))
    prediction, position, value = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return prediction, position, value


def toolkit_tiou(first: Rows, second: Rows, *, union_margin_s: float = 0.0) -> Floats:
    """(N,) tIoU row by row; infinite where both lengths add up to nothing."""
    lengths = (first.end_s - first.start_s) + (second.end_s - second.start_s)
    if union_margin_s:
        inter = np.minimum(first.end_s, second.end_s) - np.maximum(first.start_s, second.start_s)
        inter = inter.clip(0)
        return inter / (lengths - inter + union_margin_s)
    value = tiou(first.start_s, first.end_s, second.start_s, second.end_s, pairwise=False)
    return np.where((lengths == 0) & (value == 0), np.inf, value)


def matched(pairs: Overlaps, threshold: float) -> NDArray[np.bool_]:
    """(N,) whether each prediction, in the order of `pairs`, takes an instance."""
    return taken(pairs, threshold) >= 0


def taken(pairs: Overlaps, threshold: float) -> Ints:
    """(N,) the instance that each prediction, in the order of `pairs`, takes; -1 for none.

    All predictions ask at once for their best instance; an instance keeps the one that is judged first, the others
    ask for their next. Since every instance prefers the same order, the outcome is that of judging one by one.
    """
    asked = np.flatnonzero(np.diff(pairs.pair_prediction, prepend=-1))
    asking = pairs.pair_prediction[asked]
    count = len(asking)
    instance = np.full(len(pairs.label), -1)
    if not count:
        return instance
    above = np.add.reduceat(pairs.pair_tiou >= threshold, asked, dtype=np.int64)
    last = asked + above
    holder = np.full(len(pairs.truth_label), count)
    free = np.flatnonzero(above)
    while len(free):
        wanted = pairs.pair_truth[asked[free]]
        before = holder[wanted]
        np.minimum.at(holder, wanted, free)
        displaced = before[(before < count) & (holder[wanted] != before)]
        free = np.unique(np.concatenate([free[holder[wanted] != free], displaced]))
        asked[free] += 1
        free = free[asked[free] < last[free]]
    held = np.flatnonzero(holder < count)
    instance[asking[holder[held]]] = held
    return instance


def average_precision(pairs: Overlaps) -> Floats:
    """(M, K) AP per threshold and class; NaN for classes without instances, 0 for those without predictions."""
    return _per_class_ap(pairs, np.array([matched(pairs, threshold) for threshold in pairs.tious]))


def _per_class_ap(pairs: Overlaps, found: NDArray[np.bool_]) -> Floats:
    """(M, K) AP; `found` is (M, N), in the order of `pairs`."""
    found = found.reshape(len(pairs.tious), -1)
    bounds = np.searchsorted(pairs.label, np.arange(pairs.class_count + 1))
    result = np.full((len(pairs.tious), pairs.class_count), np.nan)
    for label, instances in enumerate(pairs.truth_count):
        if instances:
            result[:, label] = interpolated_ap(found[:, bounds[label] : bounds[label + 1]], instances)
    return result


@dataclass(frozen=True, kw_only=True, eq=False)
class TieBounds:
    """How much average precision depends on the order of equal scores.

    Args:
        lowest, highest: (M, K) AP under an unlucky and a lucky order; NaN for classes without instances.
        tied: Predictions that share their class and score with another.
        competing: Those of them that can take an instance which another of the same score can take too. With none,
            `lowest` and `highest` are the extremes over all orders; otherwise both are reached by some order and the
            AP in the order of the rows lies between them, but the extremes can lie further out.
    """

    lowest: Floats
    highest: Floats
    tied: int
    competing: int


def tie_bounds(pairs: Overlaps) -> TieBounds:
    """AP when, among equal scores, those that take an instance come last, and when they come first.

    Coming first never changes what is taken: what stays without an instance finds none free later either. Coming last
    can, so that what overlaps no instance comes first, and the matching is done anew in that order; the lower of that
    and of the order of the rows is told.
    """
    tie = np.cumsum((np.diff(pairs.label, prepend=-1) != 0) | (np.diff(pairs.score, prepend=np.nan) != 0))
    size = np.bincount(tie, minlength=1) if len(tie) else np.zeros(1, np.int64)
    rows, lowest, highest = [], [], []
    for threshold in pairs.tious:
        found = matched(pairs, threshold)
        hopeful = np.zeros(len(found), bool)
        hopeful[pairs.pair_prediction[pairs.pair_tiou >= threshold]] = True
        unlucky = np.lexsort((found, hopeful, tie))
        rows.append(found)
        lowest.append(matched(_reordered(pairs, unlucky), threshold))
        highest.append(found[np.lexsort((~found, tie))])
    usual = _per_class_ap(pairs, np.array(rows))
    claim = tie[pairs.pair_prediction] * max(len(pairs.truth_label), 1) + pairs.pair_truth
    _, inverse, claims = np.unique(claim, return_inverse=True, return_counts=True)
    return TieBounds(
        lowest=np.fmin(usual, _per_class_ap(pairs, np.array(lowest))),
        highest=np.fmax(usual, _per_class_ap(pairs, np.array(highest))),
        tied=int((size[tie] > 1).sum()) if len(tie) else 0,
        competing=len(np.unique(pairs.pair_prediction[claims[inverse] > 1])),
    )


def _reordered(pairs: Overlaps, order: Ints) -> Overlaps:
    """The same overlaps with the predictions judged in another order, which stays within their classes."""
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    prediction = position[pairs.pair_prediction]
    by_prediction = np.argsort(prediction, kind="stable")
    return replace(
        pairs,
        score=pairs.score[order],
        group_rank=pairs.group_rank[order],
        group_size=pairs.group_size[order],
        pair_prediction=prediction[by_prediction],
        pair_truth=pairs.pair_truth[by_prediction],
        pair_tiou=pairs.pair_tiou[by_prediction],
    )


def recall_at(pairs: Overlaps, multiple: int, *, strict: bool = False) -> Floats:
    """(M, K) share of instances overlapped by their video's best `multiple` x (instances of the class) predictions.

    Recall@kx of ActionFormer's evaluator (`compute_topkx_recall_detection`), used for Ego4D-MQ: an instance counts once
    however many predictions overlap it, and a prediction may serve several. NaN for classes without instances.

    Args:
        pairs: From `overlaps`.
        multiple: k.
        strict: The tIoU has to be above the threshold, as in Ego4D's own evaluator (EGO4D/episodic-memory,
            MQ/Evaluation/ego4d/get_retrieval_performance.py), not just reach it.
    """
    prediction = pairs.pair_prediction
    admitted = pairs.group_rank[prediction] < multiple * pairs.group_size[prediction]
    admitted &= np.isfinite(pairs.pair_tiou)
    result = np.full((len(pairs.tious), pairs.class_count), np.nan)
    counts = pairs.truth_count
    for row, threshold in enumerate(pairs.tious):
        hit = np.zeros(len(pairs.truth_label), bool)
        above = pairs.pair_tiou > threshold if strict else pairs.pair_tiou >= threshold
        hit[pairs.pair_truth[admitted & above]] = True
        hits = np.bincount(pairs.truth_label[hit], minlength=pairs.class_count)
        result[row, counts > 0] = hits[counts > 0] / counts[counts > 0]
    return result


def duplicates(truth: Rows, *, tolerance_s: float = 1e-3) -> NDArray[np.bool_]:
    """(G,) instances of which an earlier kept one has the same class and video and both ends within `tolerance_s`."""
    order = np.lexsort((np.arange(len(truth)), truth.start_s, truth.label, truth.video_idx))
    same = np.diff(truth.video_idx[order]) == 0
    same &= np.diff(truth.label[order]) == 0
    same &= np.diff(truth.start_s[order]) <= tolerance_s
    run = np.concatenate([[0], np.cumsum(~same)]) if len(order) else np.empty(0, np.int64)
    removed = np.zeros(len(truth), bool)
    for rows in np.split(order, np.flatnonzero(np.diff(run)) + 1):
        kept: list[int] = []
        for row in sorted(rows.tolist()) if len(rows) > 1 else ():
            removed[row] = any(
                abs(truth.start_s[row] - truth.start_s[other]) <= tolerance_s
                and abs(truth.end_s[row] - truth.end_s[other]) <= tolerance_s
                for other in kept
            )
            if not removed[row]:
                kept.append(row)
    return removed
