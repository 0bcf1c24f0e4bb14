"""Repetition counting as torchmetrics: MAE and OBO."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics.counting import TRANSRAC_OFFSET, relative_error, within
from tal.metrics.torch_rows import RowMetric, refuse_nan, to_array


class CountingError(RowMetric):
    """MAE and OBO as `tal.metrics.counting` computes them.

    Args:
        offset: Of the MAE, see `relative_error`.
        rounded: Round predicted counts first.
        settings: Of torchmetrics.Metric.
    """

    def __init__(self, *, offset: float = TRANSRAC_OFFSET, rounded: bool = True, **settings: Any) -> None:
        super().__init__({"counts": "ff"}, **settings)
        self.offset, self.rounded = offset, rounded

    def update(
        self,
        predictions: ArrayLike | Tensor,
        truth: ArrayLike | Tensor,
        videos: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add videos.

        Args:
            predictions: (N,) counts, whole or not.
            truth: (N,) true counts.
            videos: (N,) names or numbers of the videos; a video that comes again is left out.

        Raises:
            ConfigError: other shapes, or NaN.
        """
        predicted, true = to_array(predictions).reshape(-1), to_array(truth).reshape(-1)
        if len(predicted) != len(true):
            raise ConfigError(f"{len(predicted)} counts and {len(true)} true ones", expected="one of each per video")
        refuse_nan("counts", predicted, true)
        self._add_rows("counts", self._add_items(len(true), videos), predicted, true)

    def compute(self) -> dict[str, float]:
        """MAE and OBO; NaN without videos."""
        _, predicted, truth = self._rows("counts")
        if not len(truth):
            return {"MAE": float("nan"), "OBO": float("nan")}
        error = relative_error(predicted, truth, offset=self.offset, rounded=self.rounded)
        return {"MAE": float(np.mean(error)), "OBO": float(within(predicted, truth, rounded=self.rounded).mean())}
