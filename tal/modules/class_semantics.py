"""Attention from class semantics (CSA; Sridhar et al. 2021, arXiv:2109.02613), and its control, squeeze-and-excitation.

Of CSA no code is public. From the paper's abstract and first figure: weights are computed from features R that are rich
in class semantics, not from the features F that they weigh; per channel and per point in time, each of its own; both
results are fused; the distribution of R over time counts, which squeeze-and-excitation averages away. Everything else
is our reconstruction: how time is compressed, the layers and their widths, the fusion, the initial weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.errors import ConfigError

Attention = Literal["csa", "se", "both", "none"]
Squeeze = Literal["fc_time", "avg", "conv", "attend"]
Fuse = Literal["sum", "mean", "concat", "max"]
Axes = Literal["both", "channel", "time"]

_CONV_WIDTH, _CONV_KERNEL = 8, 5
_KNOWN = {"attention": Attention, "squeeze": Squeeze, "fuse": Fuse, "axes": Axes}


@dataclass(frozen=True, kw_only=True)
class SemanticsConfig:
    """Settings of the attention; all but `attention` and `axes` are ours, where the paper's code would decide.

    Args:
        attention: From class semantics ("csa"), squeeze-and-excitation on the weighed features as its control ("se"),
            the latter after the former ("both"), or none at all: the host as it is.
        axes: Weights per channel, per point in time, or both.
        squeeze: How time is compressed for the channels' weights: by a perceptron over `grid` points, the same for
            every channel ("fc_time"); by the mean, which is squeeze-and-excitation on R ("avg"); by convolutions, the
            same for every channel, and the mean ("conv"); by a softmax over time ("attend").
        fuse: Of both results: their sum, so that weights of one half change nothing; its half ("mean"); a 1x1
            convolution of both ("concat"); the larger one.
        reduction: Of the hidden layers: T / reduction and C_in / reduction.
        grid: Points that "fc_time" reads where the host's features have no fixed length; the valid part of each video
            is interpolated to them.
        time_kernel: Of the last convolution of the weights in time.
        zero_initial: Last layers begin with zeros, so that attention with the fusion "sum" begins as the host itself.
        se_reduction: Of squeeze-and-excitation.

    Raises:
        ConfigError: settings outside their range.
    """

    attention: Attention = "csa"
    axes: Axes = "both"
    squeeze: Squeeze = "fc_time"
    fuse: Fuse = "sum"
    reduction: int = 8
    grid: int = 128
    time_kernel: int = 3
    zero_initial: bool = False
    se_reduction: int = 16

    def __post_init__(self) -> None:
        for name, kinds in _KNOWN.items():
            if getattr(self, name) not in get_args(kinds):
                raise ConfigError(f"{name} {getattr(self, name)!r}", expected=" or ".join(map(repr, get_args(kinds))))
        for name in ("reduction", "grid", "se_reduction"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of {getattr(self, name)}", expected="at least 1")
        if self.time_kernel < 1 or self.time_kernel % 2 == 0:
            raise ConfigError(f"time_kernel of {self.time_kernel}", expected="an odd number")


class ChannelWeights(nn.Module):
    """R -> a weight in (0, 1) per channel of F.

    Args:
        in_width, width: Channels of R and of F.
        config: Its settings.
        snippets: T of R where it is fixed; None where "fc_time" has to interpolate.
    """

    def __init__(self, in_width: int, width: int, config: SemanticsConfig, snippets: int | None) -> None:
        super().__init__()
        self.squeeze, self.points, self.fixed = config.squeeze, snippets or config.grid, snippets is not None
        if self.squeeze == "fc_time":
            hidden = max(self.points // config.reduction, 1)
            self.compress: nn.Module = nn.Sequential(nn.Linear(self.points, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        elif self.squeeze == "conv":
            self.compress = _Convolved()
        elif self.squeeze == "attend":
            self.compress = nn.Conv1d(in_width, 1, 1)
        self.last = nn.Linear(in_width, width)
        _begin(self.last, config.zero_initial)

    def forward(self, semantics: Tensor, mask: Tensor) -> Tensor:
        """R (B, N, T), mask (B, 1, T) -> (B, C, 1)."""
        return self.last(self._squeezed(semantics, mask)).sigmoid()[:, :, None]

    def _squeezed(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N)."""
        if self.squeeze == "avg":
            return masked_mean(x, mask)
        if self.squeeze == "attend":
            score = self.compress(x).masked_fill(~mask, -torch.inf)
            return (x * score.softmax(-1)).sum(-1)
        if self.squeeze == "conv":
            return self.compress(x, mask)
        x = x * mask if self.fixed else resampled(x, mask, self.points)
        return self.compress(x)[..., 0]


