"""EPIC-KITCHENS: the annotation CSV and the result JSON of the detection challenge.

The CSV (epic-kitchens/epic-kitchens-100-annotations) has verb and noun classes and times as HH:MM:SS.ss; it gives no
subset and no duration. Results (epic-kitchens/C2-Action-Detection) are ActivityNet results whose entries have `verb`,
`noun` and `action` instead of `label`. Classes are named by their numbers: verb "5", noun "35", action "5,35".
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tal.annotations.build import RawVideo, build, clock_seconds
from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable, from_json, results_of
from tal.errors import AnnotationError

TASKS = ("verb", "noun", "action")
CLASS_COUNTS = {"verb": 97, "noun": 300}
"""Classes of EPIC-KITCHENS-100; an action is a pair of them."""

_NEEDED = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")


def parse_action(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records whose classes are actions "verb,noun"."""
    return _parse(text, source, "epic", classes, lambda verb, noun: f"{verb},{noun}")


def parse_verb(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records whose classes are verbs."""
    return _parse(text, source, "epic-verb", classes, lambda verb, noun: str(verb))


def parse_noun(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records whose classes are nouns."""
    return _parse(text, source, "epic-noun", classes, lambda verb, noun: str(noun))


def _parse(
    text: str, source: str, format_name: str, classes: Sequence[str] | None, name: Callable[[int, int], str]
) -> Annotations:
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
    if missing:
        raise AnnotationError(
            f"{source}: no column {', '.join(missing)}",
            expected=f"an EPIC-KITCHENS file with {', '.join(_NEEDED)}",
            cause="the test set's file, which is published without classes" if "verb_class" in missing else "",
        )
    videos: dict[str, RawVideo] = {}
    for row in reader:
        if not any(cell and cell.strip() for cell in row.values() if isinstance(cell, str)):
            continue
        where = f"{source}: line {reader.line_num}"
        raw = videos.setdefault(row["video_id"], RawVideo(extra={"verb": [], "noun": [], "narration": []}))
        try:
            verb, noun = int(row["verb_class"]), int(row["noun_class"])
        except (TypeError, ValueError):
            given = f"verb_class {row['verb_class']!r}, noun_class {row['noun_class']!r}"
            raise AnnotationError(f"{where}: {given}", expected="two whole numbers") from None
        start_s = clock_seconds(row["start_timestamp"], where)
        raw.add(start_s, clock_seconds(row["stop_timestamp"], where), name(verb, noun))
        raw.extra["verb"].append(verb)
        raw.extra["noun"].append(noun)
        raw.extra["narration"].append(row.get("narration") or "")
    names = {label for raw in videos.values() for label in raw.names}
    return build(videos, source=source, reader=format_name, classes=classes, class_order=sorted(names, key=numbers))


def numbers(label: str) -> tuple[int, ...]:
    """The numbers in a class's name: "5,35" -> (5, 35)."""
    return tuple(map(int, label.split(",")))


def of_task(annotations: Annotations, task: str) -> Annotations:
    """The same records with the classes of one task.

    Args:
        annotations: As one of the CSV readers gives them.
        task: "verb", "noun" or "action".

    Raises:
        AnnotationError: annotations without verbs and nouns.
    """
    names: dict[str, list[str]] = {}
    for video, record in annotations.videos.items():
        extra = record.instances.extra
        if len(record.instances) and not {"verb", "noun"} <= set(extra):
            raise AnnotationError(
                f"{annotations.source or 'annotations'}: no verb and noun classes",
                expected="EPIC_100_validation.csv, as published",
                cause="annotations of another benchmark, or a copy with one kind of class",
                todo="for a copy with only one kind of class, say which: task=verb or task=noun",
            )
        columns = [extra.get(name, np.empty(0)).tolist() for name in ("verb", "noun")]
        pairs = list(zip(*columns, strict=True))
        names[video] = [f"{verb},{noun}" if task == "action" else str(verb if task == "verb" else noun)
                        for verb, noun in pairs]  # fmt: skip
    classes = tuple(sorted({name for each in names.values() for name in each}, key=numbers))
    index = {name: position for position, name in enumerate(classes)}
    videos = {
        video: replace(
            record,
            instances=replace(
                record.instances, label=np.array([index[name] for name in names[video]], np.int64), classes=classes
            ),
        )
        for video, record in annotations.videos.items()
    }
    return replace(annotations, classes=classes, videos=videos)


def parse_results(data: Any, source: str) -> dict[str, ResultTable]:
    """task -> predictions, for those of verb, noun and action that the entries have.

    Args:
        data: Parsed JSON.
        source: The file, for messages.

    Raises:
        AnnotationError: not predictions, an entry that lacks a class which others have, or a class outside the lists.
    """
    rows = from_json(data, source)
    results = results_of(data, source)
    first: Any = next((entry for entries in results.values() for entry in entries), {})
    tables = {}
    for task in TASKS:
        if task in first:
            index: dict[str, int] = {}
            label_idx = [
                index.setdefault(_class_name(entry.get(task), task, video, position, source), len(index))
                for video, entries in results.items()
                for position, entry in enumerate(entries)
            ]
            tables[task] = replace(rows, labels=tuple(index), label_idx=np.array(label_idx, np.int64), by_id=False)
    return tables


def _class_name(value: Any, task: str, video: str, position: int, source: str) -> str:
    """The class as it is named here.

    Raises:
        AnnotationError: it is none of the task.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    parts = str(value).split(",") if task == "action" else [str(value)]
    limits = [CLASS_COUNTS[each] for each in (("verb", "noun") if task == "action" else (task,))]
    if isinstance(value, bool) or len(parts) != len(limits) or not all(part.strip().isdecimal() for part in parts):
        raise _wrong_class(value, task, video, position, source, limits)
    found = [int(part) for part in parts]
    if any(number >= limit for number, limit in zip(found, limits, strict=True)):
        raise _wrong_class(value, task, video, position, source, limits)
    return ",".join(map(str, found))


def _wrong_class(
    value: Any, task: str, video: str, position: int, source: str, limits: Sequence[int]
) -> AnnotationError:
    return AnnotationError(
        f"{source}: video {video!r}, prediction {position}: {task} is {value!r}",
        expected=" and ".join(f"a number from 0 to {limit - 1}" for limit in limits)
        + (', as "verb,noun"' if task == "action" else ""),
        cause=f"other predictions of the file have a {task}" if value is None else "",
    )


def renumbered(table: ResultTable, classes: Sequence[str], task: str) -> tuple[ResultTable, Mapping[str, int]]:
    """Predictions of classes without ground truth as the old official evaluator took them, with the number of each.

    Until August 2023 it numbered the classes that have ground truth anew, 0, 1, ... in ascending order, and left all
    other numbers as they were: such a prediction counted for the class whose new number equals its own (an action's
    number is 300 x verb + noun), or for none where there is no such class. ActionFormer and OpenTAD still do.

    Args:
        table: Predictions of one task.
        classes: The classes with ground truth, in ascending order.
        task: "verb", "noun" or "action".
    """
    known = set(classes)
    labels, moved = list(table.labels), {}
    counts = np.bincount(table.label_idx, minlength=len(labels))
    for position, label in enumerate(table.labels):
        own = numbers(label)
        number = own[0] * CLASS_COUNTS["noun"] + own[1] if task == "action" else own[0]
        if label not in known and number < len(classes):
            labels[position] = classes[number]
            moved[label] = int(counts[position])
    return replace(table, labels=tuple(labels)), moved
