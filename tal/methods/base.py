"""The interface that every method keeps to: trainer, localizer and exporter know methods only through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

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
    """

    streams: Mapping[str, int]
    optional: tuple[str, ...] = ()
    train_snippets: int
    multiple_of: int = 1
    resize_to: int | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B windows of features, padded to one T.

    Args:
        streams: Name -> (B, C, T) float; zero where padded, and where a video lacks an optional stream.
        mask: (B, 1, T) bool, True where valid.
        grids: The time of each window's valid snippets (count = valid length), in the video's time.
        durations_s: The video's duration, seconds; limits the detections.
        videos: The ids.
        targets: Instances in the video's time, seconds; None in inference.
        video_scores: (B, K) video-level class scores in [0, 1] from an external classifier; None without one.
    """

    streams: Mapping[str, Tensor]
    mask: Tensor
    grids: tuple[SnippetGrid, ...]
    durations_s: tuple[float, ...]
    videos: tuple[str, ...]
    targets: tuple[Segments, ...] | None = None
    video_scores: Tensor | None = None

    def __len__(self) -> int:
        return len(self.videos)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """The batch with its tensors on `device`."""
        return replace(
            self,
            streams={name: x.to(device, non_blocking=non_blocking) for name, x in self.streams.items()},
            mask=self.mask.to(device, non_blocking=non_blocking),
            video_scores=None if self.video_scores is None else self.video_scores.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One video's (or window's) features and, for training, its instances; what batches are made of.

    Args:
        video: The id.
        streams: Name -> (T, C) float32 tensor, all of the same T; an optional stream that the video lacks is absent.
        grid: Time of the snippets; count = T.
        duration_s: The video's duration, seconds.
        instances: In the video's time; None in inference.
        video_scores: (K,) in [0, 1], or None.
    """

    video: str
    streams: Mapping[str, Tensor]
    grid: SnippetGrid
    duration_s: float
    instances: Segments | None = None
    video_scores: Tensor | None = None


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
