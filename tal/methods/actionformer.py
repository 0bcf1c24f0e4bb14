"""ActionFormer: one-stage localization on a transformer pyramid (Zhang, Wu, Li 2022, arXiv:2202.07925).

Details as in the reference implementation happyharrycn/actionformer_release, whose weights load through
`tal.methods.originals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.methods.actionformer_config import ActionFormerConfig, require
from tal.methods.base import Batch, Inputs, Method
from tal.modules.attention import TransformerBlock
from tal.modules.heads import ClassificationHead, RegressionHead
from tal.modules.inputs import ConvStack, StreamProjection
from tal.modules.losses import RunningNormalizer, diou_loss, sigmoid_focal_loss
from tal.modules.masked import downsample_mask
from tal.modules.positions import SinusoidPositions
from tal.modules.pyramid import LevelNorms, TopDownPyramid
from tal.ops.nms import suppress
from tal.ops.points import assign_points, best_proposals, pyramid_points
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class PyramidOutputs:
    """Per level: logits (B, K, T_l), offsets (B, 2, T_l) in strides of the level, masks (B, 1, T_l)."""

    logits: tuple[Tensor, ...]
    offsets: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]


class ActionFormer(Method):
    """The network, its losses and its decoding.

    Args:
        config: With `streams` and `classes`.
    """

    Config = ActionFormerConfig
    config: ActionFormerConfig

    def __init__(self, config: ActionFormerConfig) -> None:
        super().__init__()
        require(bool(config.streams), "a method without feature streams", "streams: their names and widths")
        require(bool(config.classes), "a method without classes", "classes: their names")
        self.config, self.classes = config, config.classes
        c, levels = config, config.levels
        neck_width, head_width = c.neck_width or c.width, c.head_width or c.width

        self.streams = StreamProjection(c.streams, c.projection)
        self.embed = ConvStack(self.streams.width, c.width, layers=c.embed_layers, kernel_size=c.embed_kernel)
        self.positions = SinusoidPositions(c.width, c.train_snippets) if c.absolute_positions else None
        self.stem = nn.ModuleList(self._block(c.windows[0], stride=1) for _ in range(c.stem_layers))
        self.branch = nn.ModuleList(self._block(window, stride=2) for window in c.windows[1:])
        self.neck: nn.Module = (
            LevelNorms(c.width, levels) if c.neck == "identity" else TopDownPyramid(c.width, neck_width, levels)
        )
        shape = {"layers": c.head_layers, "kernel_size": c.head_kernel}
        outputs = 1 if c.class_agnostic else len(c.classes)
        empty = () if c.class_agnostic else [c.classes.index(name) for name in c.empty_classes]
        self.classify = ClassificationHead(
            neck_width, head_width, outputs, prior_prob=c.prior_prob, empty=empty, **shape
        )
        self.regress = RegressionHead(neck_width, head_width, levels, **shape)
        self.positives = RunningNormalizer(c.init_loss_norm)

    def _block(self, window: int, *, stride: int) -> TransformerBlock:
        c = self.config
        return TransformerBlock(
            c.width,
            c.heads,
            window=window,
            stride=stride,
            dropout=c.dropout,
            drop_path=c.drop_path,
            relative_positions=c.relative_positions,
        )

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

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        self.streams.set_stats(stats)

    def forward(self, batch: Batch) -> PyramidOutputs:
        """Logits and offsets of every point of the pyramid."""
        streams, mask = self._pad(batch)  # (B, C, T), (B, 1, T)
        x = self.embed(self.streams(streams, mask), mask)  # (B, width, T)
        if self.positions is not None:
            x = self.positions(x, mask)
        for block in self.stem:
            x = block(x, mask)  # (B, width, T)
        levels, masks = [x], [mask]
        for block in self.branch:
            mask = downsample_mask(mask, 2)
            x = block(x, mask)  # (B, width, T / 2^l)
            levels.append(x)
            masks.append(mask)
        levels = self.neck(levels, masks)  # (B, neck_width, T_l) each
        return PyramidOutputs(
            logits=tuple(self.classify(levels, masks)),  # (B, K, T_l)
            offsets=tuple(self.regress(levels, masks)),  # (B, 2, T_l)
            masks=tuple(masks),
        )

    def _pad(self, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
        """Streams and mask with T as the configuration wants it."""
        T, last = batch.mask.shape[-1], self.config.strides[-1]
        wanted = self.config.padded_length(max(grid.count for grid in batch.grids))
        missing = max(-(-T // last) * last, wanted) - T
        if not missing:
            return batch.streams, batch.mask
        return {name: F.pad(x, (0, missing)) for name, x in batch.streams.items()}, F.pad(batch.mask, (0, missing))

    def loss(self, outputs: PyramidOutputs, batch: Batch) -> dict[str, Tensor]:
        """Focal and DIoU losses over the running number of positives: "loss", "classification", "regression"."""
        logits = torch.cat(outputs.logits, dim=2).transpose(1, 2)  # (B, P, K)
        offsets = torch.cat(outputs.offsets, dim=2).transpose(1, 2)  # (B, P, 2)
        valid = torch.cat(outputs.masks, dim=2)[:, 0]  # (B, P)
        wanted, distances = self._targets(outputs, batch)  # (B, P, K), (B, P, 2)

        positive = (wanted.sum(-1) > 0) & valid  # (B, P)
        normalizer = self.positives(positive.sum())
        smoothing = self.config.label_smoothing
        wanted = wanted * (1 - smoothing) + smoothing / (wanted.shape[-1] + 1)
        classification = (sigmoid_focal_loss(logits, wanted) * valid[..., None]).sum() / normalizer
        regression = diou_loss(offsets[positive], distances[positive]).sum() / normalizer

        weight: Tensor | float = self.config.loss_weight
        if self.config.loss_weight <= 0:
            weight = classification.detach() / regression.detach().clamp(min=0.01)
        return {
            "loss": classification + weight * regression,
            "classification": classification.detach(),
            "regression": regression.detach(),
        }

    @torch.no_grad()
    def _targets(self, outputs: PyramidOutputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """Classes (B, P, K) and offsets (B, P, 2) that the points answer for."""
        require(batch.targets is not None, "a loss of a batch without targets", "a batch collated for training")
        c, device = self.config, batch.mask.device
        lengths = [mask.shape[-1] for mask in outputs.masks]
        points = pyramid_points(lengths, c.strides, c.ranges, device)
        pairs = []
        for grid, instances in zip(batch.grids, batch.targets or (), strict=True):
            ends = np.stack([grid.to_idx(instances.start_s), grid.to_idx(instances.end_s)])
            start_idx, end_idx = torch.from_numpy(ends).to(device, torch.float32)
            label = torch.from_numpy(instances.label * (not c.class_agnostic)).to(device)
            pairs.append(
                assign_points(
                    points,
                    start_idx,
                    end_idx,
                    label,
                    classes=outputs.logits[0].shape[1],
                    center_radius=c.center_radius if c.center_sampling == "radius" else None,
                )
            )
        wanted, distances = zip(*pairs, strict=True)
        return torch.stack(wanted), torch.stack(distances)

    def candidates(self, outputs: PyramidOutputs, batch: Batch) -> list[Segments]:
        """Per window, the segments that its points propose; `suppress` limits them to the video.

        Extra columns: `point_s`, the time of the proposing point, and `duration_s`, the video's.
        """
        c = self.config
        best = best_proposals(
            outputs.logits,
            outputs.offsets,
            outputs.masks,
            c.strides,
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
        kept = suppress(candidates, nms)
        if "duration_s" in kept.extra:
            limit = kept.extra["duration_s"]
            start_s, end_s = np.clip(kept.start_s, 0.0, limit), np.clip(kept.end_s, 0.0, limit)
            kept = replace(kept, start_s=start_s, end_s=end_s)
        extra = {name: column for name, column in kept.extra.items() if name not in ("point_s", "duration_s")}
        kept = replace(kept, extra=extra)
        return kept if video_scores is None else self._fuse(kept, video_scores)

    def _fuse(self, detections: Segments, video_scores: Tensor) -> Segments:
        require(
            video_scores.shape == (len(self.classes),),
            f"video-level scores of shape {tuple(video_scores.shape)}",
            f"one score per class, {len(self.classes)}",
        )
        best, labels = video_scores.double().cpu().topk(min(self.config.fusion_classes, len(self.classes)))
        detections = detections[: self.config.fusion_proposals]
        parts = [
            replace(
                detections,
                score=np.sqrt(score * detections.score),
                label=np.full(len(detections), label),
            )
            for score, label in zip(best.tolist(), labels.tolist(), strict=True)
        ]
        return Segments.concat(parts).by_score()
