"""Streams with grids of their own on one grid: the first stream's, by linear interpolation in time."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tal.errors import GridError
from tal.features.base import VideoFeatures
from tal.timeline import SnippetGrid, in_step


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
    at = np.clip(own.to_idx(grid.centers_s), 0, own.count - 1)
    before = np.floor(at).astype(np.int64)
    after = np.minimum(before + 1, own.count - 1)
    rows = np.asarray(features.features, np.float32)
    share = (at - before).astype(np.float32).reshape(-1, *[1] * (rows.ndim - 1))
    return replace(features, features=rows[before] * (1 - share) + rows[after] * share, grid=grid)
