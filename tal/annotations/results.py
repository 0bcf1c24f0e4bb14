"""Prediction files: ActivityNet results JSON and CSV, straight into columns.

`{"results": {VIDEO: [{"segment": [start, end], "label", "score"}]}}`; `scores` for `score`, `label_id` for `label` and
`database` for `results` are read too. Streaming methods add `generation_time`, the second of the video at which the
prediction was made; `gentime`, as OAT-OSN, MATR and HAT write it, is the same.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import csv, files
from tal.annotations.build import clock_seconds
from tal.annotations.result_batches import result_batches
from tal.atomic import write_text
from tal.errors import AnnotationError
from tal.segments import Segments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GENERATION_TIME = "generation_time"
"""`extra` column and JSON key of the second at which a streaming method made a prediction."""
_GENERATION_KEYS = (GENERATION_TIME, "gentime")
_LARGE = 32 * 2**20
"""Bytes from which on JSON is read in parts."""
_ROWS_AT_ONCE = 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultTable:
    """All predictions of a file as columns of equal length N, in the file's order.

    Args:
        videos: The ids that the file names, also those without predictions.
        labels: The class names (or ids, see `by_id`) that occur.
        video_idx: (N,) index into `videos`.
        label_idx: (N,) index into `labels`; -1 for a proposal, which has no class.
        start_s, end_s: (N,) seconds.
        score: (N,).
        by_id: `labels` are the annotations' `label_id`s as text, because the file gives no names.
        generation_time_s: (N,) seconds of the video at which each prediction was made; None where that is not said.
        scored: The file gives scores; otherwise `score` is 1 everywhere.
    """

    videos: tuple[str, ...]
    labels: tuple[str, ...]
    video_idx: Ints
    label_idx: Ints
    start_s: Floats
    end_s: Floats
    score: Floats
    by_id: bool = False
    generation_time_s: Floats | None = None
    scored: bool = True

    def __len__(self) -> int:
        return len(self.video_idx)

    def __getitem__(self, rows: NDArray[np.bool_] | Ints) -> "ResultTable":
        """The chosen rows; the videos and labels stay named."""
        made_s = self.generation_time_s
        return replace(
            self,
            video_idx=self.video_idx[rows],
            label_idx=self.label_idx[rows],
            start_s=self.start_s[rows],
            end_s=self.end_s[rows],
            score=self.score[rows],
            generation_time_s=None if made_s is None else made_s[rows],
        )

    @classmethod
    def concat(cls, parts: Sequence["ResultTable"]) -> "ResultTable":
        """All rows of all parts, in order; parts name different videos, and agree on what they give (at least one)."""
        label_index: dict[str, int] = {}
        labels = [[label_index.setdefault(name, len(label_index)) for name in part.labels] for part in parts]
        first_video = np.cumsum([0, *(len(part.videos) for part in parts)])
        made_s = [part.generation_time_s for part in parts if part.generation_time_s is not None]
        return replace(
            next((part for part in parts if len(part)), parts[0]),
            videos=tuple(chain.from_iterable(part.videos for part in parts)),
            labels=tuple(label_index),
            video_idx=np.concatenate([part.video_idx + first for part, first in zip(parts, first_video, strict=False)]),
            label_idx=np.concatenate(
                [np.array([*names, -1], np.int64)[part.label_idx] for part, names in zip(parts, labels, strict=True)]
            ),
            start_s=np.concatenate([part.start_s for part in parts]),
            end_s=np.concatenate([part.end_s for part in parts]),
            score=np.concatenate([part.score for part in parts]),
            generation_time_s=np.concatenate(made_s) if made_s else None,
        )

    @classmethod
    def from_segments(cls, results: Mapping[str, Segments]) -> "ResultTable":
        """Columns of predictions in memory; class lists may differ from video to video."""
        names = sorted({name for rows in results.values() for name in rows.classes})
        index = {name: position for position, name in enumerate(names)}
        known = {rows.classes: np.array([*(index[name] for name in rows.classes), -1]) for rows in results.values()}
        parts = list(results.values())
        return cls(
            videos=tuple(results),
            labels=tuple(names),
            video_idx=np.repeat(np.arange(len(parts)), [len(rows) for rows in parts]),
            label_idx=_joined([known[rows.classes][rows.label] for rows in parts], np.int64),
            start_s=_joined([rows.start_s for rows in parts], np.float64),
            end_s=_joined([rows.end_s for rows in parts], np.float64),
            score=_joined([rows.score for rows in parts], np.float64),
            generation_time_s=_generation_times([rows for rows in parts if len(rows)]),
        )

    def to_segments(self, classes: Sequence[str] | None = None) -> dict[str, Segments]:
        """video -> Segments, highest score first.

        Raises:
            AnnotationError: a label that is not in `classes`.
        """
        known = self.labels if classes is None else tuple(classes)
        index = {name: position for position, name in enumerate(known)}
        unknown = [name for name in self.labels if name not in index]
        if unknown:
            raise AnnotationError(f"predictions of unknown classes: {', '.join(unknown[:10])}")
        label = np.array([*(index[name] for name in self.labels), -1])[self.label_idx]
        made_s = {} if self.generation_time_s is None else {GENERATION_TIME: self.generation_time_s}
        order = np.lexsort((-self.score, self.video_idx))
        bounds = np.searchsorted(self.video_idx[order], np.arange(len(self.videos) + 1))
        parts = np.split(order, bounds[1:-1])[: len(self.videos)]  # Of nothing, numpy makes one part.
        return {
            video: Segments(
                start_s=self.start_s[rows],
                end_s=self.end_s[rows],
                score=self.score[rows],
                label=label[rows],
                classes=known,
                extra={name: column[rows] for name, column in made_s.items()},
            )
            for video, rows in zip(self.videos, parts, strict=True)
        }


def _generation_times(parts: Sequence[Segments]) -> Floats | None:
    """(N,) the column of all parts; None unless each has it."""
    if not parts or not all(GENERATION_TIME in rows.extra for rows in parts):
        return None
    return np.concatenate([rows.extra[GENERATION_TIME] for rows in parts]).astype(np.float64)


def _joined(columns: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    return np.concatenate(columns) if columns else np.empty(0, dtype)


def read_results(path: Path | str, classes: Sequence[str] | None = None) -> dict[str, Segments]:
    """Predictions per video, highest score first; see `read_table` for what is read and raised."""
    return read_table(path).to_segments(classes)


def read_table(path: Path | str) -> ResultTable:
    """Predictions as columns, from ActivityNet results JSON or from CSV with video, start, end, label and score.

    Raises:
        AnnotationError: missing, empty, damaged, not predictions, or an entry without a time or score (named).
    """
    return parse_table(files.read_bytes(path), path)


def parse_table(content: bytes, path: Path | str, *, scored: bool = True) -> ResultTable:
    """`read_table` of a file's content that is at hand.

    Args:
        content: The bytes.
        path: Named in messages.
        scored: Scores are needed. Otherwise JSON without any is read too, with score 1 everywhere.
    """
    try:
        if not files.looks_like_json(content):
            return _from_csv(files.to_text(content, path), str(path))
        table = _in_batches(content, path, scored) if len(content) > _LARGE else None
        return from_json(files.to_unique_json(content, path), str(path), scored=scored) if table is None else table
    except MemoryError:
        raise files.too_large(path) from None


def _in_batches(content: bytes, path: Path | str, scored: bool) -> ResultTable | None:
    """A large JSON file's columns, put together from parts of it; None where only the whole tells what it is."""
    text, parts = files.to_text(content, path), []
    keys, videos = set(), 0
    with files.reading_json(text, path):
        for key, batch in result_batches(text, _ROWS_AT_ONCE):
            parts.append(from_json({"results": batch}, str(path), scored=scored))
            keys.add(key)
            videos += len(batch)
    different = {(part.by_id, part.generation_time_s is None, part.scored) for part in parts if len(part)}
    if len(keys) != 1 or len(different) > 1 or videos != len({video for part in parts for video in part.videos}):
        return None
    return ResultTable.concat(parts)


