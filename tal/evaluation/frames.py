"""Per-frame mAP: scores of frames, or segments with scores, against multi-label ground truth."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files, frame_scores
from tal.annotations.frame_scores import FrameScores, parse_frame_scores, read_folder
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable, from_json, parse_table
from tal.annotations.subsets import in_subset, listed
from tal.datasets.kinds.frames import FramesProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import read_annotations
from tal.evaluation.result import Evaluation
from tal.evaluation.splits import present_subset
from tal.evaluation.tally import Tally, some
from tal.metrics import frames
from tal.segments import Segments

Floats = NDArray[np.float64]
Predictions = FrameScores | ResultTable

_NUMBERED_CLASS = re.compile(r"c?(\d+)")


def run(
    protocol: FramesProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, NDArray[np.floating] | Segments] | Predictions | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score frames.

    Args:
        protocol: The rules.
        annotations: A file in any format that is read, or records.
        predictions: Scores per frame (see `tal.annotations.frame_scores`), or segments, of which each frame takes the
            highest score of those that cover it; in memory video -> (T, K) scores or segments.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, an unknown subset, other classes, scores with NaN, nothing to evaluate.
    """
    annotations = read_annotations(annotations, inputs)
    found, source = _read(predictions, inputs)
    tally = Tally()
    subset, note = present_subset(annotations, protocol.subset)
    if note:
        tally.warn(note)
    records = in_subset(annotations, subset)
    _check_truth(annotations, records, subset)
    if isinstance(found, FrameScores):
        columns = _columns(protocol, annotations, found, source, inputs)
        scores, labels = _from_scores(protocol, annotations, records, found, columns, tally)
        named, rows = list(found.scores), sum(map(len, found.scores.values()))
    else:
        scores, labels = _from_segments(protocol, annotations, records, found, source, tally)
        named, rows = [found.videos[video] for video in np.unique(found.video_idx)], len(found)
    if not scores:
        raise AnnotationError(
            f"{source}: none of its {len(named)} videos is in subset {subset or 'any'!r}: {some(named)}",
            expected=f"videos such as {some(list(records))}",
            cause="another split, or ids written in another way",
        )
    every, shown = np.concatenate(list(scores.values())), np.concatenate(list(labels.values()))
    precision = frames.frame_average_precision(every, shown, ties=protocol.equal_scores)
    classes, columns_there = annotations.classes, found.width if isinstance(found, FrameScores) else 0
    metrics = _metrics(protocol, precision, shown, max(len(classes), columns_there))
    if protocol.class_count not in (None, len(classes)):
        tally.warn(f"{len(classes)} classes are annotated, the benchmark has {protocol.class_count}")
    counts = tally.counts(
        videos=records,
        with_predictions=named,
        classes=int(shown.any(axis=0).sum()),
        ground_truth=int(shown.sum()),
        predictions=rows,
        predictions_evaluated=rows - sum(tally.dropped.values()),
        frames=len(every),
        frames_without_scores=int((every == -np.inf).all(axis=1).sum()),
    )
    return Evaluation(
        protocol=protocol.name,
        title=protocol.title,
        options=protocol.described() | {"subset": subset, "annotation_format": annotations.format},
        inputs=inputs.hashes,
        counts=counts,
        metrics=metrics,
        per_class=_per_class(classes, precision, shown),
        missing=tally.missing,
        warnings=tuple(tally.warnings),
    )


def _read(predictions: Any, inputs: Inputs) -> tuple[Predictions, str]:
    """(scores or segments, what messages call them)."""
    if isinstance(predictions, FrameScores | ResultTable):
        return predictions, "predictions"
    if isinstance(predictions, Mapping):
        if any(isinstance(each, Segments) for each in predictions.values()):
            return ResultTable.from_segments(predictions), "predictions"
        return FrameScores(scores={video: np.asarray(each) for video, each in predictions.items()}), "predictions"
    path, source = Path(predictions), str(predictions)
    if path.is_dir():
        scores, inputs.hashes[source] = read_folder(path)
        return scores, source
    content = inputs.read(path, binary=True)
    if files.looks_like_json(content):
        data = files.to_json(content, path)
        found: Predictions = (
            parse_frame_scores(content, path) if frame_scores.looks_like(data) else from_json(data, source)
        )
    elif b"label" in content[:400].split(b"\n")[0].lower() and b"," in content[:400].split(b"\n")[0]:
        found = parse_table(content, path)
    else:
        found = parse_frame_scores(content, path)
    if isinstance(found, ResultTable) and not len(found):
        raise AnnotationError(f"{source} holds no predictions", expected="at least one", cause="a run that failed")
    return found, source


def _check_truth(annotations: Annotations, records: Mapping[str, VideoRecord], subset: str | None) -> None:
    if not any(len(record.instances) for record in records.values()):
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: no ground truth in {len(records)} videos of subset "
            f"{subset or 'any'!r}",
            expected="instances to evaluate against",
            todo=f"choose another subset; there are {listed(annotations)}",
        )


