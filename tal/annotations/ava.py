"""AVA's files: boxes and detections as CSV without a header, label maps as pbtxt, lists of keyframes.

A row of boxes is `video, seconds, left, top, right, bottom, action[, person or score]`, edges as fractions of the
frame; a row of two columns says that a keyframe was looked at and holds nothing. "902", "0902" and "902.000000" are one
keyframe. The format is described at research.google.com/ava/download.html.
"""

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.atomic import write_text
from tal.boxes import KeyframeBoxes, keyframes
from tal.errors import AnnotationError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CHUNK_BYTES = 4 << 20
_ID_BYTES = 64
_COLUMNS = ("time", "left", "top", "right", "bottom", "action", "last column")
_TRUTH = "video, seconds, left, top, right, bottom, action and, optionally, person"
_DETECTIONS = "video, seconds, left, top, right, bottom, action, score"
_LARGEST = 1e12  # Of a time, class or person: whole microseconds of it fit 64 bits.


def read_boxes(path: Path | str) -> KeyframeBoxes:
    """Ground truth; see `parse_boxes`."""
    return parse_boxes(files.read_bytes(path), path)


def read_detections(path: Path | str) -> KeyframeBoxes:
    """Detections; see `parse_detections`."""
    return parse_detections(files.read_bytes(path), path)


def parse_boxes(content: bytes, path: Path | str) -> KeyframeBoxes:
    """Ground truth from a file's content; `actor` is set where every row names a person.

    Raises:
        AnnotationError: a line that cannot be read (named), or rows with scores, which are detections.
    """
    boxes, last = _parsed(content, path, _TRUTH)
    given = last[~np.isnan(last)]
    if len(given) and (given != np.floor(given)).any():
        raise AnnotationError(
            f"{path}: the last of 8 columns holds {given[given != np.floor(given)][0]:g}, which is no person",
            expected=f"ground truth: {_TRUTH}",
            cause="a score: ground truth and detections were exchanged",
        )
    whole = len(given) == len(last)
    return _with(boxes, actor=last.astype(np.int64) if whole and len(last) else None)


def parse_detections(content: bytes, path: Path | str) -> KeyframeBoxes:
    """Detections from a file's content.

    Raises:
        AnnotationError: a line that cannot be read (named), no rows, or rows without scores.
    """
    boxes, score = _parsed(content, path, _DETECTIONS)
    missing = int(np.isnan(score).sum())
    if missing:
        raise AnnotationError(
            f"{path}: {missing} of {len(score)} rows have 7 columns, without a score",
            expected=f"8 columns: {_DETECTIONS}",
            cause="ground truth given as detections" if missing == len(score) else "two formats in one file",
        )
    if len(score) and (score == np.floor(score)).all() and score.max() > 1:
        raise AnnotationError(
            f"{path}: all {len(score)} scores are whole numbers, up to {score.max():g}",
            expected=f"detections: {_DETECTIONS}",
            cause="numbers of persons: ground truth given as detections",
        )
    return _with(boxes, score=score)


def parse_keyframes(content: bytes, path: Path | str) -> KeyframeBoxes:
    """A list of keyframes, such as AVA's excluded time stamps: `video, seconds` per line; no rows of boxes.

    Raises:
        AnnotationError: a line that cannot be read (named), or a file with boxes.
    """
    boxes, _ = _parsed(content, path, "video, seconds")
    if len(boxes):
        raise AnnotationError(
            f"{path}: {len(boxes)} rows with boxes",
            expected="a list of keyframes: video, seconds",
            cause="ground truth or detections given as a list of keyframes",
        )
    return boxes


def parse_times(content: bytes, path: Path | str) -> Floats:
    """AVA's included time stamps: one number of seconds per line.

    Raises:
        AnnotationError: a line that is no number (named).
    """
    times = []
    for number, line in enumerate(files.to_text(content, path).splitlines(), 1):
        if line.strip():
            times.append(_number(line, f"{path}: line {number}", "time"))
    return np.array(times, np.float64)


