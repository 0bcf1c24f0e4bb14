"""Which frames are judged, and what predictions say of them: rows of scores or segments onto frames with labels."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.annotations.frame_scores import FrameScores
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable
from tal.datasets.kinds.frames import FramesProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.tally import Tally, some
from tal.metrics import frames
from tal.segments import Segments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = tuple[Floats, NDArray[np.bool_]]
"""(frames, K) scores and labels of all videos, in the order of the annotations' classes."""

_NUMBERED_CLASS = re.compile(r"c?(\d+)")


def _duration(record: VideoRecord) -> float:
    if record.duration_s is None or not 0 < record.duration_s < math.inf:
        given = "no duration" if record.duration_s is None else f"a duration of {record.duration_s}"
        raise AnnotationError(
            f"video {record.video!r}: {given} in the annotations",
            expected="every video's duration, to place the frames in time",
            todo="use annotations that give it, or say how many rows a second has (rate)",
        )
    return record.duration_s


def class_columns(
    protocol: FramesProtocol, annotations: Annotations, found: FrameScores, source: str, inputs: Inputs
) -> Ints:
    """(classes,) the column of the scores that belongs to each class of the annotations."""
    classes, width = annotations.classes, found.width
    names = found.columns
    if protocol.columns is not None:
        lines = files.to_text(inputs.read(protocol.columns), protocol.columns).splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
    if names is not None:
        if len(names) != width:
            raise AnnotationError(f"{source}: {width} columns of scores and {len(names)} names", expected="as many")
        index = {name: position for position, name in enumerate(names)}
        lacking = [name for name in classes if name not in index]
        if lacking:
            raise AnnotationError(
                f"{source}: no column for {len(lacking)} classes: {some(lacking)}", expected=f"as: {some(names)}"
            )
        return np.array([index[name] for name in classes], np.int64)
    numbered = [_NUMBERED_CLASS.fullmatch(name) for name in classes]
    if all(numbered):
        numbers = np.array([int(each[1]) for each in numbered if each], np.int64)
        if numbers.max() < width:
            return numbers
        if numbers.min() >= 1 and numbers.max() == width:  # MultiTHUMOS numbers its classes from 1.
            return numbers - 1
    if len(classes) == width:
        return np.arange(width)
    raise AnnotationError(
        f"{source}: {width} columns of scores for {len(classes)} classes",
        expected="a column per class",
        cause="scores of shape (K, T), or of another set of classes",
        todo="name the columns in a file, one class per line, and give it as columns",
    )


def rows_of_scores(
    protocol: FramesProtocol,
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    found: FrameScores,
    columns: Ints,
    tally: Tally,
) -> Rows:
    """(scores, labels) of the frames that are judged."""
    scores, labels, short, used = [], [], [], 0
    outside = [video for video in found.scores if video not in records]
    _tell_outside(outside, tally)
    tally.drop("video not in the split", sum(len(found.scores[video]) for video in outside))
    for video, record in records.items():
        array = found.scores.get(video)
        if array is None and protocol.sampling != "times":
            continue
        rows = np.empty((0, found.width)) if array is None else array
        if np.isnan(rows).any():
            raise AnnotationError(
                f"video {video!r}: scores that are NaN", expected="numbers", cause="a training run that diverged"
            )
        chosen, times_s = _chosen_rows(protocol, record, len(rows), found.numbered)
        if not len(times_s):
            short.append(video)
            continue
        used += len(chosen)
        values = np.full((len(times_s), found.width), -np.inf)
        values[: len(chosen)] = rows[chosen]
        scores.append(values[:, columns])
        labels.append(
            frames.frame_labels(times_s, record.instances, class_count=len(annotations.classes), ends=protocol.ends)
        )
    _tell_missing([video for video in records if video not in found.scores], tally, last=protocol.sampling == "times")
    if short:
        tally.warn(f"{len(short)} videos with at most {protocol.points} rows do not count: {some(short)}")
    inside = sum(len(array) for video, array in found.scores.items() if video in records)
    tally.drop("row at no time that is looked at", inside - used)
    if not scores:
        raise AnnotationError(
            f"no video has more than {protocol.points} rows of scores",
            expected="longer ones, of which rows are taken at a stride",
            todo="sampling=rows takes all rows",
        )
    return np.concatenate(scores), np.concatenate(labels)


