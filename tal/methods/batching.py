"""From videos to batches: random windows, resizing, padding. Every window's time is a slice of its video's grid."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tal.errors import FeatureError
from tal.features.align import on_one_grid
from tal.features.base import VideoFeatures
from tal.methods.base import Batch, Inputs, Sample
from tal.segments import Segments
from tal.timeline import SnippetGrid, check_one_grid

TRIALS = 200
_SHORTEST_S = 1e-9


def join_streams(
    features: Mapping[str, VideoFeatures],
    *,
    duration_s: float | None = None,
    instances: Segments | None = None,
    video_scores: Tensor | None = None,
) -> Sample:
    """One video's streams as a sample, on the first stream's time grid.

    Streams that were extracted at one stride may differ by a few rows at the end; the rows beyond the shortest are
    left out. Windows may differ (a slow and a fast network), as long as equal rows stand for about equal times; a
    stream on another grid is interpolated to the first one's (`on_one_grid`).

    Args:
        features: Stream name -> the video's features.
        duration_s: Of the video; None: what the features know, else the grid's end.
        instances: In the video's time.
        video_scores: (K,) from an external classifier.

    Raises:
        GridError: streams that end at different times.
    """
    features = on_one_grid(features)
    first = next(iter(features.values()))
    count = check_one_grid(first.video, {name: each.grid for name, each in features.items()})
    known_s = next((each.duration_s for each in features.values() if each.duration_s is not None), first.grid.end_s)
    return Sample(
        video=first.video,
        streams={
            name: torch.from_numpy(np.ascontiguousarray(each.features[:count], np.float32))
            for name, each in features.items()
        },
        grid=first.grid.slice(0, count),
        duration_s=known_s if duration_s is None else duration_s,
        instances=instances,
        video_scores=video_scores,
    )


def window_sample(
    sample: Sample,
    max_snippets: int,
    trunc: float,
    crop_ratio: tuple[float, float] | None,
    rng: np.random.Generator,
) -> Sample:
    """A random window of a video, for training.

    A video longer than `max_snippets` gives a window of that length; a shorter one a window of a random share of
    itself, drawn from `crop_ratio` (None: the whole video). Starts are drawn until the window holds at least one
    instance by the share `trunc`; the instances that it holds so are kept and clipped to it. After `TRIALS` draws the
    last one is used, be it empty. The rule is ActionFormer's (happyharrycn/actionformer_release, truncate_feats).

    Args:
        sample: A video with its instances.
        max_snippets: Longest window.
        trunc: Share of an instance's length that has to lie in the window for the instance to be kept, in [0, 1].
        crop_ratio: Shortest and longest window as shares of a video that is not longer than `max_snippets`.
        rng: Source of the draws.

    Returns:
        The window, or `sample` itself where the window would be all of it.
    """
    count = sample.grid.count
    length = max_snippets
    if count <= max_snippets:
        if crop_ratio is None:
            return sample
        shortest, longest = (max(round(share * count), 1) for share in crop_ratio)
        length = int(rng.integers(shortest, min(longest, count), endpoint=True))
        if length == count:
            return sample
    for _ in range(TRIALS):
        first = int(rng.integers(0, count - length, endpoint=True))
        grid = sample.grid.slice(first, first + length)
        instances = None if sample.instances is None else _held(sample.instances, grid, trunc)
        if instances is None or len(instances):
            break
    streams = {name: x[first : first + length] for name, x in sample.streams.items()}
    return replace(sample, streams=streams, grid=grid, instances=instances)


def clip_instances(sample: Sample, trunc: float) -> Sample:
    """The sample with only those instances of which the share `trunc` lies within its features, clipped to them."""
    if sample.instances is None:
        return sample
    return replace(sample, instances=_held(sample.instances, sample.grid, trunc))


def _held(instances: Segments, grid: SnippetGrid, trunc: float) -> Segments:
    """Instances of which the share `trunc` lies in the grid's span, clipped to it.

    The span ends one stride after the last snippet does, as the original's does: its window [first, last + 1],
    widened on both sides by half a snippet's window, is that span in seconds.
    """
    clipped = instances.clipped(grid.offset_s, grid.end_s + grid.stride_s)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = clipped.length_s / instances.length_s
    return clipped[share >= trunc]


def sliding_starts(count: int, inputs: Inputs) -> list[int]:
    """First snippet of every window of a video of `count` snippets; the last window ends where the video does.

    The rule of OpenTAD's sliding windows, without its last window twice and without its gap at the end of videos with
    overlaps other than one half.
    """
    size = inputs.window_snippets or count
    step = sliding_step(inputs)
    return [0] if count <= size else [*range(0, count - size, step), count - size]


def sliding_step(inputs: Inputs) -> int:
    """Snippets from one window's start to the next's."""
    return max(int((inputs.window_snippets or 1) * (1 - inputs.window_overlap)), 1)


def sliding_window(sample: Sample, first_idx: int, inputs: Inputs, trunc: float = 0.0) -> Sample:
    """One window of a video, from snippet `first_idx` on.

    Instances of which more than the share `trunc` lies between its first and its last snippet's centre are kept and
    clipped to that span (OpenTAD's `ioa_thresh`).
    """
    stop_idx = min(first_idx + (inputs.window_snippets or sample.grid.count), sample.grid.count)
    grid = sample.grid.slice(first_idx, stop_idx)
    instances = sample.instances
    if instances is not None:
        clipped = instances.clipped(*map(float, grid.to_seconds([0, grid.count - 1])))
        share = clipped.length_s / np.maximum(instances.length_s, _SHORTEST_S)
        instances = clipped[share > trunc]
    streams = {name: x[first_idx:stop_idx] for name, x in sample.streams.items()}
    return replace(sample, streams=streams, grid=grid, instances=instances)


def resize_sample(sample: Sample, snippets: int) -> Sample:
    """The sample with its features linearly interpolated to `snippets` rows; the grid says when the new rows are."""
    if sample.grid.count == snippets:
        return sample
    streams = {name: interpolate(x, snippets) for name, x in sample.streams.items()}
    return replace(sample, streams=streams, grid=sample.grid.resampled(snippets))


def interpolate(features: Tensor, snippets: int) -> Tensor:
    """(T, C) to (snippets, C), linearly, rows as equal cells (align_corners=False)."""
    return F.interpolate(features.T[None].float(), size=snippets, mode="linear", align_corners=False)[0].T


def padded_length(longest: int, inputs: Inputs, *, train: bool) -> int:
    """T that a batch is padded to: the next multiple that the method's pyramid needs.

    In training never beyond the length of a training window. A method whose outputs depend on the padding cuts or pads
    what it is given to the length that it wants (see `tal.methods.lengths`).
    Methods with windows of a fixed length get that length.
    """
    length = inputs.padded(longest)
    return min(length, max(inputs.train_snippets, inputs.window_snippets or 0, longest)) if train else length


def collate(samples: Sequence[Sample], inputs: Inputs, train: bool) -> Batch:
    """Pad samples with zeros to one length and stack them.

    Args:
        samples: Windows or videos.
        inputs: What the method reads.
        train: Whether instances are handed on as targets.

    Raises:
        FeatureError: a stream that is missing, or of another width than the method's.
    """
    for sample in samples:
        check_streams(sample, inputs)
    lengths = [sample.grid.count for sample in samples]
    padded = padded_length(max(lengths), inputs, train=train)
    streams = {name: torch.zeros(len(samples), width, padded) for name, width in inputs.streams.items()}
    mask = torch.zeros(len(samples), 1, padded, dtype=torch.bool)
    for row, (sample, length) in enumerate(zip(samples, lengths, strict=True)):
        for name, rows in sample.streams.items():
            if name in streams:
                streams[name][row, :, :length] = rows.T
        mask[row, :, :length] = True
    scores = [sample.video_scores for sample in samples if sample.video_scores is not None]
    pairs = [sample.saliency_pairs for sample in samples if sample.saliency_pairs is not None]
    asked = {} if inputs.text is None else stack_queries(samples, inputs.text, inputs.text_tokens)
    return Batch(
        streams=streams,
        mask=mask,
        grids=tuple(sample.grid for sample in samples),
        durations_s=tuple(sample.duration_s for sample in samples),
        videos=tuple(sample.video for sample in samples),
        targets=tuple(_targets(sample) for sample in samples) if train else None,
        video_scores=torch.stack(scores) if len(scores) == len(samples) else None,
        saliency_pairs=torch.stack(pairs) if len(pairs) == len(samples) else None,
        **asked,
    )


def stack_queries(samples: Sequence[Sample], width: int, most: int) -> dict[str, Any]:
    """`queries`, `text` (B, L, C) and `text_mask` (B, L) of a batch; no text has more than `most` tokens.

    Raises:
        FeatureError: a sample without a query, or text features of another width.
    """
    texts, queries = [], []
    for sample in samples:
        if sample.text is None or sample.query is None:
            raise FeatureError(f"{sample.video} is asked nothing", expected="a query with its text features")
        if sample.text.shape[1:] != (width,) or not len(sample.text):
            raise FeatureError(
                f"query {sample.query.qid!r}: text features of shape {tuple(sample.text.shape)}",
                expected=f"(tokens, {width}), as the model reads them",
                cause="text features of another model",
            )
        texts.append(sample.text[:most])
        queries.append(sample.query)
    lengths = torch.tensor([len(text) for text in texts])
    return {
        "queries": tuple(queries),
        "text": torch.nn.utils.rnn.pad_sequence(texts, batch_first=True),
        "text_mask": torch.arange(int(lengths.max())) < lengths[:, None],
    }


def _targets(sample: Sample) -> Segments:
    if sample.instances is None:
        raise FeatureError(f"{sample.video} has no instances to train on", expected="an annotated video")
    return sample.instances


def check_streams(sample: Sample, inputs: Inputs) -> None:
    """Refuse a sample without a stream that the method needs, or with one of another shape.

    Raises:
        FeatureError: what is missing, or the shape.
    """
    for name, width in inputs.streams.items():
        if name not in sample.streams:
            if name in inputs.optional:
                continue
            raise FeatureError(
                f"{sample.video} has no features of stream {name!r}, only {', '.join(sorted(sample.streams))}",
                expected=f"the streams {', '.join(sorted(inputs.streams))}",
            )
        found = tuple(sample.streams[name].shape)
        if found != (sample.grid.count, width):
            raise FeatureError(
                f"{sample.video}: features of stream {name!r} have shape {found}",
                expected=f"({sample.grid.count}, {width}): as many rows as its grid, as wide as the model reads",
                cause="features of another backbone" if found[-1] != width else "",
            )
