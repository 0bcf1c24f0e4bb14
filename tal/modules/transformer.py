"""Transformer of set-prediction localizers: positions are added to queries and keys, never to values.

DETR (Carion et al. 2020, appendix A.3), over the tokens of a video and of a query text as Moment-DETR (Lei, Berg,
Bansal 2021, arXiv:2107.09609, section 4.1) lays them side by side. Sequences are (B, L, C); masks are (B, L) bool,
True where valid.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.errors import ConfigError

Wavelengths = Literal["geometric", "equal"]


class InputProjection(nn.Module):
    """Layers of layer norm, dropout, linear map and ReLU, the last one without ReLU: features to tokens.

    Args:
        in_width: C of the features.
        width: C of the tokens.
        layers: How many, at least one.
        dropout: On the normalised features.
    """

    def __init__(self, in_width: int, width: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        widths = [in_width, *[width] * (layers - 1)]
        self.norms = nn.ModuleList(nn.LayerNorm(each) for each in widths)
        self.linears = nn.ModuleList(nn.Linear(each, width) for each in widths)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, in_width) -> (B, L, width)."""
        last = len(self.linears) - 1
        for layer, (norm, linear) in enumerate(zip(self.norms, self.linears, strict=True)):
            x = linear(self.dropout(norm(x)))
            x = x if layer == last else F.relu(x)
        return x


class SinePositions(nn.Module):
    """Sine and cosine of a token's place, counted from 1 to the valid length and scaled to (0, 2 pi].

    Args:
        width: C, even.
        wavelengths: "geometric": channel pairs of falling frequency, as Moment-DETR has them; "equal": the same
            frequency in all of them, which is what DenoiseLoc's code computes by rounding every exponent to zero.
    """

    scale: Tensor

    def __init__(self, width: int, wavelengths: Wavelengths = "geometric") -> None:
        super().__init__()
        if width % 2:
            raise ConfigError(f"sine positions of width {width}", expected="an even width")
        pair = torch.arange(width // 2, dtype=torch.float32)
        exponent = 2 * pair / width if wavelengths == "geometric" else torch.zeros_like(pair)
        self.register_buffer("scale", 10000**exponent, persistent=False)

    def forward(self, mask: Tensor) -> Tensor:
        """(B, L) bool -> (B, L, C)."""
        place = mask.cumsum(1, dtype=torch.float32)
        angle = (place / (place[:, -1:] + 1e-6) * 2 * math.pi)[..., None] / self.scale  # (B, L, C / 2)
        return torch.stack([angle.sin(), angle.cos()], dim=3).flatten(2)


class LearnedPositions(nn.Module):
    """A learned vector per place, added to the tokens, then layer norm and dropout.

    Args:
        width: C.
        length: Most tokens.
        dropout: On the outcome.
    """

    def __init__(self, width: int, length: int, *, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(length, width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, L, C) -> what stands for their positions, (B, L, C)."""
        return self.dropout(self.norm(x + self.table.weight[: x.shape[1]]))


class Attention(nn.Module):
    """Multi-head attention between two sequences, (B, L, C) each.

    Args:
        width: C.
        heads: Divides C.
        dropout: On the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Queries (B, Q, C), keys and values (B, L, C), mask (B, L) of the keys -> (B, Q, C)."""
        ignored = None if mask is None else ~mask
        return self.heads(query, key, value, key_padding_mask=ignored, need_weights=False)[0]


class FeedForward(nn.Module):
    """Linear, ReLU, dropout, linear.

    Args:
        width: C in and out.
        hidden: C between.
        dropout: Between.
    """

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.contract(self.dropout(F.relu(self.expand(x))))


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward network, each on a residual path with a layer norm after or before it.

    Args:
        width, heads, hidden, dropout: Of the parts.
        pre_norm: The norms stand before the parts instead of after the sums.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(width, heads, dropout)
        self.mlp = FeedForward(width, hidden, dropout)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, L, C), positions (B, L, C), mask (B, L) -> (B, L, C)."""
        if self.pre_norm:
            inner = self.norm_attention(x)
            x = x + self.dropout(self._attend(inner, positions, mask))
            return x + self.dropout(self.mlp(self.norm_mlp(x)))
        x = self.norm_attention(x + self.dropout(self._attend(x, positions, mask)))
        return self.norm_mlp(x + self.dropout(self.mlp(x)))

    def _attend(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        placed = x + positions
        return self.attention(placed, placed, x, mask)


class DetrEncoder(nn.Module):
    """Encoder layers; with `pre_norm` a layer norm closes them.

    Args:
        width: C.
        layers: How many.
        heads, hidden, dropout, pre_norm: Of every layer.
    """

    def __init__(
        self, width: int, *, layers: int, heads: int, hidden: int, dropout: float, pre_norm: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads=heads, hidden=hidden, dropout=dropout, pre_norm=pre_norm) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width) if pre_norm else nn.Identity()

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """(B, L, C), positions (B, L, C), mask (B, L) -> (B, L, C)."""
        for layer in self.layers:
            x = layer(x, positions, mask)
        return self.norm(x)


class DecoderLayer(nn.Module):
    """Attention among the queries, attention to the encoder's memory, feed-forward network.

    Args:
        width, heads, hidden, dropout, pre_norm: See EncoderLayer.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.self_attention = Attention(width, heads, dropout)
        self.attention = Attention(width, heads, dropout)
        self.mlp = FeedForward(width, hidden, dropout)
        self.norm_self, self.norm_attention, self.norm_mlp = (nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, queries: Tensor, memory: Tensor, placed: Tensor, mask: Tensor) -> Tensor:
        """One step of refinement.

        Args:
            x: (B, Q, C) state of the queries.
            queries: (B, Q, C) their learned positions.
            memory, placed: (B, L, C) the encoder's outcome, without and with positions.
            mask: (B, L) of the memory.
        """
        if self.pre_norm:
            inner = self.norm_self(x)
            x = x + self.dropout(self._among(inner, queries))
            x = x + self.dropout(self.attention(self.norm_attention(x) + queries, placed, memory, mask))
            return x + self.dropout(self.mlp(self.norm_mlp(x)))
        x = self.norm_self(x + self.dropout(self._among(x, queries)))
        x = self.norm_attention(x + self.dropout(self.attention(x + queries, placed, memory, mask)))
        return self.norm_mlp(x + self.dropout(self.mlp(x)))

    def _among(self, x: Tensor, queries: Tensor) -> Tensor:
        placed = x + queries
        return self.self_attention(placed, placed, x)


class DetrDecoder(nn.Module):
    """Decoder layers that turn learned queries into predictions; every layer's state goes through one layer norm.

    Args:
        width: C.
        layers: How many.
        heads, hidden, dropout, pre_norm: Of every layer.
    """

    def __init__(
        self, width: int, *, layers: int, heads: int, hidden: int, dropout: float, pre_norm: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads=heads, hidden=hidden, dropout=dropout, pre_norm=pre_norm) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, queries: Tensor, memory: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Learned queries (Q, C), memory and positions (B, L, C), mask (B, L) -> (layers, B, Q, C)."""
        queries = queries.expand(memory.shape[0], -1, -1)
        placed, x, states = memory + positions, torch.zeros_like(queries), []
        for layer in self.layers:
            x = layer(x, queries, memory, placed, mask)
            states.append(self.norm(x))
        return torch.stack(states)


def xavier(module: nn.Module) -> None:
    """Initialise every matrix of a module as Xavier's uniform; vectors stay as they are."""
    for parameter in module.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
