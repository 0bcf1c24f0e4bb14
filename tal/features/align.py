"""Streams with grids of their own on one grid: the first stream's, by linear interpolation in time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tal.errors import GridError
from tal.features.base import VideoFeatures
from tal.timeline import SnippetGrid, in_step

Floats = NDArray[np.floating]


def on_one_grid(streams: Mapping[str, VideoFeatures]) -> dict[str, VideoFeatures]:
    """One video's streams such that equal rows stand for about equal times.

    Streams in step with the first one stay as they are (see `timeline.in_step`); others, such as sound at a stride of
    its own, are interpolated linearly to the centres of the first one's snippets. Beyond a stream's first and last
    centre its first and last row hold.

    Args:
        streams: Name -> features; the first decides.

    Raises:
        GridError: a stream that ends elsewhere than the first one, by more than a stride and a window or 2 %.
    """
    first = next(iter(streams.values()))
    return {
        name: each if _fits(first, each) else _interpolated(each, first.grid, name) for name, each in streams.items()
    }


def _fits(first: VideoFeatures, other: VideoFeatures) -> bool:
    return in_step(first.grid, other.grid, min(first.grid.count, other.grid.count))


def _interpolated(features: VideoFeatures, grid: SnippetGrid, name: str) -> VideoFeatures:
    own = features.grid
    try:
        own.check_duration(grid.end_s)
    except GridError as error:
        raise GridError(
            f"{features.video}: stream {name!r}, of stride {own.stride_s:.4g} s, ends at {own.end_s:.2f} s, the first "
            f"stream, of stride {grid.stride_s:.4g} s, at {grid.end_s:.2f} s: they are out of step",
            expected="streams of one and the same video",
            cause=error.cause,
            todo="correct their layouts, or extract them from the same file",
        ) from error
    rows = _rows_at(own.to_idx(grid.centers_s), np.asarray(features.features, np.float32))
    return replace(features, features=rows, grid=grid)


def interpolated(pieces: Iterable[Floats], own: SnippetGrid, grid: SnippetGrid) -> Iterator[Floats]:
    """Rows that come piece by piece, at another grid's centres: those that `on_one_grid` gives of the whole.

    Args:
        pieces: (n, ...) at a time, in order.
        own: Their grid; its count is not used.
        grid: The other; its count is not used either. Beyond the last centre of `own` its last row holds, for so long
            as `on_one_grid` lets streams end apart.

    Yields:
        (n, ...) float32, for consecutive snippets of `grid` from the first on.
    """
    held: Floats | None = None
    first = wanted = 0  # own row that `held` begins with; row of `grid` that comes next
    for piece in pieces:
        if not len(piece):
            continue
        rows = np.asarray(piece, np.float32)
        held = rows if held is None else np.concatenate([held, rows])
        stop = _first_row_at(grid, float(own.to_seconds(first + len(held) - 1)))
        if stop > wanted:
            at = own.to_idx(grid.to_seconds(np.arange(wanted, stop)))
            yield _rows_at(at - first, held)
            wanted = stop
            dropped = max(int(at[-1]) - first, 0)
            held, first = held[dropped:].copy(), first + dropped
    if held is None:
        return
    end_s = replace(own, count=first + len(held)).end_s
    stop = max(_first_row_at(grid, end_s + own.slack_s(end_s)), wanted)
    yield _rows_at(own.to_idx(grid.to_seconds(np.arange(wanted, stop))) - first, held)


def _first_row_at(grid: SnippetGrid, time_s: float) -> int:
    """The first row whose centre is at a time or after it."""
    return max(int(np.ceil(grid.to_idx(time_s))), 0)


def _rows_at(at: NDArray[np.float64], rows: Floats) -> Floats:
    """(N,) fractional row numbers, limited to those of (T, ...) rows -> (N, ...)."""
    at = np.clip(at, 0, len(rows) - 1)
    before = np.floor(at).astype(np.int64)
    after = np.minimum(before + 1, len(rows) - 1)
    share = (at - before).astype(np.float32).reshape(-1, *[1] * (rows.ndim - 1))
    return rows[before] * (1 - share) + rows[after] * share
