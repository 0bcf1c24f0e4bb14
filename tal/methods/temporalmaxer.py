"""TemporalMaxer: one-stage localization whose only context is max pooling (Tang, Kim, Sohn 2023, arXiv:2303.09055).

Details as in the reference implementation TuanTNG/TemporalMaxer, whose weights load through `tal.methods.originals`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tal.methods.base import Batch
from tal.methods.lengths import few_lengths
from tal.methods.pyramid import Matched, PyramidMethod, PyramidOutputs
from tal.methods.pyramid_config import PyramidConfig, require
from tal.modules.cost_assigner import WeightedAssignment, assign_by_cost
from tal.modules.losses import diou_loss
from tal.modules.masked import MaxPoolSkip
from tal.modules.pyramid import SharedNorm, halved_levels
from tal.ops.points import Points


@dataclass(frozen=True, kw_only=True)
class TemporalMaxerConfig(PyramidConfig):
    """Settings of a TemporalMaxer. Most likely changed: `train_snippets`, `width`, `embed_layers`, `branch_layers`.

    `center_sampling` and `center_radius` are the assigner's.

    Args:
        neck_norm: Of the neck "identity", one for all levels: "layer"; "group", without weights, over `neck_groups`
            groups of channels and all of the time, padding included; "none".
        neck_groups: Groups of "group"; they divide `width`.
        class_weight, tiou_weight: Of focal and DIoU loss in the cost by which a point's instance is chosen.
        keep_share: Of the points in an instance, cheapest first, this share counts in full, ...
        confused_weight: ... and what no instance keeps counts this much in the losses.
    """

    neck_norm: Literal["layer", "group", "none"] = "layer"
    neck_groups: int = 4
    class_weight: float = 1.0
    tiou_weight: float = 2.0
    keep_share: float = 1.0
    confused_weight: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.neck_norm in ("layer", "group", "none")
        require(known, f"neck_norm {self.neck_norm!r}", '"layer", "group" or "none"')
        dividing = self.neck_groups >= 1 and self.width % self.neck_groups == 0
        require(self.neck_norm != "group" or dividing, f"neck_groups of {self.neck_groups}", "a divisor of width")
        for name in ("class_weight", "tiou_weight", "confused_weight"):
            require(getattr(self, name) >= 0, f"{name} of {getattr(self, name)}", "a number, not negative")
        require(0 <= self.keep_share <= 1, f"keep_share of {self.keep_share}", "a share in [0, 1]")

    def original_length(self, count: int) -> int:
        """T that the original pads to: `train_snippets`, and longer videos to a multiple of the last stride."""
        unit = self.multiple_of or self.strides[-1]
        return self.train_snippets if count <= self.train_snippets else -(-count // unit) * unit

    def padded_length(self, count: int) -> int:
        """T that a window of `count` snippets is padded to, at least.

        With a group norm all of the original's padding reaches the result; otherwise, of every level, only the padded
        positions that a kernel over valid ones sees.
        """
        original = self.original_length(count)
        if self.neck_norm == "group":
            return original
        seen = max(self.embed_kernel, self.head_kernel, 3) // 2
        return min(original, (-(-count // self.strides[-1]) + seen) * self.strides[-1])

    def lengths_together(self, counts: Sequence[int]) -> list[int]:
        """T per window of a batch; windows that are shorter than the original's have all the padding that is seen."""
        lengths = [self.padded_length(count) for count in counts]
        free = [
            self.neck_norm != "group" and own < self.original_length(c) for c, own in zip(counts, lengths, strict=True)
        ]
        return few_lengths(lengths, free)


@dataclass(frozen=True, kw_only=True)
class WeightedMatched(Matched):
    """`Matched` points that count for more or less.

    Args:
        weight: (B, P).
    """

    weight: Tensor


class TemporalMaxer(PyramidMethod):
    """The network, its losses and its decoding.

    Args:
        config: With `streams` and `classes`.
    """

    Config = TemporalMaxerConfig
    config: TemporalMaxerConfig

    def build_encoder(self) -> None:
        """Max pooling, without parameters."""
        self.pool = MaxPoolSkip(2)

    def build_neck(self) -> nn.Module:
        """One norm for all levels, as the reference implementation's loop has it; or the top-down pyramid."""
        c = self.config
        if c.neck != "identity":
            return super().build_neck()
        return SharedNorm(c.width, kind=c.neck_norm, groups=c.neck_groups)

    def forward(self, batch: Batch) -> PyramidOutputs:
        """What every point of the pyramid says, in training too whatever other windows there are."""
        return self.by_length(batch)

    def encode(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, width, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l)."""
        return halved_levels(x, mask, [self.pool] * self.config.branch_layers)

    def loss(self, outputs: PyramidOutputs, batch: Batch) -> dict[str, Tensor]:
        """Focal and DIoU losses, weighted by point, over the running sum of the positives' weights."""
        found = self.match(outputs, batch)
        counted = torch.where(found.positive, found.weight, 1.0)
        classification = (self.focal(found) * counted[..., None]).sum() / found.normalizer
        pairs = found.offsets[found.positive], found.distances[found.positive]
        regression = (diou_loss(*pairs) * found.weight[found.positive]).sum() / found.normalizer
        return self.total(classification, regression)

    def match(self, outputs: PyramidOutputs, batch: Batch) -> WeightedMatched:
        """Every point beside what it answers for; moves the running sum of weights in training."""
        logits = torch.cat(outputs.logits, dim=2).transpose(1, 2)  # (B, P, K)
        offsets = torch.cat(outputs.offsets, dim=2).transpose(1, 2)  # (B, P, 2)
        valid = torch.cat(outputs.masks, dim=2)[:, 0]  # (B, P)
        assigned = self._assign(self.points(outputs), logits.detach(), offsets.detach(), valid, batch)
        positive = (assigned.classes.sum(-1) > 0) & valid
        return WeightedMatched(
            logits=logits,
            wanted=assigned.classes,
            offsets=offsets,
            distances=assigned.offsets,
            instance_idx=assigned.instance_idx,
            valid=valid,
            positive=positive,
            weight=assigned.weight,
            normalizer=self.positives((assigned.weight * positive).sum()),
        )

    def _assign(
        self, points: Points, logits: Tensor, offsets: Tensor, valid: Tensor, batch: Batch
    ) -> WeightedAssignment:
        c = self.config
        parts = [
            assign_by_cost(
                points,
                logits[row],
                offsets[row],
                valid[row],
                *instances,
                center_radius=c.center_radius if c.center_sampling == "radius" else None,
                class_weight=c.class_weight,
                tiou_weight=c.tiou_weight,
                keep_share=c.keep_share,
                confused_weight=c.confused_weight,
            )
            for row, instances in enumerate(self.instances(batch))
        ]
        return WeightedAssignment.stack(parts)
