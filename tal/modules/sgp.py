"""Scalable-granularity perception: blocks of depthwise convolutions in the place of attention (TriDet)."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.masked import ChannelNorm, GroupNorm, MaskedConv, Pointwise, convolve, residual_scale
from tal.ops.exporting import max_pool

NORM_GROUPS = 16


class SgpBlock(nn.Module):
    """Pre-norm block: granularity layer (after subsampling) and MLP, each on a residual path.

    TriDet (Shi et al. 2023, arXiv:2303.07347), section 3.2, and the reference implementation's SGPBlock. With o the
    normed input, all products per channel:

        o + instant(o) * relu(overall(mean over time of o)) + (narrow(o) + wide(o)) * gate(o)

    Three things of the reference that a reader would not expect: the mean, and the GroupNorm before the MLP, run over
    padded positions too, so outputs depend on how far a sequence is padded; only the skip path is masked; and with
    `init_std` 0, as in most of its released configurations, both products are of two zeros, so their gradients are
    zero too, and the block stays a norm and an MLP for ever.

    Args:
        width: C, a multiple of 16 (the groups of its GroupNorm).
        kernel_size: w of `gate` and `narrow`, odd.
        growth: k; `wide` has a kernel of (w + 1) * k, rounded, and one more if that is even.
        mlp_width: Of the MLP's hidden layer.
        stride: Subsampling, 1 or 2.
        downsampling: "max": pool with kernel 3; "average": mean of each two, then a 1x1 convolution.
        drop_path: Probability of dropping a residual path.
        init_std: Standard deviation of the depthwise convolutions' initial weights; their biases start at 0.
    """

    def __init__(
        self,
        width: int,
        kernel_size: int,
        *,
        growth: float,
        mlp_width: int,
        stride: int = 1,
        downsampling: Literal["max", "average"] = "max",
        drop_path: float = 0.0,
        init_std: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride, self.downsampling = stride, downsampling
        self.norm = ChannelNorm(width)
        self.norm_mlp = GroupNorm(NORM_GROUPS, width)
        kernels = {
            "gate": kernel_size,
            "instant": 1,
            "narrow": kernel_size,
            "wide": wide_kernel(kernel_size, growth),
            "overall": 1,
        }
        for name, size in kernels.items():
            conv = nn.Conv1d(width, width, size, padding=size // 2, groups=width)
            nn.init.normal_(conv.weight, 0.0, init_std)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
            self.add_module(name, conv)
        self.shrink = Pointwise(width, width) if stride > 1 and downsampling == "average" else None
        self.expand = Pointwise(width, mlp_width)
        self.contract = Pointwise(mlp_width, width)
        self.scale = residual_scale(width, drop_path)
        self.scale_mlp = residual_scale(width, drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T / stride) of the output -> (B, C, T / stride)."""
        x = self._downsample(x)
        x = x * mask + self.scale(self.perceive(self.norm(x)))
        return x + self.scale_mlp(self.contract(F.gelu(self.expand(self.norm_mlp(x)))))

    def perceive(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, C, T), the sum above."""
        overall = F.relu(self._conv("overall", x.mean(dim=-1, keepdim=True)))  # (B, C, 1)
        return x + self._conv("instant", x) * overall + self._windowed(x) * self._conv("gate", x)

    def _windowed(self, x: Tensor) -> Tensor:
        """narrow(x) + wide(x), as one convolution."""
        narrow, wide = self._weight("narrow"), self._weight("wide")  # (C, 1, w), (C, 1, K)
        missing = (wide.shape[-1] - narrow.shape[-1]) // 2
        narrow, wide = F.pad(narrow, (max(missing, 0),) * 2), F.pad(wide, (max(-missing, 0),) * 2)
        weight, bias = narrow + wide, self._bias("narrow") + self._bias("wide")
        return convolve(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    def _conv(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._weight(name), self._bias(name)
        if weight.shape[-1] == 1:
            return x * weight[:, 0] + bias[:, None]
        return convolve(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    def _weight(self, name: str) -> Tensor:
        return self.get_parameter(f"{name}.weight")

    def _bias(self, name: str) -> Tensor:
        return self.get_parameter(f"{name}.bias")

    def _downsample(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        if self.shrink is None:
            return max_pool(x, self.stride + 1, self.stride, (self.stride + 1) // 2)
        return self.shrink(F.avg_pool1d(x, self.stride))


def wide_kernel(kernel_size: int, growth: float) -> int:
    """The kernel of the wide window: (w + 1) * k, rounded half to even, and made odd."""
    size = round((kernel_size + 1) * growth)
    return size + 1 if size % 2 == 0 else size


class ConvBlock(nn.Module):
    """Residual block of two convolutions (kernel 3), which may subsample: the plain encoder to compare with.

    The reference implementation's ConvBlock (backbone_type "conv").

    Args:
        width: C.
        stride: Subsampling, 1 or 2.
    """

    def __init__(self, width: int, *, stride: int = 1) -> None:
        super().__init__()
        self.expand = MaskedConv(width, 2 * width, 3, stride=stride)
        self.contract = MaskedConv(2 * width, width, 3)
        self.skip = MaskedConv(width, width, 1, stride=stride) if stride > 1 else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T / stride) of the output -> (B, C, T / stride)."""
        hidden = self.contract(F.relu(self.expand(x, mask)), mask)
        return torch.relu(hidden + (x if self.skip is None else self.skip(x, mask)))
