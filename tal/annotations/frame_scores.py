"""Class scores per frame or snippet, as per-frame methods write them.

Read are a folder of VIDEO.npy with (T, K) scores each; an npz archive of such arrays; JSON {"results": {VIDEO: [[K
scores] per row]}}, optionally with "classes", the columns' names; CSV with video, frame and one column per class; and
the Charades challenge's text, "VIDEO FRAME score ... score" with equally spaced frames numbered from 1 (or 0).
Arrays are never unpickled.
"""

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.errors import AnnotationError

Scores = NDArray[np.floating]

_SPARSEST = 1000
"""Frames per row beyond which the numbers of frames are none: the rows between would fill the memory."""

_EXPECTED = "a folder of VIDEO.npy with (T, K) scores, an npz archive, JSON, CSV, or lines of VIDEO FRAME score ..."


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """Scores of every frame of some videos.

    Args:
        scores: Video -> (T, K); rows that the file lacks are -inf.
        columns: The classes of the columns, where the file names them.
        numbered: The rows are equally spaced frames of each video that the file numbers, as the Charades challenge's.
        repeated: Number of rows of the file that a later row of the same frame replaced.
    """

    scores: Mapping[str, Scores]
    columns: tuple[str, ...] | None = None
    numbered: bool = False
    repeated: int = 0

    def __len__(self) -> int:
        return sum(map(len, self.scores.values())) + self.repeated

    @property
    def width(self) -> int:
        """K."""
        return next((array.shape[1] for array in self.scores.values()), 0)


def read_folder(path: Path) -> tuple[FrameScores, str]:
    """(scores from a folder of npy files, one per video, named by its id; SHA-256 of all names and contents).

    Raises:
        AnnotationError: no npy file in it, or one that cannot be read.
    """
    found = sorted(path.glob("*.npy"))
    if not found:
        raise AnnotationError(f"{path}: no npy file in this folder", expected=_EXPECTED)
    scores, digests = {}, []
    for each in found:
        content = files.read_bytes(each, binary=True)
        scores[each.stem] = _array(content, str(each))
        digests.append(f"{each.name} {files.sha256(content)}\n")
    return _same_width(scores, str(path)), files.sha256("".join(digests).encode())


def parse_frame_scores(content: bytes, path: Path | str) -> FrameScores:
    """Scores from a file's content.

    Raises:
        AnnotationError: of no kind that is read, damaged, or rows of different lengths.
    """
    source = str(path)
    if zipfile.is_zipfile(io.BytesIO(content)):
        return _same_width(_arrays(content, source), source)
    if content.startswith(b"\x93NUMPY"):
        raise AnnotationError(
            f"{source}: the scores of one video", expected=_EXPECTED, todo="give the folder that holds all of them"
        )
    if files.looks_like_json(content):
        return _from_json(files.to_unique_json(content, path), source)
    text = files.to_text(content, path)
    first = text.lstrip().splitlines()[0]
    return _from_csv(text, source) if "," in first else _from_lines(text, source)


def _array(content: bytes, source: str) -> Scores:
    try:
        return _checked(np.load(io.BytesIO(content), allow_pickle=False), source)
    except (ValueError, EOFError, OSError) as error:
        raise AnnotationError(f"{source}: no array of numbers: {error}", expected="(T, K) scores") from None


def _arrays(content: bytes, source: str) -> dict[str, Scores]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {name: _checked(archive[name], f"{source}, {name}") for name in archive.files}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise AnnotationError(f"{source}: no archive of arrays: {error}", expected="(T, K) scores per video") from None


def _checked(array: Any, source: str) -> Scores:
    array = np.asarray(array)
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise AnnotationError(f"{source}: {array.dtype} of shape {array.shape}", expected="(T, K) numbers")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def _same_width(scores: Mapping[str, Scores], source: str, columns: Sequence[str] | None = None) -> FrameScores:
    widths = {array.shape[1]: video for video, array in scores.items()}
    if len(widths) > 1:
        told = ", ".join(f"{width} in {video}" for width, video in sorted(widths.items())[:3])
        raise AnnotationError(
            f"{source}: videos with different numbers of columns: {told}",
            expected="(T, K) scores, K being the number of classes everywhere",
            cause="arrays of shape (K, T)" if len(widths) > len(scores) / 2 else "",
            todo="transpose them",
        )
    if columns is not None and widths and len(columns) not in widths:
        raise AnnotationError(f"{source}: {len(columns)} classes and {next(iter(widths))} scores per row")
    return FrameScores(scores=scores, columns=None if columns is None else tuple(columns))


