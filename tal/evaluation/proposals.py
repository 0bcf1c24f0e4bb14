"""Temporal proposals: AR@N and the area under average recall against the average number of proposals."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.kinds.proposals import ProposalsProtocol
from tal.errors import AnnotationError
from tal.evaluation.detection import with_blocked
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import Joined, join, read_predictions
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.splits import present_subset
from tal.evaluation.tally import some
from tal.metrics.detection import Rows
from tal.metrics.proposals import RecallCurve, recall_curve, shared_recall_curve
from tal.segments import Segments


def run(
    protocol: ProposalsProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, Segments] | ResultTable | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score segments without regard to classes.

    Args:
        protocol: The rules.
        annotations: A file in any format that is read, or records.
        predictions: ActivityNet results JSON or CSV, or segments per video; classes in them do not matter.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, an unknown subset, predictions with NaN, or nothing to evaluate.
    """
    annotations = inputs.annotations(annotations)
    table, source = read_predictions(predictions, inputs)
    subset, note = present_subset(annotations, protocol.subset)
    joined = join(_rules(protocol, subset, inputs), annotations, table, source, by_class=False)
    if note:
        joined.tally.warn(note)
    curve = _curve(protocol, joined)
    counts = joined.tally.counts(
        videos=joined.records,
        with_predictions={table.videos[video] for video in np.unique(table.video_idx)},
        videos_with_ground_truth=len(np.unique(joined.truth.video_idx)),
        ground_truth=len(joined.truth),
        duplicates_removed=joined.duplicates_removed,
        predictions=len(table),
        predictions_evaluated=len(joined.predictions),
        predictions_outside=joined.outside,
    )
    metrics = _metrics(protocol, curve, joined)
    return evaluation(
        protocol,
        inputs,
        joined.tally,
        counts=counts,
        metrics=metrics,
        subset=subset,
        annotation_format=annotations.format,
    )


def _rules(protocol: ProposalsProtocol, subset: str | None, inputs: Inputs) -> DetectionProtocol:
    """The rules that decide which rows are evaluated."""
    rules = DetectionProtocol(
        name=protocol.name,
        title=protocol.title,
        source=protocol.source,
        subset=subset,
        tiou=protocol.tiou,
        duplicates=protocol.duplicates,
        blocked=protocol.blocked,
    )
    return with_blocked(rules, inputs)


def _curve(protocol: ProposalsProtocol, joined: Joined) -> RecallCurve:
    truth, proposals = joined.truth, joined.predictions
    if protocol.inclusive_frames:
        truth, proposals = _one_frame_longer(truth, joined), _one_frame_longer(proposals, joined)
    if protocol.rule == "average":
        if joined.outside:
            joined.tally.warn(
                f"{joined.outside} proposals on other videos find nothing, but count in the average number of "
                "proposals, as in the ActivityNet toolkit"
            )
        return recall_curve(truth, proposals, protocol.tiou, limit=protocol.limit)
    unseen = np.setdiff1d(truth.video_idx, proposals.video_idx)
    if len(unseen):
        count = int(np.isin(truth.video_idx, unseen).sum())
        joined.tally.warn(
            f"{count} instances on {len(unseen)} videos without proposals do not count, as in the evaluators of the "
            "THUMOS14 proposal papers"
        )
    return shared_recall_curve(truth, proposals, protocol.tiou)


def _one_frame_longer(rows: Rows, joined: Joined) -> Rows:
    """The same rows ending one frame later: overlap and length of segments whose last frame belongs to them."""
    rates = np.array([record.fps or math.nan for record in joined.records.values()], np.float64)
    lacking = [video for video, rate in zip(joined.records, rates.tolist(), strict=True) if not rate > 0]
    if lacking:
        raise AnnotationError(
            f"no frame rate for {len(lacking)} videos: {some(lacking)}",
            expected="fps of every video in the annotations, for segments of whole frames",
            todo="use annotations that give it, or leave inclusive_frames out",
        )
    inside = rows.video_idx < len(rates)  # Other videos have no ground truth: their lengths do not matter.
    frame_s: NDArray[np.float64] = np.where(inside, 1 / rates[np.where(inside, rows.video_idx, 0)], 0.0)
    return replace(rows, end_s=rows.end_s + frame_s)


def _metrics(protocol: ProposalsProtocol, curve: RecallCurve, joined: Joined) -> dict[str, float]:
    """AR@N, AUC where the curve has a limit, and recall at each threshold at the curve's end."""
    metrics: dict[str, float] = {}
    for number in protocol.numbers:
        value = float(curve.average_recall[number - 1]) if protocol.rule == "average" else curve.at(number)
        if math.isnan(value):
            joined.tally.warn(
                f"AR@{number} is left out: the predictions hold {curve.number[-1]:.1f} proposals per video on average"
            )
            continue
        metrics[f"AR@{number}"] = value
    if protocol.rule == "average":
        metrics["AUC"] = curve.area
    names = (f"Recall@{threshold_name(t)}" for t in protocol.tiou)
    return metrics | dict(zip(names, curve.recall[:, -1].tolist(), strict=True))
