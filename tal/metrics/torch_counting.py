"""Repetition counting as torchmetrics: MAE and OBO."""

from typing import Any

import numpy as np

from tal.metrics.counting import TRANSRAC_OFFSET, relative_error, within
from tal.metrics.torch_rows import PairMetric


class CountingError(PairMetric):
    """MAE and OBO as `tal.metrics.counting` computes them, of counts, whole or not.

    Args:
        offset: Of the MAE, see `relative_error`.
        rounded: Round predicted counts first.
        settings: Of torchmetrics.Metric.
    """

    def __init__(self, *, offset: float = TRANSRAC_OFFSET, rounded: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        self.offset, self.rounded = offset, rounded

    def compute(self) -> dict[str, float]:
        """MAE and OBO; NaN without videos."""
        predicted, truth = self._pairs()
        if not len(truth):
            return {"MAE": float("nan"), "OBO": float("nan")}
        error = relative_error(predicted, truth, offset=self.offset, rounded=self.rounded)
        return {"MAE": float(np.mean(error)), "OBO": float(within(predicted, truth, rounded=self.rounded).mean())}
