"""Moment retrieval and highlight detection of one benchmark: windows and saliency scores per query."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.datasets.kinds.highlights import HighlightsProtocol
from tal.errors import AnnotationError
from tal.evaluation import queries
from tal.evaluation.grounding import moment_metrics, round_as_percent
from tal.evaluation.inputs import Inputs
from tal.evaluation.queries import Answers, Asked, Predictions
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics import highlights, moments
from tal.metrics.moments import Windows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_LONGEST_S = 1e6
"""No video lasts longer."""


def run(
    protocol: HighlightsProtocol, annotations: Annotations | Path | str, predictions: Predictions, inputs: Inputs
) -> Evaluation:
    """Score windows, saliency, or both, whichever the predictions hold.

    Args:
        protocol: The rules.
        annotations: QVHighlights JSON lines, or records with moments.
        predictions: QVHighlights JSON lines, or any other form with windows per query.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, queries that do not match, or predictions with NaN.
    """
    tally = Tally()
    records, asked = queries.read_asked(annotations, inputs, subset=protocol.subset)
    table, source = queries.read_predictions(predictions, inputs)
    answers = queries.join(asked, table, source, tally)
    if protocol.missing == "refuse":
        _refuse_mismatch(answers, source)
    elif protocol.missing == "drop" and answers.unnamed:
        answers = _without_unnamed(answers, tally)
    metrics: dict[str, float] = {}
    truth = queries.truth_windows(answers.asked, records.source or "annotations")
    if table.has_windows:
        queries.tell_missing(answers, tally, "count as misses")
        metrics |= _moment_metrics(protocol, truth, answers, source, tally)
    has_levels = any(each.moment.clips for each in answers.asked)
    if table.saliency is not None and has_levels:
        metrics |= _highlight_metrics(protocol, answers, records.source or "annotations", tally)
    _tell_halves(answers, has_levels, source, tally)
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=_counts(answers, tally, truth, protocol.max_windows),
        metrics=metrics if protocol.unrounded else {name: round_as_percent(value) for name, value in metrics.items()},
        annotation_format=records.format,
    )


def _refuse_mismatch(answers: Answers, source: str) -> None:
    """The official evaluator demands the same queries on both sides."""
    names = [each.name for each in answers.unnamed]
    if not names and not answers.foreign:
        return
    parts = [f"{len(names)} of {len(answers.asked)} queries are missing: {some(names)}"] if names else []
    parts += [f"{len(answers.foreign)} are not in the annotations: {some(answers.foreign)}"] if answers.foreign else []
    raise AnnotationError(
        f"{source}: {'; '.join(parts)}",
        expected="the queries of the annotations, all of them and no others, as the official evaluator demands",
        cause="predictions of another split, or an inference run that stopped",
        todo="missing=miss counts missing queries as misses, missing=drop evaluates the common ones only",
    )


def _without_unnamed(answers: Answers, tally: Tally) -> Answers:
    """Only the queries that the predictions name."""
    names = [each.name for each in answers.unnamed]
    tally.exclude("query that the predictions do not name", len(names))
    tally.warn(
        f"{len(names)} of {len(answers.asked)} queries are not evaluated, since the predictions do not name them: "
        f"{some(names)}"
    )
    kept = np.flatnonzero(answers.record >= 0)
    windows = replace(answers.windows, query_idx=np.searchsorted(kept, answers.windows.query_idx))
    return replace(
        answers, windows=windows, record=answers.record[kept], asked=[answers.asked[each] for each in kept.tolist()]
    )


def _moment_metrics(
    protocol: HighlightsProtocol, truth: Windows, answers: Answers, source: str, tally: Tally
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    length_s = truth.end_s - truth.start_s
    ranges = [("", -np.inf, np.inf), *((f"-{name}", above, most) for name, above, most in protocol.lengths_s)]
    for name, above, most in ranges:
        of_length = truth[(length_s > above) & (length_s <= most)] if name else truth
        if not len(of_length):
            tally.warn(f"no window of the ground truth is longer than {above:g} and at most {most:g} s: no MR{name}")
            continue
        count = len(answers.asked)
        metrics |= moment_metrics(
            of_length,
            answers.windows,
            protocol.tiou,
            query_count=count,
            source=source,
            r1_tiou=protocol.r1_tiou,
            prefix=f"MR{name}",
            max_windows=protocol.max_windows,
        )
        if protocol.mean_iou:
            overlap = moments.first_overlaps(of_length, answers.windows, query_count=count)
            metrics[f"MR{name}-mIoU"] = float(overlap[np.unique(of_length.query_idx)].mean())
    return metrics


def _highlight_metrics(protocol: HighlightsProtocol, answers: Answers, source: str, tally: Tally) -> dict[str, float]:
    truth, clip_count = _saliency_table(answers.asked, protocol.clip_s, source)
    named = answers.record >= 0
    score = np.zeros(truth.shape[1:])
    best = np.full(len(score), truth.shape[2])  # Beyond every clip: no hit without an answer.
    for query in np.flatnonzero(named).tolist():
        values = _saliency_of(answers, query)
        used = min(len(values), int(clip_count[query]))
        score[query, :used] = values[:used]
        best[query] = int(np.argmax(values))
    _tell_lengths(answers, clip_count, tally)
    relevant = np.stack([truth >= lowest for _, lowest in protocol.levels])  # (levels, annotators, queries, clips)
    precision = np.where(named, highlights.average_precision(score, relevant, clip_count), 0)
    hits = highlights.hit_at_one(best, relevant, clip_count).max(axis=1)
    metrics = {}
    for row, (level, _) in enumerate(protocol.levels):
        metrics[f"HL-{level}-mAP"] = float(precision[row].mean())
        metrics[f"HL-{level}-HIT@1"] = float(hits[row].mean())
    return metrics


def _saliency_table(asked: Sequence[Asked], clip_s: float, source: str) -> tuple[Floats, Ints]:
    """((A, Q, C) annotators' scores, 0 for clips that are not relevant; (Q,) clips of each query's video)."""
    for each in asked:
        if each.duration_s is None or not 0 < each.duration_s < _LONGEST_S:
            given = "no duration" if each.duration_s is None else f"a duration of {each.duration_s:g} s"
            raise AnnotationError(
                f"{source}: {each.name} has {given}",
                expected="a duration in seconds, to count the video's clips",
            )
    clip_count = np.array([int((each.duration_s or 0) / clip_s) for each in asked], np.int64)
    annotators = max(len(scores) for each in asked for scores in each.moment.saliency)
    table = np.zeros((annotators, len(asked), int(clip_count.max())))
    for query, each in enumerate(asked):
        clips = each.moment.clips
        if not clips:
            continue
        if min(clips) < 0 or max(clips) >= clip_count[query]:
            raise AnnotationError(
                f"{source}: {each.name} has clips {min(clips)} to {max(clips)}, its video {clip_count[query]}",
                expected=f"clips of {clip_s:g} s, numbered from 0",
                cause="a duration that is too short",
            )
        scores = np.array(each.moment.saliency)
        if scores.shape[1] != annotators:
            raise AnnotationError(f"{source}: {each.name} has {scores.shape[1]} annotators, others {annotators}")
        table[:, query, list(clips)] = scores.T
    return table, clip_count


def _tell_lengths(answers: Answers, clip_count: Ints, tally: Tally) -> None:
    named = np.flatnonzero(answers.record >= 0)
    given = np.array([len(_saliency_of(answers, query)) for query in named.tolist()], np.int64)
    for wrong, fate in (
        (given > clip_count[named], "longer than their video, the rest is cut"),
        (given < clip_count[named], "shorter than their video, 0 is assumed for the other clips"),
    ):
        if wrong.any():
            tally.warn(f"saliency of {int(wrong.sum())} queries is {fate}")


def _saliency_of(answers: Answers, query: int) -> Floats:
    return (answers.table.saliency or ())[answers.record[query]]


def _tell_halves(answers: Answers, has_levels: bool, source: str, tally: Tally) -> None:
    """Say which half is not evaluated; refuse if nothing is."""
    has_windows, has_saliency = answers.table.has_windows, answers.table.saliency is not None
    if has_saliency and not has_levels:
        tally.warn("the annotations have no saliency scores: no HL metrics")
        if not has_windows:
            raise AnnotationError(
                f"{source} holds saliency only, the annotations none", expected="windows, or annotated highlights"
            )
    if not has_saliency:
        tally.warn("the predictions have windows only: no HL metrics")
    if not has_windows:
        tally.warn("the predictions have saliency only: no MR metrics")


def _counts(answers: Answers, tally: Tally, truth: Windows, max_windows: int) -> dict[str, object]:
    ranked = answers.windows.first(max_windows)
    tally.drop(f"window after the first {max_windows} of its query", len(answers.windows) - len(ranked))
    answered = np.unique(ranked.query_idx) if answers.table.has_windows else np.flatnonzero(answers.record >= 0)
    return queries.query_counts(answers, answered, tally, ground_truth=len(truth), evaluated=len(ranked))
