"""Heads that look at what lies in a span and move its ends, one after the other.

DenoiseLoc (Xu et al. 2024, arXiv:2304.02934, section 3.3) in the form of its code, frostinassiky/denoiseloc: the heads
of Sparse R-CNN (Sun et al. 2021) and DiffusionDet (Chen et al. 2023) in one dimension.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.errors import ConfigError
from tal.modules.dynamic_conv import DynamicConv
from tal.modules.span_noise import FirstSpans, Kind
from tal.modules.transformer import Attention, FeedForward, xavier
from tal.ops.roi_align import roi_align
from tal.ops.spans import to_centre_width, to_ends

CLASS_LAYERS, SPAN_LAYERS = 1, 3
_CENTRE_SCALE = 2.0
_LARGEST_GROWTH = math.log(1e5 / 16)
_CLASS_BIAS = -math.log(99)  # a probability of 1 % where classes are independent
_NEVER = -1e4  # half precision holds it


@dataclass(frozen=True, kw_only=True)
class RefinementConfig:
    """How spans begin, and how heads refine them. Most likely changed: `snr_scale`.

    Args:
        bins: A span is seen as so many.
        dynamic_conv: Bins are filtered by weights made from the proposal feature; otherwise their mean is joined to it.
        dynamic_width: C within that filter.
        attention: The proposals of one video attend to each other.
        snr_scale: Of the spans against the noise; the larger, the less noise at the same step.
        denoise: Training begins with blurred ground truth; otherwise with what inference begins with.
        first_spans: Inference begins with "gaussian" noise, a "grid" of windows, or "learned" spans (see `FirstSpans`).
        noise_seed: Of inference's noise. Results vary with it: report several seeds.
        batch_order: Without attention, or without dynamic convolution, the original takes rows (query, video) for rows
            (video, query), by which the proposals of different videos of a batch answer for each other. True does the
            same, for weights that were trained so; a batch of one video is not touched by it.

    Raises:
        ConfigError: numbers outside their range.
    """

    bins: int = 14
    dynamic_conv: bool = True
    dynamic_width: int = 64
    attention: bool = True
    snr_scale: float = 4.0
    denoise: bool = True
    first_spans: Kind = "gaussian"
    noise_seed: int = 0
    batch_order: bool = False

    def __post_init__(self) -> None:
        for name in ("bins", "dynamic_width"):
            if getattr(self, name) < 1:
                raise ConfigError(f"refinement.{name} of {getattr(self, name)}", expected="at least 1")


@dataclass(frozen=True, kw_only=True)
class HeadShape:
    """Widths of a series of heads.

    Args:
        width: C of memory and proposal features.
        outputs: K class logits.
        heads: Of the attention.
        hidden: C within the feed-forward network.
        dropout: Of all parts.
    """

    width: int
    outputs: int
    heads: int
    hidden: int
    dropout: float


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
        shape: Widths.
        how: Switches.
    """

    def __init__(self, shape: HeadShape, how: RefinementConfig) -> None:
        super().__init__()
        self.how = how
        width = shape.width
        if how.attention:
            self.attention = Attention(width, shape.heads, shape.dropout)
            self.norm_attention = nn.LayerNorm(width)
        if how.dynamic_conv:
            self.interact = DynamicConv(width, hidden=how.dynamic_width, bins=how.bins)
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
        seen = roi_align(memory.transpose(1, 2), spans, self.how.bins, lengths)  # (B, Q, C, N)
        if self.how.attention:
            attended = self.dropout(self.attention(proposals, proposals, proposals))
            proposals = self.norm_attention(proposals + attended)
        proposals, outcome = self._interact(proposals, seen)
        logits = self.logits(self.class_tower(outcome))
        return logits, move_spans(spans, self.deltas(self.span_tower(outcome))), proposals

    def _interact(self, proposals: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Proposal features (B, Q, C) that know the spans' bins (B, Q, C, N), for the next head and for the towers."""
        mixes = self.how.batch_order
        if self.how.dynamic_conv:
            if mixes and not self.how.attention:
                proposals = _to_batch_order(proposals)
            rows = self.interact(proposals.flatten(0, 1), seen.flatten(0, 1).transpose(1, 2))
            proposals = self.norm_interact(proposals + self.dropout(rows.view_as(proposals)))
        else:
            if mixes and self.how.attention:
                proposals = _from_batch_order(proposals)
            proposals = F.relu(self.join(torch.cat([seen.mean(-1), proposals], dim=-1)))
        proposals = self.norm_mlp(proposals + self.dropout(self.mlp(proposals)))
        scrambled = mixes and not self.how.dynamic_conv
        return proposals, _from_batch_order(proposals) if scrambled else proposals


@dataclass(frozen=True, kw_only=True, eq=False)
class Refined:
    """What became of the spans.

    Args:
        first: (B, Q, 2) centre and width that they began with, in fractions of the video.
        logits: Per head (B, Q, K).
        spans: Per head (B, Q, 2) centre and width in fractions, not limited to the video.
    """

    first: Tensor
    logits: tuple[Tensor, ...]
    spans: tuple[Tensor, ...]


class SpanRefiner(nn.Module):
    """Spans to begin with and a series of heads; gradients of a head's spans end at the head before.

    Args:
        how: Switches.
        shape: Of every head.
        layers: Heads.
        queries: Q, each with a learned proposal feature.
    """

    def __init__(self, how: RefinementConfig, shape: HeadShape, *, layers: int, queries: int) -> None:
        super().__init__()
        self.first = FirstSpans(
            queries, scale=how.snr_scale, denoise=how.denoise, kind=how.first_spans, seed=how.noise_seed
        )
        self.proposals = nn.Parameter(torch.randn(queries, shape.width))
        self.layers = nn.ModuleList(RefinementHead(shape, how) for _ in range(layers))
        xavier(self.layers)
        for layer in self._heads():
            nn.init.constant_(layer.logits.bias, _CLASS_BIAS)

    def hush(self, outputs: Sequence[int]) -> None:
        """Let class logits begin so low that their probability is zero."""
        with torch.no_grad():
            for layer in self._heads():
                layer.logits.bias[list(outputs)] = _NEVER

    def _heads(self) -> Iterator[RefinementHead]:
        return (layer for layer in self.layers if isinstance(layer, RefinementHead))

    def forward(
        self,
        memory: Tensor,
        counts: Tensor,
        first: Tensor,
        *,
        origin: float = 0.0,
        lengths: Tensor | None = None,
    ) -> Refined:
        """Refine spans step by step.

        Args:
            memory: (B, L, C).
            counts: (B,) valid snippets; the fraction f of a video stands at f * count - origin in its memory.
            first: (B, Q, 2) centre and width in fractions, from `self.first`.
            origin: Where a video's first position stands in its first snippet: 0 at its start, as in the original; 0.5
                at its centre.
            lengths: (B,) where each video's memory ends; None: at L.
        """
        scale = counts.to(first.dtype)[:, None, None]
        spans = to_ends(first) * scale - origin
        proposals = self.proposals.expand(memory.shape[0], -1, -1)
        logits, refined = [], []
        for layer in self.layers:
            label, spans, proposals = layer(memory, spans, proposals, lengths)
            logits.append(label)
            refined.append(to_centre_width((spans + origin) / scale))
            spans = spans.detach()
        return Refined(first=first, logits=tuple(logits), spans=tuple(refined))


def move_spans(spans: Tensor, deltas: Tensor) -> Tensor:
    """Spans (..., 2) with their centre moved by deltas[0] / 2 widths, and their width times exp(deltas[1])."""
    centre, width = to_centre_width(spans).unbind(-1)
    shift, growth = deltas.to(spans.dtype).unbind(-1)
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
