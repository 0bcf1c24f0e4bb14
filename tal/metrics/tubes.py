"""Frame-mAP and video-mAP of action tubes, by the rules of the public evaluators. Arrays in, numbers out.

Predictions are judged class by class, from the highest score to the lowest. Frame by frame, a box may take a
ground-truth box of its class on its frame; video by video, a tube may take a tube of its class, by
`tal.ops.tubes.tube_iou`. The evaluators differ in all else: `Rule` says how. Those that took over the PASCAL evaluator
of AVA for their frame-mAP have a function of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal.metrics import frame_boxes
from tal.metrics.precision import interpolated_ap, trapezoid_ap
from tal.ops.ties import numpy_order
from tal.ops.tubes import FrameTube, paired_iou, tube_iou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How an evaluator judges and averages.

    Args:
        inclusive: Right and bottom of a box are its last pixels (width = right - left + 1).
        retry: A prediction whose best ground truth is taken may take the next best; otherwise it is wrong.
        curve: "trapezoid" (from precision 1 at recall 0, as ACT) or "envelope" (Pascal VOC from 2010 on).
        touching: Tubes with a single common frame overlap.
        stable: Equal scores keep their order; otherwise NumPy's default sort decides, see `tal.ops.ties`.
        margin: Added to the number of ground truths where recall is computed.
        source: Where it is defined.
    """

    inclusive: bool
    retry: bool
    curve: Literal["trapezoid", "envelope"]
    touching: bool = True
    stable: bool = False
    margin: float = 0.0
    source: str


