"""Plain CSV: one row per instance with video, start, end and label; optionally subset, duration, fps and score.

Column names are taken as people write them (`video_id`, `t-start`, `stop`, `class`, ...), in any case; comma, semicolon
or tab. A row with neither times nor label says that the video exists and holds nothing.
"""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tal.annotations.build import RawVideo, build, clock_seconds
from tal.annotations.records import Annotations
from tal.atomic import write_text
from tal.errors import AnnotationError

_COLUMNS = {
    "video": ("video", "video_id", "video_name", "vid", "videoid", "file", "filename", "file_name", "name"),
    "start": ("start", "start_s", "start_sec", "start_seconds", "start_time", "t_start", "begin", "from"),
    "end": ("end", "end_s", "end_sec", "end_seconds", "end_time", "t_end", "stop", "stop_s", "stop_time", "to"),
    "label": ("label", "class", "class_name", "action", "activity", "category", "label_name", "event"),
    "subset": ("subset", "split", "set"),
    "duration": ("duration", "duration_s", "duration_sec", "duration_second", "duration_seconds", "video_duration"),
    "fps": ("fps", "frame_rate"),
    "score": ("score", "scores", "confidence", "probability"),
    "qid": ("qid", "query_id"),
    "query": ("query", "sentence", "description", "text"),
    "generation_time": ("generation_time", "gentime", "generated_at"),
}
_NEEDED = ("video", "start", "end", "label")
_MEDIA_SUFFIXES = {".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv"}


def rows_of(text: str, source: str, *, needed: Sequence[str] = _NEEDED) -> list[tuple[int, dict[str, str]]]:
    """(line number, {our column name: cell}) of each row.

    Raises:
        AnnotationError: a needed column is missing, a row has another number of cells than the header, or no CSV.
    """
    first = text.splitlines()[0]
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
    try:
        return _rows(reader, source, needed)
    except csv.Error as error:
        raise AnnotationError(
            f"{source}: line {reader.line_num} is no CSV: {error}", cause="a quotation mark that is never closed"
        ) from None


def columns_of(text: str) -> frozenset[str]:
    """Our names of the columns that the first line names."""
    first = text.splitlines()[0]
    cells = next(csv.reader([first], delimiter=max(",;\t", key=first.count)), [])
    plain = {_plain(cell) for cell in cells}
    return frozenset(name for name, aliases in _COLUMNS.items() if plain.intersection(aliases))


def _plain(cell: str) -> str:
    return cell.strip().lower().replace("-", "_").replace(" ", "_")


def _rows(reader: Any, source: str, needed: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    header = [_plain(cell) for cell in next(reader)]
    known = {alias: name for name, aliases in _COLUMNS.items() for alias in aliases}
    columns: dict[str, int] = {}
    for position, cell in enumerate(header):
        if cell in known:
            columns.setdefault(known[cell], position)
    missing = [name for name in needed if name not in columns]
    if missing:
        raise AnnotationError(
            f"{source}: no column for {', '.join(missing)}; the header has {', '.join(header)!r:.200}",
            expected=f"columns {', '.join(needed)} (and optionally subset, duration, fps, score)",
            cause="a file without a header line" if not columns else "",
            todo=f"name the column for {missing[0]} as one of: {', '.join(_COLUMNS[missing[0]])}",
        )
    found = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise AnnotationError(f"{source}: line {reader.line_num} has {len(cells)} cells, the header {len(header)}")
        found.append((reader.line_num, {name: cells[position].strip() for name, position in columns.items()}))
    return found


def video_id(name: str) -> str:
    """A media file's name without folder and suffix; anything else as it is."""
    path = Path(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in _MEDIA_SUFFIXES else name


def parse(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from CSV text; times are seconds or HH:MM:SS.ss.

    Raises:
        AnnotationError: a needed column is missing, or a cell is no number.
    """
    videos: dict[str, RawVideo] = {}
    further: dict[tuple[str, str], None] = {}
    rows = rows_of(text, source)
    has_score = any("score" in row for _, row in rows)
    for line, row in rows:
        where = f"{source}: line {line}"
        video = video_id(row["video"])
        if not video:
            raise AnnotationError(f"{where}: no video", expected="a video in every row")
        raw = videos.setdefault(video, RawVideo(score=[] if has_score else None))
        raw.subset = raw.subset or row.get("subset", "")
        if row.get("subset", raw.subset) != raw.subset:
            further.setdefault((video, row["subset"]))
        raw.duration_s = raw.duration_s or _optional(row.get("duration", ""), where)
        raw.fps = raw.fps or _optional(row.get("fps", ""), where)
        if not (row["start"] or row["end"] or row["label"]):
            continue
        raw.add(clock_seconds(row["start"], where), clock_seconds(row["end"], where), row["label"])
        if raw.score is not None:
            raw.score.append(clock_seconds(row["score"], where))
    annotations = build(videos, source=source, reader="csv", classes=classes)
    return replace(annotations, further_subsets=tuple(further))


def _optional(cell: str, where: str) -> float | None:
    value = clock_seconds(cell, where)
    return None if math.isnan(value) else value


def write_table(path: Path | str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write one CSV file; what is no Unicode text, such as half of a surrogate pair, becomes a question mark."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(Path(path), buffer.getvalue().encode("utf-8", "replace").decode())