def from_json(data: Any, source: str, *, scored: bool = True) -> ResultTable:
    """`parse_table` of JSON that is parsed already."""
    results = results_of(data, source)
    rows = list(chain.from_iterable(results.values()))
    first = rows[0] if rows and isinstance(rows[0], dict) else {}
    by_id = "label" not in first and "label_id" in first
    label_key = "label_id" if by_id else "label"
    score_key = "scores" if "score" not in first and "scores" in first else "score"
    last = rows[-1] if rows and isinstance(rows[-1], dict) else {}
    made_key = next((key for key in _GENERATION_KEYS if key in first or key in last), None)
    unscored = not scored and not any(isinstance(row, dict) and score_key in row for row in rows)
    try:
        times = np.array([row["segment"] for row in rows], np.float64).reshape(len(rows), 2)
        score = np.array([1.0 if unscored else row[score_key] for row in rows], np.float64).reshape(len(rows))
        made_s = None if made_key is None else np.array([row[made_key] for row in rows], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise _faulty_entry(results, None if unscored else score_key, made_key, source) from None
    try:
        labels, label_idx = _indexed(row.get(label_key) for row in rows)
    except TypeError:
        wrong = next(row[label_key] for row in rows if isinstance(row.get(label_key), list | dict))
        raise AnnotationError(f"{source}: a {label_key} of {wrong!r}", expected="a class name") from None
    return ResultTable(
        videos=tuple(map(str, results)),
        labels=labels,
        video_idx=np.repeat(np.arange(len(results)), [len(entry) for entry in results.values()]),
        label_idx=label_idx,
        start_s=np.ascontiguousarray(times[:, 0]),
        end_s=np.ascontiguousarray(times[:, 1]),
        score=score,
        by_id=by_id,
        generation_time_s=made_s,
        scored=not unscored,
    )


def results_of(data: Any, source: str) -> Mapping[str, list[Any]]:
    """video -> entries, of parsed JSON.

    Raises:
        AnnotationError: not predictions.
    """
    results = data.get("results", data.get("database")) if isinstance(data, dict) else None
    if not isinstance(results, dict):
        what = f"an object with keys {', '.join(map(str, list(data)[:6]))}" if isinstance(data, dict) else "a list"
        raise AnnotationError(
            f"{source}: {what}", expected='predictions: {"results": {VIDEO: [{segment, label, score}]}}'
        )
    wrong = next((video for video, entry in results.items() if not isinstance(entry, list)), None)
    if wrong is not None:
        annotated = isinstance(results[wrong], dict) and "annotations" in results[wrong]
        raise AnnotationError(
            f"{source} holds {'annotations, not predictions' if annotated else f'no list for video {wrong!r}'}",
            expected='predictions: {"results": {VIDEO: [{segment, label, score}]}}',
            cause="the two files were exchanged" if annotated else "",
        )
    return results


def _indexed(values: Iterable[Any]) -> tuple[tuple[str, ...], Ints]:
    """(names, index of each value's name); None is -1."""
    index: dict[Any, int] = {}
    positions = [-1 if value is None else index.setdefault(value, len(index)) for value in values]
    return tuple(map(str, index)), np.array(positions, np.int64)


def _faulty_entry(
    results: Mapping[str, Any], score_key: str | None, made_key: str | None, source: str
) -> AnnotationError:
    """The error that names the first entry which cannot be read."""
    for video, entries in results.items():
        for position, entry in enumerate(entries):
            where = f"{source}: video {video!r}, prediction {position}"
            segment = entry.get("segment") if isinstance(entry, dict) else None
            if not (isinstance(segment, list) and len(segment) == 2 and all(map(_is_number, segment))):
                return AnnotationError(f"{where}: segment is {segment!r}", expected="[start, end] in seconds")
            for key in (score_key, made_key):
                what = "score" if key == score_key else key
                if key is not None and key not in entry:
                    return AnnotationError(f"{where} has no {what}", expected=f"a {what} in every prediction")
                if key is not None and not _is_number(entry[key]):
                    return AnnotationError(f"{where}: {what} is {entry[key]!r}", expected="a number")
    return AnnotationError(f"{source}: predictions that are no numbers")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _from_csv(text: str, source: str) -> ResultTable:
    rows = csv.rows_of(text, source, needed=("video", "start", "end", "label", "score"))
    videos, video_idx = _indexed(csv.video_id(row["video"]) for _, row in rows)
    labels, label_idx = _indexed(row["label"] or None for _, row in rows)

    def column(name: str) -> Floats:
        return np.array([clock_seconds(row[name], f"{source}: line {line}") for line, row in rows], np.float64)

    return ResultTable(
        videos=videos,
        labels=labels,
        video_idx=video_idx,
        label_idx=label_idx,
        start_s=column("start"),
        end_s=column("end"),
        score=column("score"),
        generation_time_s=column("generation_time") if rows and "generation_time" in rows[0][1] else None,
    )


def write_results(path: Path | str, results: Mapping[str, Segments], *, version: str = "tal") -> None:
    """Write predictions as ActivityNet results JSON; extra columns of one value per row become further keys.

    Times and scores are written so that reading gives the same numbers.
    """
    entries = {video: _entries(rows) for video, rows in results.items()}
    write_text(Path(path), json.dumps({"version": version, "results": entries, "external_data": {}}, indent=1) + "\n")


def _entries(rows: Segments) -> list[dict[str, Any]]:
    names = rows.names
    extra = {name: column.tolist() for name, column in rows.extra.items() if column.ndim == 1}
    columns = zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.score.tolist(), strict=True)
    return [
        {"segment": [start_s, end_s]}
        | ({"label": names[row_idx]} if names[row_idx] else {})
        | {"score": score}
        | {name: column[row_idx] for name, column in extra.items()}
        for row_idx, (start_s, end_s, score) in enumerate(columns)
    ]


def write_csv(path: Path | str, results: Mapping[str, Segments]) -> None:
    """Write predictions as CSV: video, start, end, label, score, and generation_time where all have one."""
    made_s = _generation_times([rows for rows in results.values() if len(rows)])
    rows: list[tuple[object, ...]] = [
        (video, start_s, end_s, name, score)
        for video, segments in results.items()
        for start_s, end_s, name, score in zip(
            segments.start_s.tolist(), segments.end_s.tolist(), segments.names, segments.score.tolist(), strict=True
        )
    ]
    header = ["video", "start", "end", "label", "score"]
    if made_s is not None:
        header.append(GENERATION_TIME)
        rows = [(*row, time_s) for row, time_s in zip(rows, made_s.tolist(), strict=True)]
    csv.write_table(path, header, rows)
