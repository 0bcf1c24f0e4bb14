"""Open-vocabulary temporal detection: mAP of base and novel classes, recall of proposals whatever their class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tal.annotations.labels import parse_classes
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable
from tal.annotations.subsets import in_subset
from tal.datasets.kinds.open_vocabulary import OpenVocabularyProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.detection import Scored, score
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import join, read_predictions
from tal.evaluation.narrowing import check_classes, merge, of_classes, refuse_foreign, without_videos
from tal.evaluation.one_class import as_one_class
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.splits import present_subset
from tal.evaluation.tally import Tally, some
from tal.metrics.detection import overlaps, recall_at
from tal.metrics.open_vocabulary import recall_of_best, without_classes
from tal.segments import Segments

_MULTIPLES = (1, 5)


def run(
    protocol: OpenVocabularyProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, Segments] | ResultTable | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score segments whose classes are base or novel.

    Args:
        protocol: The rules.
        annotations: A file in any format that is read, or records.
        predictions: ActivityNet results JSON or CSV, or segments per video.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, no list of base classes, an unknown subset, predictions with NaN, or
            nothing to evaluate.
    """
    annotations = inputs.annotations(annotations)
    table, source = read_predictions(predictions, inputs)
    base = _base_classes(protocol, annotations, inputs)
    subset, _ = present_subset(annotations, protocol.subset)
    tally, records = Tally(), in_subset(annotations, subset)
    refuse_foreign(annotations, records, table, source)
    kept, rows = annotations, table
    if protocol.setting != "generalised":
        kept, rows = _in_setting(protocol, annotations, records, table, source, base=base, tally=tally)
    unpredicted = _unpredicted(protocol, in_subset(kept, subset), rows)
    scored = score(protocol, *without_videos(kept, rows, unpredicted, tally), source)
    joined = scored.joined
    metrics = dict(scored.metrics)
    if protocol.setting == "generalised":
        metrics |= _means("base", scored, base) | _means("novel", scored, set(scored.per_class) - set(base))
    metrics |= _class_agnostic_recall(replace(protocol, subset=scored.subset), kept, rows, source)
    merge(joined.tally, tally)
    if unpredicted:
        joined.tally.warn(f"mAP is without {len(unpredicted)} videos that have no predictions, recalls are with them")
    counts = joined.tally.counts(
        videos=joined.records,
        with_predictions={table.videos[video] for video in np.unique(table.video_idx)},
        classes=scored.class_count,
        base_classes=len(set(scored.per_class) & set(base)),
        ground_truth=len(joined.truth),
        duplicates_removed=joined.duplicates_removed,
        predictions=len(table),
        predictions_evaluated=len(joined.predictions),
        predictions_outside=joined.outside,
    )
    return evaluation(
        protocol,
        inputs,
        joined.tally,
        counts=counts,
        metrics=metrics,
        per_class={name: {**values, "base": float(name in base)} for name, values in scored.per_class.items()},
        subset=scored.subset,
        annotation_format=annotations.format,
    )


def _base_classes(protocol: OpenVocabularyProtocol, annotations: Annotations, inputs: Inputs) -> tuple[str, ...]:
    if protocol.base is not None:
        names, _ = parse_classes(inputs.read(protocol.base), protocol.base)
        check_classes(names, annotations, protocol.base)
        return names
    if not protocol.base_classes:
        raise ConfigError(
            f"protocol {protocol.name} does not know which classes are base",
            expected="a file with the base classes: a JSON list, or one class per line",
            cause="the benchmark's authors did not publish the list",
            todo="give it with --base FILE",
        )
    if not set(protocol.base_classes) & set(annotations.classes):
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: none of the {len(protocol.base_classes)} base classes of "
            f"{protocol.name} is in them: {some(protocol.base_classes)}",
            expected="the benchmark's class names",
            cause="annotations of another benchmark, or names written in another way, such as "
            + some(annotations.classes),
            todo="give the base classes by the annotations' names, with --base FILE",
        )
    return protocol.base_classes


def _in_setting(
    protocol: OpenVocabularyProtocol,
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    table: ResultTable,
    source: str,
    *,
    base: Sequence[str],
    tally: Tally,
) -> tuple[Annotations, ResultTable]:
    """The classes of one kind, and the videos that hold no other."""
    wanted = protocol.setting == "constrained-base"
    excluded = {name for name, _ in protocol.excluded_classes}
    judged = [name for name in annotations.classes if name not in excluded]
    known, left_out = set(judged), {}
    for video, record in records.items():
        kinds = {name in base for name in record.instances.names if name in known}
        if kinds != {wanted}:
            held = ("no class", "classes of the other kind", "base and novel classes")[len(kinds)]
            left_out[video] = f"video with {held}"
    if len(left_out) == len(records):
        kind = "base" if wanted else "novel"
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: none of {len(records)} videos holds {kind} classes alone",
            expected=f"videos without {'novel' if wanted else 'base'} classes",
            cause="a list of base classes that is not this benchmark's" if protocol.base else "",
        )
    kept, rows = without_videos(annotations, table, left_out, tally)
    chosen = {video: record for video, record in records.items() if video not in left_out}
    classes = [name for name in judged if (name in base) == wanted]
    return of_classes(kept, chosen, rows, source, classes=classes, tally=tally)


def _unpredicted(
    protocol: OpenVocabularyProtocol, records: Mapping[str, VideoRecord], table: ResultTable
) -> dict[str, str]:
    """Video without predictions -> why it is not judged; none where the protocol judges all."""
    if protocol.videos == "all":
        return {}
    predicted = {table.videos[video] for video in np.unique(table.video_idx)}
    return {video: "video without predictions" for video in records if video not in predicted}


def _means(kind: str, scored: Scored, names: Sequence[str] | set[str]) -> dict[str, float]:
    """mAP over some of the classes; NaN where none of them has ground truth."""
    rows = [values for name, values in scored.per_class.items() if name in names]
    keys = [name.removeprefix("m") for name in scored.metrics if name.startswith("mAP")]
    return {f"{kind}/m{key}": float(np.mean([row[key] for row in rows])) if rows else float("nan") for key in keys}


def _class_agnostic_recall(
    protocol: OpenVocabularyProtocol, annotations: Annotations, table: ResultTable, source: str
) -> dict[str, float]:
    """Recall of all instances by the best predictions of their video, whatever the classes of both.

    Duplicates are still told by class: what is annotated as two classes at once counts twice, as in STOV-TAL.
    """
    truth = join(protocol, annotations, table, source).truth
    everything, rows = as_one_class(annotations, table, kept=[name for name, _ in protocol.excluded_classes])
    predictions = join(replace(protocol, duplicates="keep"), everything, rows, source).predictions
    pairs = overlaps(without_classes(truth), predictions, [protocol.agnostic_tiou], class_count=1)
    at = threshold_name(protocol.agnostic_tiou)
    recalls = {f"{k}x": float(recall_at(pairs, k)[0, 0]) for k in _MULTIPLES}
    recalls |= {str(k): float(recall_of_best(pairs, k)[0]) for k in protocol.agnostic_counts}
    return {f"agnostic/Recall@{k}@{at}": value for k, value in recalls.items()}
