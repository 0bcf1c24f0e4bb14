"""From feature streams to one sequence: standardisation, projection per stream, embedding."""

from collections.abc import Mapping
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.errors import FeatureError
from tal.modules.masked import ChannelNorm, MaskedConv


class Standardize(nn.Module):
    """(x - mean) / std per channel; the identity until statistics are set. They are saved with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width, 1))
        self.register_buffer("std", torch.ones(width, 1))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Take the statistics of the training split.

        Args:
            mean: (C,); likewise std. A channel that never changes (std 0) is only shifted.

        Raises:
            FeatureError: of another width, or not finite.
        """
        for name, values in (("mean", mean), ("std", std)):
            values = torch.as_tensor(values, dtype=torch.float32)
            if values.shape != self.mean.shape[:1] or not bool(values.isfinite().all()):
                raise FeatureError(
                    f"feature statistics: {name} of shape {tuple(values.shape)}",
                    expected=f"{len(self.mean)} finite numbers, one per channel",
                )
        self.mean.copy_(torch.as_tensor(mean)[:, None])
        spread = torch.as_tensor(std, dtype=torch.float32)[:, None]
        self.std.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T) -> (B, C, T), zero where the mask is False."""
        return ((x - self.mean) / self.std) * mask


class StreamProjection(nn.Module):
    """Streams side by side, (B, sum of C, T): as they are, or each through a 1x1 convolution of its own.

    Args:
        streams: Name -> width.
        projection: Name -> width after its convolution; None for no convolutions.
    """

    def __init__(self, streams: Mapping[str, int], projection: Mapping[str, int] | None) -> None:
        super().__init__()
        self.names = tuple(streams)
        self.standardize = nn.ModuleDict({name: Standardize(width) for name, width in streams.items()})
        self.project = nn.ModuleDict(
            {} if projection is None else {name: MaskedConv(streams[name], projection[name], 1) for name in streams}
        )
        self.width = sum(streams.values()) if projection is None else sum(projection[name] for name in streams)

    def set_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Set mean and std, each (C,), of every stream by name."""
        for name, (mean, std) in stats.items():
            if name not in self.standardize:
                raise FeatureError(f"statistics of stream {name!r}", expected=f"streams {', '.join(self.names)}")
            self.standardize[name].set(mean, std)  # type: ignore[operator]

    def forward(self, streams: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Name -> (B, C, T), mask (B, 1, T) -> (B, width, T)."""
        parts = [self.standardize[name](streams[name], mask) for name in self.names]
        if len(self.project):
            parts = [self.project[name](part, mask) for name, part in zip(self.names, parts, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class ConvStack(nn.Module):
    """Layers of masked convolution, ChannelNorm, ReLU: the embedding, and the trunk of every head."""

    def __init__(self, in_width: int, width: int, *, layers: int, kernel_size: int) -> None:
        super().__init__()
        widths = [in_width, *[width] * layers]
        self.conv = nn.ModuleList(
            MaskedConv(before, after, kernel_size, bias=False) for before, after in pairwise(widths)
        )
        self.norm = nn.ModuleList(ChannelNorm(width) for _ in range(layers))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C_in, T), mask (B, 1, T) -> (B, C, T); not masked after the last norm."""
        for conv, norm in zip(self.conv, self.norm, strict=True):
            x = F.relu(norm(conv(x, mask)))
        return x
