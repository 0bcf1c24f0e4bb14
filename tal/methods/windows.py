"""Videos of any length as windows that overlap: features are taken as they come.

A video of up to `WHOLE_SNIPPETS` is one window. A longer one is cut into windows of `WINDOW_SNIPPETS`, shorter, so that
it needs no more memory than the whole of a shorter one. Each starts where the one before has `2 * MARGIN_SNIPPETS`
left; of every window, the candidates are kept whose point lies in its own share: the middle, and at the video's ends up
to them. With ActionFormer's THUMOS14 settings a point sees 672 snippets to either side, less than the margin, so the
kept candidates are those of inference over the whole length. Networks that see farther (with two levels more 2,688,
though what lies beyond the margin moves the outputs by some 1e-5 only; global attention; a position table) differ where
that matters. Windows start at multiples of the padding unit, so that the points of every level stand where they would
in the whole. The rule is ours.

A method that reads windows of a fixed length (`Inputs.window_snippets`) gets those instead, overlapping as it says, of
any video.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from tal.errors import FeatureError
from tal.methods.base import Inputs, Sample
from tal.methods.batching import resize_sample, sliding_step
from tal.timeline import SnippetGrid

WHOLE_SNIPPETS = 4096
WINDOW_SNIPPETS = 2304
MARGIN_SNIPPETS = 768

EVERYTHING = (-np.inf, np.inf)

Floats = NDArray[np.floating]

_ENDLESS = 1 << 62


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureStream:
    """One video's features as they come.

    Args:
        video: The id.
        chunks: Stream name -> its rows in order, (N, C) at a time.
        grid: Time of the first snippet; its count is not used.
        duration_s: The video's duration, seconds.
    """

    video: str
    chunks: Mapping[str, Iterable[Floats]]
    grid: SnippetGrid
    duration_s: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """A part of a video, with the share of time that it answers for.

    Args:
        sample: Its features.
        own_s: From, up to but not including, seconds; infinite at the video's ends.
    """

    sample: Sample
    own_s: tuple[float, float]


def windows_of(
    stream: FeatureStream,
    inputs: Inputs,
    *,
    whole: int = WHOLE_SNIPPETS,
    window: int = WINDOW_SNIPPETS,
    margin: int = MARGIN_SNIPPETS,
) -> Iterator[Window]:
    """Cut a video into windows while its features come; holds no more than `whole` snippets and one chunk.

    Args:
        stream: The features.
        inputs: What the method needs. Methods of a fixed input length get the whole video resized to it, held at once.
        whole: Videos of up to so many snippets are one window.
        window, margin: Snippets; rounded up to the method's padding unit, a window to more than two margins.

    Raises:
        FeatureError: no features at all.
    """
    if inputs.window_snippets is not None:
        yield from _sliding(stream, inputs.window_snippets, sliding_step(inputs))
        return
    unit = inputs.multiple_of
    margin = _up(margin, unit)
    step = max(_up(window, unit) - 2 * margin, unit)
    window = step + 2 * margin
    if inputs.resize_to is not None:
        whole = _ENDLESS
    buffer = _Buffer(stream.chunks)
    first_idx, own_from_s = 0, -np.inf
    longest = max(whole, window)
    while buffer.fill(longest + 1) > longest:
        longest = window
        grid = _part(stream.grid, first_idx, window)
        own_to_s = float(grid.to_seconds(window - margin - 0.5))
        yield Window(sample=_sample(stream, buffer.first(window), grid), own_s=(own_from_s, own_to_s))
        buffer.drop(step)
        first_idx, own_from_s = first_idx + step, own_to_s
    rest = buffer.fill(longest)
    if not rest:
        raise _nothing(stream)
    sample = _sample(stream, buffer.first(rest), _part(stream.grid, first_idx, rest))
    if inputs.resize_to is not None:
        sample = resize_sample(sample, inputs.resize_to)
    yield Window(sample=sample, own_s=(own_from_s, np.inf))


def _sliding(stream: FeatureStream, size: int, step: int) -> Iterator[Window]:
    """Windows of `size` snippets, `step` apart, the last one at the video's end; as `batching.sliding_starts`."""
    buffer = _Buffer(stream.chunks)
    first_idx, rows = 0, buffer.fill(size)
    if not rows:
        raise _nothing(stream)
    yield Window(sample=_sample(stream, buffer.first(size), _part(stream.grid, 0, rows)), own_s=EVERYTHING)
    while (rows := buffer.fill(size + step)) > size:
        moved = rows - size
        buffer.drop(moved)
        first_idx += moved
        yield Window(sample=_sample(stream, buffer.first(size), _part(stream.grid, first_idx, size)), own_s=EVERYTHING)


def _part(grid: SnippetGrid, first_idx: int, count: int) -> SnippetGrid:
    return replace(grid, offset_s=grid.offset_s + first_idx * grid.stride_s, count=count)


def _nothing(stream: FeatureStream) -> FeatureError:
    return FeatureError(f"{stream.video}: no features", cause="a video without a single snippet")


def _sample(stream: FeatureStream, rows: Mapping[str, Floats], grid: SnippetGrid) -> Sample:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(x, np.float32)) for name, x in rows.items()}
    return Sample(video=stream.video, streams=tensors, grid=grid, duration_s=stream.duration_s)


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def _pieces(chunks: Iterable[Floats]) -> Iterator[Floats]:
    """The rows a window at a time at most: a video that comes in one chunk is not copied whole for every window."""
    for chunk in chunks:
        for first in range(0, len(chunk), WINDOW_SNIPPETS):
            yield chunk[first : first + WINDOW_SNIPPETS]


class _Buffer:
    """Rows of several streams that have come and are not yet dropped; a row counts once all streams have it."""

    def __init__(self, chunks: Mapping[str, Iterable[Floats]]) -> None:
        self._chunks = {name: _pieces(each) for name, each in chunks.items()}
        self._held: dict[str, list[Floats]] = {name: [] for name in chunks}

    def _count(self, name: str) -> int:
        return sum(map(len, self._held[name]))

    def fill(self, rows: int) -> int:
        """Take chunks until `rows` rows are there or the streams end; returns how many all streams have."""
        for name, chunks in self._chunks.items():
            while self._count(name) < rows:
                chunk = next(chunks, None)
                if chunk is None:
                    break
                self._held[name].append(chunk)
        return min(rows, *(self._count(name) for name in self._held))

    def first(self, rows: int) -> dict[str, Floats]:
        """The first rows of every stream."""
        return {name: np.concatenate(held)[:rows] for name, held in self._held.items()}

    def drop(self, rows: int) -> None:
        """Forget the first rows."""
        for name, held in self._held.items():
            # A copy: a view would keep the dropped rows alive.
            self._held[name] = [np.concatenate(held)[rows:].copy()]
