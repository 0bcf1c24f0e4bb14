"""The interface that every method keeps to: trainer, localizer and exporter know methods only through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tal.annotations.moment_results import Query
from tal.errors import ConfigError
from tal.segments import Segments
from tal.timeline import SnippetGrid


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a method needs, and how its windows are cut.

    Args:
        streams: Name of each feature stream -> its width C.
        optional: Those of them that a video may lack, such as sound; a batch holds zeros in their place.
        train_snippets: T that training windows are cropped and padded to.
        multiple_of: T is padded to a multiple of this in inference.
        resize_to: Features are interpolated to this fixed T instead of cropped and padded; None otherwise.
        text: Width of the tokens of the query that each video is asked; None: detections of classes, no queries.
        text_tokens: Most tokens of a query, the first ones.
        window_snippets: Videos are cut into windows of exactly so many snippets, shorter ones are padded to one, and
            every candidate of every window counts; None: whole videos, as far as memory allows.
        window_overlap: Share of such a window that the next one sees too, in [0, 1).
        positions: That the network holds for every snippet: 1; of a map of segments, as many as it has durations.
    """

    streams: Mapping[str, int]
    optional: tuple[str, ...] = ()
    train_snippets: int
    multiple_of: int = 1
    resize_to: int | None = None
    text: int | None = None
    text_tokens: int = 32
    window_snippets: int | None = None
    window_overlap: float = 0.0
    positions: int = 1

    def padded(self, count: int) -> int:
        """T that `count` snippets are padded to in inference: a window of fixed length, a multiple that is wanted."""
        longest = max(count, self.window_snippets or 0)
        return -(-longest // self.multiple_of) * self.multiple_of


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B windows of features, padded to one T.

    Args:
        streams: Name -> (B, C, T) float; zero where padded, and where a video lacks an optional stream.
        mask: (B, 1, T) bool, True where valid.
        grids: The time of each window's valid snippets (count = valid length), in the video's time.
        durations_s: The video's duration, seconds; limits the detections.
        videos: The ids.
        targets: Instances, or the moments that answer the queries, in the video's time, seconds; None in inference.
        video_scores: (B, K) video-level class scores in [0, 1] from an external classifier; None without one.
        queries: What each video is asked, with the tokens `text`, (B, L, C) float, zero where padded, and `text_mask`,
            (B, L) bool; None where nothing is asked.
        saliency_pairs: (B, 2, P) int64, for each query P snippets that should score above P others; training only.
    """

    streams: Mapping[str, Tensor]
    mask: Tensor
    grids: tuple[SnippetGrid, ...]
    durations_s: tuple[float, ...]
    videos: tuple[str, ...]
    targets: tuple[Segments, ...] | None = None
    video_scores: Tensor | None = None
    queries: tuple[Query, ...] | None = None
    text: Tensor | None = None
    text_mask: Tensor | None = None
    saliency_pairs: Tensor | None = None

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def names(self) -> tuple[str, ...]:
        """What tells the batch's predictions apart: the queries' ids, or the videos'."""
        return self.videos if self.queries is None else tuple(each.name for each in self.queries)

    def truth(self) -> tuple[Segments, ...]:
        """The targets, which a loss needs.

        Raises:
            ConfigError: a batch without them.
        """
        if self.targets is None:
            raise ConfigError("a loss of a batch without targets", expected="a batch collated for training")
        return self.targets

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on `device`."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The batch with its tensors in pinned memory, from where a GPU takes them beside its work; for DataLoader."""
        return self._each(Tensor.pin_memory)

    def _each(self, do: Callable[[Tensor], Tensor]) -> Batch:
        def done(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else do(tensor)

        return replace(
            self,
            streams={name: do(x) for name, x in self.streams.items()},
            mask=do(self.mask),
            video_scores=done(self.video_scores),
            text=done(self.text),
            text_mask=done(self.text_mask),
            saliency_pairs=done(self.saliency_pairs),
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One video's (or window's) features and, for training, its instances; what batches are made of.

    Args:
        video: The id.
        streams: Name -> (T, C) float32 tensor, all of the same T; an optional stream that the video lacks is absent.
        grid: Time of the snippets; count = T.
        duration_s: The video's duration, seconds.
        instances: In the video's time; the moments that answer `query`, where there is one; None in inference.
        video_scores: (K,) in [0, 1], or None.
        query, text, saliency_pairs: What the video is asked, its tokens (L, C), and (2, P) as in `Batch`; or None.
    """

    video: str
    streams: Mapping[str, Tensor]
    grid: SnippetGrid
    duration_s: float
    instances: Segments | None = None
    video_scores: Tensor | None = None
    query: Query | None = None
    text: Tensor | None = None
    saliency_pairs: Tensor | None = None


class Method(nn.Module):
    """A network with its losses and its decoding.

    A subclass names its config dataclass, whose instances it is built from: `Method(config)`.
    """

    Config: ClassVar[type]
    config: Any
    classes: tuple[str, ...]

    @property
    def inputs(self) -> Inputs:
        """The streams it reads and the windowing it wants."""
        raise NotImplementedError

    def network_length(self, count: int) -> int:
        """T with which a window of `count` snippets goes through the network."""
        return self.inputs.padded(max(count, self.inputs.resize_to or 1))

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Any:
        """The network's outputs, a dataclass of tensors."""
        raise NotImplementedError

    def loss(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """Scalars by name; "loss" is what is minimised, the others are its parts."""
        raise NotImplementedError

    def candidates(self, outputs: Any, batch: Batch) -> list[Segments]:
        """Scored segments per window, in the video's time, before suppression.

        `extra["point_s"]` is the time of the point that each came from: a video longer than one window keeps, of each
        window, the candidates whose point lies in the window's own share.
        """
        raise NotImplementedError

    def suppress(self, candidates: Segments, video_scores: Tensor | None = None) -> Segments:
        """One video's detections from all its candidates: NMS, voting, score fusion, by falling score."""
        raise NotImplementedError

    def decode(self, outputs: Any, batch: Batch) -> list[Segments]:
        """Detections per video of a batch whose windows are whole videos."""
        scores = [None] * len(batch) if batch.video_scores is None else list(batch.video_scores)
        return [self.suppress(*pair) for pair in zip(self.candidates(outputs, batch), scores, strict=True)]

    @torch.no_grad()
    def predict(self, batch: Batch) -> list[Segments]:
        """Forward and decode without gradients."""
        return self.decode(self(batch), batch)
