"""Random changes of training features, for data sets that are too small for their network."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tal.errors import ConfigError
from tal.methods.base import Sample
from tal.methods.batching import resize_sample


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """How features that begin with x, y, z of points look in a mirror across the x axis.

    Args:
        points: How many points; further channels stay as they are.
        pairs: Left and right points, which change places.
        at: x of the mirror.
    """

    points: int
    pairs: tuple[tuple[int, int], ...]
    at: float = 0.0

    def __post_init__(self) -> None:
        named = [point for pair in self.pairs for point in pair]
        if len(set(named)) < len(named) or not all(0 <= point < self.points for point in named):
            raise ConfigError(
                f"windows.augmentation.mirror.pairs of {self.pairs}",
                expected=f"different points, from 0 to {self.points - 1}",
            )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Which changes, and how strong; the defaults change nothing. The choice and the composition are ours.

    Args:
        speed: Each window is played at a speed drawn (log-uniformly) between 1 / speed and speed.
        noise: Deviation of Gaussian noise, in units of each channel's deviation.
        gain: All features of a window are multiplied by a factor drawn between 1 - gain and 1 + gain.
        channel_dropout: Share of the channels that are set to their mean, per window.
        span_dropout: Share of a window's snippets that are set to the mean, in spans of `span_snippets`.
        span_snippets: Length of such a span.
        turn_deg: For features that are x, y, z of points: largest turn about the y axis, degrees.
        mirror: For features that begin with x, y, z of points: half of the windows are mirrored.
    """

    speed: float = 1.0
    noise: float = 0.0
    gain: float = 0.0
    channel_dropout: float = 0.0
    span_dropout: float = 0.0
    span_snippets: int = 8
    turn_deg: float = 0.0
    mirror: Mirror | None = None

    def __post_init__(self) -> None:
        if self.speed < 1:
            raise ConfigError(f"windows.augmentation.speed of {self.speed}", expected="1 or more")
        for name in ("noise", "gain", "channel_dropout", "span_dropout", "turn_deg"):
            if getattr(self, name) < 0:
                raise ConfigError(f"windows.augmentation.{name} of {getattr(self, name)}", expected="zero or more")
        if self.span_snippets < 1:
            raise ConfigError(f"windows.augmentation.span_snippets of {self.span_snippets}", expected="1 or more")


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureStats:
    """Of the training split, per stream: mean and standard deviation of every channel, (C,) float32."""

    mean: Mapping[str, Tensor]
    std: Mapping[str, Tensor]


def augment_sample(
    sample: Sample, how: Augmentation, stats: FeatureStats, max_snippets: int, rng: np.random.Generator
) -> Sample:
    """The window with its features changed at random.

    A change of speed keeps the window's time: the same seconds are covered by more or fewer snippets, and the grid's
    stride says so. Instances therefore stay as they are.

    Args:
        sample: A window.
        how: What to change.
        stats: Of the training split; what "mean" and "deviation" mean.
        max_snippets: A window never becomes longer than this.
        rng: Source of the draws.
    """
    if how.speed > 1:
        factor = float(np.exp(rng.uniform(-1, 1) * np.log(how.speed)))
        count = int(np.clip(round(sample.grid.count * factor), 1, max_snippets))
        sample = resize_sample(sample, count)
    streams = dict(sample.streams)
    for name in sorted(streams):
        streams[name] = _changed(streams[name], how, stats.mean[name], stats.std[name], rng)
    return replace(sample, streams=streams)


def _changed(features: Tensor, how: Augmentation, mean: Tensor, std: Tensor, rng: np.random.Generator) -> Tensor:
    """(T, C) features after every change but that of speed."""
    count, width = features.shape
    features = features.clone()
    if how.turn_deg:
        features = turned(features, float(np.deg2rad(rng.uniform(-how.turn_deg, how.turn_deg))))
    if how.mirror is not None and rng.random() < 0.5:
        features = mirrored(features, how.mirror)
    if how.gain:
        features *= float(rng.uniform(1 - how.gain, 1 + how.gain))
    if how.noise:
        noise = rng.standard_normal((count, width), np.float32)
        features += torch.from_numpy(noise) * (how.noise * std)
    if how.channel_dropout:
        gone = torch.from_numpy(rng.random(width) < how.channel_dropout)
        features[:, gone] = mean[gone]
    for _ in range(round(how.span_dropout * count / how.span_snippets)):
        first = int(rng.integers(0, count))
        features[first : first + how.span_snippets] = mean
    return features


def turned(points: Tensor, angle: float) -> Tensor:
    """(T, 3 P) x, y, z of P points, turned about the y axis by `angle` radians."""
    if points.shape[1] % 3:
        raise ConfigError(
            f"windows.augmentation.turn_deg with features of width {points.shape[1]}",
            expected="x, y, z of points: a multiple of 3",
        )
    x, y, z = points.view(len(points), -1, 3).unbind(-1)
    sine, cosine = float(np.sin(angle)), float(np.cos(angle))
    return torch.stack([cosine * x + sine * z, y, cosine * z - sine * x], dim=-1).flatten(1)


def mirrored(features: Tensor, how: Mirror) -> Tensor:
    """(T, C) features with x on the other side of the mirror, left and right points exchanged.

    Rows of zeros stay: nobody was seen there.
    """
    width = 3 * how.points
    if features.shape[1] < width:
        raise ConfigError(
            f"windows.augmentation.mirror of {how.points} points with features of width {features.shape[1]}",
            expected=f"x, y, z of each point: a width of {width} or more",
        )
    order = list(range(how.points))
    for left, right in how.pairs:
        order[left], order[right] = right, left
    points = features[:, :width].unflatten(1, (how.points, 3))[:, order].clone()
    points[..., 0] = 2 * how.at - points[..., 0]
    seen = (features[:, :width] != 0).any(dim=1, keepdim=True)
    return torch.cat([torch.where(seen, points.flatten(1), features[:, :width]), features[:, width:]], dim=1)
