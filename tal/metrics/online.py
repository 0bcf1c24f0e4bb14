"""Online temporal detection: end delays, class-agnostic F1, start detection. Arrays in, numbers out."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from tal.metrics.detection import Overlaps, Rows, overlaps, taken

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EPSILON = 1e-8
"""ActionSwitch adds it to every union and every divisor: a tIoU of exactly the threshold does not reach it."""


def end_delays(
    pairs: Overlaps, threshold: float, truth_end_s: Floats, generation_time_s: Floats
) -> tuple[Floats, Ints]:
    """How long after an instance's end the prediction that takes it was made.

    Their mean over all classes is AEDT, the average end detection time, of YHKimGithub/OAT-OSN and
    skhcjh231/MATR_codebase (Evaluation/eval_detection_gentime.py); negative where a prediction came before the end.

    Args:
        pairs: From `overlaps`.
        threshold: tIoU of a true positive.
        truth_end_s: (G,) ends of the ground truth.
        generation_time_s: (N,) when the predictions were made, in the order in which `overlaps` got them.

    Returns:
        ((P,) delays of the true positives in seconds, (P,) their classes).
    """
    instance = taken(pairs, threshold)
    found = np.flatnonzero(instance >= 0)
    return generation_time_s[pairs.order[found]] - truth_end_s[instance[found]], pairs.label[found]


def mean_end_delays(pairs: Overlaps, truth_end_s: Floats, generation_time_s: Floats) -> tuple[Floats, Floats]:
    """((M, K) mean of `end_delays` of each class, (M,) of all true positives); NaN where there are none."""
    sums = np.zeros((len(pairs.tious), pairs.class_count))
    hits = np.zeros_like(sums)
    for row, threshold in enumerate(pairs.tious):
        delays, labels = end_delays(pairs, threshold, truth_end_s, generation_time_s)
        sums[row] = np.bincount(labels, weights=delays, minlength=pairs.class_count)
        hits[row] = np.bincount(labels, minlength=pairs.class_count)
    with np.errstate(invalid="ignore"):
        return sums / hits, sums.sum(axis=1) / hits.sum(axis=1)


def assigned_tious(truth: Rows, predictions: Rows) -> Floats:
    """(P,) tIoU of the pairs of the assignment that, in each video, has the largest sum of tIoU; labels are ignored.

    `get_hungarian_score` of musicalOffering/ActionSwitch-release (utils.py). It maximises the sum, not the number of
    pairs above a threshold, so that it does not depend on one.

    Args:
        truth: Ground truth; only videos with instances and predictions give pairs.
        predictions: Their order settles ties.
    """
    by_truth, by_prediction = _by_video(truth), _by_video(predictions)
    parts = [
        _best_tious(truth[by_truth[video]], predictions[by_prediction[video]])
        for video in by_truth.keys() & by_prediction.keys()
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _by_video(rows: Rows) -> dict[int, Ints]:
    order = np.argsort(rows.video_idx, kind="stable")
    first = np.flatnonzero(np.diff(rows.video_idx[order], prepend=-1))
    return {int(rows.video_idx[part[0]]): part for part in np.split(order, first[1:]) if len(part)}


def _best_tious(truth: Rows, predictions: Rows) -> Floats:
    """(min(G, N),) of one video."""
    start, end = truth.start_s[:, None], truth.end_s[:, None]
    with np.errstate(invalid="ignore"):
        inter = np.clip(np.minimum(end, predictions.end_s) - np.maximum(start, predictions.start_s), 0.0, None)
        value = inter / ((end - start) + (predictions.end_s - predictions.start_s) - inter + EPSILON)
    value = np.where(value > 0, value, 0.0)  # ends that are reversed, infinite or unknown overlap nothing
    rows, columns = linear_sum_assignment(value, maximize=True)
    return value[rows, columns]


@dataclass(frozen=True, kw_only=True, eq=False)
class F1:
    """(M,) each, per threshold."""

    precision: Floats
    recall: Floats
    f1: Floats


def f1(tious: Floats, thresholds: ArrayLike, *, predictions: int, truth: int) -> F1:
    """Class-agnostic F1 of ActionSwitch (oracle_hungarian.py), summed over all videos before dividing.

    Args:
        tious: From `assigned_tious`.
        thresholds: (M,) reached from there on.
        predictions: Number of predictions.
        truth: Number of instances.
    """
    right = (tious >= np.atleast_1d(np.asarray(thresholds, np.float64))[:, None]).sum(axis=1)
    precision, recall = right / (predictions + EPSILON), right / (truth + EPSILON)
    return F1(precision=precision, recall=recall, f1=2 * precision * recall / (precision + recall + EPSILON))


def start_pairs(truth: Rows, predictions: Rows, offsets_s: ArrayLike, *, class_count: int) -> Overlaps:
    """What `average_precision` needs for point-level start detection: nearness of starts in the place of tIoU.

    A start is right when an instance of its class and video that is still free starts within the offset; it takes the
    nearest. The definition of "Online Detection of Action Start in Untrimmed, Streaming Videos" (Shou et al., ECCV
    2018) as TuanTNG/SimOn (tools/Evaluation/eval_detection.py) computes it: an offset of exactly the tolerance counts,
    of two instances equally near the earlier row is taken, and equal scores are judged in the order of the rows.

    Args:
        truth: Ground truth; ends are ignored.
        predictions: With scores; ends are ignored.
        offsets_s: (M,) tolerances.
        class_count: K; labels are below it.

    Returns:
        Overlaps whose `pair_tiou` is minus the distance and whose `tious` are minus the offsets.
    """
    offsets = np.atleast_1d(np.asarray(offsets_s, np.float64))
    everywhere = overlaps(_endless(truth), _endless(predictions), [0.0], class_count=class_count)
    position = everywhere.order[everywhere.pair_prediction]
    nearness = -np.abs(truth.start_s[everywhere.pair_truth] - predictions.start_s[position])
    near = np.flatnonzero(nearness >= -offsets.max())
    prediction, instance, nearness = everywhere.pair_prediction[near], everywhere.pair_truth[near], nearness[near]
    nearest_first = np.lexsort((instance, -nearness, prediction))
    return replace(
        everywhere,
        tious=-offsets,
        pair_prediction=prediction[nearest_first],
        pair_truth=instance[nearest_first],
        pair_tiou=nearness[nearest_first],
    )


def _endless(rows: Rows) -> Rows:
    """The same rows, all over one second, so that every pair of a class and video is kept."""
    return replace(rows, start_s=np.zeros(len(rows)), end_s=np.ones(len(rows)))


def precision_to_depth(pairs: Overlaps, depth: float) -> Floats:
    """(M, K) mean precision over the recalls from 0 to `depth`; NaN for classes without instances.

    Shou et al. speak of the AP depth at recall X %: the precisions of the precision-recall curve at recalls up to X %
    are averaged. No public evaluator computes it for X below 100, so the reading is a reconstruction: the interpolated
    precision at each of the first X % of the instances (rounded down, at least one), 0 where they are never found. At
    depth 1 it is `average_precision`.

    Args:
        pairs: From `start_pairs` or `overlaps`.
        depth: X / 100, in (0, 1].
    """
    bounds = np.searchsorted(pairs.label, np.arange(pairs.class_count + 1))
    result = np.full((len(pairs.tious), pairs.class_count), np.nan)
    for row, threshold in enumerate(pairs.tious):
        found = taken(pairs, threshold) >= 0
        for label, instances in enumerate(pairs.truth_count.tolist()):
            if instances:
                deepest = max(int(depth * instances + 1e-9), 1)
                result[row, label] = _mean_precision(found[bounds[label] : bounds[label + 1]], deepest)
    return result


def _mean_precision(found: NDArray[np.bool_], deepest: int) -> float:
    """Mean interpolated precision at the first `deepest` right predictions; missing ones count 0."""
    precision = np.cumsum(found) / np.arange(1, len(found) + 1)
    highest_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(highest_from_here[found][:deepest].sum()) / deepest
