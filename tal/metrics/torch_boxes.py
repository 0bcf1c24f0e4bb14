"""Boxes on keyframes as torchmetrics: frame mAP."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics import frame_boxes
from tal.metrics.frame_boxes import BoxRows
from tal.metrics.naming import threshold_name
from tal.metrics.torch_rows import Column, RowMetric, check_counts, check_labels, refuse_nan, to_array


class FrameBoxMAP(RowMetric):
    """mAP of boxes on keyframes as `tal.metrics.frame_boxes` computes it.

    Args:
        class_count: Number of classes.
        iou: Thresholds.
        limit: Judge the detections of a keyframe in the order of the official AVA script, which keeps that many of
            them (50) and 0 for all; without it by score, of equal ones the earlier row first.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(
        self, class_count: int, iou: Sequence[float] = (0.5,), *, limit: int | None = None, **settings: Any
    ) -> None:
        super().__init__({"truth": "iffff", "predicted": "ifffff"}, **settings)
        self.class_count, self.iou, self.limit = class_count, tuple(iou), limit

    def update(
        self,
        predictions: Sequence[Mapping[str, Tensor]],
        truth: Sequence[Mapping[str, Tensor]],
        frames: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add whole keyframes.

        Args:
            predictions: Per keyframe "boxes" (N, 4) left, top, right, bottom, "labels" (N,) counted from 0 and "scores"
                (N,); a box with several classes stands once for each.
            truth: Per keyframe the same without scores.
            frames: Names or numbers of the keyframes, of all videos; a keyframe that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, missing or NaN numbers, or labels that are no class.
        """
        check_counts("keyframes", predictions, truth)
        self._add_tables(
            frames,
            truth=[self._columns_of(entry, scored=False) for entry in truth],
            predicted=[self._columns_of(entry, scored=True) for entry in predictions],
        )

    def _columns_of(self, entry: Mapping[str, Tensor], *, scored: bool) -> list[Column]:
        """Label, four edges and, with `scored`, score."""
        needed = ["boxes", "labels", *(["scores"] if scored else [])]
        if lacking := [name for name in needed if name not in entry]:
            raise ConfigError(f"a keyframe with {', '.join(entry)}", expected=f"{', '.join(lacking)} too")
        boxes, label = to_array(entry["boxes"]).reshape(-1, 4), to_array(entry["labels"], np.int64).reshape(-1)
        columns = [label, *boxes.T, *([to_array(entry["scores"]).reshape(-1)] if scored else [])]
        if len({len(column) for column in columns}) > 1:
            raise ConfigError(f"columns of {[len(column) for column in columns]} values", expected="one per box")
        check_labels(label, self.class_count)
        refuse_nan("boxes", *columns[1:])
        return columns

    def compute(self) -> dict[str, float]:
        """mAP@0.50, ... and, of several thresholds, mAP, the mean over them; NaN without ground truth."""
        truth, detections = self._tables()
        if self.limit is None:
            detections = detections[frame_boxes.has_area(detections.boxes)]
            detections = detections[frame_boxes.score_order(detections)]
        else:
            truth = truth[frame_boxes.official_order(truth)]
            detections = detections[frame_boxes.official_order(detections, limit=self.limit)]
            detections = detections[frame_boxes.has_area(detections.boxes)]
        precision = frame_boxes.average_precision(truth, detections, self.iou, class_count=self.class_count)
        return named_means("mAP", self.iou, precision)

    def _tables(self) -> tuple[BoxRows, BoxRows]:
        (frame, label, *edges), (found_on, found, *columns) = self._rows("truth"), self._rows("predicted")
        return (
            BoxRows(frame_idx=frame, label=label, boxes=np.stack(edges, axis=1)),
            BoxRows(frame_idx=found_on, label=found, boxes=np.stack(columns[:4], axis=1), score=columns[4]),
        )


def named_means(name: str, thresholds: Sequence[float], precision: Column) -> dict[str, float]:
    """Means of (M, K) precision over the classes with ground truth; of several thresholds also the mean over them."""
    scored = precision[:, ~np.isnan(precision[0])]
    means = scored.mean(axis=1).tolist() if scored.size else [float("nan")] * len(thresholds)
    named = {f"{name}@{threshold_name(value)}": mean for value, mean in zip(thresholds, means, strict=True)}
    return ({name: float(np.mean(means))} if len(means) > 1 else {}) | named
