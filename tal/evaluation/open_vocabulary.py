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
from tal.evaluation.joining import join, read_annotations, read_predictions
from tal.evaluation.narrowing import check_classes, merge, of_classes, refuse_foreign, without_videos
from tal.evaluation.one_class import as_one_class
from tal.evaluation.result import Evaluation, threshold_name
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
    annotations = read_annotations(annotations, inputs)
    table, source = read_predictions(predictions, inputs)
    base = _base_classes(protocol, annotations, inputs)
    subset, _ = present_subset(annotations, protocol.subset)
    tally, records = Tally(), in_subset(annotations, subset)
    refuse_foreign(annotations, records, table, source)
    left_out = _left_out(protocol, annotations, records, base, table)
    kept, rows = without_videos(annotations, table, left_out, tally)
    if protocol.setting != "generalised":
        wanted = protocol.setting == "constrained-base"
        classes = [name for name in _judged_classes(protocol, annotations) if (name in base) == wanted]
        kept, rows = of_classes(kept, in_subset(kept, subset), rows, source, classes=classes, tally=tally)
    scored = score(protocol, kept, rows, source)
    joined = scored.joined
    metrics = dict(scored.metrics)
    if protocol.setting == "generalised":
        metrics |= _means("base", scored, base) | _means("novel", scored, set(scored.per_class) - set(base))
    metrics |= _class_agnostic_recall(protocol, kept, rows, source, scored)
    merge(joined.tally, tally)
    if any("predictions" in reason for reason in left_out.values()):
        joined.tally.warn("videos that the predictions do not name are left out, with their ground truth")
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
    return Evaluation(
        protocol=protocol.name,
        title=protocol.title,
        options=protocol.described() | {"subset": scored.subset, "annotation_format": annotations.format},
        inputs=inputs.hashes,
        counts=counts,
        metrics=metrics,
        per_class={name: {**values, "base": float(name in base)} for name, values in scored.per_class.items()},
        missing=joined.tally.missing,
        warnings=tuple(joined.tally.warnings),
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


def _judged_classes(protocol: OpenVocabularyProtocol, annotations: Annotations) -> list[str]:
    excluded = {name for name, _ in protocol.excluded_classes}
    return [name for name in annotations.classes if name not in excluded]


def _left_out(
    protocol: OpenVocabularyProtocol,
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    base: Sequence[str],
    table: ResultTable,
) -> dict[str, str]:
    """Video of the split -> why it is not judged."""
    named, judged = set(table.videos), set(_judged_classes(protocol, annotations))
    left_out = {}
    for video, record in records.items():
        kinds = {name in base for name in record.instances.names if name in judged}
        if protocol.setting != "generalised" and kinds != {protocol.setting == "constrained-base"}:
            both = "base and novel classes" if len(kinds) == 2 else "classes of the other kind"
            left_out[video] = f"video with {both if kinds else 'no class'}"
        elif protocol.videos == "predicted" and video not in named:
            left_out[video] = "video that the predictions do not name"
    return left_out


def _means(kind: str, scored: Scored, names: Sequence[str] | set[str]) -> dict[str, float]:
    """mAP over some of the classes; NaN where none of them has ground truth."""
    rows = [values for name, values in scored.per_class.items() if name in names]
    keys = [name.removeprefix("m") for name in scored.metrics if name.startswith("mAP")]
    return {f"{kind}/m{key}": float(np.mean([row[key] for row in rows])) if rows else float("nan") for key in keys}


def _class_agnostic_recall(
    protocol: OpenVocabularyProtocol, annotations: Annotations, table: ResultTable, source: str, scored: Scored
) -> dict[str, float]:
    """Recall of all instances by the best predictions of their video, whatever the classes of both."""
    excluded = [name for name, _ in protocol.excluded_classes]
    everything, rows = as_one_class(annotations, table, kept=excluded)
    rules = replace(protocol, subset=scored.subset, duplicates="keep")
    predictions = join(rules, everything, rows, source).predictions
    truth = without_classes(scored.joined.truth)
    pairs = overlaps(truth, predictions, [protocol.agnostic_tiou], class_count=1)
    at = threshold_name(protocol.agnostic_tiou)
    recalls = {f"{k}x": float(recall_at(pairs, k)[0, 0]) for k in _MULTIPLES}
    recalls |= {str(k): float(recall_of_best(pairs, k)[0]) for k in protocol.agnostic_counts}
    return {f"agnostic/Recall@{k}@{at}": value for k, value in recalls.items()}
