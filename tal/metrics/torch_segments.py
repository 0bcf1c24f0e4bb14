"""Temporal detection and proposals as torchmetrics: mAP, and AR@N with the area under its curve."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics import detection
from tal.metrics.detection import Rows
from tal.metrics.naming import threshold_name
from tal.metrics.proposals import recall_curve
from tal.metrics.torch_rows import Column, RowMetric, check_counts, check_labels, refuse_nan, to_array
from tal.segments import Segments

SegmentsLike = Segments | Mapping[str, Tensor]


class SegmentMetric(RowMetric):
    """Gathers predicted and true segments of videos, for the metrics of segments."""

    higher_is_better: bool | None = True
    _predicted = "ifff"  # label, start, end, score

    def __init__(self, tiou: Sequence[float], class_count: int, **settings: Any) -> None:
        super().__init__({"truth": "iff", "predicted": self._predicted}, **settings)
        self.tiou, self.class_count = tuple(tiou), class_count

    def update(
        self,
        predictions: Sequence[SegmentsLike],
        truth: Sequence[SegmentsLike],
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add whole videos.

        Args:
            predictions: Per video `Segments`, or tensors "segments" (N, 2), "scores" (N,) and "labels" (N,), labels
                counted from 0.
            truth: Per video the same without scores.
            videos: Names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, missing or NaN numbers, or labels that are no class.
        """
        check_counts("videos", predictions, truth)
        self._add_tables(
            videos,
            truth=[self._columns_of(entry, scored=False) for entry in truth],
            predicted=[self._columns_of(entry, scored=True) for entry in predictions],
        )

    def _columns_of(self, entry: SegmentsLike, *, scored: bool) -> list[Column]:
        """Label, start, end and, with `scored`, score."""
        if isinstance(entry, Segments):
            columns = [entry.label, entry.start_s, entry.end_s] + ([entry.score] if scored else [])
        else:
            needed = ["segments", *(["labels"] if self.class_count > 1 else []), *(["scores"] if scored else [])]
            if lacking := [name for name in needed if name not in entry]:
                raise ConfigError(f"a video with {', '.join(entry)}", expected=f"{', '.join(lacking)} too")
            times = to_array(entry["segments"]).reshape(-1, 2)
            label = to_array(entry["labels"], np.int64) if "labels" in entry else np.zeros(len(times), np.int64)
            columns = [label.reshape(-1), times[:, 0], times[:, 1]]
            columns += [to_array(entry["scores"]).reshape(-1)] if scored else []
        if self.class_count == 1:
            columns[0] = np.zeros(len(columns[1]), np.int64)
        if len({len(column) for column in columns}) > 1:
            raise ConfigError(f"columns of {[len(column) for column in columns]} values", expected="one per segment")
        check_labels(columns[0], self.class_count)
        refuse_nan("segments", *columns[1:])
        return columns

    def _tables(self) -> tuple[Rows, Rows]:
        item, label, start_s, end_s = self._rows("truth")
        truth = Rows(video_idx=item, label=label, start_s=start_s, end_s=end_s)
        item, label, start_s, end_s, score, *_ = self._rows("predicted")
        return truth, Rows(video_idx=item, label=label, start_s=start_s, end_s=end_s, score=score)


class DetectionMAP(SegmentMetric):
    """mAP of temporal detection as `tal.metrics.detection` computes it, without a rule for duplicated ground truth.

    Args:
        class_count: Number of classes.
        tiou: Thresholds.
        settings: Of torchmetrics.Metric.
    """

    def __init__(self, class_count: int, tiou: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7), **settings: Any) -> None:
        super().__init__(tiou, class_count, **settings)

    def compute(self) -> dict[str, float]:
        """mAP, the mean over the thresholds, and mAP@0.50, ...; NaN without ground truth."""
        truth, predicted = self._tables()
        pairs = detection.overlaps(truth, predicted, self.tiou, class_count=self.class_count)
        scored = np.flatnonzero(pairs.truth_count)
        precision = detection.average_precision(pairs)[:, scored]
        means = precision.mean(axis=1) if len(scored) else np.full(len(self.tiou), np.nan)
        names = (f"mAP@{threshold_name(value)}" for value in self.tiou)
        return {"mAP": float(means.mean())} | dict(zip(names, means.tolist(), strict=True))


class ProposalRecall(SegmentMetric):
    """AR@N of proposals and AUC by the ActivityNet toolkit's rule, as `tal.metrics.proposals` computes them.

    Args:
        number: N, average numbers of proposals per video, at most `limit`.
        tiou: Thresholds; 0.5, 0.55, ..., 0.95 by default.
        limit: Largest average number of proposals.
        settings: Of torchmetrics.Metric.
    """

    def __init__(
        self,
        number: Sequence[int] = (1, 5, 10, 100),
        tiou: Sequence[float] = tuple(np.linspace(0.5, 0.95, 10).tolist()),
        *,
        limit: int = 100,
        **settings: Any,
    ) -> None:
        super().__init__(tiou, 1, **settings)
        if not 1 <= min(number) <= max(number) <= limit:
            raise ConfigError(f"AR@N at {', '.join(map(str, number))}", expected=f"numbers from 1 to {limit}")
        self.number, self.limit = tuple(number), limit

    def compute(self) -> dict[str, float]:
        """AR@100, ..., AUC; NaN without ground truth, or where there are fewer proposals than N per video."""
        truth, predicted = self._tables()
        if not len(truth):
            return dict.fromkeys([*(f"AR@{number}" for number in self.number), "AUC"], float("nan"))
        curve = recall_curve(truth, predicted, self.tiou, limit=self.limit)
        return {f"AR@{number}": curve.at(number) for number in self.number} | {"AUC": curve.area}