FRAME_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "act": Rule(inclusive=True, retry=True, curve="trapezoid", source="MCG-NJU/MOC-Detector, src/ACT.py (frameAP)"),
        "yowo": Rule(
            inclusive=True,
            retry=False,
            curve="envelope",
            stable=True,
            source="wei-tim/YOWO, evaluation_ucf24_jhmdb/lib/Evaluator.py",
        ),
    }
)
TUBE_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "act": Rule(inclusive=True, retry=True, curve="trapezoid", source="MCG-NJU/MOC-Detector, src/ACT.py (videoAP)"),
        "yowo": Rule(
            inclusive=True,
            retry=True,
            curve="envelope",
            touching=False,
            margin=1e-5,
            source="wei-tim/YOWO, core/eval_results.py (video_ap_one_class)",
        ),
    }
)
MEAN_IOUS = tuple(0.5 + 0.05 * step for step in range(10))
"""Thresholds whose mean is `video-mAP`, the very floats of the reference (videpAP_050_095 in MOC's src/ACT.py)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxRows:
    """Boxes on frames of many videos, as columns of equal length N.

    Args:
        video_idx: (N,) from 0.
        frame: (N,) number of the frame, not negative.
        label: (N,) class index from 0.
        boxes: (N, 4) left, top, right, bottom in pixels.
        score: (N,); None for ground truth.
    """

    video_idx: Ints
    frame: Ints
    label: Ints
    boxes: Floats
    score: Floats | None = None

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> "BoxRows":
        """The chosen rows."""
        return BoxRows(
            video_idx=self.video_idx[rows],
            frame=self.frame[rows],
            label=self.label[rows],
            boxes=self.boxes[rows],
            score=None if self.score is None else self.score[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoTube:
    """A tube and the index of its video; `tube.label` is the class index from 0."""

    video_idx: int
    tube: FrameTube


@dataclass(frozen=True, kw_only=True, eq=False)
class Candidates:
    """Predictions in the order in which they are judged, and the ground truth that each overlaps.

    Args:
        truth_label: (G,) classes of the ground truth.
        label: (N,) classes of the predictions, ascending; within a class the scores fall.
        prediction, truth, value: (P,) pairs of one class and place with an overlap above 0; those of a prediction stand
            together, the largest overlap first, of equal ones the earlier ground truth.
    """

    truth_label: Ints
    label: Ints
    prediction: Ints
    truth: Ints
    value: Floats


def frame_candidates(truth: BoxRows, predictions: BoxRows, rule: Rule) -> Candidates:
    """The boxes that may match: same video, frame and class. Time and memory are linear in the rows and pairs."""
    score = np.zeros(len(predictions)) if predictions.score is None else predictions.score
    ordered = predictions[_judged(predictions.label, score, stable=rule.stable)]
    truth_key, key = _places(truth, ordered)
    by_key = np.argsort(truth_key, kind="stable")
    first = np.searchsorted(truth_key[by_key], key, "left")
    count = np.searchsorted(truth_key[by_key], key, "right") - first
    prediction = np.repeat(np.arange(len(key)), count)
    within = np.arange(len(prediction)) - np.repeat(np.cumsum(count) - count, count)
    instance = by_key[np.repeat(first, count) + within]
    value = paired_iou(ordered.boxes[prediction], truth.boxes[instance], inclusive=rule.inclusive)
    return _candidates(truth.label, ordered.label, prediction, instance, value)


def pascal_average_precision(
    truth: BoxRows, predictions: BoxRows, thresholds: Sequence[float], *, class_count: int, stable: bool = False
) -> Floats:
    """(M, K) AP of boxes by the PASCAL evaluator of AVA, on frames: see `tal.metrics.frame_boxes`.

    Frame by frame the boxes are judged from the highest score on. The ranking of all frames is the reverse of their
    rising scores, as the evaluator has it, so that of equal ones the later comes first.

    Args:
        truth: Ground truth.
        predictions: With scores, in the file's order; those without area are left out by the evaluator.
        thresholds: (M,) least overlaps.
        class_count: K; labels are below it.
        stable: Sort the rising scores stably; otherwise NumPy's default sort decides, see `tal.ops.ties`.
    """
    frames = 1 + max((int(rows.frame.max()) for rows in (truth, predictions) if len(rows)), default=0)
    wanted, given = (
        frame_boxes.BoxRows(
            frame_idx=rows.video_idx * frames + rows.frame, label=rows.label, boxes=rows.boxes, score=rows.score
        )
        for rows in (truth, predictions)
    )
    judged = given[frame_boxes.score_order(given)]
    score = np.zeros(len(judged)) if judged.score is None else judged.score
    taken, overlap = frame_boxes.best_overlaps(wanted, judged)
    found = np.array([frame_boxes.first_takers(taken, overlap >= threshold) for threshold in thresholds])
    positives = np.bincount(truth.label, minlength=class_count)
    result = np.full((len(thresholds), class_count), np.nan)
    for label in np.flatnonzero(positives):
        rows = np.flatnonzero(judged.label == label)
        rising = np.argsort(score[rows], kind="stable") if stable else numpy_order(score[rows])
        result[:, label] = interpolated_ap(found[:, rows[rising[::-1]]], np.full(len(thresholds), positives[label]))
    return result


def _places(*rows: BoxRows) -> list[Ints]:
    """One number per class, video and frame, for each set of rows."""
    videos = 1 + max((int(each.video_idx.max()) for each in rows if len(each)), default=0)
    frames = 1 + max((int(each.frame.max()) for each in rows if len(each)), default=0)
    return [(each.label * videos + each.video_idx) * frames + each.frame for each in rows]


def tube_candidates(truth: Sequence[VideoTube], predictions: Sequence[VideoTube], rule: Rule) -> Candidates:
    """The tubes that may match: same video and class."""
    label = np.array([each.tube.label for each in predictions], np.int64)
    score = np.array([each.tube.score for each in predictions], np.float64)
    order = _judged(label, score, stable=rule.stable)
    instances, found = _by_place(truth, range(len(truth))), _by_place(predictions, order.tolist())
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    parts: list[tuple[Ints, Ints, Floats]] = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for place, rows in found.items():
        columns = instances.get(place)
        if columns is None:
            continue
        value = tube_iou(
            [predictions[row].tube for row in rows],
            [truth[column].tube for column in columns],
            inclusive=rule.inclusive,
            touching=rule.touching,
        )
        parts.append((np.repeat(rank[rows], len(columns)), np.tile(columns, len(rows)), value.ravel()))
    prediction, instance, value = (np.concatenate(column) for column in zip(*parts, strict=True))
    truth_label = np.array([each.tube.label for each in truth], np.int64)
    return _candidates(truth_label, label[order], prediction, instance, value)


def _judged(label: Ints, score: Floats, *, stable: bool) -> Ints:
    """(N,) rows by class, in each from the highest score to the lowest."""
    if stable:
        return np.lexsort((-score, label))
    by_label = np.argsort(label, kind="stable")
    parts = np.split(by_label, np.flatnonzero(np.diff(label[by_label])) + 1)
    return np.concatenate([rows[numpy_order(-score[rows])] for rows in parts])


def _by_place(tubes: Sequence[VideoTube], rows: Sequence[int]) -> dict[tuple[int, int], list[int]]:
    """(class, video) -> rows, in the order given."""
    places: dict[tuple[int, int], list[int]] = {}
    for row in rows:
        places.setdefault((tubes[row].tube.label, tubes[row].video_idx), []).append(row)
    return places


def _candidates(truth_label: Ints, label: Ints, prediction: Ints, instance: Ints, value: Floats) -> Candidates:
    kept = value > 0
    prediction, instance, value = prediction[kept], instance[kept], value[kept]
    best_first = np.lexsort((instance, -value, prediction))
    return Candidates(
        truth_label=truth_label,
        label=label,
        prediction=prediction[best_first],
        truth=instance[best_first],
        value=value[best_first],
    )


def right(pairs: Candidates, threshold: float, *, retry: bool) -> NDArray[np.bool_]:
    """(N,) whether each prediction, in the order of `pairs`, takes a ground truth.

    Args:
        pairs: See `frame_candidates` and `tube_candidates`.
        threshold: The least overlap, above 0.
        retry: See `Rule`.
    """
    kept = pairs.value >= threshold
    if not retry:
        kept &= np.diff(pairs.prediction, prepend=-1) > 0
    found = np.zeros(len(pairs.label), bool)
    taken = bytearray(len(pairs.truth_label))
    settled = -1
    for prediction, instance in zip(pairs.prediction[kept].tolist(), pairs.truth[kept].tolist(), strict=True):
        if prediction != settled and not taken[instance]:
            taken[instance] = 1
            found[prediction] = True
            settled = prediction
    return found


def average_precision(pairs: Candidates, thresholds: Sequence[float], rule: Rule, *, class_count: int) -> Floats:
    """(M, K) AP per threshold and class; NaN for classes without ground truth, 0 for those without predictions.

    Args:
        pairs: See `frame_candidates` and `tube_candidates`.
        thresholds: (M,) least overlaps, above 0.
        rule: The evaluator's.
        class_count: K; labels are below it.
    """
    bounds = np.searchsorted(pairs.label, np.arange(class_count + 1))
    positives = np.bincount(pairs.truth_label, minlength=class_count)
    result = np.full((len(thresholds), class_count), np.nan)
    area = trapezoid_ap if rule.curve == "trapezoid" else interpolated_ap
    for row, threshold in enumerate(thresholds):
        found = right(pairs, threshold, retry=rule.retry)
        for label in np.flatnonzero(positives):
            result[row, label] = area(found[bounds[label] : bounds[label + 1]], positives[label] + rule.margin)
    return result