def _chosen_rows(protocol: FramesProtocol, record: VideoRecord, rows: int, numbered: bool) -> tuple[Ints, Floats]:
    """(rows of the scores, seconds of the frames); where rows end early, the later frames have no scores."""
    if protocol.sampling == "times":
        duration_s = _duration(record)
        times_s = frames.point_times(protocol.points, duration_s)
        if numbered:
            return np.arange(min(rows, protocol.points)), times_s
        per_second = protocol.rate if protocol.rate is not None else rows / duration_s
        wanted = np.floor(times_s * per_second + 1e-9).astype(np.int64)
        return wanted[wanted < rows], times_s
    per_row_s = frames.row_times(
        rows, duration_s=None if protocol.rate is not None else _duration(record), rate=protocol.rate
    )
    if protocol.sampling == "rows":
        return np.arange(rows), per_row_s
    step = int(rows / protocol.points)
    strided = np.arange(1, rows, max(step, 1))[: protocol.points] if rows > protocol.points else np.empty(0, np.int64)
    return strided, per_row_s[strided]


def rows_of_segments(
    protocol: FramesProtocol,
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    table: ResultTable,
    source: str,
    tally: Tally,
) -> Rows:
    """(scores, labels) of the frames that are judged: each has the highest score of the segments that cover it."""
    if protocol.sampling == "strided":
        raise AnnotationError(
            f"{source}: segments, where rows of scores are strided", expected="scores per frame", todo="sampling=times"
        )
    if protocol.sampling == "rows" and protocol.rate is None:
        raise AnnotationError(
            f"{source}: segments, and no rate of frames to look at them",
            expected="scores per frame, or segments and a rate",
            todo="give rate, in frames per second, or sampling=times",
        )
    segments = _segments(annotations, table, source, tally)
    outside = [video for video in segments if video not in records]
    _tell_outside(outside, tally)
    tally.drop("video not in the split", sum(int((segments[video].label >= 0).sum()) for video in outside))
    _tell_missing([video for video in records if not len(segments.get(video, ()))], tally, last=True)
    scores, labels, count = [], [], len(annotations.classes)
    for video, record in records.items():
        duration_s = _duration(record)
        if protocol.sampling == "times":
            times_s = frames.point_times(protocol.points, duration_s)
        else:
            times_s = frames.row_times(math.ceil(duration_s * (protocol.rate or 1)), rate=protocol.rate)
        found = segments.get(video, Segments.empty())
        scores.append(frames.segment_scores(times_s, found, class_count=count, ends=protocol.ends))
        labels.append(frames.frame_labels(times_s, record.instances, class_count=count, ends=protocol.ends))
    return np.concatenate(scores), np.concatenate(labels)


def _segments(annotations: Annotations, table: ResultTable, source: str, tally: Tally) -> dict[str, Segments]:
    """video -> segments with the annotations' classes; those of other classes get label -1, and are counted."""
    if np.isnan(table.score).any() or np.isnan(table.start_s).any() or np.isnan(table.end_s).any():
        raise AnnotationError(f"{source}: a score or time that is NaN", expected="numbers")
    known = {name: position for position, name in enumerate(annotations.classes)}
    foreign = np.array([name not in known for name in table.labels] + [True])[table.label_idx]
    tally.drop("class not in the annotations", int(foreign.sum()))
    if foreign.all():
        raise AnnotationError(
            f"{source}: none of its classes is in the annotations: {some(table.labels)}",
            expected=f"classes such as {some(annotations.classes)}",
        )
    kept = replace(table, labels=tuple(name if name in known else "" for name in table.labels))
    return {
        video: replace(
            each,
            label=np.array([known.get(name, -1) for name in each.names], np.int64),
            classes=annotations.classes,
        )
        for video, each in kept.to_segments().items()
    }


def _tell_outside(outside: Sequence[str], tally: Tally) -> None:
    if outside:
        tally.warn(f"predictions on {len(outside)} videos that are not in the split are left out: {some(outside)}")


def _tell_missing(missing: Sequence[str], tally: Tally, *, last: bool) -> None:
    if missing:
        fate = "rank last" if last else "do not count, since their number is not known"
        tally.warn(f"the frames of {len(missing)} videos without predictions {fate}: {some(missing)}")
