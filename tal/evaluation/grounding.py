"""Moment retrieval: R@n at IoU m, mIoU, and QVHighlights' MR-mAP where it is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.datasets.kinds.grounding import GroundingProtocol
from tal.datasets.protocol import steps
from tal.errors import AnnotationError
from tal.evaluation import queries
from tal.evaluation.inputs import Inputs
from tal.evaluation.queries import Asked, Predictions
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.tally import Tally
from tal.metrics import grounding, moments
from tal.metrics.moments import Windows

Floats = NDArray[np.float64]

_RANKED_WINDOWS = 10


def run(
    protocol: GroundingProtocol, annotations: Annotations | Path | str, predictions: Predictions, inputs: Inputs
) -> Evaluation:
    """Score ranked windows per query; a query without windows is a miss.

    Args:
        protocol: The rules.
        annotations: A file with sentences in any format that is read, or records.
        predictions: QVHighlights JSON lines, a JSON list of windows per query, CSV, or segments per query id.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, no query in common, or predictions with NaN.
    """
    tally = Tally()
    records, asked = queries.read_asked(annotations, inputs, subset=protocol.subset)
    if protocol.further is not None:
        _, others = queries.read_asked(protocol.further, inputs, subset=protocol.subset)
        asked = [*asked, *others]
    table, source = queries.read_predictions(predictions, inputs)
    answers = queries.join(asked, table, source, tally)
    truth = queries.truth_windows(asked, records.source or "annotations")
    windows = answers.windows if protocol.order == "listed" else grounding.by_score(answers.windows)
    if protocol.order == "listed":
        _tell_disorder(windows, tally)
    elif windows.score is None:
        raise AnnotationError(f"{source}: windows without scores", expected="scores, since they decide the order")
    if protocol.spans == "clipped":
        truth, kept = _clipped(truth, asked, _durations(protocol, asked, inputs), tally)
        asked = [asked[query] for query in kept]
        truth, windows = _renumbered(truth, kept), _renumbered(windows, kept)
        answers = replace(answers, windows=windows, record=answers.record[kept], asked=asked)
    queries.tell_missing(answers, tally, "count as misses")
    metrics = _metrics(protocol, truth, windows, len(asked), source)
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=queries.query_counts(
            answers, np.unique(windows.query_idx), tally, ground_truth=len(truth), evaluated=len(windows)
        ),
        metrics={name: round_as_percent(value) for name, value in metrics.items()} if protocol.rounded else metrics,
        annotation_format=records.format,
    )


def round_as_percent(value: float) -> float:
    """A fraction as Moment-DETR's evaluator prints it: a percentage with two decimals."""
    return round(float(f"{100 * value:.2f}") / 100, 4)


def _tell_disorder(windows: Windows, tally: Tally) -> None:
    """The listed order counts; say so where the scores contradict it."""
    if windows.score is None:
        return
    falls = (np.diff(windows.score) > 0) & (np.diff(windows.query_idx) == 0)
    if falls.any():
        count = len(np.unique(windows.query_idx[1:][falls]))
        tally.warn(
            f"{count} queries list windows in another order than that of their scores; the listed order counts, "
            "order=score takes the scores"
        )


def _durations(protocol: GroundingProtocol, asked: Sequence[Asked], inputs: Inputs) -> Floats:
    """(Q,) seconds of each query's video; infinite where nothing tells them."""
    known: Mapping[str, float | None] = {}
    if protocol.durations is not None:
        told = inputs.annotations(protocol.durations)
        known = {video: record.duration_s for video, record in told.videos.items()}
        lacking = [each.video for each in asked if known.get(each.video) is None]
        if lacking:
            raise AnnotationError(
                f"{protocol.durations}: no duration of video {lacking[0]!r}",
                expected="one for every video of the annotations",
                cause="the file of another split",
            )
    values = [known.get(each.video, each.duration_s) for each in asked]
    return np.array([np.inf if value is None else value for value in values], np.float64)


