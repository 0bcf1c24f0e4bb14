"""Annotations of action tubes: boxes in pixels on frames counted from 1, right and bottom the last pixels of the box.

Two files hold the same. The pickle that ACT made common (JHMDB-GT.pkl, UCF101v2-GT.pkl): a dict of `labels`,
`train_videos` and `test_videos` (a list of ids per split), `nframes`, `resolution` ((height, width)) and `gttubes`
({video: {label index: [(n, 5) frame, x1, y1, x2, y2]}}). And JSON, which needs no unpickler:
`{"labels", "videos": {VIDEO: {"nframes", "resolution", "tubes": [{"label", "boxes": [[frame, x1, y1, x2, y2]]}]}}}`,
optionally with `train_videos` and `test_videos`.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tal.annotations import files, pickles
from tal.annotations.records import Annotations, VideoRecord
from tal.atomic import write_text
from tal.errors import AnnotationError, TalError
from tal.ops.tubes import MOST_FRAMES, FrameTube
from tal.segments import Segments

_LISTS = {"train_videos": "train", "test_videos": "test"}


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is annotations of tubes."""
    if not isinstance(data, dict) or not isinstance(data.get("labels"), list):
        return False
    videos = data.get("videos")
    return isinstance(videos, dict) and all(isinstance(each, dict) and "tubes" in each for each in videos.values())


def parse_bytes(content: bytes, path: Path | str) -> Annotations:
    """Records from a file's content, JSON or pickle; `path` is named in messages.

    Raises:
        AnnotationError: damaged, or annotations of another kind.
    """
    pickled = pickles.looks_like_pickle(content)
    if not pickled and not files.looks_like_json(content):
        raise _another_kind(None, str(path))
    data = pickles.parse_pickle(content, path) if pickled else files.to_json(content, path)
    try:
        return parse_pickled(data, source=str(path)) if pickled else parse(data, source=str(path))
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{path}: an entry cannot be read: {type(error).__name__}: {error}", cause="a damaged file"
        ) from error


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from parsed JSON. Tubes of labels that are not in the class list have label -1.

    Args:
        data: See the top of this file.
        source: For messages.
        classes: The class list to use; the file's own by default.

    Raises:
        AnnotationError: not such annotations, or an entry that cannot be read (named).
    """
    if not looks_like(data):
        raise _another_kind(data, source)
    labels = tuple(map(str, data["labels"] if classes is None else classes))
    index = {name: position for position, name in enumerate(labels)}
    records = {}
    for video, entry in data["videos"].items():
        where = f"{source}: video {video!r}"
        if not isinstance(entry["tubes"], list) or not all(isinstance(tube, dict) for tube in entry["tubes"]):
            raise AnnotationError(f"{where}: tubes are no list of objects", expected='[{"label", "boxes"}]')
        tubes = [(index.get(str(tube.get("label")), -1), tube.get("boxes")) for tube in entry["tubes"]]
        records[video] = _record(video, tubes, entry.get("nframes"), entry.get("resolution"), where, labels)
    return _annotations(records, data, labels, source, "tubes")


def parse_pickled(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from the content of an ACT pickle, see `parse`.

    Raises:
        AnnotationError: not such annotations, or an entry that cannot be read (named).
    """
    needed = ("labels", "gttubes", "nframes", "resolution")
    if not isinstance(data, dict) or any(key not in data for key in needed) or not isinstance(data["gttubes"], dict):
        raise _another_kind(data, source)
    labels = tuple(map(str, data["labels"] if classes is None else classes))
    records = {}
    for video, per_label in data["gttubes"].items():
        where = f"{source}: video {video!r}"
        if not isinstance(per_label, dict):
            raise AnnotationError(f"{where}: gttubes is {type(per_label).__name__}", expected="{label index: [tubes]}")
        tubes = [
            (int(label) if 0 <= int(label) < len(labels) else -1, tube)
            for label, found in per_label.items()
            for tube in found
        ]
        size = data["resolution"].get(video)
        records[str(video)] = _record(str(video), tubes, data["nframes"].get(video), size, where, labels)
    return _annotations(records, data, labels, source, "act-pickle")


def _another_kind(data: Any, source: str) -> AnnotationError:
    keys = f"an object with keys {', '.join(map(str, list(data)[:6]))}" if isinstance(data, dict) else "no JSON object"
    videos = data.get("videos") if isinstance(data, dict) else None
    predicted = isinstance(videos, dict) and any(isinstance(each, list) for each in videos.values())
    return AnnotationError(
        f"{source}: {'tube predictions, not annotations' if predicted else f'no annotations of tubes: {keys}'}",
        expected='{"labels", "videos": {VIDEO: {"nframes", "resolution", "tubes"}}}, or the pickle of ACT '
        "(labels, gttubes, nframes, resolution, train_videos, test_videos)",
        cause="the two files were exchanged" if predicted else "annotations of another task",
    )


