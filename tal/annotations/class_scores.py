"""Scores of every class for whole videos, as recognition models give them: npz, JSON, CSV and plain lists.

`{VIDEO: {CLASS: score}}`, `{VIDEO: [score, ...]}`, `{VIDEO: [{"label", "score"}, ...]}` (also under `results`), CSV
with one column per class or with rows of video, label and score, lines of `VIDEO score score ...` as in submissions to
Charades, and npz with `scores` (R, K), `videos` (R,) and optionally `classes` (K,). Several rows of a video are clips.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.annotations.csv import video_id
from tal.annotations.rows import ID_NAMES, VALUE, Row, number, parse_npz, parse_rows
from tal.errors import AnnotationError

Floats = NDArray[np.float64]

_SCORE_NAMES = ("scores", "score", VALUE)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClassScores:
    """R rows of scores.

    Args:
        videos: (R,) the video of each row; one that stands several times has several clips.
        classes: Names of the K columns; None where the file has none.
        score: (R, K); -inf where a class has no score.
        absent: Number of scores that the file does not give.
    """

    videos: tuple[str, ...]
    classes: tuple[str, ...] | None
    score: Floats
    absent: int = 0

    @classmethod
    def from_mapping(cls, scores: Mapping[str, Any]) -> "ClassScores":
        """{VIDEO: (K,) or (clips, K) scores} or {VIDEO: {CLASS: score}}.

        Raises:
            AnnotationError: rows of different lengths, or scores that are NaN.
        """
        rows = []
        for video, value in scores.items():
            where = f"scores of video {video!r}"
            clips = [value] if isinstance(value, Mapping) or np.ndim(value) < 2 else list(value)
            rows += [
                Row(id=video, cells=clip if isinstance(clip, Mapping) else {VALUE: list(clip)}, where=where)
                for clip in clips
            ]
        return _of_rows(rows)


def parse_scores(content: bytes, path: Path | str) -> ClassScores:
    """Scores from a file's content.

    Raises:
        AnnotationError: not readable as any of these forms, rows of different lengths, or a score that is NaN.
    """
    if content.startswith(b"PK\x03\x04"):
        return _from_npz(parse_npz(content, path), str(path))
    if not files.looks_like_json(content):
        text = files.to_text(content, path)
        first = re.split(r"[\s,;]+", text.splitlines()[0].strip())
        if first[0].lower() not in ID_NAMES and len(first) > 1 and all(map(_is_number, first[1:])):
            return _of_rows(_listed(text, str(path)))
        if (table := _column_per_class(text)) is not None:
            return table
    return _of_rows(parse_rows(content, path))


def _from_npz(arrays: Mapping[str, NDArray[Any]], source: str) -> ClassScores:
    scores = arrays.get("scores", arrays.get("score"))
    videos = next((arrays[name] for name in ("videos", "ids", "video", "names") if name in arrays), None)
    if scores is None and videos is None:  # One array per video.
        return ClassScores.from_mapping(arrays)
    if scores is None or videos is None or scores.ndim != 2 or videos.shape != scores.shape[:1]:
        held = ", ".join(f"{name} {each.shape}" for name, each in arrays.items())
        raise AnnotationError(f"{source} holds {held}", expected="scores (R, K), videos (R,), optionally classes (K,)")
    classes = arrays.get("classes")
    if classes is not None and classes.shape != scores.shape[1:]:
        raise AnnotationError(f"{source}: {len(classes)} classes for {scores.shape[1]} columns of scores")
    return _checked(
        tuple(video_id(str(each)) for each in videos.tolist()),
        None if classes is None else tuple(map(str, classes.tolist())),
        scores.astype(np.float64),
        source,
    )


def _column_per_class(text: str) -> ClassScores | None:
    """A plain table with a column per class, read at once; None for any other, which rows read and judge."""
    lines = [line for line in text.splitlines() if line.strip()]
    delimiter = max(",;\t", key=lines[0].count)
    header = [cell.strip() for cell in lines[0].split(delimiter)]
    plain = [cell.lower().replace("-", "_").replace(" ", "_") for cell in header]
    column = next((plain.index(name) for name in ID_NAMES if name in plain), None)
    if column is None or '"' in text or "label" in plain or len(lines) < 2 or len(header) < 2:
        return None
    if len(set(header)) < len(header) or any(line.count(delimiter) != len(header) - 1 for line in lines):
        return None
    numbers = [position for position in range(len(header)) if position != column]
    try:
        score = np.loadtxt(lines, np.float64, comments=None, delimiter=delimiter, skiprows=1, usecols=numbers, ndmin=2)
    except ValueError:
        return None
    if not np.isfinite(score).all():
        return None
    return ClassScores(
        videos=tuple(video_id(line.split(delimiter, column + 1)[column].strip()) for line in lines[1:]),
        classes=tuple(header[position] for position in numbers),
        score=score,
    )


def _listed(text: str, source: str) -> list[Row]:
    rows = []
    for line_number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            video, *scores = re.split(r"[\s,;]+", line.strip())
            where = f"{source}: line {line_number}"
            rows.append(Row(id=video_id(video), cells={VALUE: scores}, where=where))
    return rows


def _of_rows(rows: Sequence[Row]) -> ClassScores:
    if not rows:
        raise AnnotationError("predictions hold no scores", expected="scores of at least one video")
    if any(not row.id for row in rows):
        row = next(row for row in rows if not row.id)
        raise AnnotationError(f"{row.where} names no video", expected="an id in every entry")
    if all("label" in row.cells for row in rows):
        return _named(_gathered(rows))
    vectors = [row.first(_SCORE_NAMES) for row in rows]
    if all(isinstance(vector, list) and not any(isinstance(each, dict) for each in vector) for vector in vectors):
        return _unnamed(rows, vectors)
    return _named([(row.id, _by_class(row), row.where) for row in rows])


def _gathered(rows: Sequence[Row]) -> list[tuple[str, dict[str, Any], str]]:
    """Rows of video, label and score: one set of scores per video."""
    found: dict[str, tuple[str, dict[str, Any], str]] = {}
    for row in rows:
        _, scores, _ = found.setdefault(row.id, (row.id, {}, row.where))
        label = str(row.cells["label"])
        if label in scores:
            raise AnnotationError(f"{row.where}: {row.id!r} has two scores of {label!r}", expected="one of each class")
        scores[label] = row.first(("score", "scores", "confidence", "probability"))
    return list(found.values())


def _by_class(row: Row) -> dict[str, Any]:
    """Class -> score of a row that has them as cells, or as a list of labels with scores."""
    listed = row.first(_SCORE_NAMES)
    if isinstance(listed, dict):
        return {str(name): value for name, value in listed.items()}
    if isinstance(listed, list):
        if not all(isinstance(each, dict) and {"label", "score"} <= each.keys() for each in listed):
            raise AnnotationError(f"{row.where}: a list that mixes kinds", expected='[{"label", "score"}] or numbers')
        scores = {str(each["label"]): each["score"] for each in listed}
        if len(scores) < len(listed):
            raise AnnotationError(
                f"{row.where}: two scores of one class",
                expected="one of each class",
                cause="detections of segments, not scores of whole videos",
            )
        return scores
    if VALUE in row.cells:
        raise AnnotationError(f"{row.where}: {listed!r:.80} for all classes", expected="a score of every class")
    if "annotations" in row.cells:
        raise AnnotationError(f"{row.where}: annotations, not predictions", cause="the two files were exchanged")
    return {name: value for name, value in row.cells.items() if not _names_video(name, row)}


def _names_video(name: str, row: Row) -> bool:
    return name.lower().replace("-", "_").replace(" ", "_") in ID_NAMES and video_id(str(row.cells[name])) == row.id


def _named(rows: Sequence[tuple[str, Mapping[str, Any], str]]) -> ClassScores:
    videos = tuple(video for video, _, _ in rows)
    names = tuple(dict.fromkeys(name for _, scores, _ in rows for name in scores))
    if not names:
        raise AnnotationError(f"{rows[0][2]}: no class has a score", expected="a score of every class")
    index = {name: position for position, name in enumerate(names)}
    score = np.full((len(rows), len(names)), -np.inf)
    for row_idx, (_, scores, where) in enumerate(rows):
        for name, value in scores.items():
            score[row_idx, index[name]] = number(value, f"{where}: class {name!r}")
    absent = score.size - sum(len(scores) for _, scores, _ in rows)
    return ClassScores(videos=videos, classes=names, score=score, absent=absent)


def _unnamed(rows: Sequence[Row], vectors: Sequence[list[Any]]) -> ClassScores:
    lengths = [len(vector) for vector in vectors]
    if len(set(lengths)) > 1 or not lengths[0]:
        odd = next((row for row, length in zip(rows, lengths, strict=True) if length != lengths[0]), rows[0])
        raise AnnotationError(
            f"{odd.where}: {len(vectors[rows.index(odd)])} scores, others have {lengths[0]}",
            expected="one score of every class, in one order",
        )
    try:
        score = np.array(vectors, np.float64)
    except (TypeError, ValueError):
        for row, vector in zip(rows, vectors, strict=True):
            for value in vector:
                number(value, row.where)
        raise
    return _checked(tuple(row.id for row in rows), None, score, rows[0].where.rsplit(": ", 1)[0])


def _checked(videos: tuple[str, ...], classes: tuple[str, ...] | None, score: Floats, source: str) -> ClassScores:
    wrong = np.flatnonzero(np.isnan(score).any(1))
    if len(wrong):
        raise AnnotationError(
            f"{source}: {len(wrong)} rows hold NaN, the first is of video {videos[wrong[0]]!r}",
            expected="a number for every class",
            cause="a run that diverged",
        )
    return ClassScores(videos=videos, classes=classes, score=score)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
