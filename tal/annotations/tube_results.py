"""Predictions of action tubes: boxes frame by frame, linked tubes, and tubelets. Frames count from 1, boxes are pixels.

Boxes: CSV with `video,frame,label,score,x1,y1,x2,y2`; or ACT's and MOC's frame_detections.pkl, an (N, 8) array of video
(its place in the split's list), frame, label index, score, x1, y1, x2, y2. Tubes: JSON
`{"columns", "videos": {VIDEO: [{"label", "score", "boxes": [[frame, x1, y1, x2, y2, score]]}]}}`; or a pickled dict
{label index: [(video, score, (n, 5 or 6) array)]}. Tubelets: the folder that MOC's detector writes, a pickled dict
{label index + 1: (N, 4K + 1) array of K boxes and a score} per start frame, as VIDEO/00001.pkl.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files, pickles
from tal.annotations.csv import write_table
from tal.annotations.tubes import rows_of, tube_of
from tal.atomic import write_text
from tal.errors import AnnotationError
from tal.ops.tubes import MOST_FRAMES, FrameTube

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_COLUMNS = ("video", "frame", "label", "score", "x1", "y1", "x2", "y2")
_NUMBERS = _COLUMNS[1:2] + _COLUMNS[3:]
_ROWS_AT_ONCE = 100_000
_EXPECTED = (
    "boxes as CSV (video,frame,label,score,x1,y1,x2,y2), tubes as JSON "
    '({"columns", "videos": {VIDEO: [{label, score, boxes}]}}), a pickle of ACT or MOC, or the folder of its tubelets'
)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxTable:
    """Detected boxes as columns of equal length N, in the file's order.

    Args:
        videos: The ids that `video_idx` points into; some may not occur.
        labels: The class names, likewise.
        video_idx: (N,) index into `videos`.
        label_idx: (N,) index into `labels`.
        frame: (N,) from 1.
        score: (N,).
        boxes: (N, 4) left, top, right, bottom in pixels.
    """

    videos: tuple[str, ...]
    labels: tuple[str, ...]
    video_idx: Ints
    label_idx: Ints
    frame: Ints
    score: Floats
    boxes: Floats

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, kw_only=True, eq=False)
class TubeTable:
    """Detected tubes.

    Args:
        labels: The class names that occur; a tube's `label` is an index into them.
        videos: id -> its tubes, in the file's order; also those without any.
    """

    labels: tuple[str, ...]
    videos: Mapping[str, tuple[FrameTube, ...]]

    def __len__(self) -> int:
        return sum(map(len, self.videos.values()))


def parse_results(
    content: bytes, path: Path | str, *, videos: Sequence[str], classes: Sequence[str]
) -> BoxTable | TubeTable:
    """Predictions from a file's content.

    Args:
        content: CSV, JSON or pickle, see the top of this file.
        path: Named in messages.
        videos: The split's ids in order, which pickled arrays point into.
        classes: The class names, which pickles point into.

    Raises:
        AnnotationError: damaged, not predictions of tubes, or an entry that cannot be read (named).
    """
    if pickles.looks_like_pickle(content):
        return _from_pickle(pickles.parse_pickle(content, path), str(path), videos, classes)
    if files.looks_like_json(content):
        return _from_json(files.to_unique_json(content, path), str(path))
    return _from_csv(files.to_text(content, path), str(path))


def _from_csv(text: str, source: str) -> BoxTable:
    reader = csv.reader(io.StringIO(text, newline=None))
    try:
        header = [cell.strip().lower() for cell in next(reader)]
        missing = [name for name in _COLUMNS if name not in header]
        if missing:
            raise AnnotationError(
                f"{source}: no column for {', '.join(missing)}; the header has {', '.join(header)!r:.200}",
                expected=_EXPECTED,
                cause="a file without a header line, or of another task",
            )
        return _columns(reader, header, source)
    except csv.Error as error:
        raise AnnotationError(f"{source}: line {reader.line_num} is no CSV: {error}") from None


def _columns(reader: Iterable[list[str]], header: Sequence[str], source: str) -> BoxTable:
    """The table, its rows taken some at a time: as text they need ten times the memory."""
    videos: dict[str, int] = {}
    labels: dict[str, int] = {}
    parts: list[list[Floats]] = []
    filled = (row for row in reader if any(map(str.strip, row)))
    number = 2  # The header is row 1; empty lines do not count.
    while rows := list(islice(filled, _ROWS_AT_ONCE)):
        wrong = next((each for each in range(len(rows)) if len(rows[each]) != len(header)), None)
        if wrong is not None:
            raise AnnotationError(
                f"{source}: row {number + wrong} has {len(rows[wrong])} cells, the header {len(header)}",
                cause="the file is truncated" if wrong == len(rows) - 1 and len(rows) < _ROWS_AT_ONCE else "",
            )
        cells = dict(zip(header, zip(*rows, strict=True), strict=True))
        named = [
            np.array([index.setdefault(name, len(index)) for name in cells[column]], np.float64)
            for index, column in ((videos, "video"), (labels, "label"))
        ]
        parts.append([*named, *(_numbers(cells[name], name, source, number) for name in _NUMBERS)])
        number += len(rows)
    table = np.concatenate([np.stack(part, axis=1) for part in parts]) if parts else np.zeros((0, 8))
    return _boxes(tuple(videos), tuple(labels), table, source)


def _numbers(cells: Sequence[str], name: str, source: str, first_row: int) -> Floats:
    try:
        return np.array(cells, dtype=np.float64)
    except ValueError:
        for row, cell in enumerate(cells, first_row):
            try:
                float(cell)
            except ValueError:
                raise AnnotationError(f"{source}: row {row}: {name} is {cell!r}", expected="a number") from None
        raise


def _boxes(videos: tuple[str, ...], labels: tuple[str, ...], table: Floats, source: str) -> BoxTable:
    """The table from (N, 8) numbers: places in `videos` and `labels`, frame, score and box."""
    video_idx, frame, score, boxes = table[:, 0].astype(np.int64), table[:, 2], table[:, 3], table[:, 4:8]
    for name, column in (("score", score), ("frame", frame), ("box", boxes.sum(axis=1))):
        wrong = np.flatnonzero(~np.isfinite(column))
        if len(wrong):
            raise AnnotationError(
                f"{source}: {len(wrong)} detections whose {name} is NaN or infinite, the first on video "
                f"{videos[video_idx[wrong[0]]]!r}",
                expected="numbers",
                cause="a training run that diverged" if name == "score" else "",
            )
    odd = frame[(frame != np.floor(frame)) | (np.abs(frame) > MOST_FRAMES)]
    if len(odd):
        raise AnnotationError(f"{source}: a frame of {odd[0]:g}", expected=f"whole numbers up to {MOST_FRAMES}")
    return BoxTable(
        videos=videos,
        labels=labels,
        video_idx=video_idx,
        label_idx=table[:, 1].astype(np.int64),
        frame=frame.astype(np.int64),
        score=np.ascontiguousarray(score),
        boxes=np.ascontiguousarray(boxes),
    )


def _from_json(data: Any, source: str) -> TubeTable:
    videos = data.get("videos") if isinstance(data, dict) else None
    if not isinstance(videos, dict) or not all(isinstance(entry, list) for entry in videos.values()):
        keys = f"an object with keys {', '.join(map(str, list(data)[:6]))}" if isinstance(data, dict) else "a list"
        annotated = isinstance(videos, dict) and any(isinstance(entry, dict) for entry in videos.values())
        raise AnnotationError(
            f"{source}: {'annotations, not predictions' if annotated else keys}",
            expected=_EXPECTED,
            cause="the two files were exchanged" if annotated else "predictions of another task",
        )
    index: dict[str, int] = {}
    found = {}
    for video, entries in videos.items():
        tubes = []
        for position, entry in enumerate(entries):
            where = f"{source}: video {video!r}, tube {position}"
            if not isinstance(entry, dict) or not {"label", "score", "boxes"} <= set(entry):
                raise AnnotationError(f"{where}: {entry!r:.80}", expected="an object with label, score and boxes")
            label = index.setdefault(str(entry["label"]), len(index))
            tubes.append(tube_of(entry["boxes"], label=label, where=where, score=_score(entry["score"], where)))
        found[video] = tuple(tubes)
    return TubeTable(labels=tuple(index), videos=found)


def _score(value: Any, where: str) -> float:
    plain = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    try:
        number = float(value) if plain else math.nan
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise AnnotationError(f"{where}: score is {value!r:.40}", expected="a finite number")
    return number


def _from_pickle(data: Any, source: str, videos: Sequence[str], classes: Sequence[str]) -> BoxTable | TubeTable:
    if isinstance(data, np.ndarray) and data.ndim == 2 and data.shape[1] == 8 and data.dtype.kind in "fiu":
        table = data.astype(np.float64)
        places = (table[:, 0], len(videos), "videos"), (table[:, 2], len(classes), "classes")
        for column, count, name in places:
            if len(column) and not (column.min() >= 0 and column.max() < count):
                raise AnnotationError(
                    f"{source}: points to {name} {column.min():g} to {column.max():g}",
                    expected=f"0 to {count - 1}: the split and the annotations have {count} {name}",
                    cause="frame detections of another split",
                )
        return _boxes(tuple(videos), tuple(classes), table[:, [0, 2, 1, 3, 4, 5, 6, 7]], source)
    if isinstance(data, dict) and data and all(isinstance(tubes, list | tuple) for tubes in data.values()):
        found: dict[str, list[FrameTube]] = {}
        for label, tubes in data.items():
            if not isinstance(label, int | np.integer) or not 0 <= label < len(classes):
                raise AnnotationError(f"{source}: a label of {label!r:.40}", expected=f"0 to {len(classes) - 1}")
            for position, entry in enumerate(tubes):
                where = f"{source}: label {label}, tube {position}"
                if not isinstance(entry, list | tuple) or len(entry) != 3:
                    raise AnnotationError(f"{where}: {entry!r:.80}", expected="(video, score, boxes)")
                video, score, rows = entry
                tube = tube_of(rows, label=int(label), where=where, score=_score(score, where))
                found.setdefault(str(video), []).append(tube)
        return TubeTable(labels=tuple(classes), videos={video: tuple(each) for video, each in found.items()})
    raise AnnotationError(f"{source}: a pickle of {type(data).__name__}, not of predictions", expected=_EXPECTED)


def read_tubelets(folder: Path | str, video: str, frame_count: int) -> Iterator[tuple[Path, bytes, dict[int, Floats]]]:
    """(file, its content, {label index: (N, 4K + 1) K boxes and a score}) of each start frame of a video, in order.

    Raises:
        AnnotationError: a file between others is missing, damaged, or holds something else.
    """
    count = frame_count
    for start in range(1, count + 1):
        path = Path(folder) / video / f"{start:05d}.pkl"
        if not path.exists():
            if start > 1 and not any((path.parent / f"{later:05d}.pkl").exists() for later in range(start, count + 1)):
                return
            raise AnnotationError(
                f"{path}: no such file",
                expected="tubelets of every start frame from 00001.pkl on",
                cause="a detection run that was interrupted",
            )
        content = files.read_bytes(path, pickles=True)
        yield path, content, _tubelets(pickles.parse_pickle(content, path), path)


def _tubelets(data: Any, path: Path) -> dict[int, Floats]:
    if not isinstance(data, dict):
        raise AnnotationError(f"{path}: a pickle of {type(data).__name__}", expected="{label index + 1: array}")
    found = {}
    for label, rows in data.items():
        table = np.asarray(rows, np.float64) if isinstance(rows, np.ndarray) else np.zeros(0)
        if not isinstance(label, int | np.integer) or label < 1 or table.ndim != 2 or table.shape[1] % 4 != 1:
            raise AnnotationError(f"{path}: label {label!r:.20} holds no tubelets", expected="(N, 4K + 1) arrays")
        if not np.isfinite(table).all():
            raise AnnotationError(f"{path}: tubelets of label {label} with NaN or infinite numbers", expected="numbers")
        found[int(label) - 1] = table
    return found


def write_boxes(path: Path | str, table: BoxTable) -> None:
    """Write detected boxes as CSV."""
    columns = (
        [table.videos[row] for row in table.video_idx],
        table.frame.tolist(),
        [table.labels[row] for row in table.label_idx],
        table.score.tolist(),
        *table.boxes.T.tolist(),
    )
    write_table(path, _COLUMNS, list(zip(*columns, strict=True)))


def write_tubes(path: Path | str, table: TubeTable) -> None:
    """Write detected tubes as JSON."""
    videos = {
        video: [
            {"label": table.labels[tube.label], "score": tube.score, "boxes": rows_of(tube, scored=True)}
            for tube in tubes
        ]
        for video, tubes in table.videos.items()
    }
    data = {"columns": ["frame", "x1", "y1", "x2", "y2", "score"], "videos": videos}
    write_text(Path(path), json.dumps(data) + "\n")
