"""Inference over videos of any length: features as they come, in windows that overlap, merged into one timeline.

A video of up to `WHOLE_SNIPPETS` is one window. A longer one is cut into windows of `WINDOW_SNIPPETS`, shorter, so that
it needs no more memory than the whole of a shorter one. Each starts where the one before has `2 * MARGIN_SNIPPETS`
left; of every window, the candidates are kept whose point lies in its own share: the middle, and at the video's ends up
to them. With ActionFormer's THUMOS14 settings a point sees 672 snippets to either side, less than the margin, so the
kept candidates are those of inference over the whole length. Networks that see farther (with two levels more 2,688,
though what lies beyond the margin moves the outputs by some 1e-5 only; global attention; a position table) differ where
that matters. Windows start at multiples of the padding unit, so that the points of every level stand where they would
in the whole.

The rule, and suppression share by share, are ours: the originals infer over the whole length, whatever it costs.

A method that reads windows of a fixed length (`Inputs.window_snippets`) gets those instead, overlapping as it says, of
any video. All their candidates count, and are suppressed together over up to `TOGETHER_SNIPPETS`; beyond that, as
above, in shares of that length, each with its neighbours.

Scoring follows the originals: `predict_whole`, and `detect` if it is told so, take every video whole.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal.errors import FeatureError
from tal.methods.base import Batch, Inputs, Method, Sample
from tal.methods.batching import collate, padded_length, resize_sample, sliding_starts, sliding_step, sliding_window
from tal.segments import Segments
from tal.timeline import SnippetGrid

WHOLE_SNIPPETS = 4096
WINDOW_SNIPPETS = 2304
MARGIN_SNIPPETS = 768
TOGETHER_SNIPPETS = 16384

Floats = NDArray[np.floating]

_ENDLESS = 1 << 62
_EVERYTHING = (-np.inf, np.inf)


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
    yield Window(sample=_sample(stream, buffer.first(size), _part(stream.grid, 0, rows)), own_s=_EVERYTHING)
    while (rows := buffer.fill(size + step)) > size:
        moved = rows - size
        buffer.drop(moved)
        first_idx += moved
        yield Window(sample=_sample(stream, buffer.first(size), _part(stream.grid, first_idx, size)), own_s=_EVERYTHING)


@torch.no_grad()
def own_candidates(method: Method, windows: Iterable[Window], *, batch_windows: int = 1) -> Iterator[Segments]:
    """For every window, the candidates whose point lies in its own share.

    Args:
        method: In evaluation mode, on its device.
        windows: In order.
        batch_windows: As many windows of one padded length go through the network at once.
    """
    device = next(method.parameters()).device
    for group in _groups(windows, method.inputs, batch_windows):
        batch = collate([each.sample for each in group], method.inputs, train=False).to(device)
        for each, found in zip(group, method.candidates(method(batch), batch), strict=True):
            point_s = found.extra["point_s"].astype(np.float64)
            yield found[(point_s >= each.own_s[0]) & (point_s < each.own_s[1])]


def merge(method: Method, shares: Iterable[Segments], video_scores: Tensor | None = None) -> Segments:
    """One video's detections from the candidates of its windows.

    Every share is suppressed together with its two neighbours, and of the outcome its own detections are kept: no
    duplicates across a border, memory for three shares, and a method's limit on the number of detections holds for
    three shares at a time, not for the whole of a long video.

    Args:
        method: Its `suppress` is used.
        shares: Candidates per window, in order.
        video_scores: (K,) of the video, from an external classifier.

    Returns:
        Detections by falling score.
    """
    around: list[Segments] = []
    kept: list[Segments] = []
    position = 0
    for position, share in enumerate(shares):
        column = np.full(len(share), position)
        around = [*around[-2:], replace(share, extra={**share.extra, "share_idx": column})]
        if position:
            kept.append(_own(method, around, position - 1, video_scores))
    if not around:
        return Segments.empty(method.classes)
    kept.append(_own(method, around[-2:], position, video_scores))
    return Segments.concat(kept).by_score()


def detect(
    method: Method,
    stream: FeatureStream,
    *,
    batch_windows: int = 1,
    video_scores: Tensor | None = None,
    whole: bool = False,
) -> Segments:
    """A video's detections, by falling score.

    Args:
        method: In evaluation mode, on its device.
        stream: The video.
        batch_windows: As many windows of one padded length go through the network at once.
        video_scores: (K,) of the video, from an external classifier.
        whole: The video is one window and one share whatever its length, as in validation: all of it is held at once,
            and the method's limit on the number of detections holds for all of it.

    Raises:
        FeatureError: no features at all.
    """
    windows = windows_of(stream, method.inputs, whole=_ENDLESS if whole else WHOLE_SNIPPETS)
    shares = own_candidates(method, windows, batch_windows=batch_windows)
    together = [Segments.concat(list(shares))] if whole else _together(shares, method.inputs)
    return merge(method, together, video_scores)


@torch.no_grad()
def predict_whole(method: Method, batch: Batch, *, batch_windows: int = 8) -> list[Segments]:
    """Detections per video of a batch of whole videos, as validation has them.

    A method without windows of a fixed length sees each video at once, whatever its length; the others see theirs.
    """
    if method.inputs.window_snippets is None:
        return method.predict(batch)
    found = []
    for row, grid in enumerate(batch.grids):
        sample = Sample(
            video=batch.videos[row],
            streams={name: x[row, :, : grid.count].T for name, x in batch.streams.items()},
            grid=grid,
            duration_s=batch.durations_s[row],
        )
        starts = sliding_starts(grid.count, method.inputs)
        windows = (Window(sample=sliding_window(sample, first, method.inputs), own_s=_EVERYTHING) for first in starts)
        shares = own_candidates(method, windows, batch_windows=batch_windows)
        scores = None if batch.video_scores is None else batch.video_scores[row]
        found.append(merge(method, [Segments.concat(list(shares))], scores))
    return found


def _together(shares: Iterable[Segments], inputs: Inputs) -> Iterator[Segments]:
    """Candidates of sliding windows joined into longer shares; others' as they are."""
    if inputs.window_snippets is None:
        yield from shares
        return
    most = max(TOGETHER_SNIPPETS // sliding_step(inputs), 2)
    coming = iter(shares)
    while joined := list(islice(coming, most)):
        yield Segments.concat(joined)


def _part(grid: SnippetGrid, first_idx: int, count: int) -> SnippetGrid:
    return replace(grid, offset_s=grid.offset_s + first_idx * grid.stride_s, count=count)


def _nothing(stream: FeatureStream) -> FeatureError:
    return FeatureError(f"{stream.video}: no features", cause="a video without a single snippet")


def _own(method: Method, around: list[Segments], position: int, video_scores: Tensor | None) -> Segments:
    found = method.suppress(Segments.concat(around), video_scores)
    own = found[found.extra["share_idx"] == position]
    return replace(own, extra={name: column for name, column in own.extra.items() if name != "share_idx"})


def _groups(windows: Iterable[Window], inputs: Inputs, most: int) -> Iterator[list[Window]]:
    """Consecutive windows of one padded length."""
    group: list[Window] = []
    lengths: set[int] = set()
    for each in windows:
        length = padded_length(each.sample.grid.count, inputs, train=False)
        if group and (len(group) == most or length not in lengths):
            yield group
            group, lengths = [], set()
        group.append(each)
        lengths.add(length)
    if group:
        yield group


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
