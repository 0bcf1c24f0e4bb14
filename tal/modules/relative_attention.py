"""Attention by contents and distances, as XLNet's layers have it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_STD = 0.02
_EPSILON = 1e-12


class RelativeLayer(nn.Module):
    """A layer of XLNet (Yang et al. 2019, section 2.2 and appendix; Transformer-XL's attention) over a whole sequence.

    Attention is between contents, and between a query and how far back a key stands; norms follow the residual paths.
    Equal to transformers' XLNetModel of one layer, without segments and without a memory.

    Args:
        width: C.
        heads: Divides C.
        hidden: Channels between the two linear maps.
        dropout: Of inputs, distances, attention weights, paths and output.
    """

    def __init__(self, width: int, heads: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        for name in ("query", "key", "value", "distance", "proj"):
            linear = nn.Linear(width, width, bias=False)
            nn.init.normal_(linear.weight, std=_STD)
            self.add_module(name, linear)
        self.content_bias, self.distance_bias = (
            nn.Parameter(torch.randn(heads, 1, width // heads) * _STD) for _ in range(2)
        )
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        for linear in (self.expand, self.contract):
            nn.init.normal_(linear.weight, std=_STD)
            nn.init.zeros_(linear.bias)
        self.norm_attention, self.norm_mlp = (nn.LayerNorm(width, eps=_EPSILON) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T) -> (B, C, T); a padded query sees itself too."""
        T = x.shape[-1]
        rows = self.dropout(x.transpose(1, 2))  # (B, T, C)
        query, key, value = (self._heads(self.get_submodule(name)(rows)) for name in ("query", "key", "value"))
        distances = self.dropout(_sinusoids(T, x.shape[1], x.device)).to(x.dtype)  # (2 T, C): T to 1 - T back
        distance = self._heads(self.get_submodule("distance")(distances)[None])  # (1, H, 2 T, D)
        back = (query + self.distance_bias) @ distance.transpose(2, 3)  # (B, H, T, 2 T)
        place = torch.arange(T, device=x.device)
        index = T - place[:, None] + place  # of key j as query i has it, i - j back
        scores = (query + self.content_bias) @ key.transpose(2, 3) + back.gather(3, index.expand(*back.shape[:3], T))
        seen = mask[:, None] | (place[:, None] == place)
        weights = (scores * query.shape[-1] ** -0.5).masked_fill(~seen, -torch.inf).softmax(-1)
        found = (self.dropout(weights) @ value).transpose(1, 2).flatten(2)  # (B, T, C)
        rows = self.norm_attention(rows + self.dropout(self.get_submodule("proj")(found)))
        hidden = self.dropout(F.gelu(self.expand(rows)))
        rows = self.norm_mlp(rows + self.dropout(self.contract(hidden)))
        return self.dropout(rows).transpose(1, 2) * mask

    def _heads(self, rows: Tensor) -> Tensor:
        """(B, T, C) -> (B, H, T, D)."""
        return rows.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """(2 T, C): sines, then cosines, of being T, T - 1, ... 1 - T positions back."""
    frequency = 10000 ** -(torch.arange(0, width, 2, device=device) / width)
    angle = torch.arange(length, -length, -1, device=device)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)
