"""Unusual activity localization: overlap, time difference and onset of one predicted interval per query.

The definition is that of Hasnat79/UAL_Bench, src/eval/eval_your_results.py; onset against several annotators that of
the development repository Hasnat79/uag, eval/accuracy_pred_start. Seconds in, one number per query out; the interval of
a query without an answer is NaN.
"""

import numpy as np
from numpy.typing import NDArray

from tal.segments import tiou

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ABSURD_S = 10_000.0


def overlaps(start_s: Floats, end_s: Floats, truth_start_s: Floats, truth_end_s: Floats) -> Floats:
    """(Q,) intersection over union; 0 where an answer is missing, reversed, or like the truth without length."""
    return tiou(truth_start_s, truth_end_s, start_s, end_s, pairwise=False)


def time_differences(start_s: Floats, end_s: Floats, truth_start_s: Floats, truth_end_s: Floats) -> Floats:
    """(Q,) |start error| + |end error|; the end of the truth where an answer is missing."""
    difference = np.abs(truth_start_s - start_s) + np.abs(truth_end_s - end_s)
    return np.where(np.isnan(difference), truth_end_s, difference)


def mean_time_difference(difference: Floats, truth_end_s: Floats) -> float:
    """Mean of (Q,) differences, those above 10,000 s replaced by the end of the truth."""
    return float(np.where(difference > _ABSURD_S, truth_end_s, difference).mean())


def onset_hits(start_s: Floats, end_s: Floats, onsets_s: Floats, tolerance_s: float) -> Bools:
    """(Q,) whether the predicted start lies within the tolerance of one of the onsets; an answer without end has none.

    Args:
        start_s, end_s: (Q,).
        onsets_s: (Q, A) one column per annotator; NaN where there is none.
        tolerance_s: Largest difference that counts.
    """
    near = np.abs(onsets_s - start_s[:, None]) <= tolerance_s
    hits: Bools = near.any(axis=1) & ~np.isnan(end_s)
    return hits