def _record(
    video: str, tubes: Iterable[tuple[int, Any]], count: Any, size: Any, where: str, classes: tuple[str, ...]
) -> VideoRecord:
    try:
        if count is not None and not 0 < int(count) <= MOST_FRAMES:
            raise ValueError(f"not from 1 to {MOST_FRAMES}")
        return VideoRecord(
            video=video,
            frame_tubes=tuple(tube_of(rows, label=label, where=where) for label, rows in tubes),
            frame_count=None if count is None else int(count),
            frame_size=None if size is None else (int(size[0]), int(size[1])),
            instances=Segments.empty(classes),
        )
    except (IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise AnnotationError(
            f"{where}: nframes {count!r:.40} or resolution {size!r:.40} cannot be read: {error}",
            expected="a number of frames, and (height, width)",
        ) from None


def tube_of(rows: Any, *, label: int, where: str, score: float = 1.0) -> FrameTube:
    """One tube from rows of frame, x1, y1, x2, y2 and, for predictions, a score per box.

    Raises:
        AnnotationError: not such rows, NaN, or frames that do not increase.
    """
    try:
        table = np.asarray(rows, np.float64)
    except (TypeError, ValueError):
        table = np.zeros((0, 0))
    if table.ndim != 2 or table.shape[1] not in (5, 6) or not len(table):
        raise AnnotationError(
            f"{where}: boxes of a tube that are no rows of 5 or 6 numbers: {rows!r:.80}",
            expected="[frame, x1, y1, x2, y2], or with the box's score",
        )
    if not np.isfinite(table).all():
        raise AnnotationError(f"{where}: a tube with NaN or infinite boxes", expected="numbers")
    try:
        return FrameTube(
            frames=table[:, 0],  # type: ignore[arg-type]
            boxes=table[:, 1:5],
            label=label,
            score=score,
            box_score=table[:, 5] if table.shape[1] == 6 else None,  # type: ignore[arg-type]
        )
    except TalError as error:
        raise AnnotationError(
            f"{where}: {error.given}: {table[:, 0].tolist()!r:.60}", expected="frames counted from 1, in order"
        ) from None


def _annotations(
    records: Mapping[str, VideoRecord], data: Mapping[str, Any], labels: tuple[str, ...], source: str, reader: str
) -> Annotations:
    if not records:
        raise AnnotationError(f"{source}: no videos in it", expected="annotations of tubes")
    splits = {}
    for key, kind in _LISTS.items():
        for number, videos in enumerate(data.get(key) or (), 1):
            if not isinstance(videos, list | tuple):
                raise AnnotationError(f"{source}: {key} is no list of lists", expected="a list of ids per split")
            splits[f"{kind}{number}"] = tuple(map(str, videos))
    member: dict[str, list[str]] = {}
    for split, videos in splits.items():
        for video in videos:
            if video not in records:
                raise AnnotationError(f"{source}: split {split} lists {video!r}, which has no annotation")
            member.setdefault(video, []).append(split)
    placed = {video: _in_split(record, member.get(video, ())) for video, record in records.items()}
    further = tuple((video, split) for video, names in member.items() for split in names[1:])
    return Annotations(
        classes=labels, videos=placed, source=source, format=reader, further_subsets=further, splits=splits
    )


def _in_split(record: VideoRecord, names: Sequence[str]) -> VideoRecord:
    return replace(record, subset=names[0]) if names else record


def write_annotations(path: Path | str, annotations: Annotations) -> None:
    """Write annotations of tubes as JSON; reading it gives the same records."""
    videos = {
        video: {
            "nframes": record.frame_count,
            "resolution": record.frame_size,
            "tubes": [
                {"label": annotations.classes[tube.label] if tube.label >= 0 else "", "boxes": rows_of(tube)}
                for tube in record.frame_tubes
            ],
        }
        for video, record in annotations.videos.items()
    }
    lists = {
        key: [list(videos) for name, videos in annotations.splits.items() if name.startswith(kind)]
        for key, kind in _LISTS.items()
    }
    data = {"labels": list(annotations.classes), **{key: value for key, value in lists.items() if value}}
    write_text(Path(path), json.dumps(data | {"videos": videos}) + "\n")


def rows_of(tube: FrameTube, *, scored: bool = False) -> list[list[float]]:
    """Rows of frame, x1, y1, x2, y2 and, if `scored`, the box's score."""
    columns: list[Any] = [tube.frames.tolist(), *tube.boxes.T.tolist()]
    if scored:
        columns.append(tube.box_score.tolist())
    return [list(row) for row in zip(*columns, strict=True)]