def _duration(record: VideoRecord) -> float:
    if record.duration_s is None or not record.duration_s > 0:
        raise AnnotationError(
            f"video {record.video!r}: no duration in the annotations",
            expected="every video's duration, to place the frames in time",
            todo="use annotations that give it, or say how many rows a second has (rate)",
        )
    return record.duration_s


def _columns(
    protocol: FramesProtocol, annotations: Annotations, found: FrameScores, source: str, inputs: Inputs
) -> NDArray[np.int64]:
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


def _from_scores(
    protocol: FramesProtocol,
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    found: FrameScores,
    columns: NDArray[np.int64],
    tally: Tally,
) -> tuple[dict[str, Floats], dict[str, NDArray[np.bool_]]]:
    """(scores, labels) per video: (frames, K) each, columns in the order of the annotations' classes."""
    scores, labels, short, used = {}, {}, [], 0
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
        scores[video] = values[:, columns]
        labels[video] = frames.frame_labels(
            times_s, record.instances, class_count=len(annotations.classes), ends=protocol.ends
        )
    _tell_missing([video for video in records if video not in found.scores], tally, last=protocol.sampling == "times")
    if short:
        tally.warn(f"{len(short)} videos with at most {protocol.points} rows do not count: {some(short)}")
    inside = sum(len(array) for video, array in found.scores.items() if video in records)
    tally.drop("row at no time that is looked at", inside - used)
    return scores, labels


def _chosen_rows(
    protocol: FramesProtocol, record: VideoRecord, rows: int, numbered: bool
) -> tuple[NDArray[np.int64], Floats]:
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


def _from_segments(
    protocol: FramesProtocol,
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    table: ResultTable,
    source: str,
    tally: Tally,
) -> tuple[dict[str, Floats], dict[str, NDArray[np.bool_]]]:
    """(scores, labels) per video, of segments: a frame has the highest score of the segments that cover it."""
    if np.isnan(table.score).any() or np.isnan(table.start_s).any() or np.isnan(table.end_s).any():
        raise AnnotationError(f"{source}: a score or time that is NaN", expected="numbers")
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
    known = {name: position for position, name in enumerate(annotations.classes)}
    foreign = np.array([name not in known for name in table.labels] + [True])[table.label_idx]
    tally.drop("class not in the annotations", int(foreign.sum()))
    if foreign.all():
        raise AnnotationError(
            f"{source}: none of its classes is in the annotations: {some(table.labels)}",
            expected=f"classes such as {some(annotations.classes)}",
        )
    kept = replace(table, labels=tuple(name if name in known else "" for name in table.labels))
    segments = {
        video: replace(each, label=np.array([known.get(name, -1) for name in each.names], np.int64),
                       classes=annotations.classes)
        for video, each in kept.to_segments().items()
    }  # fmt: skip
    outside = [video for video in segments if video not in records]
    _tell_outside(outside, tally)
    tally.drop("video not in the split", sum(int((segments[video].label >= 0).sum()) for video in outside))
    _tell_missing([video for video in records if not len(segments.get(video, ()))], tally, last=True)
    scores, labels = {}, {}
    for video, record in records.items():
        duration_s = _duration(record)
        times_s = (
            frames.point_times(protocol.points, duration_s)
            if protocol.sampling == "times"
            else frames.row_times(math.ceil(duration_s * (protocol.rate or 1)), rate=protocol.rate)
        )
        rules: dict[str, Any] = {"class_count": len(annotations.classes), "ends": protocol.ends}
        scores[video] = frames.segment_scores(times_s, segments.get(video, Segments.empty()), **rules)
        labels[video] = frames.frame_labels(times_s, record.instances, **rules)
    return scores, labels


def _tell_outside(outside: Sequence[str], tally: Tally) -> None:
    if outside:
        tally.warn(f"predictions on {len(outside)} videos that are not in the split are left out: {some(outside)}")


def _tell_missing(missing: Sequence[str], tally: Tally, *, last: bool) -> None:
    if missing:
        fate = "rank last" if last else "do not count, since their number is not known"
        tally.warn(f"the frames of {len(missing)} videos without predictions {fate}: {some(missing)}")


def _metrics(
    protocol: FramesProtocol, precision: Floats, shown: NDArray[np.bool_], class_count: int
) -> dict[str, float]:
    """mAP, and the mean weighted by each class's frames (Charades' WAP)."""
    filled = np.nan_to_num(precision)
    mean = filled.sum() / class_count if protocol.empty_classes == "zero" else np.nanmean(precision)
    return {"mAP": float(mean), "weighted-mAP": float((filled * shown.sum(axis=0)).sum() / shown.sum())}


def _per_class(classes: Sequence[str], precision: Floats, shown: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    counts = shown.sum(axis=0).tolist()
    return {
        name: {"AP": value, "ground_truth": count}
        for name, value, count in zip(classes, precision.tolist(), counts, strict=True)
        if count
    }
