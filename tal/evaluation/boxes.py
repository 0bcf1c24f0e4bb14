"""Boxes on keyframes: frame mAP of detections in AVA's form."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations import ava
from tal.boxes import KeyframeBoxes, microseconds
from tal.datasets.kinds.boxes import FrameBoxProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.tally import Tally, some
from tal.metrics import frame_boxes
from tal.metrics.frame_boxes import BoxRows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Keyframe = tuple[str, int]
"""A video's id and the time in microseconds."""

_PIXELS_FROM = 2.0
"""Edges of which at least half are beyond this are no fractions of a frame."""


@dataclass(frozen=True, kw_only=True)
class _Joined:
    """Rows of both sides on one numbering of the F keyframes.

    Args:
        truth, detections: Rows; classes that are not evaluated have label -1.
        keys: (F,) the keyframes.
        evaluated: (F,) which of them are evaluated; at first those that the ground truth's file names.
        barred: Reason -> (F,) keyframes that the caller leaves out.
    """

    truth: BoxRows
    detections: BoxRows
    keys: Sequence[Keyframe]
    evaluated: Mask
    barred: Mapping[str, Mask]


def run(
    protocol: FrameBoxProtocol,
    annotations: KeyframeBoxes | Path | str,
    predictions: KeyframeBoxes | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score boxes with classes.

    Args:
        protocol: The rules.
        annotations: CSV as AVA's, or columns.
        predictions: CSV as AVA's, with scores, or columns with scores.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read or are exchanged, edges in pixels against fractions, nothing to evaluate.
    """
    if not isinstance(annotations, KeyframeBoxes):
        annotations = ava.parse_boxes(inputs.read(annotations), annotations)
    source = "predictions" if isinstance(predictions, KeyframeBoxes) else str(predictions)
    if not isinstance(predictions, KeyframeBoxes):
        predictions = ava.parse_detections(inputs.read(predictions), predictions)
        if not len(predictions):
            raise AnnotationError(f"{source} holds no predictions", expected="at least one", cause="a run that failed")
    if predictions.score is None:
        raise AnnotationError(f"{source} without scores", expected="a score in every row")
    tally = Tally()
    _compare_units(annotations, predictions, source)
    _tell_faults(protocol, annotations, predictions, tally)
    classes = _classes(protocol, annotations, inputs, tally)
    joined = _join(protocol, classes, annotations, predictions, source, inputs, tally)
    kept = _reduced(protocol, joined, tally)
    truth, detections = _ordered(protocol, kept.truth, kept.detections, len(classes), tally)
    precision = frame_boxes.average_precision(truth, detections, protocol.iou, class_count=len(classes))
    metrics, per_class = _numbers(protocol, list(classes.values()), truth, precision)
    if protocol.ties:
        metrics |= _tie_bounds(protocol, truth, detections, len(classes))
    named = np.bincount(joined.detections.frame_idx, minlength=len(kept.keys)) > 0
    counts = tally.counts(
        videos=_videos(kept.keys, joined.evaluated & ~np.any([np.zeros_like(named), *joined.barred.values()], axis=0)),
        with_predictions=_videos(kept.keys, named),
        keyframes=int(kept.evaluated.sum()),
        keyframes_with_predictions=int((kept.evaluated & named).sum()),
        classes=len(per_class),
        classes_without_ground_truth=len(classes) - len(per_class),
        **({"predictions_tied": frame_boxes.tied(detections)} if protocol.ties else {}),
        ground_truth=len(truth),
        predictions=len(predictions),
        predictions_evaluated=len(detections),
    )
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=counts,
        metrics=metrics,
        per_class=per_class,
    )


def _classes(protocol: FrameBoxProtocol, annotations: KeyframeBoxes, inputs: Inputs, tally: Tally) -> dict[int, str]:
    """Number -> name of the classes that are evaluated, by number."""
    if protocol.labelmap is not None:
        return dict(sorted(ava.parse_label_map(inputs.read(protocol.labelmap), protocol.labelmap).items()))
    present = np.unique(annotations.class_id).tolist()
    if not protocol.classes:
        return {number: str(number) for number in present}
    if present and not 1 <= present[0] <= present[-1] <= (protocol.highest_class or present[-1]):
        raise AnnotationError(
            f"the ground truth's classes are numbered {present[0]} to {present[-1]}",
            expected=f"1 to {protocol.highest_class}, as {protocol.name} has them",
            cause="boxes of another data set",
            todo="give its label map with --labelmap",
        )
    classes = dict(sorted(protocol.classes))
    common = sum(number in classes for number in present)
    if common < len(classes) / 2:
        tally.warn(
            f"no label map is given, so the {len(classes)} classes of {protocol.name} are assumed; the ground truth "
            f"holds {common} of them: if it is of another data set, give its label map"
        )
    return classes


def _join(
    protocol: FrameBoxProtocol,
    classes: Mapping[int, str],
    annotations: KeyframeBoxes,
    predictions: KeyframeBoxes,
    source: str,
    inputs: Inputs,
    tally: Tally,
) -> _Joined:
    number: dict[Keyframe, int] = {}
    truth_frame = np.array([number.setdefault(key, len(number)) for key in _keys(annotations)], np.int64)
    annotated = len(number)
    frame = np.array([number.setdefault(key, len(number)) for key in _keys(predictions)], np.int64)
    if len(predictions) and (frame[predictions.frame_idx] >= annotated).all():
        raise _no_common_keyframe(annotations, predictions, source)
    keys = list(number)
    return _Joined(
        truth=_rows(annotations, truth_frame, classes),
        detections=_rows(predictions, frame, classes),
        keys=keys,
        evaluated=np.arange(len(keys)) < annotated,
        barred=_barred(keys, protocol, inputs, tally),
    )


def _reduced(protocol: FrameBoxProtocol, joined: _Joined, tally: Tally) -> _Joined:
    """What the protocol leaves, each step counted."""
    truth, detections, evaluated = joined.truth, joined.detections, joined.evaluated
    for reason, frames in joined.barred.items():
        truth = _without(truth, frames[truth.frame_idx], reason, tally.exclude)
        detections = _without(detections, frames[detections.frame_idx], reason, tally.drop)
        evaluated = evaluated & ~frames
    truth = _without(truth, truth.label < 0, "class that is not evaluated", tally.exclude)
    detections = _without(detections, detections.label < 0, "class that is not evaluated", tally.drop)
    if protocol.keyframes == "annotated":
        strange = ~joined.evaluated[detections.frame_idx]
        detections = _without(detections, strange, "keyframe not in the ground truth", tally.drop)
    elif protocol.keyframes == "both":
        with_truth, with_rows = (
            np.bincount(rows.frame_idx, minlength=len(evaluated)) > 0 for rows in (truth, detections)
        )
        truth = _without(truth, ~with_rows[truth.frame_idx], "keyframe without detections", tally.exclude)
        alone = ~with_truth[detections.frame_idx]
        detections = _without(detections, alone, "keyframe without ground truth", tally.drop)
        evaluated = evaluated & with_truth & with_rows
    if not len(truth):
        raise AnnotationError(
            f"no ground truth is left of {len(joined.truth)} rows",
            expected="boxes of evaluated classes on evaluated keyframes",
            cause="; ".join(f"{count} left out: {reason}" for reason, count in tally.excluded.items()),
            todo="give the label map and the keyframes that belong to this ground truth",
        )
    return replace(joined, truth=truth, detections=detections, evaluated=evaluated)


def _ordered(
    protocol: FrameBoxProtocol, truth: BoxRows, detections: BoxRows, class_count: int, tally: Tally
) -> tuple[BoxRows, BoxRows]:
    """Rows as the protocol's tool judges them; of the detections those within the limit and with an area."""
    if protocol.order == "heap":
        truth = truth[frame_boxes.official_order(truth)]
        frames = 1 + max(int(rows.frame_idx.max(initial=0)) for rows in (truth, detections))
        has_truth = np.zeros((frames, class_count), bool)
        has_truth[truth.frame_idx, truth.label] = True
        contested = has_truth[detections.frame_idx, detections.label]
        order = frame_boxes.official_order(detections, limit=protocol.limit, contested=contested)
        tally.drop(f"beyond the {protocol.limit} rows of a keyframe", len(detections) - len(order))
        return truth, _with_area(detections[order], tally)
    detections = _with_area(detections[frame_boxes.file_order(detections)], tally)
    if protocol.order == "score":
        detections = detections[frame_boxes.score_order(detections)]
    elif protocol.order == "class":
        detections = detections[frame_boxes.class_order(detections)]
    return truth, detections


def _with_area(detections: BoxRows, tally: Tally) -> BoxRows:
    return _without(detections, ~frame_boxes.has_area(detections.boxes), "empty or reversed box", tally.drop)


def _numbers(
    protocol: FrameBoxProtocol, names: Sequence[str], truth: BoxRows, precision: Floats
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """(metrics, per class)."""
    instances = np.bincount(truth.label, minlength=len(names))
    scored = np.flatnonzero(instances)
    thresholds = [threshold_name(value) for value in protocol.iou]
    per_class = {
        names[label]: {
            **{f"AP@{at}": float(value) for at, value in zip(thresholds, precision[:, label], strict=True)},
            "ground_truth": int(instances[label]),
        }
        for label in scored.tolist()
    }
    return _means("mAP", protocol, precision), per_class


def _tie_bounds(protocol: FrameBoxProtocol, truth: BoxRows, detections: BoxRows, class_count: int) -> dict[str, float]:
    """mAP with the order of equal scores that is worst, and with the one that is best."""
    bounds: dict[str, float] = {}
    for end in ("lowest", "highest"):
        precision = frame_boxes.average_precision(truth, detections, protocol.iou, class_count=class_count, ties=end)
        bounds |= _means(f"mAP-ties-{end}", protocol, precision)
    return bounds


def _means(name: str, protocol: FrameBoxProtocol, precision: Floats) -> dict[str, float]:
    """Means over the classes with ground truth, per threshold and, of several thresholds, over them too."""
    means = precision[:, ~np.isnan(precision[0])].mean(axis=1).tolist()
    named = {f"{name}@{threshold_name(value)}": mean for value, mean in zip(protocol.iou, means, strict=True)}
    return ({name: float(np.mean(means))} if len(means) > 1 else {}) | named


def _rows(boxes: KeyframeBoxes, frame: Ints, classes: Mapping[int, str]) -> BoxRows:
    """Rows with the class's position, -1 for one that is not evaluated.

    The number of a person stands where detections have their score, and the official script reads it as that: it orders
    the ground truth of a keyframe, which decides between equal overlaps.
    """
    known = np.array(list(classes), np.int64)
    label = np.searchsorted(known, boxes.class_id).clip(max=max(len(known) - 1, 0))
    return BoxRows(
        frame_idx=frame[boxes.frame_idx],
        label=np.where(known[label] == boxes.class_id, label, -1) if len(known) else np.full(len(label), -1),
        boxes=boxes.boxes,
        score=boxes.actor.astype(np.float64) if boxes.score is None and boxes.actor is not None else boxes.score,
    )


def _without(rows: BoxRows, wrong: Mask, reason: str, count: Callable[[str, int], None]) -> BoxRows:
    count(reason, int(wrong.sum()))
    return rows[~wrong] if wrong.any() else rows


def _keys(boxes: KeyframeBoxes) -> list[Keyframe]:
    videos = [boxes.videos[video] for video in boxes.frame_video_idx.tolist()]
    return list(zip(videos, microseconds(boxes.frame_time_s).tolist(), strict=True))


def _videos(keys: Sequence[Keyframe], chosen: Mask) -> list[str]:
    """Videos of the chosen keyframes, each once."""
    return list(dict.fromkeys(keys[row][0] for row in np.flatnonzero(chosen).tolist()))


def _barred(keys: Sequence[Keyframe], protocol: FrameBoxProtocol, inputs: Inputs, tally: Tally) -> dict[str, Mask]:
    """Reason -> (F,) keyframes that are left out for it."""
    barred = {}
    if protocol.excluded is not None:
        listed = set(_keys(ava.parse_keyframes(inputs.read(protocol.excluded), protocol.excluded)))
        barred["excluded keyframe"] = np.array([key in listed for key in keys], bool)
        if not barred["excluded keyframe"].any():
            tally.warn(f"none of the {len(listed)} excluded keyframes of {protocol.excluded} is in either file")
    if protocol.included is not None:
        times = ava.parse_times(inputs.read(protocol.included), protocol.included)
        wanted = set(microseconds(times).tolist())
        barred["second that is not included"] = np.array([time not in wanted for _, time in keys], bool)
    return barred


def _no_common_keyframe(annotations: KeyframeBoxes, predictions: KeyframeBoxes, source: str) -> AnnotationError:
    common = set(predictions.videos) & set(annotations.videos)
    return AnnotationError(
        f"{source}: no row is on a keyframe of the ground truth; they are on {_some_keys(predictions)}",
        expected=f"keyframes such as {_some_keys(annotations)}",
        cause="times in another unit, such as numbers of frames" if common else "other ids, or another split",
    )


def _some_keys(boxes: KeyframeBoxes) -> str:
    return some([f"{video}, {time / 1e6:g} s" for video, time in _keys(boxes)])


def _compare_units(annotations: KeyframeBoxes, predictions: KeyframeBoxes, source: str) -> None:
    """Refuse pixels against fractions: no box would overlap another."""
    if not len(annotations) or not len(predictions):
        return
    ours, theirs = (float(np.median(boxes.boxes[:, 2:])) for boxes in (annotations, predictions))
    if min(ours, theirs) <= 1 and max(ours, theirs) >= _PIXELS_FROM:
        raise AnnotationError(
            f"{source}: right and bottom edges are around {theirs:.4g}, those of the ground truth around {ours:.4g}",
            expected="edges in one unit; AVA's are fractions of the frame",
            cause="pixels in one of the files",
            todo="divide them by the frame's width and height",
        )


def _tell_faults(
    protocol: FrameBoxProtocol, annotations: KeyframeBoxes, predictions: KeyframeBoxes, tally: Tally
) -> None:
    for kind, boxes in (("boxes of the ground truth", annotations.boxes), ("predictions", predictions.boxes)):
        outside = int(((boxes < 0) | (boxes > 1)).any(axis=1).sum())
        if protocol.fractions and outside:
            tally.warn(f"{outside} {kind} have edges outside [0, 1]; they are evaluated as they are, as officially")
    left, top, right, bottom = annotations.boxes.T
    reversed_rows = np.flatnonzero((right < left) | (bottom < top))
    if len(reversed_rows):
        row = int(reversed_rows[0])
        raise AnnotationError(
            f"ground truth: {len(reversed_rows)} boxes are reversed, first {annotations.boxes[row].tolist()} "
            f"of {_keys(annotations)[annotations.frame_idx[row]][0]!r}",
            expected="left, top, right, bottom, as the official evaluator demands of ground truth",
            cause="edges in another order, or a centre and a size",
        )
    without = int((~frame_boxes.has_area(annotations.boxes)).sum())
    if without:
        tally.warn(f"{without} boxes of the ground truth are empty; they count as missed, as officially")
