"""SnippetGrid: the time span of every snippet. The only place that converts between seconds and snippet index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import GridError

Floats = NDArray[np.float64]

_COMMON_RATES = (30.0, 25.0, 15.0, 10.0, 24.0, 60.0, 50.0, 12.5)  # the likelier first


@dataclass(frozen=True, kw_only=True)
class SnippetGrid:
    """Snippet i spans [offset_s + i * stride_s, + window_s]; its centre is what a localizer's point i means.

    Args:
        offset_s: Start of snippet 0 in the video's time, seconds.
        stride_s: From one snippet's start to the next's, seconds, positive.
        window_s: Length of a snippet, seconds, positive.
        count: Number of snippets.

    Raises:
        GridError: a stride or window that is not a positive number, or a negative count.
    """

    offset_s: float = 0.0
    stride_s: float
    window_s: float
    count: int

    def __post_init__(self) -> None:
        for name in ("stride_s", "window_s"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise GridError(f"snippet {name[:-2]} of {value} s", expected="a positive number of seconds")
        if not np.isfinite(self.offset_s) or self.count < 0:
            raise GridError(f"snippet grid with offset {self.offset_s} s and {self.count} snippets")

    @classmethod
    def from_frames(
        cls, *, count: int, fps: float, stride_frames: float, window_frames: float, offset_frames: float = 0.0
    ) -> SnippetGrid:
        """A grid that is described in frames, as published features are."""
        if not (np.isfinite(fps) and fps > 0):
            raise GridError(f"{fps} frames per second", expected="a positive rate")
        return cls(
            offset_s=offset_frames / fps, stride_s=stride_frames / fps, window_s=window_frames / fps, count=count
        )

    @classmethod
    def spanning(cls, duration_s: float, count: int) -> SnippetGrid:
        """`count` equal snippets that share the whole duration: features resampled to a fixed length."""
        if count < 1:
            raise GridError(f"{count} snippets for {duration_s} s", expected="at least one snippet")
        return cls(stride_s=duration_s / count, window_s=duration_s / count, count=count)

    @property
    def starts_s(self) -> Floats:
        """(count,) seconds."""
        return self.offset_s + np.arange(self.count, dtype=np.float64) * self.stride_s

    @property
    def ends_s(self) -> Floats:
        """(count,) seconds."""
        return self.starts_s + self.window_s

    @property
    def centers_s(self) -> Floats:
        """(count,) seconds."""
        return self.starts_s + self.window_s / 2

    @property
    def end_s(self) -> float:
        """End of the last snippet, seconds; the offset if there is none."""
        return self.offset_s if self.count == 0 else self.offset_s + (self.count - 1) * self.stride_s + self.window_s

    def to_idx(self, time_s: ArrayLike) -> Floats:
        """Seconds to fractional snippet index: i at snippet i's centre. Not limited to the grid's ends."""
        return (np.asarray(time_s, np.float64) - self.offset_s - self.window_s / 2) / self.stride_s

    def to_seconds(self, idx: ArrayLike) -> Floats:
        """Fractional snippet index to seconds; the inverse of `to_idx`."""
        return np.asarray(idx, np.float64) * self.stride_s + self.offset_s + self.window_s / 2

    def slice(self, first_idx: int, stop_idx: int) -> SnippetGrid:
        """The grid of snippets first_idx to stop_idx - 1."""
        if not 0 <= first_idx <= stop_idx <= self.count:
            raise GridError(f"snippets {first_idx} to {stop_idx} of a grid of {self.count}")
        return replace(self, offset_s=self.offset_s + first_idx * self.stride_s, count=stop_idx - first_idx)

    def resampled(self, count: int) -> SnippetGrid:
        """The grid after linear interpolation of the features to `count` rows (align_corners=False).

        Row j of the result stands at row (j + 0.5) * self.count / count - 0.5 of this grid. The snippets' span from
        first start to last end stays what it was; for stride equal to window that is ActionFormer's rule for resized
        ActivityNet features (happyharrycn/actionformer_release, anet.py).
        """
        if count < 1 or self.count < 1:
            raise GridError(f"resampling {self.count} snippets to {count}", expected="at least one on both sides")
        stride_s = self.stride_s * self.count / count
        window_s = max(self.window_s + stride_s - self.stride_s, stride_s)
        center_s = self.offset_s + self.window_s / 2 + (stride_s - self.stride_s) / 2
        return SnippetGrid(offset_s=center_s - window_s / 2, stride_s=stride_s, window_s=window_s, count=count)

    def slack_s(self, duration_s: float, tolerance: float = 0.02) -> float:
        """How far from a video's end the grid's may lie, seconds: a window and a stride, or a share of the duration."""
        return max(self.window_s + self.stride_s, tolerance * duration_s)

    def check_duration(self, duration_s: float, *, name: str = "features", tolerance: float = 0.02) -> None:
        """Refuse a grid that does not fit a video's duration.

        Extractors leave out or pad up to one window and one stride at the end; beyond that, and beyond `tolerance`
        as a fraction of the duration, features and time are out of step.

        Raises:
            GridError: with both numbers and the likely cause.
        """
        slack_s = self.slack_s(duration_s, tolerance)
        if abs(self.end_s - duration_s) <= slack_s:
            return
        raise GridError(
            f"{name}: {self.count} snippets of stride {self.stride_s:.4g} s and window {self.window_s:.4g} s end at "
            f"{self.end_s:.2f} s, the video at {duration_s:.2f} s",
            expected=f"both within {slack_s:.2f} s of each other",
            cause=_likely_cause(self.end_s / duration_s if duration_s > 0 else float("inf")),
            todo="correct the grid's fps, stride and window, or the duration in the annotations",
        )


def check_one_grid(video: str, grids: Mapping[str, SnippetGrid], *, count: int | None = None) -> int:
    """Refuse streams of one video whose equal rows do not stand for about equal times.

    Windows may differ (a slow and a fast network), and a few rows at the end may be missing (`SnippetGrid.slack_s`);
    the centres at both ends of the rows that all streams have lie within the first stream's stride.

    Args:
        video: For the message.
        grids: Stream name -> its grid.
        count: Rows that are going to be read, where the grids know only the first of them.

    Returns:
        The rows that all streams have; `count` if given.

    Raises:
        GridError: streams of different strides, out of step by more than a stride, or of which one ends early.
    """
    first = next(iter(grids.values()))
    shared = min(grid.count for grid in grids.values()) if count is None else count
    for name, grid in grids.items():
        if not in_step(first, grid, shared):
            raise GridError(
                f"{video}: stream {name!r}, of stride {grid.stride_s:.4g} s, is {_apart_s(first, grid, shared):.3g} s "
                f"out of step "
                f"with the first stream, of stride {first.stride_s:.4g} s",
                expected="streams that share one time grid",
                todo="extract them at one stride, or correct their layouts",
            )
    if count is None:
        _check_ends(video, grids)
    return shared


def _check_ends(video: str, grids: Mapping[str, SnippetGrid]) -> None:
    ends_s = {name: grid.end_s for name, grid in grids.items()}
    short, long = (choose(ends_s, key=lambda name: ends_s[name]) for choose in (min, max))
    slack_s = max(grid.slack_s(ends_s[long]) for grid in grids.values())
    if ends_s[long] - ends_s[short] > slack_s:
        raise GridError(
            f"{video}: stream {short!r} ends at {ends_s[short]:.2f} s, stream {long!r} at {ends_s[long]:.2f} s",
            expected=f"both within {slack_s:.2f} s of each other",
            cause="an interrupted extraction, or features of a truncated video",
            todo=f"extract {short!r} again",
        )


def in_step(first: SnippetGrid, other: SnippetGrid, count: int) -> bool:
    """Whether equal rows of both, up to `count`, stand for times within the first one's stride of each other."""
    return _apart_s(first, other, count) <= first.stride_s


def _apart_s(first: SnippetGrid, other: SnippetGrid, count: int) -> float:
    """The largest distance between the centres of equal rows."""
    return float(np.abs(other.to_seconds([0, count]) - first.to_seconds([0, count])).max())


def _likely_cause(ratio: float) -> str:
    """In words, what usually makes a grid `ratio` times as long as its video."""
    if not np.isfinite(ratio):
        return "the duration is zero or unknown"
    for multiple in (2.0, 4.0, 8.0, 16.0):
        if abs(ratio / multiple - 1) < 0.03:
            return f"the stride is {multiple:g} times too long"
        if abs(ratio * multiple - 1) < 0.03:
            return f"the stride is {multiple:g} times too short, or the features cover part of the video"
    for true in _COMMON_RATES:
        for said in _COMMON_RATES:
            if true != said and abs(ratio * said / true - 1) < 0.015:
                return f"features of {true:g} frames per second are described as of {said:g}, or a like ratio"
    if ratio < 1:
        return "the features stop early: an interrupted extraction or a truncated video"
    return "features of another video, or of an untrimmed version of it"