def parse_label_map(content: bytes, path: Path | str) -> dict[int, str]:
    """Action number -> name, in the file's order, from either layout of AVA's pbtxt label maps.

    `item {name: "..." id: N}` lists the 60 classes of the ActivityNet challenges, `label {name: "..." label_id: N
    label_type: ...}` all 80.

    Raises:
        AnnotationError: no entries, an entry without name or number, or one of either twice.
    """
    text = files.to_text(content, path)
    found: dict[int, str] = {}
    for block in re.finditer(r"\b(?:item|label)\s*\{([^{}]*)\}", text):
        fields: dict[str, str] = dict(re.findall(r"(\w+)\s*:\s*(\"[^\"\n]*\"|'[^'\n]*'|[^\s\"']+)", block[1]))
        number, name = fields.get("id", fields.get("label_id", "")), fields.get("name", "")[1:-1]
        where = f"{path}: line {text.count(chr(10), 0, block.start()) + 1}"
        if not name or not number.isdigit() or int(number) < 1:
            raise AnnotationError(
                f"{where}: an entry with name {name!r} and number {number!r}", expected='name: "..." and id: 1 or more'
            )
        if int(number) in found or name in found.values():
            raise AnnotationError(f"{where}: {name!r} or its number {number} a second time", expected="each once")
        found[int(number)] = name
    if not found:
        raise AnnotationError(
            f"{path}: no entries of a label map",
            expected='pbtxt: item { name: "..." id: 1 }, or label { name: "..." label_id: 1 }',
            cause="another file",
        )
    return found


def write_ava(path: Path | str, boxes: KeyframeBoxes) -> None:
    """Write ground truth or detections so that reading gives the same numbers, keyframes without rows included."""
    last = boxes.score if boxes.score is not None else boxes.actor
    ends = [""] * len(boxes) if last is None else [f",{value!r}" for value in last.tolist()]
    names = [_quoted(name) for name in boxes.videos]
    videos = [names[video] for video in boxes.frame_video_idx.tolist()]
    places = [f"{video},{_stamp(time)}" for video, time in zip(videos, boxes.frame_time_s.tolist(), strict=True)]
    columns = (boxes.frame_idx.tolist(), boxes.boxes.tolist(), boxes.class_id.tolist(), ends)
    lines = [
        f"{places[frame]},{box[0]!r},{box[1]!r},{box[2]!r},{box[3]!r},{action}{end}"
        for frame, box, action, end in zip(*columns, strict=True)
    ]
    empty = np.bincount(boxes.frame_idx, minlength=len(places)) == 0
    lines += [places[frame] for frame in np.flatnonzero(empty).tolist()]
    write_text(Path(path), "".join(f"{line}\n" for line in lines))


def write_label_map(path: Path | str, classes: Mapping[int, str]) -> None:
    """Write number -> name as pbtxt, in the layout of the ActivityNet challenges, which AVA's own tools read.

    Raises:
        AnnotationError: a name with a quotation mark or a line break, which those tools cannot read.
    """
    wrong = [name for name in classes.values() if '"' in name or "\n" in name]
    if wrong:
        raise AnnotationError(f"class {wrong[0]!r} cannot stand in a label map", expected="no quotation marks")
    write_text(
        Path(path), "".join(f'item {{\n  name: "{name}"\n  id: {number}\n}}\n' for number, name in classes.items())
    )


def _stamp(time_s: float) -> str:
    return f"{int(time_s):04d}" if time_s == math.floor(time_s) else repr(time_s)


def _quoted(name: str) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([name])
    return buffer.getvalue()


def _with(boxes: KeyframeBoxes, *, score: Floats | None = None, actor: Ints | None = None) -> KeyframeBoxes:
    return KeyframeBoxes(
        videos=boxes.videos,
        frame_video_idx=boxes.frame_video_idx,
        frame_time_s=boxes.frame_time_s,
        frame_idx=boxes.frame_idx,
        class_id=boxes.class_id,
        boxes=boxes.boxes,
        score=score,
        actor=actor,
    )


def _parsed(content: bytes, path: Path | str, expected: str) -> tuple[KeyframeBoxes, Floats]:
    """(boxes without score and actor; (N,) the last of 8 columns, NaN where a row has 7)."""
    if files.looks_like_json(content):
        raise AnnotationError(
            f"{path} is JSON", expected=f"CSV without a header: {expected}", cause="another task's file"
        )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        content = files.to_text(content, path).encode()
    index: dict[str, int] = {}
    parts = [(np.empty(0, np.int64), np.empty((0, len(_COLUMNS))))]
    for first_line, chunk in _chunks(content):
        quick = _quickly(chunk)
        names, table = _carefully(chunk, path, first_line, expected) if quick is None else quick
        runs = np.flatnonzero(names[1:] != names[:-1]) + 1
        heads = names[np.concatenate([[0], runs])].tolist() if len(names) else []
        numbers = [index.setdefault(head.decode() if isinstance(head, bytes) else head, len(index)) for head in heads]
        parts.append((np.repeat(np.array(numbers, np.int64), np.diff([0, *runs, len(names)]) if heads else 0), table))
    video_idx = np.concatenate([part for part, _ in parts])
    table = np.concatenate([part for _, part in parts])
    if (np.abs(table[:, [0, 5, 6]]) > _LARGEST).any():
        raise AnnotationError(f"{path}: a time, class or last column above {_LARGEST:g}", expected=expected)
    frame_idx, first = keyframes(video_idx, table[:, 0])
    rows = np.flatnonzero(~np.isnan(table[:, 5]))
    boxes = KeyframeBoxes(
        videos=tuple(index),
        frame_video_idx=video_idx[first],
        frame_time_s=table[first, 0],
        frame_idx=frame_idx[rows],
        class_id=table[rows, 5].astype(np.int64),
        boxes=table[rows, 1:5],
    )
    return boxes, table[rows, 6]


