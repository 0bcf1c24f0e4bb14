"""One-stage localizers: every point of a feature pyramid says what it is, and how far both ends of it are.

What ActionFormer (Zhang, Wu, Li 2022, arXiv:2202.07925) and its successors share: embedding, neck, heads, targets,
losses, decoding, suppression, fusion with video-level scores. A method adds its encoder, and replaces what it does
otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.methods.base import Batch, Inputs, Method
from tal.methods.lengths import at_own_lengths
from tal.methods.limits import within_video, without_columns
from tal.methods.pyramid_config import PyramidConfig, require_data
from tal.methods.video_scores import name_detections
from tal.modules.heads import ClassificationHead, RegressionHead
from tal.modules.inputs import ConvStack, StreamProjection
from tal.modules.losses import RunningNormalizer, diou_loss, sigmoid_focal_loss
from tal.modules.positions import SinusoidPositions
from tal.modules.pyramid import LevelNorms, TopDownPyramid
from tal.ops.exporting import exporting
from tal.ops.nms import suppress
from tal.ops.points import Assignment, Points, assign_points, best_proposals, pyramid_points
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class PyramidOutputs:
    """What the heads say per level, and what they saw.

    Args:
        logits: (B, K, T_l).
        offsets: (B, 2, T_l) distances to start and end in strides of the level, unless the method says otherwise.
        masks: (B, 1, T_l) bool.
        features: (B, C, T_l), what the heads were given.
    """

    logits: tuple[Tensor, ...]
    offsets: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    features: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Matched:
    """All points of a batch beside what they answer for.

    Args:
        logits: (B, P, K); likewise `wanted`, 1 for a class that the point answers for.
        offsets: (B, P, E), of which a plain head has two; `distances`: (B, P, 2), the wanted ones, where `positive`.
        instance_idx: (B, P) int64, which of its video's instances the point answers for, where `positive`.
        valid, positive: (B, P) bool: not padding; answering for an instance.
        normalizer: () what losses are divided by.
    """

    logits: Tensor
    wanted: Tensor
    offsets: Tensor
    distances: Tensor
    instance_idx: Tensor
    valid: Tensor
    positive: Tensor
    normalizer: Tensor


class PyramidMethod(Method):
    """The network but for its encoder, its losses and its decoding.

    A subclass gives `build_encoder` and `encode`.

    Args:
        config: With `streams` and `classes`.
    """

    Config = PyramidConfig
    config: PyramidConfig

    def __init__(self, config: PyramidConfig) -> None:
        super().__init__()
        require_data(config.streams, config.classes)
        self.config, self.classes = config, config.classes
        self.build()

    def build(self) -> None:
        """Add the network's modules."""
        c = self.config
        streams = {name: width for name, width in c.streams.items() if name in c.embedded_streams}
        self.streams = StreamProjection(streams, c.projection)
        self.embed = ConvStack(self.streams.width, c.width, layers=c.embed_layers, kernel_size=c.embed_kernel)
        self.positions = SinusoidPositions(c.width, c.train_snippets) if c.absolute_positions else None
        self.build_encoder()
        self.neck = self.build_neck()
        self.build_heads(c.neck_width or c.width, c.head_width or c.width)
        self.positives = RunningNormalizer(c.init_loss_norm)

    def build_encoder(self) -> None:
        """Add the modules that `encode` needs."""
        raise NotImplementedError

    def build_neck(self) -> nn.Module:
        """From the encoder's levels to what the heads see."""
        c = self.config
        if c.neck == "identity":
            return LevelNorms(c.width, c.levels)
        return TopDownPyramid(c.width, c.neck_width or c.width, c.levels)

    def build_heads(self, in_width: int, width: int) -> None:
        """Add `classify` and `regress`."""
        c = self.config
        shape = {"layers": c.head_layers, "kernel_size": c.head_kernel}
        self.classify = ClassificationHead(
            in_width, width, self.outputs, prior_prob=c.prior_prob, empty=self.empty_outputs, **shape
        )
        self.regress = RegressionHead(in_width, width, c.levels, **shape)

    @property
    def outputs(self) -> int:
        """K of the classification head."""
        return 1 if self.config.class_agnostic else len(self.config.classes)

    @property
    def empty_outputs(self) -> list[int]:
        """Outputs without training instances."""
        c = self.config
        return [] if c.class_agnostic else [c.classes.index(name) for name in c.empty_classes]

    @property
    def inputs(self) -> Inputs:
        """Its streams and windowing."""
        c = self.config
        return Inputs(
            streams=c.streams,
            train_snippets=c.train_snippets,
            multiple_of=c.strides[-1],
            resize_to=c.train_snippets if c.resize else None,
        )

    def network_length(self, count: int) -> int:
        """T with which a window of `count` snippets goes through the network: as far as its own padding matters."""
        return super().network_length(self.config.padded_length(count))

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        self.streams.set_stats(stats)

    def forward(self, batch: Batch) -> PyramidOutputs:
        """What every point of the pyramid says, whatever other windows there are; in training, all in one pass."""
        return self.network(*self._pad(batch)) if self.training else self.by_length(batch)

    def by_length(self, batch: Batch) -> PyramidOutputs:
        """What every point says, each window padded as if it were alone."""
        lengths = self.config.lengths_together([grid.count for grid in batch.grids])
        return at_own_lengths(lambda part: self.network(*self._pad(part)), batch, lengths)

    def network(self, streams: Mapping[str, Tensor], mask: Tensor) -> PyramidOutputs:
        """Name -> (B, C, T), mask (B, 1, T) -> what every point says."""
        levels, masks = self.pyramid(streams, mask)  # (B, width, T_l) each
        levels = self.neck(levels, masks)  # (B, neck_width, T_l) each
        return self.heads(levels, masks)

    def pyramid(self, streams: Mapping[str, Tensor], mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Name -> (B, C, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l)."""
        x = self.embedding(streams, mask)  # (B, width, T)
        if self.positions is not None:
            x = self.positions(x, mask)
        return self.encode(x, mask)

    def embedding(self, streams: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Name -> (B, C, T), mask (B, 1, T) -> (B, width, T)."""
        return self.embed(self.streams(streams, mask), mask)

    def encode(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, width, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l), from fine to coarse."""
        raise NotImplementedError

    def heads(
        self, levels: Sequence[Tensor], masks: Sequence[Tensor], to_classify: Sequence[Tensor] | None = None
    ) -> PyramidOutputs:
        """What the points say.

        Args:
            levels: (B, neck_width, T_l) each.
            masks: (B, 1, T_l) each.
            to_classify: What the classification head sees in place of `levels`.
        """
        return PyramidOutputs(
            logits=tuple(self.classify(levels if to_classify is None else to_classify, masks)),  # (B, K, T_l)
            offsets=tuple(self.regress(levels, masks)),  # (B, 2, T_l)
            masks=tuple(masks),
            features=tuple(levels),
        )

    def _pad(self, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
        """Streams and mask with T as the configuration wants it; those of an exported network are so already."""
        if exporting():
            return batch.streams, batch.mask
        T, last = batch.mask.shape[-1], self.config.strides[-1]
        wanted = self.config.padded_length(max(grid.count for grid in batch.grids))
        missing = max(-(-T // last) * last, wanted) - T
        if not missing:
            return batch.streams, batch.mask
        return {name: F.pad(x, (0, missing)) for name, x in batch.streams.items()}, F.pad(batch.mask, (0, missing))

    def loss(self, outputs: PyramidOutputs, batch: Batch) -> dict[str, Tensor]:
        """Focal and DIoU losses over the running number of positives: "loss", "classification", "regression"."""
        found = self.match(outputs, batch)
        classification = self.focal(found).sum() / found.normalizer
        pairs = found.offsets[found.positive], found.distances[found.positive]
        regression = diou_loss(*pairs).sum() / found.normalizer
        return self.total(classification, regression)

    def match(self, outputs: PyramidOutputs, batch: Batch) -> Matched:
        """Every point beside what it answers for; moves the running number of positives in training."""
        assigned = self.targets(outputs, batch)
        valid = torch.cat(outputs.masks, dim=2)[:, 0]  # (B, P)
        positive = (assigned.classes.sum(-1) > 0) & valid
        return Matched(
            logits=torch.cat(outputs.logits, dim=2).transpose(1, 2),
            wanted=assigned.classes,
            offsets=torch.cat(outputs.offsets, dim=2).transpose(1, 2),
            distances=assigned.offsets,
            instance_idx=assigned.instance_idx,
            valid=valid,
            positive=positive,
            normalizer=self.positives(positive.sum()),
        )

    @torch.no_grad()
    def targets(self, outputs: PyramidOutputs, batch: Batch) -> Assignment:
        """Classes (B, P, K), offsets (B, P, 2) and instances (B, P) that the points answer for."""
        c, points = self.config, self.points(outputs)
        pairs = [
            assign_points(
                points,
                start_idx,
                end_idx,
                label,
                classes=outputs.logits[0].shape[1],
                center_radius=c.center_radius if c.center_sampling == "radius" else None,
            )
            for start_idx, end_idx, label in self.instances(batch)
        ]
        return Assignment.stack(pairs)

    def points(self, outputs: PyramidOutputs) -> Points:
        """The points of all levels."""
        lengths = [mask.shape[-1] for mask in outputs.masks]
        return pyramid_points(lengths, self.config.strides, self.config.ranges, outputs.masks[0].device)

    def instances(self, batch: Batch) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Per window, the instances' start and end in snippets, (N,) float, and their outputs, (N,) int64."""
        device, found = batch.mask.device, []
        for grid, instances in zip(batch.grids, batch.truth(), strict=True):
            ends = np.stack([grid.to_idx(instances.start_s), grid.to_idx(instances.end_s)])
            start_idx, end_idx = torch.from_numpy(ends).to(device, torch.float32)
            label = torch.from_numpy(instances.label * (not self.config.class_agnostic)).to(device)
            found.append((start_idx, end_idx, label))
        return found

    def focal(self, found: Matched) -> Tensor:
        """(B, P, K) focal loss of every valid entry, of smoothed targets, not yet divided by anything."""
        smoothing = self.config.label_smoothing
        wanted = found.wanted * (1 - smoothing) + smoothing / (found.wanted.shape[-1] + 1)
        return sigmoid_focal_loss(found.logits, wanted) * found.valid[..., None]

    def total(self, classification: Tensor, regression: Tensor) -> dict[str, Tensor]:
        """What is minimised, with its parts."""
        weight: Tensor | float = self.config.loss_weight
        if self.config.loss_weight <= 0:
            weight = classification.detach() / regression.detach().clamp(min=0.01)
        return {
            "loss": classification + weight * regression,
            "classification": classification.detach(),
            "regression": regression.detach(),
        }

    def offsets_at(self, outputs: PyramidOutputs, level: int, position: Tensor, label: Tensor) -> Tensor:
        """Distances to start and end, (B, M, 2) in strides of the level, of chosen (position, class) pairs.

        Args:
            outputs: Of the heads.
            level: Which.
            position, label: (B, M) int64.
        """
        return outputs.offsets[level].float().gather(2, position[:, None].expand(-1, 2, -1)).transpose(1, 2)

    def candidates(self, outputs: PyramidOutputs, batch: Batch) -> list[Segments]:
        """Per window, the segments that its points propose; `suppress` limits them to the video.

        Extra columns: `point_s`, the time of the proposing point, and `duration_s`, the video's.
        """
        c = self.config
        best = best_proposals(
            outputs.logits,
            outputs.masks,
            c.strides,
            lambda level, position, label: self.offsets_at(outputs, level, position, label),
            score_threshold=c.score_threshold,
            per_level=c.candidates_per_level,
            min_length=c.min_length_snippets,
        )
        numbers = torch.stack([best.start_idx, best.end_idx, best.score, best.point_idx], dim=1)  # (B, 4, M)
        columns, labels, keep = numbers.cpu().double().numpy(), best.label.cpu().numpy(), best.keep.cpu().numpy()
        found = []
        for row, (grid, duration_s) in enumerate(zip(batch.grids, batch.durations_s, strict=True)):
            start_idx, end_idx, score, point_idx = columns[row][:, keep[row]]
            found.append(
                Segments(
                    start_s=grid.to_seconds(start_idx),
                    end_s=grid.to_seconds(end_idx),
                    score=score,
                    label=np.full(len(score), -1) if c.class_agnostic else labels[row, keep[row]],
                    classes=self.classes,
                    extra={"point_s": grid.to_seconds(point_idx), "duration_s": np.full(len(score), duration_s)},
                )
            )
        return found

    def suppress(self, candidates: Segments, video_scores: Tensor | None = None) -> Segments:
        """Detections within [0, duration], by falling score.

        With video-level class scores, classes suppress each other, and each detection goes to the best classes of the
        video with the geometric mean of both scores.
        """
        nms = self.config.nms if video_scores is None else replace(self.config.nms, per_class=False)
        kept = without_columns(within_video(suppress(candidates, nms)))
        return kept if video_scores is None else self._fuse(kept, video_scores)

    def _fuse(self, detections: Segments, video_scores: Tensor) -> Segments:
        c = self.config
        detections = detections[: c.fusion_proposals]
        return name_detections(detections, video_scores, self.classes, most=c.fusion_classes, geometric=True)
