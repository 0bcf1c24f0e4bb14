"""Per-frame detection as torchmetrics: mAP over all frames of all videos."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics.frames import frame_average_precision
from tal.metrics.torch_rows import Column, RowMetric, check_counts, refuse_nan, to_array


class FrameMAP(RowMetric):
    """mAP per frame as `tal.metrics.frames` computes it, every row a frame that is judged.

    Args:
        class_count: K, the number of classes.
        ties: What equal scores do, see `frame_average_precision`.
        empty_classes: Classes that no frame shows are left out of mAP, or count as 0.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(
        self,
        class_count: int,
        ties: Literal["order", "together"] = "order",
        empty_classes: Literal["exclude", "zero"] = "exclude",
        **settings: Any,
    ) -> None:
        super().__init__({"frames": "f" * class_count + "i" * class_count}, **settings)
        self.class_count, self.ties, self.empty_classes = class_count, ties, empty_classes

    def update(
        self,
        scores: Sequence[ArrayLike | Tensor],
        labels: Sequence[ArrayLike | Tensor],
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add whole videos.

        Args:
            scores: Per video (T, K).
            labels: Per video (T, K) whether a frame shows a class, as `frame_labels` makes them.
            videos: Names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: other shapes, or NaN.
        """
        check_counts("videos", scores, labels)
        parts = [self._columns_of(*each) for each in zip(scores, labels, strict=True)]
        self._add_parts("frames", self._add_items(len(scores), videos), parts)

    def _columns_of(self, scores: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> list[Column]:
        score, shown = to_array(scores), to_array(labels, np.bool_)
        if score.ndim != 2 or score.shape[1] != self.class_count or shown.shape != score.shape:
            raise ConfigError(
                f"scores of shape {score.shape} and labels of shape {shown.shape}",
                expected=f"(frames, {self.class_count}) of both",
            )
        refuse_nan("scores", score)
        return [*score.T, *shown.T]

    def compute(self) -> dict[str, float]:
        """mAP, and weighted-mAP, the mean weighted by each class's frames; NaN if no frame shows a class."""
        _, *columns = self._rows("frames")
        score = np.stack(columns[: self.class_count], axis=1)
        shown = np.stack(columns[self.class_count :], axis=1).astype(bool)
        if not shown.any():
            return dict.fromkeys(("mAP", "weighted-mAP"), float("nan"))
        precision = frame_average_precision(score, shown, ties=self.ties)
        filled = np.nan_to_num(precision)
        mean = filled.sum() / self.class_count if self.empty_classes == "zero" else np.nanmean(precision)
        return {"mAP": float(mean), "weighted-mAP": float((filled * shown.sum(axis=0)).sum() / shown.sum())}
