"""Who holds which ball when, as CSV: LPCVC 2021's action labels, and what a solution submits.

The header is `frame` and the ids of the balls; each row is an event, each cell the id of the person who then holds the
ball. The labels beside the videos have the ball's colour after its id (`5_blue`), which is taken off.
"""

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files
from tal.annotations.csv import write_table
from tal.errors import AnnotationError

_COLOURED = re.compile(r"(\d+)_[a-z]+")
_ENDINGS = ("_action_noisy", "_action_official")
_EXPECTED = "a header of frame and ball ids, and a row per event: frame,6,7"


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """The events of one video as columns.

    Args:
        balls: The ids of the balls.
        frame: (N,) frame of each event, in the file's order.
        holder: (N, K) text: the person who holds each ball.
        present: (N, K) whether the file has the cell; rows may end early.
    """

    balls: tuple[str, ...]
    frame: NDArray[np.int64]
    holder: NDArray[np.str_]
    present: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.frame)

    def of_balls(self, balls: tuple[str, ...]) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """((N, K) holder, (N, K) present) of these balls, in their order; what is lacking is not present."""
        index = {ball: column for column, ball in enumerate(self.balls)}
        holder = np.full((len(self), len(balls)), "", dtype=self.holder.dtype if self.holder.size else "<U1")
        present = np.zeros((len(self), len(balls)), bool)
        for column, ball in enumerate(balls):
            if ball in index:
                holder[:, column] = self.holder[:, index[ball]]
                present[:, column] = self.present[:, index[ball]]
        return holder, present


def parse(content: bytes, path: Path | str) -> Events:
    """The events of a file's content; `path` is named in messages.

    Raises:
        AnnotationError: no such CSV, a frame that is no whole number, or two columns of one ball.
    """
    text = files.to_text(content, path)
    if files.looks_like_json(content):
        raise AnnotationError(f"{path}: JSON", expected=f"CSV with {_EXPECTED}", cause="a file of another task")
    reader = csv.reader(io.StringIO(text, newline=None))
    try:
        header = [cell.strip().lower() for cell in next(reader)]
        rows = [(reader.line_num, row) for row in reader if any(map(str.strip, row))]
    except csv.Error as error:
        raise AnnotationError(f"{path}: line {reader.line_num} is no CSV: {error}") from None
    names = [_COLOURED.sub(r"\1", name) if _COLOURED.fullmatch(name) else name for name in header]
    if "frame" not in names:
        raise AnnotationError(f"{path}: no column frame; the header has {', '.join(header)!r:.200}", expected=_EXPECTED)
    if "class" in names or "x" in names:
        raise AnnotationError(
            f"{path}: boxes, not events: the header has {', '.join(header)!r:.200}",
            expected=_EXPECTED,
            cause="the initial boxes (_init.csv) instead of the action labels",
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AnnotationError(f"{path}: two columns for {twice}", expected="one column per ball")
    at = names.index("frame")
    balls = tuple(name for name in names if name != "frame")
    cells = [[row[column] if column < len(row) else None for column in range(len(names))] for _, row in rows]
    frames = [_frame(row[at], f"{path}: line {line}") for (line, _), row in zip(rows, cells, strict=True)]
    held = [[cell for column, cell in enumerate(row) if column != at] for row in cells]
    return Events(
        balls=balls,
        frame=np.array(frames, np.int64),
        holder=np.array([[cell or "" for cell in row] for row in held], np.str_).reshape(len(held), len(balls)),
        present=np.array([[cell is not None for cell in row] for row in held], bool).reshape(len(held), len(balls)),
    )


def _frame(cell: str | None, where: str) -> int:
    try:
        return int(np.int64(int(cell or "")))
    except (ValueError, OverflowError):
        raise AnnotationError(f"{where}: frame is {cell!r:.60}", expected="a whole number") from None


def video_of(path: Path) -> str:
    """The video's id in the name of a file of labels."""
    ending = next((each for each in _ENDINGS if path.stem.endswith(each)), "")
    return path.stem.removesuffix(ending)


def label_files(path: Path) -> dict[str, Path]:
    """video -> its file of labels: the file itself, or all CSVs of a folder.

    Raises:
        AnnotationError: an empty folder, or two files of one video.
    """
    if not path.is_dir():
        return {video_of(path): path}
    found: dict[str, Path] = {}
    for each in sorted(path.glob("*.csv")):
        video = video_of(each)
        if video in found:
            raise AnnotationError(
                f"{path}: two files of labels for {video!r}: {found[video].name}, {each.name}",
                todo="put those to be used into a folder of their own",
            )
        found[video] = each
    if not found:
        raise AnnotationError(f"{path}: no CSV in this folder", expected="VIDEO_action_noisy.csv, ... or VIDEO.csv")
    return found


def submitted_files(path: Path, videos: Mapping[str, Path], suffix: str = "") -> dict[str, Path]:
    """video -> the submitted file: the file itself for a single video, or those of a folder.

    Args:
        path: A file, or a folder of VIDEO.csv or VIDEO_*.csv.
        videos: The videos that have labels.
        suffix: What stands after the video's id in the names, where there are several per video.

    Raises:
        AnnotationError: one file for several videos, several files of one video, or none of any.
    """
    if not path.is_dir():
        if len(videos) > 1:
            raise AnnotationError(f"{path}: one file for {len(videos)} videos", expected="a folder of VIDEO.csv")
        return dict.fromkeys(videos, path)
    found: dict[str, Path] = {}
    for video in videos:
        several = [each for each in sorted(path.glob("*.csv")) if _belongs(each.stem, video, suffix)]
        if len(several) > 1:
            raise AnnotationError(
                f"{path}: several files for video {video!r}: {', '.join(each.name for each in several[:5])}",
                expected="one per video",
                todo="choose with --suffix, as _out for VIDEO_out.csv",
            )
        if several:
            found[video] = several[0]
    if not found:
        raise AnnotationError(
            f"{path}: no file of any of {len(videos)} videos in this folder",
            expected=f"{next(iter(videos))}{suffix or ''}.csv, ...",
        )
    return found


def _belongs(stem: str, video: str, suffix: str) -> bool:
    return stem == video + suffix if suffix else stem == video or stem.startswith(f"{video}_")


def write_events(path: Path | str, events: Events) -> None:
    """Write events as CSV; a row ends before the first cell that is not present."""
    rows = []
    for frame, holder, present in zip(events.frame.tolist(), events.holder, events.present, strict=True):
        count = int(np.argmin(present)) if not present.all() else len(present)
        rows.append([frame, *holder[:count].tolist()])
    write_table(path, ("frame", *events.balls), rows)
