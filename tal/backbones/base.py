"""Backbones: frames in, vectors out. Each states what it wants to see, so that the extractor knows nothing about it."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from tal.errors import ConfigError
from tal.video.base import Resize


@dataclass(frozen=True, kw_only=True)
class BackboneSpec:
    """What decides a backbone's numbers.

    Args:
        name: As typed on the command line, e.g. "open_clip:ViT-B-16/laion2b".
        weights: Where the weights are from; "random" where they carry no knowledge.
        weights_hash: SHA-256 of the state dict's bytes, hex, first 16 digits.
        clip_frames: Frames that the network sees at once.
        fps: Frame rate of the clip.
        stride_s: The stride that extraction uses unless told otherwise, seconds: a whole number of frames at `fps`.
        resize: Frame size and how it is made.
        mean, std: Per RGB channel, for values in [0, 1].
        width: C, the length of a vector.
    """

    name: str
    weights: str
    weights_hash: str
    clip_frames: int
    fps: float
    stride_s: float
    resize: Resize
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    width: int

    def __post_init__(self) -> None:
        if self.clip_frames < 1 or self.fps <= 0:
            raise ConfigError(f"a clip of {self.clip_frames} frames at {self.fps} per second")
        frames = self.stride_s * self.fps
        if not math.isfinite(frames) or frames < 1 - 1e-6 or abs(frames - round(frames)) > 1e-6:
            raise ConfigError(
                f"snippet stride of {self.stride_s} s is {frames:.3f} frames at {self.fps:g} frames per second",
                expected="a whole number of frames",
                todo=f"use a multiple of {1 / self.fps:.6g} s",
            )

    @property
    def stride_frames(self) -> int:
        """Frames from one clip's start to the next's, at `fps`."""
        return round(self.stride_s * self.fps)

    @property
    def window_s(self) -> float:
        """Time span of a clip, seconds."""
        return self.clip_frames / self.fps


class Backbone(nn.Module):
    """A network with its spec. Subclasses or builders set `spec` and implement `forward`."""

    spec: BackboneSpec

    def forward(self, clips: Tensor) -> Tensor:
        """Features of normalised clips.

        Args:
            clips: (B, clip_frames, 3, H, W) float, normalised with the spec's mean and std.

        Returns:
            (B, C) float32.
        """
        raise NotImplementedError
