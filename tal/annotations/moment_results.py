"""Predicted windows per query, in the forms in which moment retrieval is published, straight into columns.

- JSON lines (jayleicn/moment_detr): `{"qid", "query", "vid", "pred_relevant_windows": [[start, end, score]],
  "pred_saliency_scores": [one per clip]}`, either part alone too; the same rows as one JSON list;
- JSON lists: one list of `[start, end, score]` or `[start, end]` per query, in the order of the annotations, bare or as
  `{"predictions": [...]}`;
- UAL-Bench JSON, object or list: `pred_start` and `pred_end` per query, null for no answer;
- CSV with video, start, end, score and query or qid.

The lists are ranked, so their order is kept; the rows of a CSV are ranked by score.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import charades_sta, csv, files, ual_bench
from tal.annotations.build import clock_seconds
from tal.annotations.qvhighlights import written_qid
from tal.atomic import write_text
from tal.errors import AnnotationError
from tal.segments import Segments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_WINDOWS, _SALIENCY = "pred_relevant_windows", "pred_saliency_scores"
_EXPECTED = (
    f'JSON lines with "qid", "query", "vid", "{_WINDOWS}"; a JSON list of windows per query; '
    "CSV with video, query, start, end, score; or UAL-Bench's pred_start and pred_end"
)


@dataclass(frozen=True, kw_only=True)
class Query:
    """How predictions name what they answer; "" for what they leave out."""

    qid: str = ""
    video: str = ""
    text: str = ""

    @property
    def name(self) -> str:
        """The id, or video and text."""
        return self.qid or f"{self.video}: {self.text}"


@dataclass(frozen=True, kw_only=True, eq=False)
class MomentTable:
    """All predictions of a file.

    Args:
        queries: The Q queries that the file names, also those without windows.
        query_idx: (N,) index into `queries`, ascending; a query's windows stand in ranked order.
        start_s, end_s: (N,) seconds.
        score: (N,); None where the windows are only ranked.
        saliency: (Q,) arrays with one score per clip; None where the file has none.
        has_windows: Whether the file has windows at all.
        in_order: The queries have no names: they are those of the annotations, in their order.
    """

    queries: tuple[Query, ...]
    query_idx: Ints
    start_s: Floats
    end_s: Floats
    score: Floats | None
    saliency: tuple[Floats, ...] | None = None
    has_windows: bool = True
    in_order: bool = False

    def __len__(self) -> int:
        return len(self.query_idx)

    @classmethod
    def from_segments(cls, results: Mapping[str, Segments]) -> "MomentTable":
        """Predictions in memory: query id -> windows, ranked by score."""
        ranked = [rows.by_score() for rows in results.values()]
        whole = Segments.concat([Segments(start_s=each.start_s, end_s=each.end_s, score=each.score) for each in ranked])
        return cls(
            queries=tuple(Query(qid=str(qid)) for qid in results),
            query_idx=np.repeat(np.arange(len(ranked)), [len(each) for each in ranked]),
            start_s=whole.start_s,
            end_s=whole.end_s,
            score=whole.score,
        )


def read_moments(path: Path | str) -> MomentTable:
    """Predicted windows of a file.

    Raises:
        AnnotationError: missing, empty, damaged, not predictions, or an entry that cannot be read (named).
    """
    return parse_moments(files.read_bytes(path), path)


def parse_moments(content: bytes, path: Path | str) -> MomentTable:
    """`read_moments` of a file's content that is at hand; `path` is named in messages."""
    source = str(path)
    if files.looks_like_json_lines(content):
        return _from_rows([(f"line {line}", row) for line, row in files.to_json_lines(content, path)], source)
    if not files.looks_like_json(content):
        return _from_csv(files.to_text(content, path), source)
    data = files.to_unique_json(content, path)
    lists = data.get("predictions") if isinstance(data, dict) else data
    if isinstance(lists, list) and (not lists or isinstance(lists[0], list)) and not ual_bench.looks_like(lists):
        return _from_lists(lists, source)
    rows = [data] if isinstance(data, dict) else data
    if rows and isinstance(rows[0], dict) and {_WINDOWS, _SALIENCY} & set(rows[0]):
        return _from_rows([(f"entry {position}", row) for position, row in enumerate(rows)], source)
    answers = list(ual_bench.entries(data))
    if answers and all("pred_start" in row and "pred_end" in row for _, row in answers):
        return _from_answers(answers, source)
    raise _unknown(data, answers, source)


