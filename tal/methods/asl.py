"""ASL: ActionFormer whose losses are weighted by learnt action sensitivity (Shao et al. 2023, arXiv:2305.15701).

Moments that matter for naming an instance, or for finding its ends, count more in the losses: by Gaussians per class
over the instance's length, and by evaluators that foresee how good a point's outputs will be. A contrastive loss draws
the features of sensitive moments of one class together. Inference is ActionFormer's, at its cost.

The paper's code is not public; its formulas are followed, and what they leave open is marked as ours. The authors'
variant for Ego4D (JonnyS1226/ego4d_asl, arXiv:2306.09172) gave the other form of the Gaussians, label-involved loss,
channel attention in the stem, and a layer of XLNet between the finest level and the next. Left out of it: its faults
(negated positions, divided by the stride as well; momentum networks that nothing reads; a contrast whose mask is out of
order).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Batch
from tal.methods.pyramid import Matched, PyramidOutputs
from tal.methods.pyramid_config import require
from tal.modules.attention import TransformerBlock
from tal.modules.channel_attention import ChannelBlock
from tal.modules.losses import diou_loss, distance_tiou
from tal.modules.processes import mean_over_processes, process_count, rows_of_all_processes
from tal.modules.pyramid import halved_levels
from tal.modules.relative_attention import RelativeLayer
from tal.modules.sensitivity import ClassSensitivity, Evaluator, contrast, most_sensitive, pooled

_LOWEST_LOG = -100.0


@dataclass(frozen=True, kw_only=True)
class AslConfig(ActionFormerConfig):
    """Settings of ASL beside ActionFormer's. With all parts off it is ActionFormer.

    Args:
        class_sensitivity: Weight by Gaussians per class.
        sensitivity_form: How the two Gaussians for the ends are joined: "sum" as in the paper, or "mean_times_class",
            their mean times the Gaussian for naming, as in the Ego4D variant.
        instance_sensitivity: Weight by evaluators of each point as well.
        evaluator_width: Hidden channels of an evaluator.
        evaluator_weight: Of the evaluators' loss.
        evaluator_points: Points that it is taken at: all "inside" an instance, the shortest where there are several
            (the paper's frames of the instance), or the "positives" of the other losses alone. Ours: which points of
            the pyramid stand for a frame.
        detach_evaluators: Evaluators do not move the features that they read.
        normalize_weights: Divide weights by their mean over the positives, of this process where several train, so that
            none can make the loss small by making all of them small. Ours.
        clamp_gaussians: Keep every mu inside the instance and every sigma from collapsing. Ours.
        contrast_weight: Of the contrastive loss; 0: none.
        contrast_share: Share of an instance's points that its sensitive set takes.
        contrast_temperature: Of the contrastive loss.
        contrast_levels: Features for it: of the "finest" level, or of "all".
        label_weight: Of the label-involved loss of the Ego4D variant; 0: none, as in the paper.
        channel_share: Share of channel attention in what the stem's blocks give, as in the Ego4D variant; 0: none.
        bridge: What the finest level goes through on its way to the coarser ones, as in the Ego4D variant: a layer of
            "xlnet", of `heads` heads and twice the width; the "stem"'s first block once more; or "none".
    """

    class_sensitivity: bool = True
    sensitivity_form: Literal["sum", "mean_times_class"] = "sum"
    instance_sensitivity: bool = True
    evaluator_width: int = 512
    evaluator_weight: float = 1.0
    evaluator_points: Literal["inside", "positives"] = "inside"
    detach_evaluators: bool = False
    normalize_weights: bool = False
    clamp_gaussians: bool = False
    contrast_weight: float = 0.3
    contrast_share: float = 0.2
    contrast_temperature: float = 0.07
    contrast_levels: Literal["finest", "all"] = "finest"
    label_weight: float = 0.0
    channel_share: float = 0.0
    bridge: Literal["none", "stem", "xlnet"] = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("evaluator_weight", "contrast_weight", "label_weight"):
            require(getattr(self, name) >= 0, f"{name} of {getattr(self, name)}", "zero or more")
        require(self.evaluator_width >= 1, f"evaluator_width of {self.evaluator_width}", "at least 1")
        require(self.contrast_temperature > 0, f"contrast_temperature of {self.contrast_temperature}", "above 0")
        require(0 < self.contrast_share <= 1, f"contrast_share of {self.contrast_share}", "a share in (0, 1]")
        forms = ("sum", "mean_times_class")
        require(self.sensitivity_form in forms, f"sensitivity_form {self.sensitivity_form!r}", " or ".join(forms))
        kinds = ("inside", "positives")
        require(self.evaluator_points in kinds, f"evaluator_points {self.evaluator_points!r}", " or ".join(kinds))
        levels = ("finest", "all")
        require(self.contrast_levels in levels, f"contrast_levels {self.contrast_levels!r}", " or ".join(levels))
        bridges = ("none", "stem", "xlnet")
        require(self.bridge in bridges, f"bridge {self.bridge!r}", " or ".join(bridges))
        require(0 <= self.channel_share < 1, f"channel_share of {self.channel_share}", "a share in [0, 1)")
        stem = self.stem_layers > 0 and self.encoder == "transformer"
        require(stem or self.bridge != "stem", "bridge of a stem that is not there", "stem_layers, of transformers")
        require(
            stem or not self.channel_share, "channel_share of a stem that is not there", "stem_layers, of transformers"
        )
        weighs = self.class_sensitivity or self.instance_sensitivity
        require(weighs or not self.contrast_weight, "a contrast of sensitive points without sensitivity", "either")
        require(
            not (self.label_weight and self.class_agnostic),
            "label_weight with class_agnostic",
            "0: a loss on which classes a video has needs classes",
        )


class Asl(ActionFormer):
    """The network, its losses and its decoding.

    Args:
        config: With `streams` and `classes`.
    """

    Config = AslConfig
    config: AslConfig

    def __init__(self, config: AslConfig) -> None:
        super().__init__(config)
        c = self.config
        width = c.neck_width or c.width
        self.gaussians = ClassSensitivity(self.outputs, c.sensitivity_form) if c.class_sensitivity else None
        self.evaluate_class = Evaluator(width, c.evaluator_width) if c.instance_sensitivity else None
        self.evaluate_ends = Evaluator(width, c.evaluator_width) if c.instance_sensitivity else None
        blocks = c.stem_layers if c.channel_share else 0
        self.channels = nn.ModuleList(ChannelBlock(c.width, c.heads, drop_path=c.drop_path) for _ in range(blocks))
        self.bridge: RelativeLayer | None = None
        if c.bridge == "xlnet":
            self.bridge = RelativeLayer(c.width, c.heads, hidden=2 * c.width, dropout=c.dropout)

    def encode(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, width, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l)."""
        for index in range(self.config.stem_layers):
            x = self._stem(index, x, mask)  # (B, width, T)
        beyond = x
        if self.bridge is not None:
            beyond = self.bridge(x, mask)
        elif self.config.bridge == "stem":
            beyond = self._stem(0, x, mask)
        levels, masks = halved_levels(beyond, mask, self.branch)
        return [x, *levels[1:]], masks

    def _stem(self, index: int, x: Tensor, mask: Tensor) -> Tensor:
        block, share = cast("TransformerBlock", self.stem[index]), self.config.channel_share
        found: Tensor = block(x, mask)
        if not share:
            return found
        return (1 - share) * found + share * self.channels[index](block.norm_attention(x), mask)

    def loss(self, outputs: PyramidOutputs, batch: Batch) -> dict[str, Tensor]:
        """ActionFormer's losses with weighted positives, and those of the sensitivity itself.

        Beside the parts of "loss", the means over the positives of both weights ("weight_classification",
        "weight_regression") and over the classes of mu and sigma: weights that fall to nothing, or a mu that leaves its
        instance, are a loss made small without learning.
        """
        c = self.config
        if self.gaussians is not None and c.clamp_gaussians and self.training:
            self.gaussians.clamp_()
        found = self.match(outputs, batch)
        answered, quality = self._answered(found, batch), self.evaluate(outputs)
        naming, ending = self.weights(found, outputs, answered, quality)  # (M,), (M,) of the positives
        weight = torch.ones_like(found.distances[..., 0]).masked_scatter(found.positive, naming)  # (B, P)
        classification = (self.focal(found) * weight[..., None]).sum() / found.normalizer
        pairs = found.offsets[found.positive], found.distances[found.positive]
        regression = (diou_loss(*pairs) * ending).sum() / found.normalizer
        losses = self.total(classification, regression)
        count = found.positive.sum().clamp(min=1)
        losses["weight_classification"] = (naming.sum() / count).detach()
        losses["weight_regression"] = (ending.sum() / count).detach()
        further = []
        if quality is not None:
            further.append(("evaluators", c.evaluator_weight, self._evaluators_loss(found, outputs, batch, quality)))
        if c.contrast_weight:
            further.append(("contrast", c.contrast_weight, self._contrast(outputs, batch, quality)))
        if c.label_weight:
            further.append(("labels", c.label_weight, self._labels_loss(found, batch)))
        for name, factor, value in further:
            losses["loss"] = losses["loss"] + factor * value
            losses[name] = value.detach()
        return losses | ({} if self.gaussians is None else self.gaussians.means())

    def evaluate(self, outputs: PyramidOutputs) -> tuple[Tensor, Tensor] | None:
        """What the evaluators say of every point, for naming and for the ends, (B, P) each in (0, 1)."""
        if self.evaluate_class is None or self.evaluate_ends is None:
            return None
        levels = [x.detach() for x in outputs.features] if self.config.detach_evaluators else outputs.features
        return self.evaluate_class(levels, outputs.masks), self.evaluate_ends(levels, outputs.masks)

    def weights(
        self,
        found: Matched,
        outputs: PyramidOutputs,
        answered: tuple[Tensor, Tensor, Tensor],
        quality: tuple[Tensor, Tensor] | None,
    ) -> tuple[Tensor, Tensor]:
        """Weights of the M positives, (M,) each, for naming and for the ends.

        Where several instances share a point, the one whose ends it answers for decides for all its classes, as in the
        Ego4D variant.

        Args:
            found: The points beside what they answer for.
            outputs: Of the network.
            answered: Start and end in snippets and label of what each positive answers for, (M,) each.
            quality: Of the evaluators, (B, P) each, if there are any.
        """
        start, end, label = answered
        position = self.points(outputs).position_idx.expand_as(found.positive)[found.positive]
        at_positives = None if quality is None else (quality[0][found.positive], quality[1][found.positive])
        naming, ending = self._sensitivity((position - (start + end) / 2) / (end - start), label, at_positives)
        if self.config.normalize_weights:
            count = found.positive.sum()
            naming, ending = (each * (count / each.sum().clamp(min=1e-6)) for each in (naming, ending))
        return naming, ending

    def _answered(self, found: Matched, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Of the instance that each of the M positives answers for: start and end in snippets, label; (M,) each."""
        instances = self.instances(batch)
        idx = found.instance_idx
        columns = []
        for column in zip(*instances, strict=True):
            padded = pad_sequence(list(column), batch_first=True)  # (B, G)
            padded = torch.cat([padded, padded.new_zeros(len(padded), 1)], dim=1)
            columns.append(padded.gather(1, idx)[found.positive])
        start, end, label = columns
        return start, end, label

    def _sensitivity(
        self, position: Tensor, label: Tensor, quality: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """A of the paper, for naming and for the ends: what the class says plus what the evaluators say; 1 of neither.

        Args:
            position: (...) in the instance, -0.5 to 0.5.
            label: (...) int64.
            quality: Of the evaluators, broadcast to `position`.
        """
        parts = []
        if self.gaussians is not None:
            parts.append(self.gaussians(position, label))
        if quality is not None:
            parts.append((quality[0].expand_as(position), quality[1].expand_as(position)))
        if not parts:
            return torch.ones_like(position), torch.ones_like(position)
        naming, ending = zip(*parts, strict=True)
        return sum(naming[1:], naming[0]), sum(ending[1:], ending[0])

    def _evaluators_loss(
        self, found: Matched, outputs: PyramidOutputs, batch: Batch, quality: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Squared errors of the evaluators, their mean over the points that the configuration says.

        They foresee the probability of the instance's class and the tIoU of the decoded segment, neither of which gets
        a gradient.
        """
        if self.config.evaluator_points == "positives":
            asked, distances, label = found.positive, found.distances[found.positive], self._answered(found, batch)[2]
        else:
            asked, distances, label = self._inside(found, outputs, batch)
        probability = found.logits[asked].detach().float().sigmoid().gather(1, label[:, None])[:, 0]
        tiou = distance_tiou(found.offsets[asked].detach(), distances)
        errors = (quality[0][asked] - probability) ** 2 + (quality[1][asked] - tiou) ** 2
        return errors.sum() / mean_over_processes(asked.sum()).clamp(min=1 / process_count())

    def _inside(self, found: Matched, outputs: PyramidOutputs, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(B, P) points in an instance; of these, (M, 2) distances to its ends in strides, and (M,) its label."""
        points = self.points(outputs)
        asked = torch.zeros_like(found.valid)
        distances, labels = [found.distances.new_zeros(0, 2)], [found.instance_idx.new_zeros(0)]
        for row, (start, end, label) in enumerate(self.instances(batch)):
            if not len(label):
                continue
            left, right = points.position_idx - start[:, None], end[:, None] - points.position_idx  # (G, P)
            around = (torch.minimum(left, right) > 0) & found.valid[row]
            asked[row] = around.any(0)
            length = (end - start)[:, None].expand_as(left).masked_fill(~around, torch.inf)
            shortest = length[:, asked[row]].argmin(0)  # (M,)
            ends = torch.stack([left, right], dim=-1)[:, asked[row]]  # (G, M, 2)
            stride = points.stride[asked[row]][:, None]
            distances.append(ends[shortest, torch.arange(len(shortest), device=ends.device)] / stride)
            labels.append(label[shortest])
        return asked, torch.cat(distances), torch.cat(labels)

    def _contrast(self, outputs: PyramidOutputs, batch: Batch, quality: tuple[Tensor, Tensor] | None) -> Tensor:
        """The contrastive loss over the batch's instances; 0 where there is only one.

        An instance gives the mean feature of its most sensitive points for naming, and that for its ends; and, to
        repel, the mean of its least sensitive ones (by the sum of both) and of those just outside its ends, as far as
        `contrast_share` of its length, a point on either side at least. That points of the sensitive sets are never
        among the least sensitive, that points inside any instance are never outside, and that one instance alone gives
        nothing, are ours.
        """
        c = self.config
        count = 1 if c.contrast_levels == "finest" else len(outputs.features)
        features = torch.cat(outputs.features[:count], dim=2).float()  # (B, C, P)
        valid = torch.cat(outputs.masks[:count], dim=2)[:, 0]  # (B, P)
        points = self.points(outputs)
        position, stride = points.position_idx[: valid.shape[1]], points.stride[: valid.shape[1]]
        anchors, labels, others = [], [], []
        for row, (start, end, label) in enumerate(self.instances(batch)):
            start, end = start[:, None], end[:, None]  # (G, 1)
            inside = (position > start) & (position < end) & valid[row]  # (G, P)
            at = None if quality is None else (quality[0][row, : len(position)], quality[1][row, : len(position)])
            with torch.no_grad():
                centered = (position - (start + end) / 2) / (end - start)
                naming, ending = self._sensitivity(centered, label[:, None], at)
                best = [most_sensitive(each, inside, c.contrast_share) for each in (naming, ending)]
                worst = most_sensitive(-(naming + ending), inside, c.contrast_share) & ~best[0] & ~best[1]
                reach = torch.maximum(c.contrast_share * (end - start), stride)
                near = (position >= start - reach) & (position <= end + reach)
                irrelevant = worst | (near & ~inside.any(0) & valid[row])
            there = inside.any(1)
            anchors += [pooled(features[row], each[there]) for each in best]
            labels += [label[there]] * 2
            others.append(pooled(features[row], irrelevant[irrelevant.any(1) & there]))
        gathered = (rows_of_all_processes(torch.cat(each)) for each in (anchors, labels, others))
        every, label, rest = gathered
        if len(every) <= 2:  # a single instance
            return features.sum() * 0
        return contrast(every, label, rest, c.contrast_temperature)

    def _labels_loss(self, found: Matched, batch: Batch) -> Tensor:
        """The label-involved loss of the Ego4D variant: which classes a window has at all.

        A class's score is its highest probability, in a softmax over the classes, at any valid point; cross entropy
        with the classes that the window has, over the running number of positives. Padded points count for nothing; in
        that code they give every class the score 1 / K.
        """
        scores = found.logits.float().log_softmax(-1).masked_fill(~found.valid[..., None], -torch.inf).amax(1)  # (B, K)
        present = torch.zeros_like(scores)
        for row, (_, _, label) in enumerate(self.instances(batch)):
            present[row, label] = 1
        absent = torch.log1p(-scores.exp().clamp(max=1 - 1e-6))
        entropy = present * scores.clamp(min=_LOWEST_LOG) + (1 - present) * absent
        return -entropy.sum() / found.normalizer
