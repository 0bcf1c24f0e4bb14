"""Values per video, as people write them down: JSON, JSON lines, CSV or npz become rows of an id and named cells.

Read are `{ID: value}`, `{ID: {name: value, ...}}`, `[{"video": ID, name: value, ...}]`, the same one object per line,
each with or without a wrapper (`{"results": ...}`), and CSV with a header. Who asks for cells says what they mean.
"""

import csv as csv_format
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.annotations.csv import video_id
from tal.errors import AnnotationError

VALUE = "value"
"""The cell of a row that gives its value without a name."""

ID_NAMES = ("video", "id", "video_id", "video_name", "vid", "vid_name", "name", "filename", "file", "youtube_id", "key")
_LARGEST = 1e100
_WRAPPERS = ("results", "predictions", "annotations", "database", "videos", "samples", "data")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One entry of a file.

    Args:
        id: What it is about; "" where the file tells by order alone.
        cells: Name -> value, as written.
        where: File and place, for messages.
    """

    id: str
    cells: Mapping[str, Any]
    where: str

    def first(self, names: Sequence[str]) -> Any:
        """The first of these cells that there is and that is not empty; None if none is."""
        return next((self.cells[name] for name in names if self.cells.get(name) not in (None, "")), None)

    def needed(self, names: Sequence[str]) -> Any:
        """`first`, where there has to be one.

        Raises:
            AnnotationError: none of the cells is there, or they are empty.
        """
        found = self.first(names)
        if found is None:
            there = ", ".join(name for name in self.cells if name and name != VALUE)
            named = [name for name in names if name != VALUE]
            raise AnnotationError(
                f"{self.where} has no {named[0]}" + (f": it has {there:.120}" if there else ""),
                expected=f"a value called {' or '.join(named[:3])}",
                cause="a file for another task, or an empty entry",
            )
        return found


def parse_rows(content: bytes, path: Path | str, *, ids: Sequence[str] = ID_NAMES) -> list[Row]:
    """Rows of a file's content, in its order; media suffixes and folders are taken off the ids.

    Args:
        content: JSON, JSON lines or CSV.
        path: Named in messages.
        ids: Names of the cell that holds the id, the first one found being taken.

    Raises:
        AnnotationError: not readable as any of these, an id that stands twice in one JSON object, or no rows.
    """
    if not files.looks_like_json(content):
        rows = _from_csv(files.to_text(content, path), str(path), ids)
    elif files.looks_like_json_lines(content):
        rows = [_row(data, f"{path}: line {line}", ids) for line, data in files.to_json_lines(content, path)]
    else:
        rows = _from_json(_unwrapped(files.to_unique_json(content, path)), str(path), ids)
    if not rows:
        raise AnnotationError(f"{path} holds no entries", expected="at least one", cause="a run that failed")
    return rows


def parse_npz(content: bytes, path: Path | str) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file; pickled objects are never loaded.

    Raises:
        AnnotationError: no npz file, damaged, or with pickled objects.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            found = {name: archive[name] for name in archive.files}
        if not all(isinstance(each, np.ndarray) for each in found.values()):
            raise ValueError(f"it holds {next(name for name, each in found.items() if isinstance(each, bytes))!r}")
        return found
    except Exception as error:
        raise AnnotationError(
            f"{path}: cannot be read as npz: {error}",
            expected="an npz file of plain arrays",
            cause="a damaged file, or arrays of Python objects, which are never loaded",
            todo="write it with numpy.savez and arrays of numbers or text",
        ) from error


def number(value: Any, where: str) -> float:
    """A finite number from a JSON value or a cell's text.

    Raises:
        AnnotationError: missing, NaN, infinite, or no number.
    """
    try:
        found = math.nan if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError(f"{where}: {value!r:.80} is no number", expected="a number") from None
    if not abs(found) < _LARGEST:
        raise AnnotationError(
            f"{where}: {value!r:.80} stands where a number has to be",
            expected="a finite number, whose square is finite too",
            cause="a run that diverged, or an empty cell",
        )
    return found


def _unwrapped(data: Any) -> Any:
    if isinstance(data, dict):
        for name in _WRAPPERS:
            if isinstance(data.get(name), dict | list):
                return data[name]
    return data


def _from_json(data: Any, source: str, ids: Sequence[str]) -> list[Row]:
    if isinstance(data, list):
        return [_row(entry, f"{source}: entry {position}", ids) for position, entry in enumerate(data)]
    if not isinstance(data, dict):
        raise AnnotationError(f"{source}: JSON of a single {type(data).__name__}", expected="{ID: value} or a list")
    return [
        Row(
            id=video_id(str(key)),
            cells=entry if isinstance(entry, dict) else {VALUE: entry},
            where=f"{source}: {key!r}",
        )
        for key, entry in data.items()
    ]


def _row(entry: Any, where: str, ids: Sequence[str]) -> Row:
    if not isinstance(entry, dict):
        return Row(id="", cells={VALUE: entry}, where=where)
    name = next((name for name in ids if isinstance(entry.get(name), str | int)), None)
    return Row(id="" if name is None else video_id(str(entry[name])), cells=entry, where=where)


def _from_csv(text: str, source: str, ids: Sequence[str]) -> list[Row]:
    first = text.splitlines()[0]
    reader = csv_format.reader(io.StringIO(text, newline=None), delimiter=max(",;\t", key=first.count))
    try:
        header = [cell.strip() for cell in next(reader)]
        twice = next((cell for cell in header if cell and header.count(cell) > 1), None)
        if twice is not None:
            raise AnnotationError(f"{source}: two columns are called {twice!r}", expected="every column once")
        plain = [cell.lower().replace("-", "_").replace(" ", "_") for cell in header]
        column = next((plain.index(name) for name in ids if name in plain), None)
        if column is None:
            raise AnnotationError(
                f"{source}: no column names the video; the header is {', '.join(header)!r:.200}",
                expected=f"a column {' or '.join(ids[:4])}",
                cause="a file without a header line, or of another kind",
            )
        rows = []
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{source}: line {reader.line_num}"
            if len(cells) != len(header):
                raise AnnotationError(f"{where} has {len(cells)} cells, the header {len(header)}")
            named = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            rows.append(Row(id=video_id(named[header[column]]), cells=named, where=where))
        return rows
    except csv_format.Error as error:
        raise AnnotationError(f"{source}: line {reader.line_num} is no CSV: {error}") from None
