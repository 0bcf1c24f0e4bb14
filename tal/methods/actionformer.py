"""ActionFormer: one-stage localization on a transformer pyramid (Zhang, Wu, Li 2022, arXiv:2202.07925).

Details as in the reference implementation happyharrycn/actionformer_release, whose weights load through
`tal.methods.originals`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.errors import ConfigError
from tal.methods.base import Batch, Inputs, Method
from tal.modules.attention import TransformerBlock
from tal.modules.heads import ClassificationHead, RegressionHead
from tal.modules.inputs import ConvStack, StreamProjection
from tal.modules.losses import RunningNormalizer, diou_loss, sigmoid_focal_loss
from tal.modules.masked import downsample_mask
from tal.modules.positions import SinusoidPositions
from tal.modules.pyramid import LevelNorms, TopDownPyramid
from tal.ops.nms import NmsConfig, suppress
from tal.ops.points import assign_points, best_proposals, pyramid_points
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class ActionFormerConfig:
    """Settings of an ActionFormer. Most likely changed: `train_snippets`, `width`, `window`, `branch_layers`.

    Args:
        streams: Feature stream -> its width; taken from the data if empty.
        classes: Class names; taken from the data if empty.
        train_snippets: T that training windows are padded to, and that the position table covers.
        resize: Features are interpolated to `train_snippets` instead of cut and padded.
        standardize: The trainer sets mean and deviation of every channel before training.
        class_agnostic: One output, action or not; a detection gets its class from video-level scores.
        projection: Stream -> width of a 1x1 convolution of its own; their sum is `width`. None: streams as they are.
        width: C of the network.
        heads: Attention heads.
        embed_layers, stem_layers: Convolutions, and transformer blocks before the first subsampling.
        branch_layers: Transformer blocks that halve T; the pyramid has one level more.
        embed_kernel: Kernel of the embedding convolutions.
        window: Snippets that a query sees, odd, at all levels or per level; 0 for all of them.
        absolute_positions: Add sinusoid positions.
        relative_positions: Learn a bias per relative position where attention is windowed.
        dropout, drop_path: In transformer blocks: of activations, of whole residual paths.
        neck: "identity", or "top_down" to add coarse levels to finer ones.
        neck_width, head_width: C of the neck's output and of the heads' hidden layers; None for `width`.
        head_layers, head_kernel: Convolutions of a head, their kernel.
        regression_ranges: Per level, shortest and longest distance from a point to the farther end of its instance, in
            snippets; None for 0 to 4, 4 to 8, 8 to 16, ... and no limit on the last level.
        multiple_of: Videos longer than `train_snippets` are padded to a multiple of this; None for the original's rule.
        center_sampling: "radius": only points near an instance's centre answer for it; "none": all points inside.
        center_radius: In strides of the level.
        prior_prob: What an untrained classifier gives.
        empty_classes: Classes without training instances, whose probability starts near zero.
        init_loss_norm: First value of the running number of positives.
        label_smoothing: In [0, 1).
        loss_weight: Of the regression loss; 0 or less balances it with the classification loss.
        score_threshold: Points with lower scores propose nothing.
        candidates_per_level: Best (point, class) pairs that go on to suppression.
        min_length_snippets: Shorter proposals are dropped.
        nms: How candidates become detections.
        fusion_classes: With video-level class scores, every detection is given to that many best classes.
        fusion_proposals: Detections kept before that.

    Raises:
        ConfigError: settings outside their range, or that contradict each other.
    """

    streams: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    train_snippets: int = 2304
    resize: bool = False
    standardize: bool = False
    class_agnostic: bool = False

    projection: dict[str, int] | None = None
    width: int = 512
    heads: int = 4
    embed_layers: int = 2
    stem_layers: int = 2
    branch_layers: int = 5
    embed_kernel: int = 3
    window: int | tuple[int, ...] = 19
    absolute_positions: bool = False
    relative_positions: bool = False
    dropout: float = 0.0
    drop_path: float = 0.1
    neck: Literal["identity", "top_down"] = "identity"
    neck_width: int | None = None
    head_width: int | None = None
    head_layers: int = 3
    head_kernel: int = 3
    regression_ranges: tuple[tuple[float, float], ...] | None = None
    multiple_of: int | None = None

    center_sampling: Literal["radius", "none"] = "radius"
    center_radius: float = 1.5
    prior_prob: float = 0.01
    empty_classes: tuple[str, ...] = ()
    init_loss_norm: float = 100.0
    label_smoothing: float = 0.0
    loss_weight: float = 1.0

    score_threshold: float = 0.001
    candidates_per_level: int = 2000
    min_length_snippets: float = 0.05
    nms: NmsConfig = field(default_factory=NmsConfig)
    fusion_classes: int = 2
    fusion_proposals: int = 200

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            _require(value is None or value >= lowest, f"{name} of {value}", f"at least {lowest}")
        for name in ("dropout", "drop_path", "label_smoothing", "score_threshold"):
            _require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        _require(0 < self.prior_prob < 1, f"prior_prob of {self.prior_prob}", "a number in (0, 1)")
        _require(self.width % self.heads == 0, f"width {self.width} with {self.heads} heads", "a multiple of heads")
        for name in ("embed_kernel", "head_kernel"):
            _require(getattr(self, name) % 2 == 1, f"{name} of {getattr(self, name)}", "an odd number")
        _require(self.neck in ("identity", "top_down"), f"neck {self.neck!r}", '"identity" or "top_down"')
        _require(
            self.center_sampling in ("radius", "none"),
            f"center_sampling {self.center_sampling!r}",
            '"radius" or "none"',
        )
        self._check_levels()
        self._check_data()

    def _check_levels(self) -> None:
        windows = self.windows
        _require(len(windows) == self.levels, f"window has {len(windows)} entries", f"one per level, {self.levels}")
        wrong = [w for w in windows if w != 0 and (w < 3 or w % 2 == 0)]
        _require(not wrong, f"window of {wrong}", "odd numbers from 3 on, or 0 for the whole sequence")
        ranges = self.ranges
        _require(
            len(ranges) == self.levels, f"regression_ranges for {len(ranges)} levels", f"one per level, {self.levels}"
        )
        wrong_ranges = [r for r in ranges if not (len(r) == 2 and 0 <= r[0] < r[1])]
        _require(not wrong_ranges, f"regression_ranges {wrong_ranges}", "pairs of rising numbers, not negative")
        _require(
            self.train_snippets % self.strides[-1] == 0,
            f"train_snippets of {self.train_snippets} with {self.levels} levels",
            f"a multiple of the last level's stride, {self.strides[-1]}",
        )
        _require(
            self.multiple_of is None or self.multiple_of % self.strides[-1] == 0,
            f"multiple_of {self.multiple_of}",
            f"a multiple of the last level's stride, {self.strides[-1]}",
        )

    def _check_data(self) -> None:
        duplicates = sorted({name for name in self.classes if self.classes.count(name) > 1})
        _require(not duplicates, f"classes named twice: {', '.join(duplicates)}", "distinct names")
        unknown = sorted(set(self.empty_classes) - set(self.classes)) if self.classes else []
        _require(not unknown, f"empty_classes that are no classes: {', '.join(unknown)}", "names from classes")
        thin = [name for name, width in self.streams.items() if width < 1]
        _require(not thin, f"streams without width: {', '.join(thin)}", "a positive width per stream")
        if self.projection is not None:
            if self.streams:
                same = set(self.projection) == set(self.streams)
                _require(same, f"projection of {sorted(self.projection)}", f"the streams, {sorted(self.streams)}")
            total = sum(self.projection.values())
            _require(total == self.width, f"projection to {total} channels in all", f"width, {self.width}")
        wide = self.neck == "identity" and self.neck_width not in (None, self.width)
        _require(not wide, f"neck_width {self.neck_width} with the identity neck", f"width, {self.width}")

    @property
    def levels(self) -> int:
        """L."""
        return self.branch_layers + 1

    @property
    def strides(self) -> tuple[int, ...]:
        """Per level, in snippets."""
        return tuple(2**level for level in range(self.levels))

    @property
    def windows(self) -> tuple[int, ...]:
        """Attention window per level; 0 for the whole sequence."""
        return (self.window,) * self.levels if isinstance(self.window, int) else tuple(self.window)

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Regression range per level, in snippets."""
        if self.regression_ranges is not None:
            return self.regression_ranges
        edges = [0.0, *(4.0 * stride for stride in self.strides[:-1]), math.inf]
        return tuple(pairwise(edges))

    def padded_length(self, count: int) -> int:
        """T that a window of `count` snippets is padded to, at least.

        The original pads to `train_snippets`, and longer videos to a multiple of what its chunked attention needs. Only
        two things of that reach the result: one padded position at every level, because the last valid one sees the
        normalisation's bias there; and the length to which the position table of a long video is stretched.
        """
        unit = self.multiple_of or max(s * max(w - 1, 1) for s, w in zip(self.strides, self.windows, strict=True))
        original = self.train_snippets if count <= self.train_snippets else -(-count // unit) * unit
        if self.absolute_positions and count > self.train_snippets:
            return original
        last = self.strides[-1]
        return min(original, (-(-count // last) + 1) * last)


_LOWEST: Mapping[str, float] = {
    "train_snippets": 1,
    "width": 1,
    "heads": 1,
    "embed_layers": 1,
    "stem_layers": 0,
    "branch_layers": 0,
    "embed_kernel": 1,
    "neck_width": 1,
    "head_width": 1,
    "head_layers": 1,
    "head_kernel": 1,
    "multiple_of": 1,
    "center_radius": 0,
    "init_loss_norm": 1,
    "candidates_per_level": 1,
    "min_length_snippets": 0,
    "fusion_classes": 1,
    "fusion_proposals": 1,
}


def _require(fine: bool, given: str, expected: str) -> None:
    if not fine:
        raise ConfigError(given, expected=expected)


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
        _require(bool(config.streams), "a method without feature streams", "streams: their names and widths")
        _require(bool(config.classes), "a method without classes", "classes: their names")
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
        _require(batch.targets is not None, "a loss of a batch without targets", "a batch collated for training")
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
        _require(
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