def looks_like(data: Any) -> bool:
    """Whether parsed JSON holds rows of scores."""
    results = data.get("results") if isinstance(data, dict) else None
    first = next((each for each in results.values() if each), None) if isinstance(results, dict) else None
    return isinstance(first, list) and isinstance(first[0], list)


def _from_json(data: Any, source: str) -> FrameScores:
    if not looks_like(data):
        keys = f"an object with keys {', '.join(map(str, list(data)[:6]))}" if isinstance(data, dict) else "a list"
        raise AnnotationError(f"{source}: {keys}", expected='{"results": {VIDEO: [[score, score, ...], ...]}}')
    scores = {}
    for video, rows in data["results"].items():
        try:
            scores[str(video)] = _checked(np.array(rows or np.empty((0, 0)), np.float64), source)
        except (TypeError, ValueError, OverflowError):
            raise AnnotationError(
                f"{source}: video {video!r}: {json.dumps(rows)[:80]}", expected="rows of equally many scores"
            ) from None
    columns = data.get("classes")
    scores = {video: array for video, array in scores.items() if len(array)}
    return _same_width(scores, source, [str(name) for name in columns] if isinstance(columns, list) else None)


def _from_csv(text: str, source: str) -> FrameScores:
    reader = csv.reader(io.StringIO(text))
    header = [cell.strip() for cell in next(reader)]
    if [cell.lower() for cell in header[:2]] != ["video", "frame"] or len(header) < 3:
        raise AnnotationError(
            f"{source}: columns {', '.join(header)[:120]!r}", expected="video, frame, and a column per class"
        )
    rows = [(row[0], row[1], row[2:], reader.line_num) for row in reader if any(map(str.strip, row))]
    return _numbered(rows, source, len(header) - 2, header[2:])


def _from_lines(text: str, source: str) -> FrameScores:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split()
        if cells:
            rows.append((cells[0], cells[1] if len(cells) > 1 else "", cells[2:], number))
    return _numbered(rows, source, len(rows[0][2]), None)


def _numbered(
    rows: Sequence[tuple[str, str, Sequence[str], int]], source: str, width: int, columns: Sequence[str] | None
) -> FrameScores:
    """Rows of (video, frame, scores, line); of a frame that stands twice the later row counts, as a map keeps it."""
    if not width:
        raise AnnotationError(f"{source}: line {rows[0][3] if rows else 1} holds no scores", expected=_EXPECTED)
    frames: dict[str, dict[int, list[float]]] = {}
    for video, frame, cells, line in rows:
        try:
            if len(cells) != width:
                raise AnnotationError(f"{source}: line {line} has {len(cells)} scores", expected=f"{width}, as before")
            frames.setdefault(video, {})[int(frame)] = [float(cell) for cell in cells]
        except ValueError:
            raise AnnotationError(
                f"{source}: line {line}: frame {frame!r} or a score is no number", expected=_EXPECTED
            ) from None
    first = min((min(each) for each in frames.values()), default=0)
    if first < 0:
        raise AnnotationError(f"{source}: a frame numbered {first}", expected="numbers from 0 or 1 on")
    scores = {}
    for video, each in frames.items():
        if max(each) > _SPARSEST * len(each) + _SPARSEST:
            raise AnnotationError(
                f"{source}: video {video!r} has {len(each)} rows, one of them for frame {max(each)}",
                expected="a row for every frame, numbered from 0 or 1 on",
                cause="times or ids instead of numbers of frames",
            )
        offset = 1 if first else 0
        array = np.full((max(each) - offset + 1, width), -np.inf)
        array[np.array(list(each)) - offset] = list(each.values())
        scores[video] = array
    return FrameScores(
        scores=scores,
        columns=None if columns is None else tuple(columns),
        numbered=True,
        repeated=len(rows) - sum(map(len, frames.values())),
    )
