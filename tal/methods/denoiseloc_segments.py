"""DenoiseLoc for segments of classes, without text: the localizer of the paper's THUMOS14 experiment, reconstructed.

The paper (Xu et al. 2024, arXiv:2304.02934) reports such a localizer; its code has the task of QVHighlights only. Taken
from there are encoder, noised spans, refinement heads and set loss (`tal.methods.denoiseloc`). Ours are: windows of a
fixed length that slide over the video, their features alone as the encoder's tokens, classes in place of foreground and
background, spans that begin and end between the snippets' cells, and suppression per class over all windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tal.methods.base import Batch, Inputs, Method
from tal.methods.limits import within_video, without_columns
from tal.methods.pyramid_config import check_classes, require, require_data
from tal.methods.video_scores import name_detections
from tal.modules.inputs import StreamProjection
from tal.modules.losses import sigmoid_focal_loss
from tal.modules.processes import mean_over_processes, process_count
from tal.modules.refinement import HeadShape, Refined, RefinementConfig, SpanRefiner
from tal.modules.span_losses import span_losses
from tal.modules.transformer import DetrEncoder, InputProjection, SinePositions, xavier
from tal.ops.matching import Matches, MatchWeights, assign
from tal.ops.nms import NmsConfig, suppress
from tal.ops.spans import generalized_tiou, to_centre_width, to_ends
from tal.segments import Segments

_CENTRE = 0.5
"""Of a snippet's cell: the fraction f of a window of n snippets stands at f * n - 0.5 among its snippets' centres."""

_TINY = 1e-8


@dataclass(frozen=True, kw_only=True)
class DenoiseSegmentsConfig:
    """Settings. Most likely changed: `train_snippets`, `queries`, `width`, `encoder_layers`, `refinement`.

    Args:
        streams: Feature stream -> its width; taken from the data if empty.
        classes: Class names; taken from the data if empty.
        train_snippets: T of every window, in training and inference.
        window_overlap: Share of a window that the next one sees too.
        standardize: The trainer sets mean and deviation of every channel before training.
        class_agnostic: One class, action or not; a detection gets its class from video-level scores.
        width, heads, hidden: C of the network; attention heads; C within a feed-forward network.
        encoder_layers, decoder_layers: Layers of the encoder; refinement heads.
        pre_norm: Layer norms stand before the encoder's parts, not after.
        dropout, input_dropout: In encoder and heads; on the features.
        input_layers: Of the projection of the features.
        queries: Spans per window; more than instances ever lie in one.
        auxiliary: Every refinement head is trained, not only the last one.
        refinement: How spans begin, and how they are refined.
        label_loss: "softmax" over the classes and the background, or independent classes with "focal" loss.
        match: What decides which span answers for which instance.
        span_weight, giou_weight, label_weight: Of the losses.
        background_weight: Of spans that answer for nothing, with "softmax".
        empty_classes: Classes without training instances, whose scores start near zero.
        score_threshold: Lower scores are no candidates.
        nms: How candidates become detections.
        fusion_classes, fusion_proposals: With video-level class scores, so many best classes get every detection, and
            so many detections are kept before that.

    Raises:
        ConfigError: settings outside their range, or that contradict each other.
    """

    streams: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    train_snippets: int = 384
    window_overlap: float = 0.5
    standardize: bool = False
    class_agnostic: bool = False

    width: int = 256
    heads: int = 8
    hidden: int = 1024
    encoder_layers: int = 4
    decoder_layers: int = 6
    pre_norm: bool = False
    dropout: float = 0.1
    input_dropout: float = 0.5
    input_layers: int = 2
    queries: int = 60
    auxiliary: bool = True
    refinement: RefinementConfig = field(default_factory=RefinementConfig)

    label_loss: Literal["softmax", "focal"] = "focal"
    match: MatchWeights = field(default_factory=lambda: MatchWeights(span=10.0, giou=1.3, label=2.0))
    span_weight: float = 10.0
    giou_weight: float = 1.3
    label_weight: float = 2.0
    background_weight: float = 0.1
    empty_classes: tuple[str, ...] = ()

    score_threshold: float = 0.001
    nms: NmsConfig = field(default_factory=NmsConfig)
    fusion_classes: int = 2
    fusion_proposals: int = 200

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            require(getattr(self, name) >= 1, f"{name} of {getattr(self, name)}", "at least 1")
        for name in ("span_weight", "giou_weight", "label_weight", "background_weight", "encoder_layers"):
            require(getattr(self, name) >= 0, f"{name} of {getattr(self, name)}", "zero or more")
        for name in ("dropout", "input_dropout", "window_overlap", "score_threshold"):
            require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        fits = self.width % 2 == 0 and self.width % self.heads == 0
        require(fits, f"width {self.width} with {self.heads} heads", "an even width that the heads divide")
        kinds = ("softmax", "focal")
        require(self.label_loss in kinds, f"label_loss {self.label_loss!r}", '"softmax" or "focal"')
        check_classes(self.classes, self.empty_classes)


_AT_LEAST_ONE = (
    "train_snippets",
    "width",
    "heads",
    "hidden",
    "decoder_layers",
    "input_layers",
    "queries",
    "fusion_classes",
    "fusion_proposals",
)


class DenoiseSegments(Method):
    """Encoder, refinement heads, losses and decoding.

    Args:
        config: With `streams` and `classes`.
    """

    Config = DenoiseSegmentsConfig
    config: DenoiseSegmentsConfig

    def __init__(self, config: DenoiseSegmentsConfig) -> None:
        super().__init__()
        require_data(config.streams, config.classes)
        self.config, self.classes = config, config.classes
        c = config
        self.streams = StreamProjection(c.streams, None)
        self.project = InputProjection(self.streams.width, c.width, layers=c.input_layers, dropout=c.input_dropout)
        self.positions = SinePositions(c.width)
        self.encoder = DetrEncoder(
            c.width, layers=c.encoder_layers, heads=c.heads, hidden=c.hidden, dropout=c.dropout, pre_norm=c.pre_norm
        )
        xavier(self.encoder)
        outputs = (1 if c.class_agnostic else len(c.classes)) + (c.label_loss == "softmax")
        shape = HeadShape(width=c.width, outputs=outputs, heads=c.heads, hidden=c.hidden, dropout=c.dropout)
        self.refine = SpanRefiner(c.refinement, shape, layers=c.decoder_layers, queries=c.queries)
        self.refine.hush([] if c.class_agnostic else [c.classes.index(name) for name in c.empty_classes])

    @property
    def inputs(self) -> Inputs:
        """Its streams and windows."""
        c = self.config
        return Inputs(
            streams=c.streams,
            train_snippets=c.train_snippets,
            window_snippets=c.train_snippets,
            window_overlap=c.window_overlap,
        )

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        self.streams.set_stats(stats)

    def forward(self, batch: Batch) -> Refined:
        """What every head says of every span; in training spans begin with the blurred ground truth."""
        truth = None if batch.targets is None else [spans for spans, _ in self.targets(batch)]
        return self.predicted(batch, self.refine.first(batch.mask.shape[0], truth))

    def predicted(self, batch: Batch, first: Tensor) -> Refined:
        """What every head says of spans that begin as given.

        Args:
            batch: Windows.
            first: (B, Q, 2) centre and width, in fractions of the window's snippets.
        """
        mask = batch.mask[:, 0]  # (B, T)
        tokens = self.project(self.streams(batch.streams, batch.mask).transpose(1, 2))  # (B, T, C)
        memory = self.encoder(tokens, self.positions(mask), mask)  # (B, T, C)
        counts = mask.sum(1)
        return self.refine(memory, counts, first, origin=_CENTRE, lengths=counts)

    def targets(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Per window the instances: (N, 2) centre and width in fractions of its snippets, and (N,) which output."""
        device, found = batch.mask.device, []
        for grid, instances in zip(batch.grids, batch.truth(), strict=True):
            ends = np.stack([grid.to_idx(instances.start_s), grid.to_idx(instances.end_s)], axis=1) + _CENTRE
            fractions = torch.from_numpy((ends / grid.count).clip(0, 1)).to(device, torch.float32)
            label = torch.from_numpy(instances.label * (not self.config.class_agnostic)).to(device)
            found.append((to_centre_width(fractions), label))
        return found

    def loss(self, outputs: Refined, batch: Batch) -> dict[str, Tensor]:
        """The weighted sum over all heads, "loss", and the last head's parts: "span", "giou", "label"."""
        c, targets = self.config, self.targets(batch)
        wanted, labels = (torch.cat(parts) for parts in zip(*targets, strict=True))
        total, parts = torch.zeros((), device=wanted.device), {}
        last = len(outputs.logits) - 1
        for layer in range(0 if c.auxiliary else last, last + 1):
            logits, spans = outputs.logits[layer].float(), outputs.spans[layer].float()
            matches = self.match(logits, spans, targets)
            span, giou = span_losses(spans, wanted, matches)
            label = self.label_loss(logits, labels, matches)
            total = total + c.span_weight * span + c.giou_weight * giou + c.label_weight * label
            parts = {"span": span.detach(), "giou": giou.detach(), "label": label.detach()}
        return {"loss": total, **parts}

    @torch.no_grad()
    def match(self, logits: Tensor, spans: Tensor, targets: Sequence[tuple[Tensor, Tensor]]) -> Matches:
        """Which span answers for which instance: the least sum of class, distance and overlap costs.

        With independent classes the class cost is that of Sparse R-CNN: what the focal loss would change by.
        """
        weights, costs = self.config.match, []
        for logit, predicted, (wanted, labels) in zip(logits, spans, targets, strict=True):
            distance = torch.cdist(predicted, wanted, p=1)  # (Q, N)
            overlap = generalized_tiou(to_ends(predicted)[:, None], to_ends(wanted))
            if self.config.label_loss == "softmax":
                label = -logit.softmax(-1)[:, labels]
            else:
                chosen = logit[:, labels]
                ones = torch.ones_like(chosen)
                label = sigmoid_focal_loss(chosen, ones) - sigmoid_focal_loss(chosen, 0 * ones)
            costs.append(weights.span * distance - weights.giou * overlap + weights.label * label)
        return assign(costs)

    def label_loss(self, logits: Tensor, labels: Tensor, matches: Matches) -> Tensor:
        """Of all spans' classes: mean cross-entropy, or the sum of focal losses per span that answers for something.

        Args:
            logits: (B, Q, K), with "softmax" one more for the background.
            labels: (N,) of all instances.
            matches: Which span answers for which.
        """
        place = (matches.video_idx, matches.query_idx)
        if self.config.label_loss == "softmax":
            background = logits.shape[-1] - 1
            wanted = torch.full(logits.shape[:2], background, device=logits.device)
            wanted[place] = labels[matches.target_idx]
            weight = torch.ones(background + 1, device=logits.device)
            weight[background] = self.config.background_weight
            return F.cross_entropy(logits.transpose(1, 2), wanted, weight, reduction="none").mean()
        hot = torch.zeros_like(logits)
        hot[(*place, labels[matches.target_idx])] = 1.0
        count = mean_over_processes(torch.tensor(float(len(matches)), device=logits.device))
        return sigmoid_focal_loss(logits, hot).sum() / count.clamp(min=1 / process_count())

    def scores(self, outputs: Refined) -> Tensor:
        """(B, Q, K) of the last head, in [0, 1]."""
        logits = outputs.logits[-1].float()
        return logits.softmax(-1)[..., :-1] if self.config.label_loss == "softmax" else logits.sigmoid()

    def candidates(self, outputs: Refined, batch: Batch) -> list[Segments]:
        """Per window, every span with every class that scores enough; `suppress` limits them to the video.

        Extra columns: `point_s`, the span's centre, and `duration_s`, the video's.
        """
        scores = self.scores(outputs).detach().cpu()
        ends = to_ends(outputs.spans[-1].detach().float()).cpu().double()
        found = []
        for row, (grid, duration_s) in enumerate(zip(batch.grids, batch.durations_s, strict=True)):
            query, label = (scores[row] > self.config.score_threshold).nonzero().unbind(1)
            place_idx = ends[row, query].numpy() * grid.count - _CENTRE  # (M, 2)
            start_s, end_s = grid.to_seconds(place_idx).T
            found.append(
                Segments(
                    start_s=start_s,
                    end_s=np.maximum(end_s, start_s),
                    score=scores[row, query, label].double().numpy(),
                    label=np.full(len(label), -1) if self.config.class_agnostic else label.numpy(),
                    classes=self.classes,
                    extra={"point_s": (start_s + end_s) / 2, "duration_s": np.full(len(query), duration_s)},
                )
            )
        return found

    def suppress(self, candidates: Segments, video_scores: Tensor | None = None) -> Segments:
        """Detections within [0, duration], by falling score.

        With video-level class scores, classes suppress each other, and each detection goes to the best classes of the
        video with the geometric mean of both scores.
        """
        c = self.config
        within = within_video(candidates)
        within = within[within.length_s > _TINY]
        kept = without_columns(suppress(within, c.nms if video_scores is None else replace(c.nms, per_class=False)))
        if video_scores is None:
            return kept
        detections = kept[: c.fusion_proposals]
        return name_detections(detections, video_scores, self.classes, most=c.fusion_classes, geometric=True)
