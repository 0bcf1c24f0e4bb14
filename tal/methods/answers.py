"""What a method answers a query with, and many answers as a table that is written and scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tal.annotations.moment_results import MomentTable, Query
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer(Segments):
    """The moments that answer one query, by falling score; `extra["query"]` is its text, `extra["qid"]` its id.

    Args:
        query: What was asked.
        saliency: (T,) score of every snippet.
    """

    query: Query
    saliency: NDArray[np.float64]


def moment_table(answers: Iterable[Segments]) -> MomentTable:
    """Answers as predictions of moments and saliency; segments that are no answers are left out."""
    found = [each for each in answers if isinstance(each, Answer)]
    columns = {
        name: np.array(list(chain.from_iterable(getattr(each, name) for each in found)), np.float64)
        for name in ("start_s", "end_s", "score")
    }
    return MomentTable(
        queries=tuple(each.query for each in found),
        query_idx=np.repeat(np.arange(len(found)), [len(each) for each in found]),
        start_s=columns["start_s"],
        end_s=columns["end_s"],
        score=columns["score"],
        saliency=tuple(each.saliency for each in found),
    )
