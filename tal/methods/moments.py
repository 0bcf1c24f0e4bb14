"""Moment retrieval by a set of predicted spans: what Moment-DETR and DenoiseLoc share.

A video's snippets and a query's tokens become one sequence; a method adds its encoder and what predicts spans from it.
Here are the inputs, the losses, and the way from predicted fractions of a video to seconds. Moment-DETR: Lei, Berg,
Bansal 2021 (arXiv:2107.09609) and jayleicn/moment_detr; DenoiseLoc: Xu et al. 2024 (arXiv:2304.02934).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from tal.errors import ConfigError
from tal.methods.answers import Answer
from tal.methods.base import Batch, Inputs, Method
from tal.methods.pyramid_config import require, require_streams
from tal.modules.span_losses import bin_loss, label_loss, saliency_loss, span_losses
from tal.modules.transformer import InputProjection, LearnedPositions, SinePositions, Wavelengths
from tal.ops.matching import FOREGROUND, Matches, MatchWeights, match_bins, match_spans
from tal.ops.nms import hard_nms
from tal.ops.spans import to_centre_width, to_ends
from tal.segments import Segments
from tal.timeline import SnippetGrid

_SMALLEST_NORM = 1e-5
_DECIMALS = 4


@dataclass(frozen=True, kw_only=True)
class MomentConfig:
    """Settings of every method that answers queries with a set of spans.

    Args:
        streams: Feature stream -> its width, side by side in this order; taken from the data if empty.
        text_width: Width of a query's tokens; taken from the data if 0.
        classes: None.
        train_snippets: Longest video; of a longer one the first snippets are read, or all with `resize`.
        resize: Features are interpolated to `train_snippets`, whatever the video's length.
        text_tokens: Longest text; of a longer one the first tokens are read.
        normalize_video, normalize_text: Every stream's rows, every token, are scaled to unit length.
        endpoints: Where a snippet begins and ends in its video, as fractions, are two further features.
        width: C of the network.
        heads, hidden: Attention heads; C within a feed-forward network.
        encoder_layers, decoder_layers: How many.
        pre_norm: Layer norms stand before the encoder's (and decoder's) parts, not after.
        dropout, input_dropout: In the transformer; on the features.
        input_layers: Of the projections of video and text.
        text_positions: Learned positions for tokens; without them, tokens have none.
        queries: Spans that are predicted for every video.
        auxiliary: Every decoder layer is trained, not only the last one.
        match: What decides which prediction answers for which moment.
        span_weight, giou_weight, label_weight, saliency_weight: Of the losses.
        background_weight: Of predictions that answer for nothing, in the label loss.
        saliency_margin: By how much a salient snippet should score above another.
        round_s: Ends are rounded to multiples of so many seconds; 0: not at all.
        limit_s: Ends are limited to [0, limit_s], whatever the video's duration; None: to the video.
        nms_tiou: Of two predictions that overlap by more, the better one is kept; None: all are kept.
        max_moments: Predictions that suppression looks at, and keeps.

    Raises:
        ConfigError: settings outside their range, or that contradict each other.
    """

    streams: dict[str, int] = field(default_factory=dict)
    text_width: int = 0
    classes: tuple[str, ...] = ()
    train_snippets: int = 75
    resize: bool = False
    text_tokens: int = 32
    normalize_video: bool = True
    normalize_text: bool = True
    endpoints: bool = True
    width: int = 256
    heads: int = 8
    hidden: int = 1024
    encoder_layers: int = 2
    decoder_layers: int = 2
    pre_norm: bool = False
    dropout: float = 0.1
    input_dropout: float = 0.5
    input_layers: int = 2
    text_positions: bool = False
    queries: int = 10
    auxiliary: bool = True
    match: MatchWeights = field(default_factory=MatchWeights)
    span_weight: float = 10.0
    giou_weight: float = 1.0
    label_weight: float = 4.0
    saliency_weight: float = 1.0
    background_weight: float = 0.1
    saliency_margin: float = 0.2
    round_s: float = 0.0
    limit_s: float | None = None
    nms_tiou: float | None = None
    max_moments: int = 10

    def __post_init__(self) -> None:
        for name in ("train_snippets", "text_tokens", "width", "heads", "hidden", "decoder_layers", "queries"):
            require(getattr(self, name) >= 1, f"{name} of {getattr(self, name)}", "at least 1")
        for name in ("encoder_layers", "round_s", "text_width", *_WEIGHTS):
            require(getattr(self, name) >= 0, f"{name} of {getattr(self, name)}", "zero or more")
        for name in ("dropout", "input_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        require(1 <= self.input_layers <= 3, f"input_layers of {self.input_layers}", "1, 2 or 3")
        require(self.max_moments >= 1, f"max_moments of {self.max_moments}", "at least 1")
        fits = self.width % 2 == 0 and self.width % self.heads == 0
        require(fits, f"width {self.width} with {self.heads} heads", "an even width that the heads divide")
        tiou = self.nms_tiou
        require(tiou is None or 0 <= tiou <= 1, f"nms_tiou of {tiou}", "a tIoU in [0, 1], or null")
        require(self.limit_s is None or self.limit_s > 0, f"limit_s of {self.limit_s}", "a positive time, or null")
        require(not self.classes, f"{len(self.classes)} classes", "none: queries name what is looked for")


_WEIGHTS = ("span_weight", "giou_weight", "label_weight", "saliency_weight", "background_weight")


@dataclass(frozen=True, kw_only=True)
class MomentOutputs:
    """What is predicted.

    Args:
        logits: Per decoder layer, (B, Q, 2), foreground first.
        spans: Per decoder layer, (B, Q, 2) centre and width as fractions of the video, or (B, Q, 2, V) logits of the
            first and of the last snippet.
        saliency: (B, T) score of every snippet.
        memory: (B, T + L, C), the encoder's outcome: snippets, then tokens.
        states: (layers, B, Q, C) what the heads saw; None where a method has no such states.
    """

    logits: tuple[Tensor, ...]
    spans: tuple[Tensor, ...]
    saliency: Tensor
    memory: Tensor
    states: Tensor | None = None


class Sequence(NamedTuple):
    """Snippets and tokens side by side: tokens and positions (B, T + L, C), mask (B, T + L)."""

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    snippets: int


class MomentMethod(Method):
    """Inputs, losses and decoding; a subclass builds its network and gives `forward`.

    Args:
        config: With `streams` and `text_width`.
    """

    Config = MomentConfig
    config: MomentConfig
    wavelengths: Wavelengths = "geometric"

    def __init__(self, config: MomentConfig) -> None:
        super().__init__()
        require_streams(config.streams)
        require(config.text_width > 0, "a method without text features", "text_width: that of a query's tokens")
        self.config, self.classes = config, ()
        c = config
        video_width = sum(c.streams.values()) + 2 * c.endpoints
        project = partial(InputProjection, layers=c.input_layers, dropout=c.input_dropout)
        self.project_video, self.project_text = project(video_width, c.width), project(c.text_width, c.width)
        self.positions = SinePositions(c.width, self.wavelengths)
        if c.text_positions:
            self.text_positions = LearnedPositions(c.width, c.text_tokens, dropout=c.input_dropout)
        self.saliency = nn.Linear(c.width, 1)

    @property
    def inputs(self) -> Inputs:
        """Its streams, and the query's tokens."""
        c = self.config
        return Inputs(
            streams=c.streams,
            train_snippets=c.train_snippets,
            resize_to=c.train_snippets if c.resize else None,
            text=c.text_width,
            text_tokens=c.text_tokens,
        )

    def sequence(self, batch: Batch) -> Sequence:
        """Projected features and tokens with their positions."""
        text, text_mask = _text_of(batch)
        video, mask = self.video(batch)
        snippets = self.project_video(video)
        tokens = self.project_text(unit_rows(text) if self.config.normalize_text else text)
        placed = self.text_positions(tokens) if self.config.text_positions else torch.zeros_like(tokens)
        return Sequence(
            tokens=torch.cat([snippets, tokens], dim=1),
            positions=torch.cat([self.positions(mask), placed], dim=1),
            mask=torch.cat([mask, text_mask], dim=1),
            snippets=mask.shape[1],
        )

    def video(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (B, T, C) as the network reads them, and their mask (B, T)."""
        c = self.config
        mask = batch.mask[:, 0, : c.train_snippets]
        parts = [batch.streams[name][..., : c.train_snippets].transpose(1, 2) for name in c.streams]
        if c.normalize_video:
            parts = [unit_rows(part) for part in parts]
        if c.endpoints:
            count = mask.sum(1, keepdim=True).clamp(min=1)  # (B, 1)
            start = torch.arange(mask.shape[1], device=mask.device) / count  # (B, T)
            parts.append(torch.stack([start, start + 1 / count], dim=2) * mask[..., None])
        return torch.cat(parts, dim=2), mask

    def loss(self, outputs: MomentOutputs, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum, "loss", and its parts before weighting.

        "span", "giou" and "label" are those of the last decoder layer, "span_0" and so on of the earlier ones;
        "label_error" is the share of matched predictions that are taken for background, and part of no sum.
        """
        last = len(outputs.logits) - 1
        targets = self.targets(batch, "bins" if outputs.spans[last].dim() == 4 else "fractions")
        parts: dict[str, Tensor] = {}
        for layer in range(last + 1) if self.config.auxiliary else [last]:
            suffix = "" if layer == last else f"_{layer}"
            found = self.layer_loss(outputs, layer, targets)
            parts |= {name + suffix: value for name, value in found.items()}
        if batch.saliency_pairs is not None:
            positive, negative = batch.saliency_pairs.unbind(1)
            parts["saliency"] = saliency_loss(outputs.saliency, positive, negative, margin=self.config.saliency_margin)
        weights = self.loss_weights
        total = sum(weights[name.partition("_")[0]] * value for name, value in parts.items() if "error" not in name)
        return {"loss": torch.as_tensor(total), **{name: value.detach() for name, value in parts.items()}}

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """Part of the loss -> its weight."""
        c = self.config
        return {"span": c.span_weight, "giou": c.giou_weight, "label": c.label_weight, "saliency": c.saliency_weight}

    def layer_loss(self, outputs: MomentOutputs, layer: int, targets: list[Tensor]) -> dict[str, Tensor]:
        """The parts that a decoder layer has; `targets` are of `targets`, in the form that the spans have."""
        logits, spans = outputs.logits[layer], outputs.spans[layer]
        matches = self.match(logits, spans, targets)
        if spans.dim() == 4:
            losses = {"span": bin_loss(spans, torch.cat(targets), matches), "giou": spans.new_zeros(())}
        else:
            span, giou = span_losses(spans, torch.cat(targets), matches)
            losses = {"span": span, "giou": giou}
        label, error = label_loss(logits, matches, background=self.config.background_weight)
        return {**losses, "label": label, "label_error": error, **self.further_losses(outputs, layer, matches)}

    def match(self, logits: Tensor, spans: Tensor, targets: list[Tensor]) -> Matches:
        """Which prediction answers for which moment."""
        pair = match_bins if spans.dim() == 4 else match_spans
        return pair(logits, spans, targets, self.config.match)

    def further_losses(self, outputs: MomentOutputs, layer: int, matches: Matches) -> dict[str, Tensor]:
        """Losses of a layer that a method has beside the common ones."""
        return {}

    def targets(self, batch: Batch, form: Literal["fractions", "bins"] = "fractions") -> list[Tensor]:
        """Per video the moments, (N, 2): centre and width as fractions of its snippets, or first and last snippet."""
        found = []
        for grid, moments in zip(batch.grids, batch.truth(), strict=True):
            count = min(grid.count, self.config.train_snippets)
            # Snippets are cells side by side here: an end of 0 is the first one's start, of `count` the last one's end.
            cells = np.stack([grid.to_idx(moments.start_s), grid.to_idx(moments.end_s)], axis=1) + 0.5
            if form == "bins":
                first, stop = np.floor(cells + _SMALLEST_NORM).clip(0, count).astype(np.int64).T
                ends = np.stack([first.clip(max=count - 1), np.maximum(stop - 1, first).clip(0, count - 1)], axis=1)
                found.append(torch.from_numpy(ends).to(batch.mask.device))
            else:
                fractions = torch.from_numpy(cells / count).to(batch.mask.device, torch.float32)
                found.append(to_centre_width(fractions))
        return found

    def candidates(self, outputs: MomentOutputs, batch: Batch) -> list[Segments]:
        """Per query all predicted spans, unrounded; `extra["limit_s"]` is where its video ends for the predictions."""
        score, ends = (part.cpu() for part in self.scored_ends(outputs))  # (B, Q), (B, Q, 2)
        found = []
        for row, (grid, duration_s) in enumerate(zip(batch.grids, batch.durations_s, strict=True)):
            read = grid.slice(0, min(grid.count, self.config.train_snippets))
            unit_s = read_span_s(read, duration_s) if outputs.spans[-1].dim() == 3 else read.stride_s
            limit_s = duration_s if self.config.limit_s is None else self.config.limit_s
            start_s, end_s = (ends[row] * unit_s).double().numpy().T + read.offset_s
            found.append(
                Segments(
                    start_s=start_s,
                    end_s=end_s,
                    score=score[row].double().numpy(),
                    extra={"limit_s": np.full(len(start_s), limit_s)},
                )
            )
        return found

    def scored_ends(self, outputs: MomentOutputs) -> tuple[Tensor, Tensor]:
        """Score (B, Q) of the last layer's predictions, their ends (B, Q, 2) as fractions of the video.

        Of classified ends, the likeliest first and last snippets are taken; their ends are counted in snippets, and
        the score is the product of their probabilities, as the original has it. Its code for them stops at the
        saliency scores, which it does not compute for them: the rest of this case is ours.
        """
        spans = outputs.spans[-1].float()
        if spans.dim() == 3:
            return outputs.logits[-1].float().softmax(-1)[..., FOREGROUND], to_ends(spans)
        chance, snippet = spans.softmax(-1).max(-1)  # (B, Q, 2)
        return chance.prod(-1), snippet + snippet.new_tensor([0, 1])

    def suppress(self, candidates: Segments, video_scores: Tensor | None = None) -> Segments:
        """One query's moments by falling score: limited, rounded, and rid of duplicates where the config says so."""
        c, ranked = self.config, candidates.by_score()
        limit_s = ranked.extra["limit_s"] if "limit_s" in ranked.extra else np.full(len(ranked), np.inf)
        ends = [np.clip(np.round(each, _DECIMALS), 0, limit_s) for each in (ranked.start_s, ranked.end_s)]
        if c.round_s:
            ends = [np.round(each / c.round_s) * c.round_s for each in ends]
        extra = {name: column for name, column in ranked.extra.items() if name != "limit_s"}
        score = np.round(ranked.score, _DECIMALS)
        ranked = replace(ranked, start_s=ends[0], end_s=ends[1], score=score, extra=extra)
        if c.nms_tiou is None:
            return ranked
        ranked = ranked[: c.max_moments]
        return ranked[hard_nms(ranked.start_s, ranked.end_s, ranked.score, tiou=c.nms_tiou, max_segments=c.max_moments)]

    def decode(self, outputs: MomentOutputs, batch: Batch) -> list[Segments]:
        """Per query an `Answer`; saliency goes through half precision, as in the original's predictions."""
        require(batch.queries is not None, "a batch without queries", "a query per video")
        saliency = outputs.saliency.half().cpu().double().numpy()
        found: list[Segments] = []
        for row, (each, query) in enumerate(zip(self.candidates(outputs, batch), batch.queries or (), strict=True)):
            moments = self.suppress(each)
            count = min(batch.grids[row].count, self.config.train_snippets)
            told = {"qid": np.full(len(moments), query.qid), "query": np.full(len(moments), query.text)}
            answer = Answer(
                start_s=moments.start_s,
                end_s=moments.end_s,
                score=moments.score,
                extra={**moments.extra, **told},
                query=query,
                saliency=saliency[row, :count],
            )
            found.append(answer)
        return found


def _text_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """Tokens (B, L, C) and their mask (B, L)."""
    if batch.text is None or batch.text_mask is None:
        raise ConfigError("a batch without queries", expected="text features for every video")
    return batch.text, batch.text_mask


def read_span_s(grid: SnippetGrid, duration_s: float) -> float:
    """Seconds that predicted fractions are fractions of.

    The original multiplies them by the video's duration, which its features reach to within a clip. Of a video of which
    only a part is read, they are fractions of that part.
    """
    cells_s = grid.count * grid.stride_s
    return duration_s if abs(duration_s - cells_s) <= grid.stride_s else cells_s


def unit_rows(x: Tensor) -> Tensor:
    """(..., C) with rows of unit length; the original divides by the norm plus 1e-5."""
    return x / (x.norm(dim=-1, keepdim=True) + _SMALLEST_NORM)
