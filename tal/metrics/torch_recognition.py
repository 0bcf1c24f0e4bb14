"""Recognition of whole videos as torchmetrics: top-k accuracy, and mAP with several labels per video."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics.precision import ranking_ap
from tal.metrics.recognition import class_accuracy, label_rank
from tal.metrics.torch_rows import Column, RowMetric, check_labels, refuse_nan, to_array


class _ScoreMetric(RowMetric):
    """Gathers a score per class of each video."""

    higher_is_better = True

    def __init__(self, class_count: int, truth: str, **settings: Any) -> None:
        super().__init__({"videos": "f" * class_count + truth}, **settings)
        self.class_count = class_count

    def _scores(self, scores: ArrayLike | Tensor) -> Column:
        found = to_array(scores)
        if found.ndim != 2 or found.shape[1] != self.class_count:
            raise ConfigError(f"scores of shape {found.shape}", expected=f"(videos, {self.class_count})")
        refuse_nan("scores", found)
        return found


class TopKAccuracy(_ScoreMetric):
    """Top-k and mean class accuracy as `tal.metrics.recognition` computes them.

    Args:
        class_count: Number of classes.
        topk: Values of k.
        settings: Of torchmetrics.Metric.
    """

    def __init__(self, class_count: int, topk: Sequence[int] = (1, 5), **settings: Any) -> None:
        super().__init__(class_count, "i", **settings)
        self.topk = tuple(topk)

    def update(
        self,
        scores: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add videos.

        Args:
            scores: (N, K).
            labels: (N,) class indices.
            videos: (N,) names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: other shapes, NaN, or a label that is no class.
        """
        score, label = self._scores(scores), to_array(labels, np.int64).reshape(-1)
        if len(label) != len(score):
            raise ConfigError(f"{len(label)} labels of {len(score)} videos", expected="one per video")
        check_labels(label, self.class_count)
        self._add_rows("videos", self._add_items(len(score), videos), *score.T, label)

    def compute(self) -> dict[str, float]:
        """top1, ..., and mean-class-accuracy over the classes that occur; NaN without videos."""
        _, *score, label = self._rows("videos")
        if not len(label):
            return dict.fromkeys([*(f"top{k}" for k in self.topk), "mean-class-accuracy"], float("nan"))
        rank = label_rank(np.stack(score, axis=1), label)
        by_class = class_accuracy(rank == 0, label, class_count=self.class_count)
        return {f"top{k}": float((rank < k).mean()) for k in self.topk} | {
            "mean-class-accuracy": float(np.nanmean(by_class))
        }


class MultilabelMAP(_ScoreMetric):
    """mAP over classes of videos with several labels, as `tal.metrics.precision.ranking_ap` computes it.

    Args:
        class_count: Number of classes.
        ties: What equal scores do, see `ranking_ap`.
        settings: Of torchmetrics.Metric.
    """

    def __init__(self, class_count: int, ties: Literal["order", "together"] = "order", **settings: Any) -> None:
        super().__init__(class_count, "i" * class_count, **settings)
        self.ties = ties

    def update(
        self,
        scores: ArrayLike | Tensor,
        labels: ArrayLike | Tensor,
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add videos.

        Args:
            scores: (N, K).
            labels: (N, K) whether a video shows a class.
            videos: (N,) names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: other shapes, or NaN.
        """
        score, right = self._scores(scores), to_array(labels, np.bool_)
        if right.shape != score.shape:
            raise ConfigError(f"labels of shape {right.shape}", expected=f"that of the scores, {score.shape}")
        self._add_rows("videos", self._add_items(len(score), videos), *score.T, *right.T)

    def compute(self) -> dict[str, float]:
        """mAP, the mean over the classes that occur; NaN if none does."""
        _, *columns = self._rows("videos")
        score, right = columns[: self.class_count], columns[self.class_count :]
        precision = [ranking_ap(s, r, ties=self.ties) for s, r in zip(score, right, strict=True) if r.any()]
        return {"mAP": float(np.mean(precision)) if precision else float("nan")}
