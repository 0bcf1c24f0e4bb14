"""Attention among channels over all positions, as the authors' Ego4D variant of ASL has it beside attention over time.

JonnyS1226/ego4d_asl (arXiv:2306.09172), ChannelAttention and ChannelBlock in libs/modeling/blocks.py.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.masked import ChannelNorm, Pointwise


class ChannelBlock(nn.Module):
    """Channel attention and an MLP, each on a residual path.

    Of every head, the C / H channels of the keys ask those of the values, with products over time; the answer's weights
    mix the queries' channels. There keys of padded positions count, here not.

    Args:
        width: C.
        heads: H; divides C.
        drop_path: Probability of dropping a residual path of a video.
    """

    def __init__(self, width: int, heads: int, *, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads, self.drop_path = heads, drop_path
        for name in ("query", "key", "value"):
            self.add_module(name, nn.Linear(width, width, bias=False))
        self.proj = Pointwise(width, width)
        self.norm_mlp = ChannelNorm(width)
        self.expand = Pointwise(width, 4 * width)
        self.contract = Pointwise(4 * width, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), normalised, mask (B, 1, T) -> (B, C, T)."""
        x = x + self._dropped(self._attend(x, mask))
        return (x + self._dropped(self.contract(F.gelu(self.expand(self.norm_mlp(x)))))) * mask

    def _attend(self, x: Tensor, mask: Tensor) -> Tensor:
        query, key, value = (self._head_rows(name, x) for name in ("query", "key", "value"))  # (B, H, D, T)
        scale = key.shape[2] ** -0.5
        weights = (key * scale * mask[:, None]) @ value.transpose(2, 3)  # (B, H, D, D)
        return self.proj((weights.softmax(-1) @ query).flatten(1, 2))

    def _head_rows(self, name: str, x: Tensor) -> Tensor:
        rows = self.get_submodule(name)(x.transpose(1, 2)).transpose(1, 2)  # (B, C, T)
        return rows.unflatten(1, (self.heads, -1))

    def _dropped(self, x: Tensor) -> Tensor:
        if not self.training or not self.drop_path:
            return x
        return x * F.dropout(x.new_ones(x.shape[0], 1, 1), self.drop_path)
