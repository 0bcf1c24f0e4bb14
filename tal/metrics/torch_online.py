"""Online temporal detection as torchmetrics: class-agnostic F1, how late ends are detected, detection of starts."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tal.errors import ConfigError
from tal.metrics import detection, online
from tal.metrics.naming import offset_name, threshold_name
from tal.metrics.torch_rows import Column, refuse_nan, to_array
from tal.metrics.torch_segments import SegmentMetric, SegmentsLike
from tal.segments import Segments

GENERATION_TIME = "generation_time"


class OnlineDetection(SegmentMetric):
    """F1 and AEDT as `tal.metrics.online` computes them; mAP is `DetectionMAP`.

    Predictions hold a column more: "generation_time" (N,), the second of the video at which each was made, in `extra`
    of `Segments` or as a tensor.

    Args:
        class_count: Number of classes.
        tiou: Thresholds.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = None
    _predicted = "iffff"  # label, start, end, score, generation time

    def __init__(self, class_count: int, tiou: Sequence[float] = (0.3, 0.4, 0.5, 0.6, 0.7), **settings: Any) -> None:
        super().__init__(tiou, class_count, **settings)

    def _columns_of(self, entry: SegmentsLike, *, scored: bool) -> list[Column]:
        columns = super()._columns_of(entry, scored=scored)
        if not scored:
            return columns
        further = entry.extra if isinstance(entry, Segments) else entry
        if GENERATION_TIME not in further:
            raise ConfigError(f"predictions without {GENERATION_TIME!r}", expected="seconds, one per segment")
        made_s = to_array(further[GENERATION_TIME]).reshape(-1)
        if len(made_s) != len(columns[0]):
            raise ConfigError(f"{len(made_s)} generation times of {len(columns[0])} segments", expected="one of each")
        refuse_nan("generation times", made_s)
        return [*columns, made_s]

    def compute(self) -> dict[str, float]:
        """F1@0.50, precision@0.50, recall@0.50, AEDT (the mean over the thresholds), AEDT@0.50, ...

        NaN without ground truth; AEDT in seconds, NaN where nothing is found.
        """
        truth, predicted = self._tables()
        made_s = self._rows("predicted")[-1]
        pairs = detection.overlaps(truth, predicted, self.tiou, class_count=self.class_count)
        _, delay_s = online.mean_end_delays(pairs, truth.end_s, made_s)
        tious = online.assigned_tious(truth, predicted)
        scores = online.f1(tious, self.tiou, predictions=len(predicted), truth=len(truth))
        metrics = {"AEDT": float(delay_s.mean())}
        parts = {"F1": scores.f1, "precision": scores.precision, "recall": scores.recall, "AEDT": delay_s}
        for name, values in parts.items():
            known = values if len(truth) else np.full(len(self.tiou), np.nan)
            metrics |= {
                f"{name}@{threshold_name(at)}": float(value) for at, value in zip(self.tiou, known, strict=True)
            }
        return metrics


class StartDetectionAP(SegmentMetric):
    """Point-level start detection, p-AP, as `tal.metrics.online` computes it.

    Args:
        class_count: Number of classes.
        offsets_s: Seconds by which a start may be off.
        depth: See `tal.metrics.online.precision_to_depth`.
        settings: Of torchmetrics.Metric.
    """

    def __init__(
        self,
        class_count: int,
        offsets_s: Sequence[float] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        *,
        depth: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__((), class_count, **settings)
        self.offsets_s, self.depth = tuple(offsets_s), depth

    def compute(self) -> dict[str, float]:
        """p-AP, the mean over the offsets, and p-AP@1.0, ...; NaN without ground truth."""
        pairs = online.start_pairs(*self._tables(), self.offsets_s, class_count=self.class_count)
        scored = np.flatnonzero(pairs.truth_count)
        precision = online.precision_to_depth(pairs, self.depth)[:, scored]
        means = precision.mean(axis=1) if len(scored) else np.full(len(self.offsets_s), np.nan)
        names = (f"p-AP@{offset_name(value)}" for value in self.offsets_s)
        return {"p-AP": float(means.mean())} | dict(zip(names, means.tolist(), strict=True))
