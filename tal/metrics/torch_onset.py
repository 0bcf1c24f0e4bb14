"""Unusual activity localization as torchmetrics: R@1, time difference and onset of one interval per query."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics import onset
from tal.metrics.naming import threshold_name
from tal.metrics.torch_rows import RowMetric, refuse_nan, to_array


class OnsetAccuracy(RowMetric):
    """R1, mIoU, time differences and onset as `tal.metrics.onset` computes them.

    Args:
        tiou: Thresholds of R1.
        within_s: Time differences p of R1@TD<=p, seconds.
        tolerance_s: Tolerances of onset, seconds.
        settings: Of torchmetrics.Metric.
    """

    def __init__(
        self,
        tiou: Sequence[float] = (0.3, 0.5, 0.7),
        within_s: Sequence[float] = (0.0, 1.0, 3.0, 5.0, 7.0),
        tolerance_s: Sequence[float] = (1.0, 0.25),
        **settings: Any,
    ) -> None:
        super().__init__({"queries": "ffff"}, **settings)
        self.tiou, self.within_s, self.tolerance_s = tuple(tiou), tuple(within_s), tuple(tolerance_s)

    def update(
        self,
        predictions: ArrayLike | Tensor,
        truth: ArrayLike | Tensor,
        queries: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add queries.

        Args:
            predictions: (N, 2) start and end in seconds; NaN for a query without an answer, which counts as the
                benchmark's released script does: the end of the truth as the time difference.
            truth: (N, 2).
            queries: (N,) names or numbers of the queries; a query that comes again is left out.

        Raises:
            ConfigError: other shapes, or NaN in the truth.
        """
        found, true = (to_array(side).reshape(-1, 2) for side in (predictions, truth))
        if len(found) != len(true):
            raise ConfigError(f"{len(found)} intervals and {len(true)} true ones", expected="one of each per query")
        refuse_nan("truth", true)
        self._add_rows("queries", self._add_items(len(true), queries), *found.T, *true.T)

    def compute(self) -> dict[str, float]:
        """R1@0.50, mIoU, R1@TD<=3, mean-TD, onset@1.0, ...; NaN without queries."""
        _, *columns = self._rows("queries")
        start_s, _, truth_start_s, truth_end_s = columns
        overlap = onset.overlaps(*columns)
        difference = onset.time_differences(*columns)
        hits = {f"R1@{threshold_name(value)}": overlap >= value for value in self.tiou}
        near = {f"R1@TD<={value:g}": difference <= value for value in self.within_s}
        begun = {
            f"onset@{value}": onset.onset_hits(start_s, columns[1], truth_start_s[:, None], value)
            for value in self.tolerance_s
        }
        values = hits | {"mIoU": overlap} | near | begun
        if not len(overlap):
            return dict.fromkeys([*values, "mean-TD"], float("nan"))
        metrics = {name: float(np.mean(each)) for name, each in values.items()}
        return metrics | {"mean-TD": onset.mean_time_difference(difference, truth_end_s)}
