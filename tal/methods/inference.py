"""Inference over videos of any length: windows through the network, their candidates merged into one timeline.

Of every window (see `tal.methods.windows`) the candidates are kept whose point lies in its own share of time, and
suppression goes share by share, each with its neighbours: ours, for the originals infer over the whole length, whatever
it costs. Scoring follows the originals: `predict_whole`, and `detect` if it is told so, take every video whole.

Of windows of a fixed length all candidates count, and are suppressed together over up to `TOGETHER_SNIPPETS`; beyond
that, as above, in shares of that length.

Short windows go through the network together, of whatever videos they are: of those that come next, up to `AHEAD`
batches of them, the ones of about one length, `CPU_SNIPPETS` or `GPU_SNIPPETS` at most, as the network pads them. A CPU
gains while a batch stays in its caches, a GPU as long as it is not full.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from tal.errors import TalError
from tal.methods.base import Batch, Inputs, Method, Sample
from tal.methods.batching import check_streams, collate, sliding_starts, sliding_step, sliding_window
from tal.methods.windows import EVERYTHING, WHOLE_SNIPPETS, FeatureStream, Window, windows_of
from tal.segments import Segments

TOGETHER_SNIPPETS = 16384
CPU_SNIPPETS = 2048
GPU_SNIPPETS = 16384
AHEAD = 4
ABOUT = 0.8

_ENDLESS = 1 << 62

Opened = tuple[str, FeatureStream | TalError]
Outcome = tuple[str, Segments | TalError]


def detect(
    method: Method, stream: FeatureStream, *, video_scores: Tensor | None = None, whole: bool = False
) -> Segments:
    """A video's detections, by falling score.

    Args:
        method: In evaluation mode, on its device.
        stream: The video.
        video_scores: (K,) of the video, from an external classifier.
        whole: The video is one window and one share whatever its length, as in validation: all of it is held at once,
            and the method's limit on the number of detections holds for all of it.

    Raises:
        FeatureError: no features at all, or others than the method reads.
    """
    scores = None if video_scores is None else {stream.video: video_scores}
    ((_, found),) = detect_each(method, [(stream.video, stream)], video_scores=scores, whole=whole)
    if isinstance(found, TalError):
        raise found
    return found


def detect_each(
    method: Method,
    streams: Iterable[Opened],
    *,
    video_scores: Mapping[str, Tensor] | None = None,
    whole: bool = False,
) -> Iterator[Outcome]:
    """Each video's detections, by falling score, or what is wrong with it, in order.

    Videos are opened as far ahead as their windows fill a batch.

    Args:
        method: In evaluation mode, on its device.
        streams: The videos by id, each id once; an error in the place of one that cannot be opened.
        video_scores: Video -> (K,), from an external classifier.
        whole: See `detect`.
    """
    opened: deque[str] = deque()
    errors: dict[str, TalError] = {}
    windows = _windows_of_each(method.inputs, streams, opened, errors, _ENDLESS if whole else WHOLE_SNIPPETS)
    for video, pairs in groupby(own_candidates(method, windows), key=itemgetter(0)):
        yield from _failed_before(video, opened, errors)
        shares = (share for _, share in pairs)
        together = [Segments.concat(list(shares))] if whole else _together(shares, method.inputs)
        found = merge(method, together, None if video_scores is None else video_scores[video])
        yield video, errors.pop(video, found)
    yield from _failed_before(None, opened, errors)


def _windows_of_each(
    inputs: Inputs, streams: Iterable[Opened], opened: deque[str], errors: dict[str, TalError], whole: int
) -> Iterator[Window]:
    """The windows of all videos; notes what was opened, and what was wrong with it."""
    for video, stream in streams:
        opened.append(video)
        if isinstance(stream, TalError):
            errors[video] = stream
            continue
        try:
            for window in windows_of(stream, inputs, whole=whole):
                check_streams(window.sample, inputs)
                yield window
        except TalError as error:
            errors[video] = error


def _failed_before(video: str | None, opened: deque[str], errors: dict[str, TalError]) -> Iterator[Outcome]:
    """The videos without a single window that were opened before this one, which is taken off the list as well."""
    while opened and (first := opened.popleft()) != video:
        yield first, errors.pop(first)


@torch.no_grad()
def own_candidates(
    method: Method, windows: Iterable[Window], *, batch_snippets: int | None = None
) -> Iterator[tuple[str, Segments]]:
    """For every window, its video and the candidates whose point lies in its own share.

    Args:
        method: In evaluation mode, on its device.
        windows: In order.
        batch_snippets: Windows of about one length (the shortest at least `ABOUT` of the longest) that together have at
            most so many snippets, one window at least, go through the network at once; None: what suits the device.
    """
    device = next(method.parameters()).device
    most = (batch_snippets or (CPU_SNIPPETS if device.type == "cpu" else GPU_SNIPPETS)) // method.inputs.positions
    for coming, lengths in _lots(windows, method, most):
        found: dict[int, Segments] = {}
        for rows in _batches(lengths, most):
            samples = [coming[row].sample for row in rows]
            batch = collate(samples, method.inputs, train=False).to(device)
            found |= zip(rows, method.candidates(method(batch), batch), strict=True)
        for row, each in enumerate(coming):
            own = found.pop(row)
            point_s = own.extra["point_s"].astype(np.float64)
            yield each.sample.video, own[(point_s >= each.own_s[0]) & (point_s < each.own_s[1])]


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


@torch.no_grad()
def predict_whole(method: Method, batch: Batch) -> list[Segments]:
    """Detections per video of a batch of whole videos, as validation has them.

    A method without windows of a fixed length sees each video at once, whatever its length; the others see theirs.
    """
    if method.inputs.window_snippets is None:
        return method.predict(batch)
    shares: dict[str, list[Segments]] = {video: [] for video in batch.videos}
    for video, share in own_candidates(method, _sliding_windows(batch, method.inputs)):
        shares[video].append(share)
    scores = [None] * len(batch) if batch.video_scores is None else list(batch.video_scores)
    joined = (Segments.concat(shares[video]) for video in batch.videos)
    return [merge(method, [each], own) for each, own in zip(joined, scores, strict=True)]


def _sliding_windows(batch: Batch, inputs: Inputs) -> Iterator[Window]:
    for row, grid in enumerate(batch.grids):
        sample = Sample(
            video=batch.videos[row],
            streams={name: x[row, :, : grid.count].T for name, x in batch.streams.items()},
            grid=grid,
            duration_s=batch.durations_s[row],
        )
        for first in sliding_starts(grid.count, inputs):
            yield Window(sample=sliding_window(sample, first, inputs), own_s=EVERYTHING)


def _together(shares: Iterable[Segments], inputs: Inputs) -> Iterator[Segments]:
    """Candidates of sliding windows joined into longer shares; others' as they are."""
    if inputs.window_snippets is None:
        yield from shares
        return
    most = max(TOGETHER_SNIPPETS // sliding_step(inputs), 2)
    coming = iter(shares)
    while joined := list(islice(coming, most)):
        yield Segments.concat(joined)


def _own(method: Method, around: list[Segments], position: int, video_scores: Tensor | None) -> Segments:
    found = method.suppress(Segments.concat(around), video_scores)
    own = found[found.extra["share_idx"] == position]
    return replace(own, extra={name: column for name, column in own.extra.items() if name != "share_idx"})


def _lots(windows: Iterable[Window], method: Method, most: int) -> Iterator[tuple[list[Window], list[int]]]:
    """Windows that wait for one another, with their lengths in the network; one that fills half a batch does not."""
    lot: list[Window] = []
    lengths: list[int] = []
    for each in windows:
        lot.append(each)
        lengths.append(method.network_length(each.sample.grid.count))
        if 2 * lengths[-1] > most or sum(lengths) >= AHEAD * most:
            yield lot, lengths
            lot, lengths = [], []
    if lot:
        yield lot, lengths


def _batches(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Rows of about one length, that together have at most so many snippets when they are padded to the longest."""
    rows: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if rows:
            longest = lengths[rows[0]]
            if (len(rows) + 1) * longest > most or lengths[row] < ABOUT * longest:
                yield rows
                rows = []
        rows.append(row)
    if rows:
        yield rows
