"""Convolutions that see far: residual blocks of growing dilation (MS-TCN, Abu Farha and Gall 2019), and pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.masked import ChannelNorm, Pointwise


class DilatedBlock(nn.Module):
    """Pre-norm residual block: dilated convolution of kernel 3, GELU, dropout, pointwise layer.

    Padded positions are zero before the convolution, so that the valid end sees the same whatever the padding.

    Args:
        width: C.
        dilation: Snippets from tap to tap.
        dropout: Of the hidden activations.
    """

    def __init__(self, width: int, *, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(dropout)
        self.mix = Pointwise(width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T) -> (B, C, T)."""
        hidden = F.gelu(self.conv(self.norm(x) * mask))
        return (x + self.mix(self.dropout(hidden))) * mask


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """(B, C, T), mask (B, 1, T) -> (B, 2 C): mean and maximum over the valid positions."""
    mean = (x * mask).sum(-1) / mask.sum(-1).clamp(min=1)
    highest = x.masked_fill(~mask, torch.finfo(x.dtype).min).amax(-1)
    return torch.cat([mean, highest], dim=1)
