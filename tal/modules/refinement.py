"""Heads that look at what lies in a span and move its ends, one after the other.

DenoiseLoc (Xu et al. 2024, arXiv:2304.02934, section 3.3) in the form of its code, frostinassiky/denoiseloc: the heads
of Sparse R-CNN (Sun et al. 2021) and DiffusionDet (Chen et al. 2023) in one dimension.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.dynamic_conv import DynamicConv
from tal.modules.transformer import Attention, FeedForward, xavier
from tal.ops.roi_align import roi_align
from tal.ops.spans import to_centre_width, to_ends

CLASS_LAYERS, SPAN_LAYERS = 1, 3
_CENTRE_SCALE = 2.0
_LARGEST_GROWTH = math.log(1e5 / 16)
_CLASS_BIAS = -math.log(99)  # a probability of 1 % where classes are independent


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """What all heads of a series have in common.

    Args:
        width: C of memory and proposal features.
        outputs: K class logits.
        heads: Of the attention.
        hidden: C within the feed-forward network.
        bins: A span is seen as so many.
        dynamic_width: C within the dynamic convolution.
        dropout: Of all parts.
        dynamic_conv: Bins are filtered by the proposal feature; otherwise their mean is joined with it.
        attention: Proposals of one video attend to each other.
        batch_order: Without attention or without dynamic convolution, the original takes rows (query, video) for rows
            (video, query): proposals of different videos of a batch answer for each other. True does the same, for
            weights that were trained so; a batch of one video is not touched by it.
    """

    width: int
    outputs: int
    heads: int = 8
    hidden: int = 1024
    bins: int = 14
    dynamic_width: int = 64
    dropout: float = 0.1
    dynamic_conv: bool = True
    attention: bool = True
    batch_order: bool = False


class Tower(nn.Module):
    """Layers of linear map without bias, layer norm and ReLU."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        for linear, norm in zip(self.linears, self.norms, strict=True):
            x = F.relu(norm(linear(x)))
        return x


class RefinementHead(nn.Module):
    """One look at every span: its class logits, its ends moved, its proposal feature for the next head.

    Args:
        shape: Widths and switches.
    """

    def __init__(self, shape: HeadShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        if shape.attention:
            self.attention = Attention(width, shape.heads, shape.dropout)
            self.norm_attention = nn.LayerNorm(width)
        if shape.dynamic_conv:
            self.interact = DynamicConv(width, hidden=shape.dynamic_width, bins=shape.bins)
            self.norm_interact = nn.LayerNorm(width)
        else:
            self.join = nn.Linear(2 * width, width)
        self.mlp = FeedForward(width, shape.hidden, shape.dropout)
        self.norm_mlp = nn.LayerNorm(width)
        self.dropout = nn.Dropout(shape.dropout)
        self.class_tower, self.span_tower = Tower(width, CLASS_LAYERS), Tower(width, SPAN_LAYERS)
        self.logits = nn.Linear(width, shape.outputs)
        self.deltas = nn.Linear(width, 2)

    def forward(self, memory: Tensor, spans: Tensor, proposals: Tensor, lengths: Tensor | None) -> tuple[Tensor, ...]:
        """Refine every span of every video.

        Args:
            memory: (B, L, C).
            spans: (B, Q, 2) start and end in positions of the memory.
            proposals: (B, Q, C) proposal features.
            lengths: (B,) where each video's memory ends; None: at L.

        Returns:
            Logits (B, Q, K), spans (B, Q, 2), proposal features (B, Q, C).
        """
        seen = roi_align(memory.transpose(1, 2), spans, self.shape.bins, lengths)  # (B, Q, C, N)
        if self.shape.attention:
            attended = self.dropout(self.attention(proposals, proposals, proposals))
            proposals = self.norm_attention(proposals + attended)
        proposals, outcome = self._interact(proposals, seen)
        logits = self.logits(self.class_tower(outcome))
        return logits, move_spans(spans, self.deltas(self.span_tower(outcome))), proposals

    def _interact(self, proposals: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Proposal features (B, Q, C) that know the spans' bins (B, Q, C, N), for the next head and for the towers."""
        mixes = self.shape.batch_order
        if self.shape.dynamic_conv:
            if mixes and not self.shape.attention:
                proposals = _to_batch_order(proposals)
            rows = self.interact(proposals.flatten(0, 1), seen.flatten(0, 1).transpose(1, 2))
            proposals = self.norm_interact(proposals + self.dropout(rows.view_as(proposals)))
        else:
            if mixes and self.shape.attention:
                proposals = _from_batch_order(proposals)
            proposals = F.relu(self.join(torch.cat([seen.mean(-1), proposals], dim=-1)))
        proposals = self.norm_mlp(proposals + self.dropout(self.mlp(proposals)))
        scrambled = mixes and not self.shape.dynamic_conv
        return proposals, _from_batch_order(proposals) if scrambled else proposals


class RefinementHeads(nn.Module):
    """A series of heads with weights of their own; gradients of a head's spans end at the head before.

    Args:
        layers: How many.
        queries: Q, each with a learned proposal feature.
        shape: Of every head.
    """

    def __init__(self, *, layers: int, queries: int, shape: HeadShape) -> None:
        super().__init__()
        self.proposals = nn.Parameter(torch.randn(queries, shape.width))
        self.layers = nn.ModuleList(RefinementHead(shape) for _ in range(layers))
        xavier(self.layers)
        for layer in self.layers:
            nn.init.constant_(layer.logits.bias, _CLASS_BIAS)  # type: ignore[union-attr,arg-type]

    def forward(self, memory: Tensor, spans: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Memory (B, L, C), spans (B, Q, 2) in its positions -> logits (H, B, Q, K), spans (H, B, Q, 2) per head."""
        proposals = self.proposals.expand(len(memory), -1, -1)
        all_logits, all_spans = [], []
        for layer in self.layers:
            logits, spans, proposals = layer(memory, spans, proposals, lengths)
            all_logits.append(logits)
            all_spans.append(spans)
            spans = spans.detach()
        return torch.stack(all_logits), torch.stack(all_spans)


def move_spans(spans: Tensor, deltas: Tensor) -> Tensor:
    """Spans (..., 2) with their centre moved by deltas[0] / 2 widths, and their width times exp(deltas[1])."""
    centre, width = to_centre_width(spans.float()).unbind(-1)
    shift, growth = deltas.float().unbind(-1)
    centre = centre + shift / _CENTRE_SCALE * width
    width = width * growth.clamp(max=_LARGEST_GROWTH).exp()
    return to_ends(torch.stack([centre, width], dim=-1))


def _to_batch_order(x: Tensor) -> Tensor:
    """Rows (video, query) of (B, Q, C), read as if they were (query, video)."""
    B, Q, _ = x.shape
    return x.reshape(Q, B, -1).transpose(0, 1)


def _from_batch_order(x: Tensor) -> Tensor:
    """The inverse: rows laid out (query, video), read as if they were (video, query)."""
    B, Q, _ = x.shape
    return x.transpose(0, 1).reshape(B, Q, -1)
