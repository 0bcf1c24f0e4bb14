"""Moment retrieval as torchmetrics: R@n at IoU m, and mIoU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics import grounding
from tal.metrics.moments import Windows, first_overlaps
from tal.metrics.naming import threshold_name
from tal.metrics.torch_rows import Column, RowMetric, check_counts, refuse_nan, to_array
from tal.segments import Segments

WindowsLike = Segments | ArrayLike | Tensor


class GroundingRecall(RowMetric):
    """R@n and mIoU as `tal.metrics.grounding` and `tal.metrics.moments` compute them; a query without windows misses.

    Args:
        top: Values of n.
        tiou: Values of m.
        strict: The overlap has to exceed m, as 2D-TAN counts, instead of reaching it.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(
        self,
        top: Sequence[int] = (1, 5),
        tiou: Sequence[float] = (0.3, 0.5, 0.7),
        *,
        strict: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__({"truth": "ff", "predicted": "ff"}, **settings)
        self.top, self.tiou, self.strict = tuple(top), tuple(tiou), strict

    def update(
        self,
        predictions: Sequence[WindowsLike],
        truth: Sequence[WindowsLike],
        queries: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add queries.

        Args:
            predictions: Per query its windows, the best first: `Segments`, or (N, 2) start and end; further columns
                are not looked at.
            truth: Per query the windows that answer it, one or more.
            queries: Names or numbers of the queries; a query that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, NaN, or a query without an answer.
        """
        check_counts("queries", predictions, truth)
        found, true = ([_times(entry) for entry in entries] for entries in (predictions, truth))
        if not all(map(len, true)):
            raise ConfigError("a query without a true window", expected="one or more", todo="leave it out")
        self._add_tables(queries, truth=[list(each.T) for each in true], predicted=[list(each.T) for each in found])

    def compute(self) -> dict[str, float]:
        """R1@0.50, ..., and mIoU; NaN without queries."""
        names = [f"R{count}@{threshold_name(value)}" for count in self.top for value in self.tiou]
        truth, predicted = self._windows("truth"), self._windows("predicted")
        count = self._item_count()
        if not count:
            return dict.fromkeys([*names, "mIoU"], float("nan"))
        found = grounding.recall(truth, predicted, self.tiou, self.top, query_count=count, strict=self.strict)
        overlap = first_overlaps(truth, predicted, query_count=count)
        return dict(zip(names, found.T.reshape(-1).tolist(), strict=True)) | {"mIoU": float(overlap.mean())}

    def _windows(self, table: str) -> Windows:
        query, start_s, end_s = self._rows(table)
        return Windows(query_idx=query, start_s=start_s, end_s=end_s)


def _times(entry: WindowsLike) -> Column:
    """(N, 2) start and end."""
    times = np.stack([entry.start_s, entry.end_s], 1) if isinstance(entry, Segments) else to_array(entry)
    times = times.reshape(-1, 2) if times.size <= 2 and times.ndim < 2 else times
    if times.ndim != 2 or times.shape[1] < 2:
        raise ConfigError(f"windows of shape {times.shape}", expected="(N, 2): start and end")
    refuse_nan("windows", times[:, :2])
    return times[:, :2]
