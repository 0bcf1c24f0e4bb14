"""EPIC-KITCHENS detection: mAP of verbs, nouns and actions from one file of predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tal.annotations import epic, files
from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable, parse_table
from tal.datasets.kinds.epic import EpicProtocol
from tal.errors import AnnotationError
from tal.evaluation.detection import Scored, score, with_blocked
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally


def run(
    protocol: EpicProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, ResultTable] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score predictions as verbs, nouns and actions, as far as they have them.

    Args:
        protocol: The rules.
        annotations: The published CSV, or its records; with `task` any file with one kind of class.
        predictions: The challenge's result JSON; with `task` any results with one kind of class; or task -> columns.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, predictions with NaN, or nothing to evaluate.
    """
    annotations = inputs.annotations(annotations)
    tables, source = read_tasks(protocol, predictions, inputs)
    scored = score_tasks(protocol, annotations, tables, source, inputs)
    return _joined(protocol, annotations, tables, scored, inputs)


def score_tasks(
    protocol: EpicProtocol, annotations: Annotations, tables: Mapping[str, ResultTable], source: str, inputs: Inputs
) -> dict[str, Scored]:
    """Task -> its numbers and rows.

    Raises:
        TalError: as `run`.
    """
    rules = with_blocked(protocol, inputs)
    scored = {}
    for task, table in tables.items():
        truth = annotations if protocol.task and not _has_both(annotations) else epic.of_task(annotations, task)
        scored[task] = _scored(rules, truth, table, source, task)
    return scored


def _has_both(annotations: Annotations) -> bool:
    filled = (record.instances.extra for record in annotations.videos.values() if len(record.instances))
    return all({"verb", "noun"} <= set(extra) for extra in filled)


def read_tasks(
    protocol: EpicProtocol, predictions: Mapping[str, ResultTable] | Path | str, inputs: Inputs
) -> tuple[dict[str, ResultTable], str]:
    """(task -> predictions, what messages call them).

    Raises:
        AnnotationError: a file that cannot be read, or that has no verb, noun or action.
    """
    if not isinstance(predictions, Path | str):
        return dict(predictions), "predictions"
    source, content = str(predictions), inputs.read(predictions)
    data = files.to_unique_json(content, predictions) if files.looks_like_json(content) else None
    tables = {} if data is None else epic.parse_results(data, source)
    if protocol.task is not None:
        table = tables.get(protocol.task) or parse_table(content, predictions)
        tables = {protocol.task: table} if len(table) else {}
    elif not tables and (data is None or len(parse_table(content, predictions))):
        raise AnnotationError(
            f"{source}: no prediction has a verb, noun or action",
            expected='{"results": {VIDEO: [{segment, score, verb, noun, action}]}}, the challenge\'s result JSON',
            cause="results with `label`, of another benchmark or of one kind of class",
            todo="for one kind of class, say which: task=verb, task=noun or task=action",
        )
    if not tables:
        raise AnnotationError(f"{source} holds no predictions", expected="at least one", cause="a run that failed")
    return tables, source


def _scored(protocol: EpicProtocol, annotations: Annotations, table: ResultTable, source: str, task: str) -> Scored:
    numbered = all(part.isdecimal() for name in annotations.classes for part in name.split(","))
    moved: Mapping[str, int] = {}
    if protocol.absent_classes == "renumber" and numbered and not protocol.class_agnostic:
        table, moved = epic.renumbered(table, annotations.classes, task)
    scored = score(protocol, annotations, table, source)
    if moved:
        scored.joined.tally.warn(
            f"{sum(moved.values())} predictions of {len(moved)} classes without ground truth count for other classes, "
            "because these evaluators number the classes anew; absent_classes=drop leaves them out"
        )
    return scored


def _joined(
    protocol: EpicProtocol,
    annotations: Annotations,
    tables: Mapping[str, ResultTable],
    scored: Mapping[str, Scored],
    inputs: Inputs,
) -> Evaluation:
    """One result of all tasks; what was left out is told per task."""
    tally, told = Tally(), []
    for task, each in scored.items():
        part = each.joined.tally
        for reason, count in part.dropped.items():
            tally.drop(f"{task}: {reason}", count)
        for reason, count in part.excluded.items():
            tally.exclude(f"{task}: {reason}", count)
        told += [(task, text) for text in part.warnings]
    for text in dict.fromkeys(text for _, text in told):
        tasks = [task for task, other in told if other == text]
        tally.warn(text if len(tasks) == len(scored) else f"{', '.join(tasks)}: {text}")
    lacking = [task for task in epic.TASKS if task not in scored]
    if lacking:
        tally.warn(f"the predictions have no {' and no '.join(lacking)}: evaluated are {', '.join(scored)}")
    first, table = next(iter(scored.values())).joined, next(iter(tables.values()))
    further: dict[str, Any] = {}
    for task, each in scored.items():
        further[f"{task}_classes"] = each.class_count
        further |= {f"{task}_{name}": count for name, count in each.tie_counts.items()}
    counts = tally.counts(
        videos=first.records,
        with_predictions={table.videos[video] for video in np.unique(table.video_idx)},
        ground_truth=max(len(each.joined.truth) for each in scored.values()),
        duplicates_removed=max(each.joined.duplicates_removed for each in scored.values()),
        predictions=len(table),
        predictions_evaluated=max(len(each.joined.predictions) for each in scored.values()),
        predictions_outside=max(each.joined.outside for each in scored.values()),
        **further,
    )
    subset = next(iter(scored.values())).subset
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=counts,
        metrics={f"{task}/{name}": value for task, each in scored.items() for name, value in each.metrics.items()},
        per_class={f"{task}/{name}": value for task, each in scored.items() for name, value in each.per_class.items()},
        subset=subset,
        annotation_format=annotations.format,
    )