def _unknown(data: Any, rows: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> AnnotationError:
    annotated = isinstance(data, dict) and "database" in data
    annotated |= any({"sentences", "start_time", "time", "annotations"} & set(row) for _, row in rows[:1])
    if any("pred_start" in row for _, row in rows):
        position = next(index for index, (_, row) in enumerate(rows) if not {"pred_start", "pred_end"} <= set(row))
        return AnnotationError(f"{source}: query {position} has no pred_start or pred_end", expected="both, or null")
    if isinstance(data, dict) and "results" in data:
        return AnnotationError(f"{source} holds detections with classes, not windows per query", expected=_EXPECTED)
    if annotated:
        return _exchanged(source)
    keys = f"an object with keys {', '.join(map(str, list(data)[:6]))!r:.120}" if isinstance(data, dict) else "a list"
    return AnnotationError(f"{source}: {keys}", expected=_EXPECTED)


def _exchanged(source: str) -> AnnotationError:
    return AnnotationError(
        f"{source} holds annotations, not predictions", expected=_EXPECTED, cause="the two files were exchanged"
    )


def _from_rows(rows: Sequence[tuple[str, Any]], source: str) -> MomentTable:
    first = rows[0][1]
    parts = {_WINDOWS, _SALIENCY} & set(first) if isinstance(first, dict) else set()
    if not parts:
        if isinstance(first, dict) and "relevant_windows" in first:
            raise _exchanged(source)
        raise AnnotationError(f"{source} holds no windows and no saliency", expected=_EXPECTED)
    queries: list[Query] = []
    seen: dict[str, str] = {}
    for place, row in rows:
        where = f"{source}: {place}"
        lacking = sorted(parts - set(row)) if isinstance(row, dict) else ["qid"]
        if lacking or not ({"qid", "vid"} & set(row)):
            raise AnnotationError(
                f"{where} has no {lacking[0] if lacking else 'qid and no vid'}",
                expected="in every row what the first has",
            )
        query = Query(
            qid="" if row.get("qid") is None else str(row["qid"]),
            video=csv.video_id(str(row.get("vid") or "")),
            text=str(row.get("query") or ""),
        )
        if query.qid and query.qid in seen:
            raise AnnotationError(f"{where}: qid {query.qid} again, first on {seen[query.qid]}")
        seen[query.qid] = place
        queries.append(query)
    windows = [row.get(_WINDOWS, []) for _, row in rows]
    table = _table(windows, [f"{source}: {place}" for place, _ in rows])
    saliency = [_saliency(row[_SALIENCY], f"{source}: {place}") for place, row in rows if _SALIENCY in parts]
    return MomentTable(
        queries=tuple(queries),
        saliency=tuple(saliency) if _SALIENCY in parts else None,
        has_windows=_WINDOWS in parts,
        **table,
    )


def _saliency(values: Any, where: str) -> Floats:
    try:
        found = np.array(values, np.float64).reshape(len(values))
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError(f"{where}: {_SALIENCY} is {values!r:.60}", expected="one number per clip") from None
    if not len(found) or not np.isfinite(found).all():
        raise AnnotationError(
            f"{where}: {_SALIENCY} {'is empty' if not len(found) else 'holds NaN or infinity'}",
            expected="one number per clip",
            cause="a training run that diverged" if len(found) else "",
        )
    return found


def _from_lists(lists: list[Any], source: str) -> MomentTable:
    table = _table(lists, [f"{source}: query {position}" for position in range(len(lists))])
    return MomentTable(queries=(Query(),) * len(lists), in_order=True, **table)


def _table(windows: Sequence[Any], where: Sequence[str]) -> dict[str, Any]:
    """Columns of lists of [start, end, score] or [start, end]; `where` names each list in messages."""
    try:
        rows = list(chain.from_iterable(windows))
        values = np.array(rows, np.float64).reshape(len(rows), len(rows[0]) if rows else 3)
    except (TypeError, ValueError, OverflowError):
        values = np.empty((0, 0))
    if values.shape[1] not in (2, 3):
        raise _faulty_window(windows, where)
    count = [len(each) for each in windows]
    return {
        "query_idx": np.repeat(np.arange(len(windows)), count),
        "start_s": np.ascontiguousarray(values[:, 0]),
        "end_s": np.ascontiguousarray(values[:, 1]),
        "score": np.ascontiguousarray(values[:, 2]) if values.shape[1] == 3 else None,
    }


def _faulty_window(windows: Sequence[Any], where: Sequence[str]) -> AnnotationError:
    """The error that names the first window which cannot be read, or is of another length than the first one."""
    width = None
    for rows, place in zip(windows, where, strict=True):
        if not isinstance(rows, list):
            return AnnotationError(f"{place}: {rows!r:.60}", expected="a list of windows [start, end, score]")
        for position, row in enumerate(rows):
            numbers = isinstance(row, list) and all(isinstance(each, int | float) for each in row)
            if not numbers or len(row) not in (2, 3):
                return AnnotationError(f"{place}, window {position} is {row!r:.60}", expected="[start, end, score]")
            width = width or len(row)
            if len(row) != width:
                told = "has no score" if len(row) == 2 else "has a score, earlier ones have none"
                return AnnotationError(
                    f"{place}, window {position} {told}", expected="a score in every window or in none"
                )
    return AnnotationError(f"{where[0]}: windows that are no numbers", expected="[start, end, score]")


def _from_answers(rows: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> MomentTable:
    queries, starts, ends = [], [], []
    for position, (key, row) in enumerate(rows):
        where = f"{source}: query {position}"
        _, video, qid, text = ual_bench.identity(key, row)
        queries.append(Query(qid=qid, video=video, text=text))
        starts.append(ual_bench.predicted_time(row["pred_start"], where))
        ends.append(ual_bench.predicted_time(row["pred_end"], where))
    given = ~np.isnan(starts) & ~np.isnan(ends)
    return MomentTable(
        queries=tuple(queries),
        query_idx=np.flatnonzero(given),
        start_s=np.array(starts, np.float64)[given],
        end_s=np.array(ends, np.float64)[given],
        score=None,
    )


def _from_csv(text: str, source: str) -> MomentTable:
    if charades_sta.looks_like(text):
        raise _exchanged(source)
    rows = csv.rows_of(text, source, needed=("start", "end", "score"))
    index: dict[Query, int] = {}
    query_idx, values = [], []
    for line, row in rows:
        where = f"{source}: line {line}"
        query = Query(qid=row.get("qid", ""), video=csv.video_id(row.get("video", "")), text=row.get("query", ""))
        if not query.qid and not query.video:
            raise AnnotationError(f"{where} names no query", expected="a qid, or a video and its query")
        query_idx.append(index.setdefault(query, len(index)))
        values.append([clock_seconds(row[name], where) for name in ("start", "end", "score")])
    columns = np.array(values, np.float64).reshape(-1, 3)
    asked = np.array(query_idx, np.int64)
    order = np.lexsort((-columns[:, 2], asked))
    return MomentTable(
        queries=tuple(index),
        query_idx=asked[order],
        start_s=columns[order, 0],
        end_s=columns[order, 1],
        score=columns[order, 2],
    )


def write_moments(path: Path | str, table: MomentTable) -> None:
    """Write predictions as QVHighlights JSON lines, the form that its test server takes; read back the same.

    Queries without an id get their number; windows without a score stand as pairs.
    """
    bounds = np.searchsorted(table.query_idx, np.arange(len(table.queries) + 1))
    lines = []
    for number, query in enumerate(table.queries):
        rows = slice(bounds[number], bounds[number + 1])
        row: dict[str, Any] = {"qid": written_qid(query.qid or str(number)), "query": query.text, "vid": query.video}
        if table.has_windows:
            row[_WINDOWS] = _written_windows(table, rows)
        if table.saliency is not None:
            row[_SALIENCY] = table.saliency[number].tolist()
        lines.append(json.dumps({key: value for key, value in row.items() if value != ""}) + "\n")
    write_text(Path(path), "".join(lines))


def _written_windows(table: MomentTable, rows: slice) -> list[list[float]]:
    starts, ends = table.start_s[rows].tolist(), table.end_s[rows].tolist()
    if table.score is None:
        return [list(pair) for pair in zip(starts, ends, strict=True)]
    return [list(row) for row in zip(starts, ends, table.score[rows].tolist(), strict=True)]


def write_answers(path: Path | str, table: MomentTable) -> None:
    """Write the first window of each query as UAL-Bench predictions, null for none: an object by query id, or a list.

    Raises:
        AnnotationError: a time of NaN, which JSON lacks.
    """
    if np.isnan(table.start_s).any() or np.isnan(table.end_s).any():
        raise AnnotationError("predictions with a time of NaN", expected="numbers", todo="leave the window out")
    first = {int(query): row for row, query in reversed(list(enumerate(table.query_idx.tolist())))}
    answers = [
        {
            "video_id": query.video,
            "description": query.text,
            "pred_start": None if number not in first else float(table.start_s[first[number]]),
            "pred_end": None if number not in first else float(table.end_s[first[number]]),
        }
        for number, query in enumerate(table.queries)
    ]
    if all(query.qid for query in table.queries):
        data: Any = {query.qid: answer for query, answer in zip(table.queries, answers, strict=True)}
    else:
        data = answers
    write_text(Path(path), json.dumps(data, indent=1) + "\n")
