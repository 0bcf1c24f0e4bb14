"""Online temporal detection: mAP and end delays, class-agnostic F1, start detection."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable
from tal.datasets.kinds.online import OnlineProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import Joined, join, read_predictions
from tal.evaluation.one_class import as_one_class
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.splits import present_subset
from tal.evaluation.tally import Tally
from tal.metrics import detection, online
from tal.metrics.naming import offset_name
from tal.segments import Segments

Floats = NDArray[np.float64]


def run(
    protocol: OnlineProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, Segments] | ResultTable | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score segments with the times at which they were made.

    Predictions without generation times have no AEDT; those without any label or score have F1 alone.

    Args:
        protocol: The rules.
        annotations: A file in any format that is read, or records.
        predictions: ActivityNet results JSON or CSV, each row with `generation_time` (or `gentime`) in seconds; or
            segments per video with that column in `extra`.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, an unknown subset, NaN in the predictions, or nothing to evaluate.
    """
    annotations = inputs.annotations(annotations)
    subset, note = present_subset(annotations, protocol.subset)
    protocol = replace(protocol, subset=subset)
    given, source = read_predictions(predictions, inputs, scored=False)
    future = _future(given, source)
    table = given[~future] if protocol.drop_future else given
    anything = _class_agnostic(protocol, annotations, table, source)
    if table.scored and (table.labels or not len(table)):
        joined = join(protocol, annotations, table, source)
        by_class = _by_class(protocol, annotations, joined, table)
    else:
        joined, by_class = anything.joined, _ByClass()
        joined.tally.warn("the predictions have no labels or no scores: mAP and start detection are left out")
    tally = joined.tally
    _tell(tally, protocol, given, future, note)
    counts = tally.counts(
        videos=joined.records,
        with_predictions={table.videos[video] for video in np.unique(table.video_idx)},
        ground_truth=len(joined.truth),
        duplicates_removed=joined.duplicates_removed,
        predictions=len(given),
        predictions_evaluated=len(joined.predictions),
        predictions_outside=joined.outside,
        predictions_ending_later=int(future.sum()),
        **({"classes": by_class.scored} if by_class.scored else {}),
        **anything.counts,
    )
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=counts,
        metrics={**by_class.metrics, **anything.metrics},
        per_class=by_class.per_class,
        annotation_format=annotations.format,
    )


def _tell(tally: Tally, protocol: OnlineProtocol, given: ResultTable, future: NDArray[np.bool_], note: str) -> None:
    """Count and warn of what streaming methods should not do, or not leave away."""
    if note:
        tally.warn(note)
    if given.generation_time_s is None:
        tally.warn("the predictions have no generation times: AEDT is left out")
    if future.any():
        fate = "are left out" if protocol.drop_future else "are judged; drop_future leaves them out"
        tally.warn(f"{future.sum()} predictions end after the time at which they were made and {fate}")
        tally.drop("end after the time at which it was made", int(future.sum()) if protocol.drop_future else 0)


def _future(table: ResultTable, source: str) -> NDArray[np.bool_]:
    """(N,) whether each prediction ends after the time at which it was made; False where that is not said."""
    if table.generation_time_s is None:
        return np.zeros(len(table), bool)
    unknown = np.flatnonzero(~np.isfinite(table.generation_time_s))
    if len(unknown):
        raise AnnotationError(
            f"{source}: {len(unknown)} predictions without a finite generation time, the first on video "
            f"{table.videos[table.video_idx[unknown[0]]]!r}",
            expected="the second of the video at which the prediction was made",
            todo="give it in every row, or in none",
        )
    return table.end_s > table.generation_time_s


@dataclass(frozen=True, kw_only=True, eq=False)
class _ClassAgnostic:
    """What is found without looking at classes."""

    joined: Joined
    metrics: Mapping[str, float]
    counts: Mapping[str, int]


def _class_agnostic(
    protocol: OnlineProtocol, annotations: Annotations, table: ResultTable, source: str
) -> _ClassAgnostic:
    """F1 of all predictions, whatever their class, in all videos that the protocol's rule names."""
    rules = replace(protocol, excluded_videos=(), duplicates="keep", class_count=None)
    everything, rows = as_one_class(annotations, table, kept=[name for name, _ in protocol.excluded_classes])
    joined = join(rules, everything, rows, source)
    named = set(table.videos)
    videos = [video for video in joined.records if protocol.f1_videos == "all" or video in named]
    chosen = np.isin(list(joined.records), videos)
    truth = joined.truth[chosen[joined.truth.video_idx]]
    with_rows = np.unique(joined.predictions.video_idx)
    dummies = int(chosen.sum()) - int((with_rows < len(chosen)).sum()) if protocol.dummies else 0
    counted = len(joined.predictions) + dummies
    tious = online.assigned_tious(truth, joined.predictions)
    scores = online.f1(tious, protocol.tiou, predictions=counted, truth=len(truth))
    metrics: dict[str, float] = {}
    for name, values in (("F1", scores.f1), ("precision", scores.precision), ("recall", scores.recall)):
        metrics |= _named(name, protocol.tiou, values)
    counts = {"f1_videos": len(videos), "f1_ground_truth": len(truth), "f1_predictions": counted}
    return _ClassAgnostic(joined=joined, metrics=metrics, counts=counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _ByClass:
    """What is found class by class."""

    scored: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def _by_class(protocol: OnlineProtocol, annotations: Annotations, joined: Joined, table: ResultTable) -> _ByClass:
    """mAP, AEDT and start detection."""
    count = len(annotations.classes)
    pairs = detection.overlaps(joined.truth, joined.predictions, protocol.tiou, class_count=count)
    starts = online.start_pairs(joined.truth, joined.predictions, protocol.offsets_s, class_count=count)
    scored = np.flatnonzero(pairs.truth_count)
    if protocol.class_count not in (None, len(scored)):
        joined.tally.warn(f"{len(scored)} classes have ground truth, the benchmark has {protocol.class_count}")
    precision = detection.average_precision(pairs)
    nearness = online.precision_to_depth(starts, protocol.depth)
    parts = [("AP", protocol.tiou, precision, precision[:, scored].mean(axis=1))]
    if table.generation_time_s is not None:
        made_s = table.generation_time_s[joined.table_row]
        parts.append(("AEDT", protocol.tiou, *online.mean_end_delays(pairs, joined.truth.end_s, made_s)))
    parts.append(("p-AP", protocol.offsets_s, nearness, nearness[:, scored].mean(axis=1)))
    metrics: dict[str, float] = {}
    for name, thresholds, _, means in parts:
        stem = "mAP" if name == "AP" else name
        metrics |= {stem: float(means.mean())} | _named(stem, thresholds, means)
    per_class: dict[str, dict[str, float]] = {}
    for label in scored.tolist():
        of_class = per_class.setdefault(annotations.classes[label], {})
        for name, thresholds, values, _ in parts:
            of_class |= {name: float(values[:, label].mean())} | _named(name, thresholds, values[:, label])
        of_class["ground_truth"] = int(pairs.truth_count[label])
    return _ByClass(scored=len(scored), metrics=metrics, per_class=per_class)


def _named(stem: str, thresholds: tuple[float, ...], values: Floats) -> dict[str, float]:
    """Metric names with their values; offsets of starts are told in tenths of a second."""
    name = offset_name if stem == "p-AP" else threshold_name
    return {f"{stem}@{name(each)}": float(value) for each, value in zip(thresholds, values, strict=True)}
