"""Annotations and predictions cut down to some videos and classes of a split; everything left out is counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable
from tal.errors import AnnotationError, unknown_name
from tal.evaluation.tally import Tally, some
from tal.segments import Segments

OTHER_CLASS = "class that is not evaluated"


def without_videos(
    annotations: Annotations, table: ResultTable, left_out: Mapping[str, str], tally: Tally
) -> tuple[Annotations, ResultTable]:
    """Leave out videos, with the predictions on them.

    Args:
        annotations: Records.
        table: Predictions.
        left_out: Video -> why.
        tally: Counts the rows of each reason.
    """
    for video, reason in left_out.items():
        tally.exclude(reason, len(annotations.videos[video].instances))
    reasons = [left_out.get(video, "") for video in table.videos]
    kept = np.array([not reason for reason in reasons], bool)[table.video_idx]
    for reason, count in zip(reasons, np.bincount(table.video_idx, minlength=len(reasons)).tolist(), strict=True):
        if reason:
            tally.drop(reason, count)
    videos = {video: record for video, record in annotations.videos.items() if video not in left_out}
    return replace(annotations, videos=videos), table[kept]


def of_classes(
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    table: ResultTable,
    source: str,
    *,
    classes: Sequence[str],
    tally: Tally,
) -> tuple[Annotations, ResultTable]:
    """Keep some classes, which become the class list; instances with a faulty label stay, to be told as such.

    Args:
        annotations: Of all splits.
        records: Those of the split; the others keep no instance.
        table: The predictions.
        source: What messages call them.
        classes: The classes to keep.
        tally: Counts the rows of the others.

    Raises:
        AnnotationError: predictions by `label_id`.
    """
    if table.by_id:
        raise AnnotationError(
            f"{source} names classes by label_id",
            expected="class names, key `label`",
            cause="tools number the classes of each list anew, so that an id can mean two classes",
        )
    index = {name: position for position, name in enumerate(classes)}
    to_new = np.array([*(index.get(name, -1) for name in annotations.classes), -1])
    nothing = Segments.empty(tuple(classes))
    videos = {}
    for video, record in annotations.videos.items():
        if video not in records:
            videos[video] = replace(record, instances=nothing)
            continue
        rows, label = record.instances, to_new[record.instances.label]
        other = np.flatnonzero((label < 0) & (rows.label >= 0))
        if len(other):
            tally.exclude(OTHER_CLASS, len(other))
            rows, label = rows[np.delete(np.arange(len(rows)), other)], np.delete(label, other)
        videos[video] = replace(record, instances=replace(rows, label=label, classes=tuple(classes)))
    foreign = np.array([name in annotations.classes and name not in index for name in table.labels] + [False], bool)
    dropped = foreign[table.label_idx]
    tally.drop(OTHER_CLASS, int(dropped.sum()))
    return replace(annotations, classes=tuple(classes), videos=videos), _with_labels(table[~dropped], classes)


def _with_labels(table: ResultTable, classes: Sequence[str]) -> ResultTable:
    """The same predictions whose list of labels begins with `classes`, so that it is never foreign to them."""
    labels = tuple(dict.fromkeys([*classes, *table.labels]))
    position = {name: place for place, name in enumerate(labels)}
    to_new = np.array([*(position[name] for name in table.labels), -1])
    return replace(table, labels=labels, label_idx=to_new[table.label_idx])


def refuse_foreign(
    annotations: Annotations, records: Mapping[str, VideoRecord], table: ResultTable, source: str
) -> None:
    """Refuse predictions of another benchmark, which would be left out to the last.

    Raises:
        AnnotationError: predictions of no class that is annotated, or on no video of the split.
    """
    if not len(table):
        return
    if not table.by_id and not set(table.labels) & set(annotations.classes):
        raise AnnotationError(
            f"{source}: none of its {len(table.labels)} classes is in the annotations: {some(table.labels)}",
            expected=f"classes such as {some(annotations.classes)}",
            cause="predictions of another benchmark, or other names for its classes",
        )
    named = [table.videos[video] for video in np.unique(table.video_idx)]
    if not any(video in records for video in named):
        raise AnnotationError(
            f"{source}: its {len(named)} videos are not in the split: {some(named)}",
            expected=f"videos such as {some(list(records))}",
            cause="predictions of another split, or ids written in another way",
            todo="choose the subset, or use the annotations' ids in the predictions",
        )


def check_classes(names: Collection[str], annotations: Annotations, path: object) -> None:
    """Refuse a list of classes that is not of this benchmark.

    Raises:
        AnnotationError: a class that the annotations lack, with the closest names there are.
    """
    for name in names:
        if name not in annotations.classes:
            raise AnnotationError(
                f"{path}: class {name!r} is not in the annotations",
                expected=f"classes such as {some(annotations.classes)}",
                cause="the list of another benchmark, or other names for its classes",
                todo=unknown_name("class", name, annotations.classes).todo,
            )


def merge(tally: Tally, other: Tally) -> None:
    """Add to a tally what another step left out."""
    for reason, count in other.dropped.items():
        tally.drop(reason, count)
    for reason, count in other.excluded.items():
        tally.exclude(reason, count)
