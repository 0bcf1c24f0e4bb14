"""Action quality and progress as torchmetrics: correlation with ratings, and with the order of time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.metrics import quality
from tal.metrics.progress import value_order_correlation
from tal.metrics.torch_rows import PairMetric, RowMetric, refuse_nan, to_array


class QualityCorrelation(PairMetric):
    """SRCC, KRCC, PLCC, R-l2 and RMSE as `tal.metrics.quality` computes them, of ratings in one dimension of quality.

    Args:
        settings: Of torchmetrics.Metric.
    """

    def compute(self) -> dict[str, float]:
        """All five; a correlation of fewer than two videos, or of equal values, is NaN."""
        predicted, truth = self._pairs()
        return {
            "SRCC": quality.srcc(predicted, truth),
            "KRCC": quality.krcc(predicted, truth),
            "PLCC": quality.plcc(predicted, truth),
            "R-l2": quality.relative_l2(predicted, truth),
            "RMSE": quality.rmse(predicted, truth),
        }


class ProgressCorrelation(RowMetric):
    """Value-order correlation of trajectories as `tal.metrics.progress` computes it; undefined ones are left out."""

    higher_is_better = True

    def __init__(self, **settings: Any) -> None:
        super().__init__({"values": "f"}, **settings)

    def update(self, values: Sequence[ArrayLike | Tensor], videos: Sequence[str | int] | Tensor | None = None) -> None:
        """Add trajectories.

        Args:
            values: Per trajectory (T,) the predicted progress of its frames, first frame first.
            videos: Names or numbers of the trajectories; one that comes again is left out.

        Raises:
            ConfigError: NaN, or another number of names.
        """
        columns = [to_array(each).reshape(-1) for each in values]
        refuse_nan("values", *columns)
        self._add_parts("values", self._add_items(len(columns), videos), [[column] for column in columns])

    def compute(self) -> dict[str, float]:
        """VOC, the mean, VOC-median, and VOC-positive, the share above 0; NaN without a defined one."""
        item, values = self._rows("values")
        parts = np.split(values, np.flatnonzero(np.diff(item)) + 1)
        found = np.array([value_order_correlation(part) for part in parts])
        found = found[~np.isnan(found)]
        if not len(found):
            return dict.fromkeys(("VOC", "VOC-median", "VOC-positive"), float("nan"))
        return {
            "VOC": float(found.mean()),
            "VOC-median": float(np.median(found)),
            "VOC-positive": float((found > 0).mean()),
        }
