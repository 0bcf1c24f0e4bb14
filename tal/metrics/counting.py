"""Repetition counts against the true ones. Arrays in, numbers out.

Rounding is to the nearest whole number, halves to the even one, as torch and NumPy round.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

TRANSRAC_OFFSET = 0.1
PLAIN_OFFSET = 1e-9


def relative_error(
    predicted: ArrayLike, truth: ArrayLike, *, offset: float = TRANSRAC_OFFSET, rounded: bool = True
) -> Floats:
    """(N,) |p - g| / (g + offset) of each video; its mean is the MAE of the field.

    Args:
        predicted: (N,) counts, whole or not.
        truth: (N,) true counts.
        offset: What keeps a count of 0 from dividing by 0: 0.1 in SvipRepetitionCounting/TransRAC,
            testing/test_looping.py; 1e-9 in MiracleDance/PoseRAC, eval.py.
        rounded: Round `predicted` first, as TransRAC's test does and its training log does not.
    """
    p, g = _pair(predicted, truth, rounded)
    return np.abs(p - g) / (g + offset)


def within(predicted: ArrayLike, truth: ArrayLike, *, tolerance: float = 1, rounded: bool = True) -> NDArray[np.bool_]:
    """(N,) whether a count is off by at most `tolerance`: the mean is OBO for 1, OBZ for 0."""
    p, g = _pair(predicted, truth, rounded)
    return np.abs(p - g) <= tolerance


def rmse(predicted: ArrayLike, truth: ArrayLike, *, rounded: bool = True) -> float:
    """Root of the mean squared error, in repetitions; NaN of nothing."""
    p, g = _pair(predicted, truth, rounded)
    return float(np.sqrt(np.mean((p - g) ** 2))) if len(p) else float("nan")


def _pair(predicted: ArrayLike, truth: ArrayLike, rounded: bool) -> tuple[Floats, Floats]:
    p, g = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    return (np.round(p) if rounded else p), g
