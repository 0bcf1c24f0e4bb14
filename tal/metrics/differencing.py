"""Differences between two videos of one action: in which of the two does a statement hold more? Arrays in, numbers out.

VidDiffBench: jmhb0/viddiff, eval_viddiff.py. Answers are codes: see `CODES`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CODES = {"a": 0, "b": 1, "c": 2}
"""Video a, video b, no discernible difference."""
NO_ANSWER = -1
"""A statement without a prediction."""
OTHER_ANSWER = -2
"""A prediction that is none of a, b and c: wrong, and in none of the shares of errors."""


@dataclass(frozen=True, kw_only=True)
class DifferenceScores:
    """Shares of the statements whose truth is a or b; all NaN where there is none.

    Args:
        count: Number of those statements.
        right: How many are answered rightly.
        accuracy: `right` / `count`: closed accuracy, or open recall.
        no_match: Share without a prediction.
        flipped: Share with the other video.
        undecided: Share answered "c".
    """

    count: int
    right: int
    accuracy: float
    no_match: float
    flipped: float
    undecided: float


def difference_scores(predicted: ArrayLike, truth: ArrayLike) -> DifferenceScores:
    """Count answers; statements whose truth is neither a nor b are left out.

    Args:
        predicted: (N,) codes, `NO_ANSWER` or `OTHER_ANSWER`.
        truth: (N,) codes.
    """
    p, g = np.asarray(predicted, np.int64), np.asarray(truth, np.int64)
    decided = (g == CODES["a"]) | (g == CODES["b"])
    p, g = p[decided], g[decided]

    def share(chosen: NDArray[np.bool_]) -> float:
        return float(chosen.mean()) if len(g) else float("nan")

    return DifferenceScores(
        count=len(g),
        right=int((p == g).sum()),
        accuracy=share(p == g),
        no_match=share(p == NO_ANSWER),
        flipped=share((p != g) & ((p == CODES["a"]) | (p == CODES["b"]))),
        undecided=share(p == CODES["c"]),
    )


def flipped(predicted: ArrayLike, opposite: ArrayLike) -> NDArray[np.int64]:
    """(N,) codes with a and b exchanged where the statement that was matched says the opposite."""
    p = np.asarray(predicted, np.int64)
    return np.where(np.asarray(opposite, bool) & (p >= 0) & (p < 2), 1 - p, p)


def chance_p_value(right: int, count: int) -> float:
    """Two-sided binomial test of `right` out of `count` against guessing between two; NaN of nothing."""
    from scipy.stats import binomtest

    return float(binomtest(right, count, 0.5).pvalue) if count else float("nan")
