"""Action tubes as torchmetrics: frame-mAP of boxes, video-mAP of tubes."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import Tensor

from tal.metrics.naming import threshold_name
from tal.metrics.torch_boxes import FrameBoxMAP, named_means
from tal.metrics.torch_rows import Column, RowMetric, check_counts, check_labels, refuse_nan
from tal.metrics.tubes import (
    FRAME_RULES,
    MEAN_IOUS,
    TUBE_RULES,
    BoxRows,
    VideoTube,
    average_precision,
    frame_candidates,
    tube_candidates,
)
from tal.ops.tubes import FrameTube


class TubeFrameMAP(FrameBoxMAP):
    """frame-mAP of boxes on frames as `tal.metrics.tubes` computes it.

    Equal scores are ranked as the rule's sort leaves them, which depends on the order of the frames' numbers.

    Args:
        class_count: Number of classes.
        iou: Thresholds.
        rule: Whose evaluator, see `FRAME_RULES`; that of AVA is `FrameBoxMAP`.
        settings: Of torchmetrics.Metric.
    """

    def __init__(
        self,
        class_count: int,
        iou: Sequence[float] = (0.2, 0.5, 0.75),
        rule: Literal["act", "yowo"] = "act",
        **settings: Any,
    ) -> None:
        super().__init__(class_count, iou, **settings)
        self.rule = rule

    def compute(self) -> dict[str, float]:
        """frame-mAP@0.50, ...; NaN without ground truth."""
        truth, found = (
            BoxRows(
                video_idx=rows.frame_idx,  # What belongs together is told by the frame alone.
                frame=np.zeros(len(rows), np.int64),
                label=rows.label,
                boxes=rows.boxes,
                score=rows.score,
            )
            for rows in self._tables()
        )
        rule = FRAME_RULES[self.rule]
        pairs = frame_candidates(truth, found, rule)
        precision = average_precision(pairs, self.iou, rule, class_count=self.class_count)
        return {name: mean for name, mean in named_means("frame-mAP", self.iou, precision).items() if "@" in name}


class TubeMAP(RowMetric):
    """video-mAP of tubes as `tal.metrics.tubes` computes it.

    Args:
        class_count: Number of classes.
        iou: Thresholds.
        rule: Whose evaluator, see `TUBE_RULES`.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(
        self,
        class_count: int,
        iou: Sequence[float] = (0.2, 0.5, 0.75),
        rule: Literal["act", "yowo"] = "act",
        **settings: Any,
    ) -> None:
        super().__init__({"truth": "iiffffff", "predicted": "iiffffff"}, **settings)
        self.class_count, self.iou, self.rule = class_count, tuple(iou), rule

    def update(
        self,
        predictions: Sequence[Sequence[FrameTube]],
        truth: Sequence[Sequence[FrameTube]],
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add whole videos.

        Args:
            predictions: Per video its tubes, with labels counted from 0 and scores.
            truth: Per video its tubes, with labels.
            videos: Names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, NaN, or labels that are no class.
        """
        check_counts("videos", predictions, truth)
        self._add_tables(
            videos,
            truth=[self._columns_of(tubes) for tubes in truth],
            predicted=[self._columns_of(tubes) for tubes in predictions],
        )

    def _columns_of(self, tubes: Sequence[FrameTube]) -> list[Column]:
        """A row per box: number of the tube in its video, label, four edges, score of the tube, frame."""
        label = np.array([tube.label for tube in tubes], np.int64)
        check_labels(label, self.class_count)
        lengths = [len(tube) for tube in tubes]
        frames = np.concatenate([np.empty(0), *(tube.frames for tube in tubes)])
        boxes = np.concatenate([np.empty((0, 4)), *(tube.boxes for tube in tubes)])
        score = np.repeat(np.array([tube.score for tube in tubes], np.float64), lengths)
        refuse_nan("tubes", boxes, score)
        return [np.repeat(np.arange(len(tubes)), lengths), np.repeat(label, lengths), *boxes.T, score, frames]

    def compute(self) -> dict[str, float]:
        """video-mAP@0.50, ..., and video-mAP, the mean over 0.50, 0.55, ..., 0.95; NaN without ground truth."""
        names = [*(f"video-mAP@{threshold_name(value)}" for value in self.iou), "video-mAP"]
        truth, found = self._tubes("truth"), self._tubes("predicted")
        if not truth:
            return dict.fromkeys(names, float("nan"))
        rule = TUBE_RULES[self.rule]
        pairs = tube_candidates(truth, found, rule)
        precision = average_precision(pairs, (*self.iou, *MEAN_IOUS), rule, class_count=self.class_count)
        rows = [*precision[: len(self.iou)], precision[len(self.iou) :].mean(axis=0)]
        return {name: float(np.nanmean(row)) for name, row in zip(names, rows, strict=True)}

    def _tubes(self, table: str) -> list[VideoTube]:
        video, tube, *columns = self._rows(table)
        first = np.flatnonzero((np.diff(video, prepend=-1) != 0) | (np.diff(tube, prepend=-1) != 0))
        last = np.append(first, len(video))[1:]
        label, left, top, right, bottom, score, frames = columns
        boxes = np.stack([left, top, right, bottom], axis=1)
        return [
            VideoTube(
                video_idx=int(video[a]),
                tube=FrameTube(frames=frames[a:b], boxes=boxes[a:b], label=int(label[a]), score=float(score[a])),
            )
            for a, b in zip(first.tolist(), last.tolist(), strict=True)
        ]
