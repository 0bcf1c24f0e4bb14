"""BMN: boundaries, and a map of scores of all segments between them (Lin et al. 2019, arXiv:1907.09702).

Details as in JJBOY/BMN-Boundary-Matching-Network, and, by switches, as in sming256/OpenTAD; weights of both load
through `tal.methods.originals`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.errors import FeatureError
from tal.methods.base import Batch, Inputs, Method
from tal.methods.bmn_config import BmnConfig
from tal.methods.limits import within_video, without_columns
from tal.methods.pyramid_config import require_streams
from tal.methods.video_scores import name_detections
from tal.modules.boundary_losses import balanced_entropy, draw_bands, mean_square
from tal.modules.boundary_maps import BoundaryHead, GroupedConvs, SegmentMap
from tal.modules.inputs import StreamProjection
from tal.modules.processes import mean_over_processes
from tal.ops.boundary_targets import boundary_targets, peaks, segment_targets
from tal.ops.nms import suppress
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class BmnOutputs:
    """Probabilities in [0, 1].

    Args:
        start, end: (B, T).
        regression, classification: (B, rows, columns) of the map: the tIoU itself, and whether it is high.
        features: (B, C, T), what the heads were given.
    """

    start: Tensor
    end: Tensor
    regression: Tensor
    classification: Tensor
    features: Tensor


@dataclass(frozen=True, kw_only=True)
class BmnTargets:
    """What the outputs should be.

    Args:
        start, end: (B, T) share of the snippet's anchor within a boundary's region.
        segments: (B, M) tIoU of every segment of the map with the instance that it covers best.
    """

    start: Tensor
    end: Tensor
    segments: Tensor


class Bmn(Method):
    """The network, its losses and its decoding.

    Args:
        config: With `streams`; `classes` name what video-level scores are of.
    """

    Config = BmnConfig
    config: BmnConfig

    def __init__(self, config: BmnConfig) -> None:
        super().__init__()
        require_streams(config.streams)
        self.config, self.classes = config, config.classes
        c = config
        self.streams = StreamProjection(c.streams, None)
        self.base = GroupedConvs(self.streams.width, c.width, layers=c.base_layers, groups=c.groups)
        self.boundaries = BoundaryHead(c.width, groups=c.groups, shared=c.shared_boundaries)
        self.segments = SegmentMap(
            c.width,
            c.train_snippets,
            layout=c.layout,
            durations=c.durations,
            reduced=c.reduced_width,
            hidden=c.sampled_width,
            out=c.map_width,
            layers=c.map_layers,
            kernel_size=c.map_kernel,
            samples=c.samples,
            per_sample=c.samples_per_bin,
            extension=c.extension,
            end=c.sampled_to,
        )
        if c.initial == "xavier":
            self.apply(_xavier)

    @property
    def inputs(self) -> Inputs:
        """Its streams, and windows or videos of exactly T snippets."""
        c = self.config
        slides = c.windows == "slide"
        return Inputs(
            streams=c.streams,
            train_snippets=c.train_snippets,
            resize_to=None if slides else c.train_snippets,
            window_snippets=c.train_snippets if slides else None,
            window_overlap=c.window_overlap if slides else 0.0,
            positions=c.durations or c.train_snippets,
        )

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        self.streams.set_stats(stats)

    def forward(self, batch: Batch) -> BmnOutputs:
        """Scores of all snippets and segments."""
        streams, mask = self._full(batch)
        features = self.encode(self.streams(streams, mask), mask)  # (B, width, T)
        start, end = self.boundaries(features).float().sigmoid().unbind(1)  # (B, T) each
        regression, classification = self.segments(features).float().sigmoid().unbind(1)  # (B, rows, columns) each
        return BmnOutputs(start=start, end=end, regression=regression, classification=classification, features=features)

    def encode(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C_in, T), mask (B, 1, T) -> (B, width, T)."""
        return self.base(x, mask)

    def _full(self, batch: Batch) -> tuple[Mapping[str, Tensor], Tensor]:
        """Streams and mask with exactly T snippets."""
        missing = self.config.train_snippets - batch.mask.shape[-1]
        if missing < 0:
            raise FeatureError(
                f"{batch.mask.shape[-1]} snippets at once",
                expected=f"{self.config.train_snippets}, the length of this model's maps",
                todo="cut or resize them as the model's inputs say",
            )
        if not missing:
            return batch.streams, batch.mask
        return {name: F.pad(x, (0, missing)) for name, x in batch.streams.items()}, F.pad(batch.mask, (0, missing))

    def loss(self, outputs: BmnOutputs, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Weighted sum of the losses of boundaries, segments and tIoU: "loss", "boundaries", "segments", "regression".

        Args:
            outputs: Of `forward`.
            batch: With targets.
            generator: Of the draw of segments that the regression learns from; None for torch's own.
        """
        c, targets = self.config, self.targets(batch)
        place = self.segments.place
        boundaries = balanced_entropy(
            outputs.start, targets.start > c.boundary_threshold, epsilon=c.epsilon
        ) + balanced_entropy(outputs.end, targets.end > c.boundary_threshold, epsilon=c.epsilon)
        segments = balanced_entropy(
            outputs.classification.flatten(1)[:, place], targets.segments > c.segment_threshold, epsilon=c.epsilon
        )
        regression = self._regression(outputs.regression.flatten(1)[:, place], targets.segments, generator)
        total = boundaries + c.segment_weight * segments + c.regression_weight * regression
        return {
            "loss": total,
            "boundaries": boundaries.detach(),
            "segments": segments.detach(),
            "regression": regression.detach(),
        }

    def _regression(self, predicted: Tensor, wanted: Tensor, generator: torch.Generator | None) -> Tensor:
        """Half the mean squared error of drawn segments.

        Without a high one the first original divides by zero; OpenTAD takes the mean over all segments, with a weight
        of 1 in all, and so is it here.
        """
        c = self.config
        chosen = draw_bands(wanted, high=c.high_tiou, low=c.low_tiou, zeros=c.zero_cells, generator=generator)
        drawn = 0.5 * mean_square(predicted, wanted, chosen)
        every = mean_square(predicted, wanted, torch.ones_like(chosen)) / max(c.regression_weight, 1.0)
        return torch.where(mean_over_processes(chosen.sum()) > 0, drawn, every)

    @torch.no_grad()
    def targets(self, batch: Batch) -> BmnTargets:
        """What the outputs should be, for a batch with instances."""
        first, last = self.segments.start_idx, self.segments.last_idx
        columns: tuple[list[Tensor], ...] = ([], [], [])
        for start, end in self.instances(batch):
            for column, time in zip(columns, (start, end), strict=False):
                near = boundary_targets(time, self.config.train_snippets, self.config.anchors)
                column.append(near.floor() if self.config.whole_anchors else near)
            columns[2].append(segment_targets(start, end, first, last))
        starts, ends, segments = (torch.stack(column) for column in columns)
        return BmnTargets(start=starts, end=ends, segments=segments)

    def instances(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        """Starts and ends (I,) of every window's instances, in snippets from its beginning, within the window."""
        found, device = [], batch.mask.device
        for grid, instances in zip(batch.grids, batch.truth(), strict=True):
            shift = 0.5 if self.config.origin == "cells" else 0.0
            times = np.stack([grid.to_idx(instances.start_s), grid.to_idx(instances.end_s)]) + shift
            start, end = torch.from_numpy(times.clip(0, self.config.train_snippets)).float().to(device)
            found.append((start, end))
        return found

    def candidates(self, outputs: BmnOutputs, batch: Batch) -> list[Segments]:
        """Per window, its proposals, without a class; suppressed there already if `window_nms`.

        Extra columns: `point_s`, the middle, and `duration_s`, the video's.
        """
        c, cells = self.config, self.segments.cells
        closing = cells.last_idx + (c.anchors == "centered")  # the snippet at which a segment ends
        possible = closing < c.train_snippets
        score, allowed = self._scores(outputs, torch.from_numpy(closing.clip(max=c.train_snippets - 1)))
        shift = 0.5 if c.origin == "cells" else 0.0
        found = []
        for row, (grid, duration_s) in enumerate(zip(batch.grids, batch.durations_s, strict=True)):
            keep = possible & allowed[row] & (cells.start_idx < grid.count) & (score[row] > c.score_threshold)
            start_s = grid.to_seconds(cells.start_idx[keep] - shift)
            end_s = grid.to_seconds(cells.last_idx[keep] + 1 - shift)
            proposals = Segments(
                start_s=start_s,
                end_s=end_s,
                score=score[row][keep],
                label=np.full(int(keep.sum()), -1),
                classes=self.classes,
                extra={"point_s": (start_s + end_s) / 2, "duration_s": np.full(int(keep.sum()), duration_s)},
            )
            found.append(suppress(proposals, c.nms) if c.window_nms else proposals)
        return found

    def _scores(self, outputs: BmnOutputs, closing: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """(B, M) score of every segment of the map, and whether it may be proposed."""
        c = self.config
        place, first = self.segments.place, self.segments.start_idx
        closing = closing.to(first.device)
        score = outputs.classification.flatten(1)[:, place] * outputs.regression.flatten(1)[:, place]
        if c.score == "boundaries":
            score = outputs.start[:, first] * outputs.end[:, closing] * score
        allowed = torch.ones_like(score, dtype=torch.bool)
        if c.peaks:
            start, end = peaks(outputs.start), peaks(outputs.end)
            start[:, 0], end[:, -1] = True, True
            allowed = start[:, first] & end[:, closing]
        return score.detach().cpu().double().numpy(), allowed.cpu().numpy()

    def suppress(self, candidates: Segments, video_scores: Tensor | None = None) -> Segments:
        """Detections within [0, duration], by falling score; named by the video-level class scores, if there are any.

        Proposals outside of the video, in the padding of its last window, are dropped.
        """
        c = self.config
        if video_scores is not None and c.fuse_first:
            candidates = self._named(candidates, video_scores)
        kept = within_video(suppress(candidates, c.nms))
        kept = without_columns(kept[kept.end_s > kept.start_s])
        if video_scores is None or c.fuse_first:
            return kept
        return self._named(kept, video_scores)

    def _named(self, detections: Segments, video_scores: Tensor) -> Segments:
        c = self.config
        geometric = c.fusion == "geometric"
        if not c.fuse_first:
            detections = detections[: c.fusion_proposals]
        return name_detections(detections, video_scores, self.classes, most=c.fusion_classes, geometric=geometric)


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
