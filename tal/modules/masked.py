"""Layers on (B, C, T) sequences of which only a part is valid."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.ops.exporting import max_pool


def downsample_mask(mask: Tensor, stride: int) -> Tensor:
    """(B, 1, T) bool to (B, 1, ceil(T / stride)): a position is valid where the first one under it is."""
    return mask if stride == 1 else mask[..., ::stride]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0, groups: int = 1
) -> Tensor:
    """What torch's conv1d computes, in the order in which x lies in memory: (B, C_in, T) -> (B, C, T').

    ChannelNorm leaves the channels adjacent. conv1d copies such an input, its gradient too; a convolution of pictures
    one row high takes either order, and answers in the same. Not so in 16 bits on a CPU, where oneDNN's for 15 taps and
    more of 16 adjacent channels never ends (torch 2.15).
    """
    half = x.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled(x.device.type)
    if half and x.device.type == "cpu":
        return F.conv1d(x, weight, bias, stride, padding, groups=groups)
    outputs, inputs, size = weight.shape
    kernel = weight.reshape(outputs, inputs, 1, size)  # not unsqueeze, whose gradient has strides of another order
    return F.conv2d(x.unsqueeze(2), kernel, bias, (1, stride), (0, padding), groups=groups).squeeze(2)


class MaskedConv(nn.Conv1d):
    """Convolution with an odd kernel, padded to keep T (or divide it by the stride), zero where the mask is False.

    The output is masked, not the input: the valid end sees whatever the layer before left in the first padded position.
    """

    def __init__(
        self, in_width: int, width: int, kernel_size: int, *, stride: int = 1, groups: int = 1, bias: bool = True
    ) -> None:
        super().__init__(
            in_width, width, kernel_size, stride=stride, padding=kernel_size // 2, groups=groups, bias=bias
        )
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """(B, C_in, T), mask (B, 1, T') of the output -> (B, C, T')."""
        padding = self.kernel_size[0] // 2
        x = convolve(x, self.weight, self.bias, stride=self.stride[0], padding=padding, groups=self.groups)
        return x * mask


class GroupNorm(nn.GroupNorm):
    """torch's, which does not refuse a group of one value: the coarsest level of a short video has one position."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class Pointwise(nn.Linear):
    """A linear layer at every position, its bias starting at zero.

    On the channels' own axis rather than as a convolution of kernel 1: ChannelNorm leaves them adjacent in memory.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__(in_width, width)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, T) -> (B, C, T)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, T)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class MaxPoolSkip(nn.Module):
    """The skip connection around a block of the given stride: identity, or a max pool with kernel stride + 1."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T') of the output -> (B, C, T')."""
        if self.stride > 1:
            x = max_pool(x, self.stride + 1, self.stride, (self.stride + 1) // 2)
        return x * mask


class ScaledDropPath(nn.Module):
    """A residual branch times a learnt scale per channel, dropped for whole samples in training.

    Scale: LayerScale (Touvron et al. 2021), starting at 1e-4; dropping: stochastic depth (Huang et al. 2016).
    """

    def __init__(self, width: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.scale = nn.Parameter(torch.full((width, 1), 1e-4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T)."""
        scale: Tensor = self.scale
        if self.training:
            kept = torch.rand(len(x), 1, 1, device=x.device) >= self.drop
            scale = scale * (kept / (1 - self.drop))  # (B, C, 1)
        return x * scale


def residual_scale(width: int, drop: float) -> nn.Module:
    """`ScaledDropPath`, or nothing where no path is ever dropped (then the original has no scale either)."""
    return ScaledDropPath(width, drop) if drop > 0 else nn.Identity()
