"""Backbones: frames in, vectors out. Each states what it wants to see, so that the extractor knows nothing about it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor, nn, zeros

from tal.errors import ConfigError, TalError, unknown_name
from tal.video.base import Resize

FEATURES = "features"

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class Output:
    """One of the arrays that a backbone gives of a clip.

    Args:
        name: "features", or the name of the layer that it is taken from.
        width: C.
        tokens: Vectors per clip; None for one vector, pooled: (B, C) rather than (B, tokens, C).
    """

    name: str
    width: int
    tokens: int | None = None


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
        tokens: Vectors per clip, one per place that the network looks at; None for one pooled vector.
        dtype: Of the computation.
        layers: The outputs, where these are several or not the last one; the first is of `width` and `tokens`.
        stage: What decides the numbers of the backbone's stage, in plain values; empty without one.
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
    tokens: int | None = None
    dtype: Precision = "float32"
    layers: tuple[Output, ...] = ()
    stage: Mapping[str, Any] = field(default_factory=dict)

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

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the backbone gives: "features" alone, unless layers were asked for."""
        return tuple(layer.name for layer in self.layers) or (FEATURES,)

    def output(self, name: str = FEATURES) -> Output:
        """The width and tokens of one output.

        Raises:
            TalError: no such output.
        """
        known = self.layers or (Output(name=FEATURES, width=self.width, tokens=self.tokens),)
        for output in known:
            if output.name == name:
                return output
        raise unknown_name(f"output of {self.name}", name, self.outputs)


class FrameStage(Protocol):
    """One video's frames on their way to clips: what is made of each frame once, however many clips hold it.

    Optical flow, for example. Gives one map per frame in the end, and may hold some back until more frames come.
    """

    def feed(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) further frames, normalised, in order -> (n, channels, h, w) the maps that are ready."""

    def end(self) -> Tensor:
        """(n, channels, h, w) the maps that are left when no more frames come."""


class Backbone(nn.Module):
    """A network with its spec. Subclasses or builders set `spec` and implement `forward`.

    For tokens they name the layer whose places these are (`token_layer`), or implement `tokens`. Layers are named as in
    the library's own network, which is the attribute `root`.
    """

    spec: BackboneSpec
    token_layer: str = ""
    root: str = "network"

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what `forward` gives; with ("features",) alone a tensor, with other names a mapping."""
        return self.spec.outputs

    def stage(self) -> FrameStage | None:
        """For a new video: what its frames go through before clips are cut; None for nothing."""
        return None

    def blank(self, clips: int = 1) -> Tensor:
        """Clips of the right shape, for measuring: zeros of the shape that `forward` takes."""
        size = self.spec.resize.crop or self.spec.resize.exact
        if size is None:
            raise TypeError(self.spec.resize)
        return zeros(clips, self.spec.clip_frames, 3, *size)

    def forward(self, clips: Tensor) -> Tensor | Mapping[str, Tensor]:
        """Features of normalised clips.

        Args:
            clips: (B, clip_frames, 3, H, W) float, normalised with the spec's mean and std; with a stage, its maps in
                place of the frames.

        Returns:
            (B, C) or (B, tokens, C) float32; a mapping from the outputs' names to such where layers were asked for.
        """
        raise NotImplementedError

    def tokens(self, clips: Tensor) -> Tensor:
        """What the network gives per place, before it pools.

        Args:
            clips: As for `forward`.

        Returns:
            (B, tokens, C), places in the order of time, then rows, then columns.

        Raises:
            TalError: this family gives no tokens.
        """
        raise TalError(f"{self.spec.name} gives no tokens", expected="pooled features, or layers of it by name")

    def places(self, value: Any, clips: int) -> Tensor:
        """A layer's output as tokens.

        Args:
            value: What the layer's module returned: (B, C, T, H, W), (B, C, H, W), (B, N, C) or (B, C), where B may
                count frames in place of clips, or a tuple that begins with such.
            clips: B, of the clips that the network was given.

        Returns:
            (B, tokens, C).

        Raises:
            TalError: another shape.
        """
        first = value[0] if isinstance(value, tuple | list) else value
        if not isinstance(first, Tensor) or not 2 <= first.ndim <= 5 or len(first) % clips:
            shape = tuple(first.shape) if isinstance(first, Tensor) else type(first).__name__
            raise TalError(f"a layer of {self.spec.name} gives {shape}", expected="maps or tokens of each clip")
        if first.ndim >= 4:
            first = first.flatten(2).transpose(1, 2)
        return first.reshape(clips, -1, first.shape[-1])
