"""Transformer blocks whose queries, keys and values come from depthwise convolutions, global or windowed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.masked import ChannelNorm, MaskedConv, MaxPoolSkip, Pointwise, residual_scale
from tal.ops.local_attention import local_attention


class ConvAttention(nn.Module):
    """Multi-head attention; queries, keys and values are convolved depthwise (k3) and may be subsampled.

    ActionFormer (Zhang et al. 2022), section 3.2 and its code's MaskedMHCA and LocalMaskedMHCA.

    Args:
        width: C.
        heads: Number of heads; divides C.
        window: Keys that a query sees, odd; 0 for all.
        stride: Subsampling of queries, keys and values alike.
        dropout: On the output.
        relative_positions: Learn a bias per head and relative position; needs a window.
    """

    def __init__(
        self, width: int, heads: int, *, window: int, stride: int, dropout: float, relative_positions: bool
    ) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        for name in ("query", "key", "value"):
            self.add_module(f"{name}_conv", MaskedConv(width, width, 3, stride=stride, groups=width, bias=False))
            self.add_module(f"{name}_norm", ChannelNorm(width))
            self.add_module(name, Pointwise(width, width))
        self.proj = Pointwise(width, width)
        self.dropout = nn.Dropout(dropout)
        self.position_bias = None
        if relative_positions and window:
            self.position_bias = nn.Parameter(torch.empty(heads, window))
            nn.init.trunc_normal_(self.position_bias, std=(2 / width) ** 0.5)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T') of the output -> (B, C, T')."""
        q, k, v = (self._head_rows(name, x, mask) for name in ("query", "key", "value"))  # (B, H, T', D)
        if self.window:
            out = local_attention(q, k, v, mask, window=self.window, position_bias=self.position_bias)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        out = out.transpose(2, 3).flatten(1, 2)  # (B, C, T')
        return self.dropout(self.proj(out)) * mask

    def _head_rows(self, name: str, x: Tensor, mask: Tensor) -> Tensor:
        conv, norm, linear = (self.get_submodule(part) for part in (f"{name}_conv", f"{name}_norm", name))
        return linear(norm(conv(x, mask))).unflatten(1, (self.heads, -1)).transpose(2, 3)


class TransformerBlock(nn.Module):
    """Pre-norm block: attention (which may subsample) and MLP, each on a residual path.

    Args:
        width: C.
        heads, window, stride, dropout, relative_positions: Of the attention.
        drop_path: Probability of dropping a residual path.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        window: int,
        stride: int = 1,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        relative_positions: bool = False,
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm_attention = ChannelNorm(width)
        self.attention = ConvAttention(
            width, heads, window=window, stride=stride, dropout=dropout, relative_positions=relative_positions
        )
        self.skip = MaxPoolSkip(stride)
        self.scale_attention = residual_scale(width, drop_path)
        self.norm_mlp = ChannelNorm(width)
        self.expand = Pointwise(width, 4 * width)
        self.contract = Pointwise(4 * width, width)
        self.dropout = nn.Dropout(dropout)
        self.scale_mlp = residual_scale(width, drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T / stride) of the output -> (B, C, T / stride)."""
        attended = self.attention(self.norm_attention(x), mask)
        x = self.skip(x, mask) + self.scale_attention(attended)
        hidden = self.dropout(F.gelu(self.expand(self.norm_mlp(x))))
        return x + self.scale_mlp(self.dropout(self.contract(hidden)) * mask)
