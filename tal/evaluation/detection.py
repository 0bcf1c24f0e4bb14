"""Temporal detection: mAP, and Recall@kx where the protocol has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable
from tal.datasets.kinds.detection import DetectionProtocol
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import join, read_annotations, read_predictions
from tal.evaluation.result import Evaluation, threshold_name
from tal.metrics import detection
from tal.segments import Segments

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
    annotations = read_annotations(annotations, inputs)
    table, source = read_predictions(predictions, inputs)
    joined = join(protocol, annotations, table, source)
    classes, tally = annotations.classes, joined.tally
    pairs = detection.overlaps(joined.truth, joined.predictions, protocol.tiou, class_count=len(classes))
    precision = detection.average_precision(pairs)
    scored = np.flatnonzero(pairs.truth_count)
    if protocol.class_count not in (None, len(scored)):
        tally.warn(f"{len(scored)} classes have ground truth, the benchmark has {protocol.class_count}")
    counts = tally.counts(
        videos=joined.records,
        with_predictions={table.videos[video] for video in np.unique(table.video_idx)},
        classes=len(scored),
        ground_truth=len(joined.truth),
        duplicates_removed=joined.duplicates_removed,
        predictions=len(table),
        predictions_evaluated=len(joined.predictions),
        predictions_outside=joined.outside,
    )
    return Evaluation(
        protocol=protocol.name,
        title=protocol.title,
        options=protocol.described() | {"annotation_format": annotations.format},
        inputs=inputs.hashes,
        counts=counts,
        metrics=_metrics(protocol, pairs, precision[:, scored], scored),
        per_class=_per_class(protocol, pairs, precision, scored, classes),
        missing=tally.missing,
        warnings=tuple(tally.warnings),
    )


def _metrics(
    protocol: DetectionProtocol, pairs: detection.Overlaps, precision: NDArray[np.float64], scored: Ints
) -> dict[str, float]:
    means = precision.mean(axis=1)
    metrics = {"mAP": float(means.mean())}
    metrics |= {f"mAP@{threshold_name(t)}": float(mean) for t, mean in zip(protocol.tiou, means, strict=True)}
    for multiple in protocol.recall_multiples:
        recall = detection.recall_at(pairs, multiple)[:, scored].mean(axis=1)
        metrics[f"Recall@{multiple}x"] = float(recall.mean())
        names = (f"Recall@{multiple}x@{threshold_name(t)}" for t in protocol.tiou)
        metrics |= dict(zip(names, recall.tolist(), strict=True))
    return metrics


def _per_class(
    protocol: DetectionProtocol,
    pairs: detection.Overlaps,
    precision: NDArray[np.float64],
    scored: Ints,
    classes: Sequence[str],
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
