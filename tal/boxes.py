"""Boxes on keyframes and tubes: the spatial sibling of segments."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import TalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """One actor's box over time.

    Args:
        actor: Who; unique within the video.
        label: The action's class name; "" for the actor's whole track.
        times_s: (N,) seconds, increasing.
        boxes: (N, 4) left, top, right, bottom as fractions of the frame's width and height.

    Raises:
        TalError: times and boxes of different lengths, or times that do not increase.
    """

    actor: str
    label: str = ""
    times_s: Floats
    boxes: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "times_s", np.asarray(self.times_s, np.float64).reshape(-1))
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float64).reshape(-1, 4))
        if len(self.times_s) != len(self.boxes):
            raise TalError(f"tube of {len(self.times_s)} times and {len(self.boxes)} boxes")
        if np.any(np.diff(self.times_s) <= 0):
            raise TalError(f"tube of actor {self.actor!r}: times do not increase")

    def __len__(self) -> int:
        return len(self.times_s)


@dataclass(frozen=True, kw_only=True, eq=False)
class KeyframeBoxes:
    """Boxes with classes on the keyframes of many videos, as columns; F keyframes, N rows.

    A person who does three things takes three rows with one box. A keyframe may have no row.

    Args:
        videos: The ids.
        frame_video_idx: (F,) index into `videos` of each keyframe.
        frame_time_s: (F,) seconds.
        frame_idx: (N,) index of each row's keyframe.
        class_id: (N,) the number that the label map gives the class.
        boxes: (N, 4) left, top, right, bottom, usually as fractions of the frame's width and height.
        score: (N,) confidence; None for ground truth.
        actor: (N,) who, unique within a video; None where it is not known.

    Raises:
        TalError: columns of different lengths, an index outside its list, or a number that is not finite.
    """

    videos: tuple[str, ...]
    frame_video_idx: Ints
    frame_time_s: Floats
    frame_idx: Ints
    class_id: Ints
    boxes: Floats
    score: Floats | None = None
    actor: Ints | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "videos", tuple(self.videos))
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float64).reshape(-1, 4))
        types = {"frame_video_idx": np.int64, "frame_time_s": np.float64, "frame_idx": np.int64}
        types |= {"class_id": np.int64, "score": np.float64, "actor": np.int64}
        for name, dtype in types.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype).reshape(-1))
        rows = {"frame_idx": self.frame_idx, "class_id": self.class_id, "boxes": self.boxes}
        rows |= {name: column for name, column in (("score", self.score), ("actor", self.actor)) if column is not None}
        for columns in (rows, {"frame_video_idx": self.frame_video_idx, "frame_time_s": self.frame_time_s}):
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) > 1:
                raise TalError(f"columns of different lengths: {lengths}", expected="one value per row in each column")
        for name, indices, count in (
            ("frame_idx", self.frame_idx, len(self.frame_time_s)),
            ("frame_video_idx", self.frame_video_idx, len(self.videos)),
        ):
            if len(indices) and (indices.min() < 0 or indices.max() >= count):
                raise TalError(f"{name} from {indices.min()} to {indices.max()}", expected=f"0 to {count - 1}")
        for name, values in (("time", self.frame_time_s), ("box", self.boxes), ("score", self.score)):
            _refuse_nan(name, values)

    def __len__(self) -> int:
        return len(self.frame_idx)

    def __repr__(self) -> str:
        kind = "boxes" if self.score is None else "detections"
        return f"KeyframeBoxes({len(self)} {kind} on {len(self.frame_time_s)} keyframes of {len(self.videos)} videos)"

    @classmethod
    def from_rows(
        cls,
        video: Sequence[str],
        time_s: ArrayLike,
        boxes: ArrayLike,
        class_id: ArrayLike,
        *,
        score: ArrayLike | None = None,
        actor: ArrayLike | None = None,
    ) -> "KeyframeBoxes":
        """Columns from N rows that name video and time; times that agree in six decimals are one keyframe."""
        index: dict[str, int] = {}
        video_idx = np.array([index.setdefault(name, len(index)) for name in video], np.int64)
        times_s = np.asarray(time_s, np.float64).reshape(-1)
        _refuse_nan("time", times_s)
        frame_of_row, first = keyframes(video_idx, times_s)
        return cls(
            videos=tuple(index),
            frame_video_idx=video_idx[first],
            frame_time_s=times_s[first],
            frame_idx=frame_of_row,
            class_id=np.asarray(class_id, np.int64),
            boxes=np.asarray(boxes, np.float64),
            score=None if score is None else np.asarray(score, np.float64),
            actor=None if actor is None else np.asarray(actor, np.int64),
        )


def _refuse_nan(name: str, values: Floats | None) -> None:
    if values is not None and not np.isfinite(values).all():
        raise TalError(f"a {name} that is NaN or infinite", expected="numbers")


def microseconds(time_s: Floats) -> Ints:
    """(N,) whole microseconds: AVA's tools compare times of keyframes by six decimals."""
    return np.rint(time_s * 1e6).astype(np.int64)


def keyframes(video_idx: Ints, time_s: Floats) -> tuple[Ints, Ints]:
    """Number the keyframes of rows by their first row.

    Args:
        video_idx: (N,) from 0.
        time_s: (N,) seconds.

    Returns:
        (N,) keyframe of each row and (F,) first row of each keyframe, ascending.
    """
    time_us = microseconds(time_s)
    starts = np.flatnonzero(np.diff(video_idx, prepend=-1) | np.diff(time_us, prepend=-1))  # runs of one keyframe
    order = np.lexsort((time_us[starts], video_idx[starts]))
    ordered = starts[order]
    new = (np.diff(video_idx[ordered], prepend=-1) != 0) | (np.diff(time_us[ordered], prepend=-1) != 0)
    first = ordered[new]  # The sort is stable: of one keyframe, the earliest run comes first.
    by_row = np.argsort(first)
    number = np.empty(len(first), np.int64)
    number[by_row] = np.arange(len(first))
    of_run = np.empty(len(starts), np.int64)
    of_run[order] = number[np.cumsum(new) - 1]
    return np.repeat(of_run, np.diff(starts, append=len(video_idx))), first[by_row]


def box_iou(first: ArrayLike, second: ArrayLike, *, pairwise: bool = True, inclusive: bool = False) -> Floats:
    """Intersection over union of boxes.

    Args:
        first: (N, 4) left, top, right, bottom.
        second: (M, 4); (N, 4) if not `pairwise`.
        pairwise: Every box of the first with every one of the second; otherwise row by row.
        inclusive: Right and bottom are the last pixels of the box (width = right - left + 1), as ACT, MOC and PASCAL
            VOC count; otherwise they are edges, as AVA counts.

    Returns:
        (N, M), or (N,) if not `pairwise`; 0 where the union is not positive (empty and reversed boxes).
    """
    one, two = (np.asarray(boxes, np.float64).reshape(-1, 4) for boxes in (first, second))
    more = 1.0 if inclusive else 0.0
    left, top, right, bottom = one.T[:, :, None] if pairwise else one.T
    others = two.T
    width = np.minimum(right, others[2]) - np.maximum(left, others[0]) + more
    height = np.minimum(bottom, others[3]) - np.maximum(top, others[1]) + more
    inter = np.clip(width, 0.0, None) * np.clip(height, 0.0, None)
    area = (right - left + more) * (bottom - top + more)
    union = area + (others[2] - others[0] + more) * (others[3] - others[1] + more) - inter
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(union > 0, inter / union, 0.0)
