"""Moments and highlights of QVHighlights as torchmetrics: MR-mAP and R1, HL-mAP and HIT@1."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from tal.errors import ConfigError
from tal.metrics import highlights, moments
from tal.metrics.moments import Windows
from tal.metrics.naming import threshold_name
from tal.metrics.torch_rows import Column, RowMetric, check_counts, refuse_nan, to_array

LEVELS = {"Fair": 2.0, "Good": 3.0, "VeryGood": 4.0}
"""Level -> the least score of a relevant clip."""


class MomentMAP(RowMetric):
    """MR-mAP and MR-R1 as `tal.metrics.moments` computes them, windows of all lengths, not rounded.

    Args:
        tiou: Thresholds.
        max_windows: Windows per query that MR-mAP looks at.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(
        self,
        tiou: Sequence[float] = tuple(np.linspace(0.5, 0.95, 10).round(2).tolist()),
        *,
        max_windows: int = 10,
        **settings: Any,
    ) -> None:
        super().__init__({"truth": "ff", "predicted": "fff"}, **settings)
        self.tiou, self.max_windows = tuple(tiou), max_windows

    def update(
        self,
        predictions: Sequence[ArrayLike | Tensor],
        truth: Sequence[ArrayLike | Tensor],
        queries: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add queries.

        Args:
            predictions: Per query (N, 3) start, end and score of its windows, in the order in which they are listed.
            truth: Per query (G, 2) start and end of the windows that answer it; a query without any is not judged.
            queries: Names or numbers of the queries; a query that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, other shapes, or NaN.
        """
        check_counts("queries", predictions, truth)
        self._add_tables(
            queries,
            truth=[_columns(each, 2) for each in truth],
            predicted=[_columns(each, 3) for each in predictions],
        )

    def compute(self) -> dict[str, float]:
        """MR-mAP, MR-mAP@0.50, ..., MR-R1@0.50, ...; NaN without ground truth."""
        names = [threshold_name(value) for value in self.tiou]
        query, start_s, end_s = self._rows("truth")
        truth = Windows(query_idx=query, start_s=start_s, end_s=end_s)
        query, start_s, end_s, score = self._rows("predicted")
        found = Windows(query_idx=query, start_s=start_s, end_s=end_s, score=score)
        count = self._item_count()
        answered = np.bincount(truth.query_idx, minlength=count) > 0
        if not answered.any():
            keys = ["MR-mAP", *(f"MR-mAP@{name}" for name in names), *(f"MR-R1@{name}" for name in names)]
            return dict.fromkeys(keys, float("nan"))
        precision = moments.average_precision(truth, found.first(self.max_windows), self.tiou, query_count=count)
        means = precision[:, answered].mean(axis=1)
        overlap = moments.first_overlaps(truth, found, query_count=count)[answered]
        metrics = {"MR-mAP": float(means.mean())}
        metrics |= {f"MR-mAP@{name}": float(mean) for name, mean in zip(names, means, strict=True)}
        hits = {f"MR-R1@{name}": float((overlap >= value).mean()) for name, value in zip(names, self.tiou, strict=True)}
        return metrics | hits


class HighlightMAP(RowMetric):
    """HL-mAP and HIT@1 as `tal.metrics.highlights` computes them, not rounded.

    Args:
        levels: Name -> the least score of a relevant clip.
        annotators: A, how many gave each clip a score.
        settings: Of torchmetrics.Metric.
    """

    higher_is_better = True

    def __init__(self, levels: Mapping[str, float] | None = None, *, annotators: int = 3, **settings: Any) -> None:
        super().__init__({"clips": "f" * (1 + annotators)}, **settings)
        self.levels, self.annotators = dict(LEVELS if levels is None else levels), annotators

    def update(
        self,
        predictions: Sequence[ArrayLike | Tensor],
        truth: Sequence[ArrayLike | Tensor],
        queries: Sequence[str | int] | Tensor | None = None,
    ) -> None:
        """Add queries.

        Args:
            predictions: Per query (C,) saliency of the clips of its video.
            truth: Per query (C, A) the annotators' scores, 0 for clips that are not relevant.
            queries: Names or numbers of the queries; a query that comes again is left out.

        Raises:
            ConfigError: lists of different lengths, other shapes, or NaN.
        """
        check_counts("queries", predictions, truth)
        parts = [
            [to_array(score).reshape(-1), *_columns(given, self.annotators)]
            for score, given in zip(predictions, truth, strict=True)
        ]
        for score, first, *_ in parts:
            if len(score) != len(first):
                raise ConfigError(f"saliency of {len(score)} clips and truth of {len(first)}")
            refuse_nan("saliency", score)
        self._add_parts("clips", self._add_items(len(truth), queries), parts)

    def compute(self) -> dict[str, float]:
        """HL-VeryGood-mAP, HL-VeryGood-HIT@1, ...; NaN without queries."""
        query, *columns = self._rows("clips")
        count = self._item_count()
        if not count:
            return {f"HL-{level}-{name}": float("nan") for level in self.levels for name in ("mAP", "HIT@1")}
        clip_count = np.bincount(query, minlength=count)
        table = np.zeros((len(columns), count, max(1, int(clip_count.max()))))
        clip = np.arange(len(query)) - np.repeat(np.cumsum(clip_count) - clip_count, clip_count)
        table[:, query, clip] = columns
        relevant = np.stack([table[1:] >= lowest for lowest in self.levels.values()])
        precision = highlights.average_precision(table[0], relevant, clip_count)
        beyond = np.arange(table.shape[2]) >= clip_count[:, None]
        hits = highlights.hit_at_one(np.where(beyond, -np.inf, table[0]).argmax(axis=1), relevant, clip_count)
        metrics = {}
        for row, level in enumerate(self.levels):
            metrics[f"HL-{level}-mAP"] = float(precision[row].mean())
            metrics[f"HL-{level}-HIT@1"] = float(hits.max(axis=1)[row].mean())
        return metrics


def _columns(entry: ArrayLike | Tensor, width: int) -> list[Column]:
    """`width` columns of a table; an empty one may have any shape."""
    table = to_array(entry)
    table = table.reshape(-1, width) if not table.size else table
    if table.ndim != 2 or table.shape[1] != width:
        raise ConfigError(f"a table of shape {table.shape}", expected=f"(N, {width})")
    refuse_nan("windows or scores", table)
    return list(table.T)
