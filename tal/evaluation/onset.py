"""Unusual activity localization: one interval per query, judged by overlap, time difference and onset."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files, ual_bench
from tal.annotations.records import Annotations
from tal.datasets.kinds.onset import OnsetProtocol
from tal.errors import AnnotationError
from tal.evaluation import queries
from tal.evaluation.inputs import Inputs
from tal.evaluation.queries import Answers, Asked, Predictions
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.tally import Tally
from tal.metrics import onset
from tal.metrics.moments import Windows

Floats = NDArray[np.float64]


def run(
    protocol: OnsetProtocol, annotations: Annotations | Path | str, predictions: Predictions, inputs: Inputs
) -> Evaluation:
    """Score the first interval of each query.

    Args:
        protocol: The rules.
        annotations: One of UAL-Bench's files, any other with one moment per query, or records.
        predictions: UAL-Bench predictions (`pred_start`, `pred_end`), or any other form with windows per query.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, another subset than asked for, no query in common, or NaN.
    """
    tally = Tally()
    records, asked = queries.read_asked(annotations, inputs)
    subset = _subset(protocol, records, len(asked), tally)
    table, source = queries.read_predictions(predictions, inputs)
    answers = queries.join(asked, table, source, tally)
    truth = queries.truth_windows(asked, records.source or "annotations")
    if len(truth) != len(asked):
        raise AnnotationError(
            f"{records.source or 'annotations'}: {len(truth)} windows for {len(asked)} queries",
            expected="one window per query",
            cause="annotations of another benchmark",
        )
    queries.tell_missing(answers, tally, f"are treated by the rule {protocol.missing}")
    first = answers.windows.first(1)
    tally.drop("window after the first of its query", len(answers.windows) - len(first))
    metrics = _metrics(protocol, truth, first, asked)
    if protocol.onsets is not None:
        metrics |= _any_annotator(protocol, truth, first, answers, inputs)
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=queries.query_counts(
            answers, np.unique(first.query_idx), tally, ground_truth=len(truth), evaluated=len(first)
        ),
        metrics=metrics,
        subset=subset,
        annotation_format=records.format,
    )


def _subset(protocol: OnsetProtocol, records: Annotations, query_count: int, tally: Tally) -> str | None:
    """The part of the benchmark that the file is, or is said to be."""
    told = "".join(records.subsets) or None
    if protocol.subset is not None and told is not None and told != protocol.subset:
        raise AnnotationError(
            f"{records.source or 'annotations'} has the form of {told}, and {protocol.subset} was asked for",
            expected=f"the file of {protocol.subset}",
        )
    subset = protocol.subset or told
    published = dict(protocol.sizes).get(subset or "")
    if published not in (None, query_count):
        tally.warn(f"{query_count} queries, {subset} has {published}")
    return subset


def _intervals(protocol: OnsetProtocol, truth: Windows, first: Windows) -> tuple[Floats, Floats]:
    """(starts, ends) of each query's answer; for a missing one what the protocol's rule puts in its place."""
    start_s, end_s = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    start_s[first.query_idx], end_s[first.query_idx] = first.start_s, first.end_s
    missing = np.flatnonzero(np.isnan(start_s))
    if protocol.missing == "zero":
        start_s[missing] = end_s[missing] = 0.0
    elif protocol.missing == "random":
        draw = random.Random(protocol.seed)
        for query in missing:
            start_s[query], end_s[query] = sorted(draw.random() * truth.end_s[query] for _ in range(2))
    return start_s, end_s


def _metrics(protocol: OnsetProtocol, truth: Windows, first: Windows, asked: Sequence[Asked]) -> dict[str, float]:
    start_s, end_s = _intervals(protocol, truth, first)
    overlap = onset.overlaps(start_s, end_s, truth.start_s, truth.end_s)
    difference = onset.time_differences(start_s, end_s, truth.start_s, truth.end_s)
    metrics = {f"R1@{threshold_name(value)}": float((overlap >= value).mean()) for value in protocol.tiou}
    metrics["mIoU"] = float(overlap.mean())
    metrics |= {f"R1@TD<={value:g}": float((difference <= value).mean()) for value in protocol.within_s}
    metrics["mean-TD"] = onset.mean_time_difference(difference, truth.end_s)
    for tolerance_s in protocol.tolerance_s:
        hits = onset.onset_hits(start_s, end_s, truth.start_s[:, None], tolerance_s)
        metrics[f"onset@{tolerance_s}"] = float(hits.mean())
    return metrics


def _any_annotator(
    protocol: OnsetProtocol, truth: Windows, first: Windows, answers: Answers, inputs: Inputs
) -> dict[str, float]:
    """Onset against each of several annotators, as the development repository counts it."""
    path = str(protocol.onsets)
    times = ual_bench.parse_transitions(files.to_json(inputs.read(path), path), path)
    lacking = [each.video for each in answers.asked if each.video not in times]
    if lacking:
        raise AnnotationError(
            f"{path}: no transition times of {len(lacking)} videos, the first {lacking[0]!r}",
            expected="those of every video of the annotations",
            cause="they exist for UAG-OOPS only",
        )
    start_s, end_s = _intervals(protocol, truth, first)
    onsets_s = np.full((len(truth), max(len(times[each.video]) for each in answers.asked)), np.nan)
    for query, each in enumerate(answers.asked):
        onsets_s[query, : len(times[each.video])] = times[each.video]
    return {
        f"onset-any@{tolerance_s}": float(onset.onset_hits(start_s, end_s, onsets_s, tolerance_s).mean())
        for tolerance_s in protocol.tolerance_s
    }
