"""Temporal detection: mAP, and Recall@kx where the protocol has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable
from tal.datasets.kinds.detection import DetectionProtocol
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import Joined, join, read_predictions
from tal.evaluation.one_class import as_one_class
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.splits import blocked_videos, present_subset
from tal.metrics import detection
from tal.segments import Segments

Rules = TypeVar("Rules", bound=DetectionProtocol)
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def run(
    protocol: DetectionProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, Segments] | ResultTable | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score segments with classes.

    Args:
        protocol: The rules.
        annotations: A file in any format that is read, or records.
        predictions: ActivityNet results JSON or CSV, or segments per video.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, an unknown subset, predictions with NaN, or nothing to evaluate.
    """
    annotations = inputs.annotations(annotations)
    table, source = read_predictions(predictions, inputs)
    scored = score(with_blocked(protocol, inputs), annotations, table, source)
    joined = scored.joined
    counts = joined.tally.counts(
        videos=joined.records,
        with_predictions={table.videos[video] for video in np.unique(table.video_idx)},
        classes=scored.class_count,
        ground_truth=len(joined.truth),
        duplicates_removed=joined.duplicates_removed,
        predictions=len(table),
        predictions_evaluated=len(joined.predictions),
        predictions_outside=joined.outside,
        **scored.tie_counts,
    )
    return evaluation(
        protocol,
        inputs,
        joined.tally,
        counts=counts,
        metrics=scored.metrics,
        per_class=scored.per_class,
        subset=scored.subset,
        annotation_format=annotations.format,
    )


def with_blocked(protocol: Rules, inputs: Inputs) -> Rules:
    """The protocol with the videos of its `blocked` file among those it excludes."""
    if protocol.blocked is None:
        return protocol
    reason = f"blocked by {protocol.blocked}"
    blocked = tuple((video, reason) for video in blocked_videos(protocol.blocked, inputs))
    return replace(protocol, excluded_videos=(*protocol.excluded_videos, *blocked))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """The numbers of one set of classes, and what they were counted on.

    Args:
        joined: The rows.
        classes: Name of each label.
        pairs: How the rows overlap.
        subset: The split that was evaluated, as the annotations write it.
        class_count: Classes with ground truth.
        metrics, per_class: As in `Evaluation`.
        tie_counts: Tied predictions, where they were asked for.
    """

    joined: Joined
    classes: tuple[str, ...]
    pairs: detection.Overlaps
    subset: str | None
    class_count: int
    metrics: Mapping[str, float]
    per_class: Mapping[str, Mapping[str, float]]
    tie_counts: Mapping[str, int]


def score(protocol: DetectionProtocol, annotations: Annotations, table: ResultTable, source: str) -> Scored:
    """Metrics and values per class.

    Args:
        protocol: The rules.
        annotations: Records.
        table: The predictions.
        source: What messages call them.

    Raises:
        TalError: as `run`.
    """
    subset, note = present_subset(annotations, protocol.subset)
    protocol = replace(protocol, subset=subset)
    if protocol.class_agnostic:
        annotations, table = as_one_class(annotations, table, kept=[name for name, _ in protocol.excluded_classes])
        protocol = replace(protocol, class_count=None)
    joined = join(protocol, annotations, table, source)
    if note:
        joined.tally.warn(note)
    classes = annotations.classes
    pairs = detection.overlaps(
        joined.truth,
        joined.predictions,
        protocol.tiou,
        class_count=len(classes),
        union_margin_s=protocol.union_margin_s,
    )
    precision = detection.average_precision(pairs)
    scored = np.flatnonzero(pairs.truth_count)
    if protocol.class_count not in (None, len(scored)):
        joined.tally.warn(f"{len(scored)} classes have ground truth, the benchmark has {protocol.class_count}")
    metrics = _means("mAP", protocol.tiou, precision[:, scored].mean(axis=1))
    for multiple in protocol.recall_multiples:
        metrics |= _means(f"Recall@{multiple}x", protocol.tiou, _recall(protocol, pairs, multiple))
    tie_counts: dict[str, int] = {}
    if protocol.ties:
        bounds = detection.tie_bounds(pairs)
        metrics |= _means("mAP-ties-lowest", protocol.tiou, bounds.lowest[:, scored].mean(axis=1))
        metrics |= _means("mAP-ties-highest", protocol.tiou, bounds.highest[:, scored].mean(axis=1))
        tie_counts = {"predictions_tied": bounds.tied, "predictions_tied_competing": bounds.competing}
        joined.tally.warn(_told_ties(bounds))
    return Scored(
        joined=joined,
        classes=classes,
        pairs=pairs,
        subset=subset,
        class_count=len(scored),
        metrics=metrics,
        per_class=_per_class(protocol, pairs, precision, scored, classes),
        tie_counts=tie_counts,
    )


def _recall(protocol: DetectionProtocol, pairs: detection.Overlaps, multiple: int) -> Floats:
    """(M,) Recall@kx over all classes with ground truth."""
    counts = pairs.truth_count
    scored = np.flatnonzero(counts)
    strict = protocol.recall_over == "instances"
    recall = detection.recall_at(pairs, multiple, strict=strict)[:, scored]
    return recall @ counts[scored] / counts.sum() if strict else recall.mean(axis=1)


def _means(name: str, tious: Sequence[float], values: Floats) -> dict[str, float]:
    """The mean over thresholds under `name`, and the value at each."""
    each = {f"{name}@{threshold_name(t)}": float(value) for t, value in zip(tious, values, strict=True)}
    return {name: float(values.mean()), **each}


def _told_ties(bounds: detection.TieBounds) -> str:
    if not bounds.tied:
        return "no two predictions of a class have the same score: mAP does not depend on an order of ties"
    told = f"{bounds.tied} predictions share their score with another of their class; mAP-ties-lowest and -highest are"
    if not bounds.competing:
        return f"{told} the extremes over all orders of them"
    return (
        f"{told} reached by some order of them; since {bounds.competing} can take an instance that another of the same "
        "score can take, other orders may lie slightly outside"
    )


def _per_class(
    protocol: DetectionProtocol, pairs: detection.Overlaps, precision: Floats, scored: Ints, classes: Sequence[str]
) -> dict[str, dict[str, float]]:
    names = [f"AP@{threshold_name(t)}" for t in protocol.tiou]
    return {
        classes[label]: {
            "AP": float(precision[:, label].mean()),
            **dict(zip(names, precision[:, label].tolist(), strict=True)),
            "ground_truth": int(pairs.truth_count[label]),
        }
        for label in scored.tolist()
    }
