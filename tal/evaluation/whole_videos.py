"""Scores of whole videos and their labels, brought onto common videos and classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.class_scores import ClassScores, parse_scores
from tal.annotations.labels import labels_of, parse_classes, parse_labels
from tal.annotations.records import Annotations
from tal.datasets.kinds.recognition import MultilabelProtocol, RecognitionProtocol
from tal.errors import AnnotationError
from tal.evaluation.by_video import shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.tally import Tally, some
from tal.metrics.recognition import pooled

Floats = NDArray[np.float64]

_NUMBER = re.compile(r"c?(\d+)")


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeVideos:
    """N videos with their scores and labels.

    Args:
        videos: Ids, in the annotations' order.
        predicted: Those of them that the predictions have.
        classes: K names.
        score: (N, K); -inf throughout for a video without prediction.
        right: (N, K) whether a class is one of the video's labels.
        rows: Rows that the predictions held.
        evaluated: Those of them on these videos.
    """

    videos: tuple[str, ...]
    predicted: tuple[str, ...]
    classes: tuple[str, ...]
    score: Floats
    right: NDArray[np.bool_]
    rows: int
    evaluated: int


def join(
    protocol: RecognitionProtocol | MultilabelProtocol,
    annotations: Annotations | Mapping[str, str | int | Sequence[str | int]] | Path | str,
    predictions: ClassScores | Mapping[str, Any] | Path | str,
    inputs: Inputs,
    tally: Tally,
) -> WholeVideos:
    """Read both sides.

    Raises:
        TalError: files that cannot be read, no video or class in common, or scores whose classes are not known.
    """
    truth = _truth(protocol, annotations, inputs)
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    scores = _scores(predictions, inputs)
    classes, index = _classes(protocol, scores, inputs, source)
    labels = {video: [_position(name, index, len(classes)) for name in names] for video, names in truth.items()}
    unknown = sorted({n for v, names in truth.items() for n, at in zip(names, labels[v], strict=True) if at < 0})
    if unknown:
        classes, labels = _with_unknown(truth, labels, classes, unknown, tally, source)

    first: dict[str, int] = {}
    row_idx = np.array([first.setdefault(video, len(first)) for video in scores.videos])
    table = pooled(_activated(scores.score, protocol.activation), row_idx, maximum=protocol.views == "max")
    if len(first) < len(row_idx):
        tally.warn(f"{len(row_idx)} rows of {len(first)} videos: the {protocol.views} of a video's rows is taken")
    if scores.absent:
        tally.warn(f"{scores.absent} scores are not given: those classes come last in their videos")
    ours = shared(truth, first, tally, source)
    score = np.full((len(truth), len(classes)), -np.inf)
    right = np.zeros(score.shape, bool)
    for position, video in enumerate(truth):
        right[position, labels[video]] = True
        if video in ours:
            score[position, : table.shape[1]] = table[ours[video]]
    return WholeVideos(
        videos=tuple(truth),
        predicted=tuple(ours),
        classes=classes,
        score=score,
        right=right,
        rows=len(row_idx),
        evaluated=int(np.isin(row_idx, list(ours.values())).sum()),
    )


def _truth(protocol: Any, annotations: Any, inputs: Inputs) -> dict[str, tuple[str, ...]]:
    if isinstance(annotations, Annotations):
        return labels_of(annotations, protocol.subset)
    if isinstance(annotations, Path | str):
        return parse_labels(inputs.read(annotations), annotations, subset=protocol.subset)
    return {
        video: (str(labels),) if isinstance(labels, str | int) else tuple(map(str, labels))
        for video, labels in annotations.items()
    }


def _scores(predictions: Any, inputs: Inputs) -> ClassScores:
    if isinstance(predictions, ClassScores):
        return predictions
    if isinstance(predictions, Path | str):
        return parse_scores(inputs.read(predictions, binary=True), predictions)
    return ClassScores.from_mapping(predictions)


def _classes(
    protocol: RecognitionProtocol | MultilabelProtocol, scores: ClassScores, inputs: Inputs, source: str
) -> tuple[tuple[str, ...], dict[str, int] | None]:
    """(names of the columns, every way to name one -> its index); None where labels can only be numbers."""
    count = scores.score.shape[1]
    if protocol.classes is not None:
        names, index = parse_classes(inputs.read(protocol.classes), protocol.classes)
        if scores.classes is None and len(names) != count:
            raise AnnotationError(
                f"{source}: {count} scores per video, {protocol.classes} lists {len(names)} classes",
                expected="one score of every class",
            )
        if scores.classes is None:
            return names, index
        position = {name: at for at, name in enumerate(scores.classes)}
        return scores.classes, position | {
            token: position[names[at]] for token, at in index.items() if names[at] in position
        }
    if scores.classes is None:
        return tuple(map(str, range(count))), None
    return scores.classes, {name: at for at, name in enumerate(scores.classes)}


def _position(label: str, index: Mapping[str, int] | None, count: int) -> int:
    """Column of a label; -1 if it has none. Without names a label is the column's number, `c012` included."""
    if index is not None:
        return index.get(label, -1)
    match = _NUMBER.fullmatch(label)
    return int(match[1]) if match and int(match[1]) < count else -1


def _with_unknown(
    truth: Mapping[str, tuple[str, ...]],
    labels: Mapping[str, list[int]],
    classes: tuple[str, ...],
    unknown: list[str],
    tally: Tally,
    source: str,
) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """The labels that no column stands for get one of their own, in which no video has a score."""
    if all(at < 0 for each in labels.values() for at in each):
        raise AnnotationError(
            f"{source}: its classes are {some(classes)}, the annotations' labels {some(unknown)}",
            expected="scores of the annotations' classes",
            cause="scores without class names for labels with names" if classes[0] == "0" else "another benchmark",
            todo="give the class names in the order of the scores with --classes FILE",
        )
    tally.warn(f"{len(unknown)} classes of the annotations have no scores ({some(unknown)}): they are never right")
    column = {name: len(classes) + position for position, name in enumerate(unknown)}
    further = {
        video: [column[name] if at < 0 else at for name, at in zip(truth[video], each, strict=True)]
        for video, each in labels.items()
    }
    return (*classes, *unknown), further


def _activated(score: Floats, activation: str) -> Floats:
    if activation == "none":
        return score
    with np.errstate(over="ignore"):
        if activation == "sigmoid":
            return 1 / (1 + np.exp(-score))
        exponential = np.exp(score - score.max(1, keepdims=True))
    return exponential / exponential.sum(1, keepdims=True)