def _chunks(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(number of the first line, some megabytes of whole lines)."""
    start, line = 0, 1
    while start < len(content):
        stop = start + _CHUNK_BYTES
        stop = content.find(b"\n", stop) + 1 if stop < len(content) else len(content)
        chunk = content[start : stop or len(content)]
        yield line, chunk
        start, line = start + len(chunk), line + chunk.count(b"\n")


def _quickly(chunk: bytes) -> tuple[NDArray[np.bytes_], Floats] | None:
    """(video ids, table of `_COLUMNS`) of plain lines with one number of columns, None for any other."""
    columns = chunk.split(b"\n", 1)[0].count(b",") + 1
    if columns not in (7, 8) or not chunk.isascii() or b'"' in chunk:
        return None
    kinds = np.dtype([("video", f"S{_ID_BYTES}"), ("numbers", np.float64, (columns - 1,))])
    try:
        found = np.loadtxt(io.BytesIO(chunk), dtype=kinds, delimiter=",", comments=None, ndmin=1)
    except ValueError:
        return None
    names, table = np.ascontiguousarray(found["video"]), found["numbers"]
    plain = np.isfinite(table).all() and (table[:, 5] == np.floor(table[:, 5])).all()
    if not plain or (names == b"").any() or (names.view("u1").reshape(len(names), -1)[:, -1] != 0).any():
        return None
    return names, table if columns == 8 else np.column_stack([table, np.full(len(table), np.nan)])


def _carefully(chunk: bytes, path: Path | str, first_line: int, expected: str) -> tuple[NDArray[np.str_], Floats]:
    """`_quickly` for lines of any kind.

    Raises:
        AnnotationError: the first line that cannot be read.
    """
    names, rows = [], []
    reader = csv.reader(io.StringIO(files.to_text(chunk, path), newline=""))
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                line = first_line + reader.line_num - 1
                rows.append(_row(cells, f"{path}: line {line}", expected, may_be_header=line == 1))
                names.append(cells[0])
    except csv.Error as error:
        raise AnnotationError(f"{path}: line {first_line + reader.line_num - 1} is no CSV: {error}") from None
    return np.array(names, np.str_), np.array(rows, np.float64).reshape(-1, len(_COLUMNS))


def _row(cells: list[str], where: str, expected: str, *, may_be_header: bool) -> list[float]:
    if may_be_header and len(cells) > 1 and not any(_is_number(cell) for cell in cells):
        raise AnnotationError(
            f"{where} is {','.join(cells)!r:.80}, a header",
            expected=f"lines of {expected}",
            cause="a table of another format, or written with a header, which AVA's files do not have",
            todo="delete the line if the columns are these",
        )
    if not any(cell.strip() for cell in cells[2:]):
        cells = cells[:2]  # Empty cells after the time hold as little as none.
    if len(cells) not in (2, 7, 8):
        raise AnnotationError(
            f"{where} has {len(cells)} columns",
            expected=expected,
            cause="a truncated file" if len(cells) < 7 else "a file of another format",
        )
    if not cells[0]:
        raise AnnotationError(f"{where} names no video", expected=expected)
    numbers = [_number(cell, where, name) for cell, name in zip(cells[1:], _COLUMNS, strict=False)]
    if len(numbers) > 1 and numbers[5] != math.floor(numbers[5]):
        raise AnnotationError(f"{where}: action {cells[6]!r}", expected="the whole number of a class")
    return numbers + [math.nan] * (len(_COLUMNS) - len(numbers))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _number(cell: str, where: str, name: str) -> float:
    if not _is_number(cell) or not math.isfinite(float(cell)):
        raise AnnotationError(
            f"{where}: {name} is {cell.strip()!r}",
            expected="a number",
            cause="a training run that diverged" if cell.strip().lower() == "nan" else "",
        )
    return float(cell)
