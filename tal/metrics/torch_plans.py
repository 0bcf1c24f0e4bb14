"""Procedure planning as torchmetrics: success rate, mean accuracy and mIoU of plans of one horizon."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics.planning import set_iou, step_accuracy, success
from tal.metrics.torch_rows import RowMetric, to_array


class PlanAccuracy(RowMetric):
    """SR, mAcc and mIoU as `tal.metrics.planning` computes them.

    Args:
        horizon: T, the number of actions of every plan.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(self, horizon: int, **settings: Any) -> None:
        super().__init__({"plans": "i" * (2 * horizon)}, **settings)
        self.horizon = horizon

    def update(
        self,
        predictions: ArrayLike | Tensor,
        truth: ArrayLike | Tensor,
        windows: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add plans.

        Args:
            predictions: (N, T) numbers of actions; negative ones stand for none.
            truth: (N, T).
            windows: (N,) names or numbers of what is planned; a window that comes again is left out.

        Raises:
            ConfigError: other shapes.
        """
        found, true = (to_array(side, np.int64) for side in (predictions, truth))
        if found.shape != true.shape or found.shape[1:] != (self.horizon,):
            raise ConfigError(
                f"plans of shape {found.shape} and true ones of shape {true.shape}", expected=f"(N, {self.horizon})"
            )
        self._add_rows("plans", self._add_items(len(true), windows), *found.T, *true.T)

    def compute(self) -> dict[str, float]:
        """SR, mAcc and mIoU; NaN without plans."""
        _, *columns = self._rows("plans")
        found, true = np.stack(columns[: self.horizon], axis=1), np.stack(columns[self.horizon :], axis=1)
        if not len(true):
            return dict.fromkeys(("SR", "mAcc", "mIoU"), float("nan"))
        means = success(found, true).mean(), step_accuracy(found, true).mean(), set_iou(found, true).mean()
        return dict(zip(("SR", "mAcc", "mIoU"), map(float, means), strict=True))