class _Convolved(nn.Module):
    """Each channel's course over time, through the same two convolutions that halve it, and its mean."""

    def __init__(self) -> None:
        super().__init__()
        padding = _CONV_KERNEL // 2
        self.first = nn.Conv1d(1, _CONV_WIDTH, _CONV_KERNEL, stride=2, padding=padding)
        self.second = nn.Conv1d(_CONV_WIDTH, 1, _CONV_KERNEL, stride=2, padding=padding)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, N, T), mask (B, 1, T) -> (B, N)."""
        batch, width, _ = x.shape
        half = mask[..., ::2].repeat_interleave(width, dim=0)  # (B * N, 1, T / 2)
        rows = F.relu(self.first((x * mask).reshape(batch * width, 1, -1))) * half
        rows = self.second(rows).view(batch, width, -1)
        return masked_mean(rows, mask[..., ::4])


class TimeWeights(nn.Module):
    """R -> a weight in (0, 1) per point in time, from what is around it.

    Args:
        in_width: Channels of R.
        config: Its settings.
    """

    def __init__(self, in_width: int, config: SemanticsConfig) -> None:
        super().__init__()
        hidden, kernel = max(in_width // config.reduction, 1), config.time_kernel
        self.first = nn.Conv1d(in_width, hidden, 3, padding=1)
        self.last = nn.Conv1d(hidden, 1, kernel, padding=kernel // 2)
        _begin(self.last, config.zero_initial)

    def forward(self, semantics: Tensor, mask: Tensor, snippets: int) -> Tensor:
        """R (B, N, T_r), mask (B, 1, T_r) -> (B, 1, T), interpolated where F has another length."""
        weights = self.last(F.relu(self.first(semantics * mask)) * mask)
        if weights.shape[-1] != snippets:
            weights = F.interpolate(weights, size=snippets, mode="linear", align_corners=False)
        return weights.sigmoid()


class ClassSemantics(nn.Module):
    """F weighed along its channels and along time by what R says.

    Args:
        in_width, width: Channels of R and of F.
        config: Its settings.
        snippets: T of R where it is fixed.
    """

    def __init__(self, in_width: int, width: int, config: SemanticsConfig, *, snippets: int | None = None) -> None:
        super().__init__()
        self.fuse = config.fuse
        channel = config.axes in ("both", "channel")
        self.channel = ChannelWeights(in_width, width, config, snippets) if channel else None
        self.time = TimeWeights(in_width, config) if config.axes in ("both", "time") else None
        joins = self.fuse == "concat" and config.axes == "both"
        self.join = nn.Conv1d(2 * width, width, 1) if joins else None

    def weights(self, semantics: Tensor, mask: Tensor, snippets: int) -> list[Tensor]:
        """R -> per axis (B, C, 1) and (B, 1, T), whatever F is."""
        found = []
        if self.channel is not None:
            found.append(self.channel(semantics, mask))
        if self.time is not None:
            found.append(self.time(semantics, mask, snippets))
        return found

    def forward(self, semantics: Tensor, features: Tensor, mask: Tensor) -> Tensor:
        """R (B, N, T_r), F (B, C, T), mask of R (B, 1, T_r) -> F', (B, C, T)."""
        weighed = [features * weight for weight in self.weights(semantics, mask, features.shape[-1])]
        if len(weighed) == 1:  # twice, as the two results that "sum" joins
            return 2 * weighed[0] if self.fuse == "sum" else weighed[0]
        if self.join is not None:
            return self.join(torch.cat(weighed, dim=1))
        if self.fuse == "max":
            return torch.maximum(*weighed)
        total = weighed[0] + weighed[1]
        return total / 2 if self.fuse == "mean" else total


class SqueezeExcite(nn.Module):
    """Channels of F weighed by the mean of F over time (Hu et al. 2018): CSA's control."""

    def __init__(self, width: int, reduction: int) -> None:
        super().__init__()
        hidden = max(width // reduction, 1)
        self.first, self.last = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """F (B, C, T), mask (B, 1, T) -> (B, C, T)."""
        return features * self.last(F.relu(self.first(masked_mean(features, mask)))).sigmoid()[:, :, None]


class SemanticAttention(nn.Module):
    """The attention that a config names, between a host's embedding and the rest of it.

    Args:
        in_width, width: Channels of R and of F.
        config: Its settings; `attention` other than "none".
        snippets: T of R where it is fixed.
    """

    def __init__(self, in_width: int, width: int, config: SemanticsConfig, *, snippets: int | None = None) -> None:
        super().__init__()
        kinds = config.attention
        csa = kinds in ("csa", "both")
        self.semantics = ClassSemantics(in_width, width, config, snippets=snippets) if csa else None
        self.excite = SqueezeExcite(width, config.se_reduction) if kinds in ("se", "both") else None

    def forward(self, semantics: Tensor, features: Tensor, mask: Tensor) -> Tensor:
        """R (B, N, T), F (B, C, T), mask (B, 1, T) -> F', (B, C, T)."""
        if self.semantics is not None:
            features = self.semantics(semantics, features, mask)
        return features if self.excite is None else self.excite(features, mask)


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    """(B, C, T), mask (B, 1, T) -> (B, C), over the valid part."""
    return (x * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def resampled(x: Tensor, mask: Tensor, points: int) -> Tensor:
    """The valid part of each row, interpolated linearly to `points`, as equal cells (align_corners=False).

    Args:
        x: (B, C, T), of which the first snippets are valid.
        mask: (B, 1, T).
        points: How many.

    Returns:
        (B, C, points).
    """
    count = mask.sum(-1)  # (B, 1)
    place = (torch.arange(points, device=x.device) + 0.5) * count / points - 0.5
    place = torch.minimum(place.clamp(min=0), (count - 1).clamp(min=0))
    low = place.floor().long()
    high = torch.minimum(low + 1, (count - 1).clamp(min=0))
    share = (place - low).to(x.dtype)[:, None]
    shape = (-1, x.shape[1], -1)
    return x.gather(2, low[:, None].expand(shape)) * (1 - share) + x.gather(2, high[:, None].expand(shape)) * share


def _begin(layer: nn.Linear | nn.Conv1d, zero: bool) -> None:
    """A bias of zero gives weights around one half at first; zero weights exactly that."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    if zero:
        nn.init.zeros_(layer.weight)