def _clipped(
    truth: Windows, asked: Sequence[Asked], duration_s: Floats, tally: Tally
) -> tuple[Windows, NDArray[np.int64]]:
    """(spans limited to their videos, the queries of which something remains)."""
    if np.isinf(duration_s).any():
        count = len({each.video for each, limit in zip(asked, duration_s, strict=True) if np.isinf(limit)})
        tally.warn(
            f"the annotations do not say how long {count} videos are, so spans that end after them stay as they are; "
            "2D-TAN takes durations from Charades_v1_test.csv: give it as durations"
        )
    limit = duration_s[truth.query_idx]
    changed = (truth.start_s < 0) | (truth.end_s > limit)
    clipped = replace(truth, start_s=np.maximum(truth.start_s, 0), end_s=np.minimum(truth.end_s, limit))
    real = clipped.start_s < clipped.end_s
    tally.exclude("span empty within its video", int((~real).sum()))
    if (changed & real).any():
        tally.warn(f"{int((changed & real).sum())} spans are limited to their videos")
    if not real.any():
        raise AnnotationError("no span of the annotations lies within its video", cause="durations in another unit")
    clipped = clipped[real]
    return clipped, np.unique(clipped.query_idx)


def _renumbered(windows: Windows, kept: NDArray[np.int64]) -> Windows:
    """The windows of the kept queries, counted anew."""
    rows = windows[np.isin(windows.query_idx, kept)]
    return replace(rows, query_idx=np.searchsorted(kept, rows.query_idx))


def _metrics(
    protocol: GroundingProtocol, truth: Windows, windows: Windows, query_count: int, source: str
) -> dict[str, float]:
    found = grounding.recall(
        truth,
        windows,
        protocol.tiou,
        protocol.top,
        query_count=query_count,
        strict=protocol.compare == "exceed",
        nms=protocol.nms,
        nms_margin=protocol.nms_margin,
    )
    metrics = {
        f"R{count}@{threshold_name(tiou)}": float(found[row, column])
        for column, count in enumerate(protocol.top)
        for row, tiou in enumerate(protocol.tiou)
    }
    metrics["mIoU"] = float(moments.first_overlaps(truth, windows, query_count=query_count).mean())
    if protocol.moment_map:
        metrics |= moment_metrics(truth, windows, steps(0.5, 0.95, 10), query_count=query_count, source=source)
    return metrics


def moment_metrics(
    truth: Windows,
    windows: Windows,
    tiou: Sequence[float],
    *,
    query_count: int,
    source: str,
    r1_tiou: Sequence[float] = (),
    prefix: str = "MR",
    max_windows: int = _RANKED_WINDOWS,
) -> dict[str, float]:
    """MR-mAP, MR-mAP@0.50, ... and MR-R1@0.50, ... as Moment-DETR's evaluator computes them, not rounded.

    Raises:
        AnnotationError: windows without scores.
    """
    if windows.score is None:
        raise AnnotationError(
            f"{source}: windows without scores", expected="[start, end, score]", cause="MR-mAP ranks windows by score"
        )
    at_precision = np.round(tiou, 2)
    precision = moments.average_precision(truth, windows.first(max_windows), at_precision, query_count=query_count)
    has_truth = np.bincount(truth.query_idx, minlength=query_count) > 0
    means = precision[:, has_truth].mean(axis=1)
    names = [threshold_name(value) for value in at_precision]
    metrics = {f"{prefix}-mAP": float(means.mean())}
    metrics |= {f"{prefix}-mAP@{name}": float(mean) for name, mean in zip(names, means, strict=True)}
    overlap = moments.first_overlaps(truth, windows, query_count=query_count)[has_truth]
    at_recall = np.round(r1_tiou or tiou, 2)
    metrics |= {f"{prefix}-R1@{threshold_name(value)}": float((overlap >= value).mean()) for value in at_recall}
    return metrics
