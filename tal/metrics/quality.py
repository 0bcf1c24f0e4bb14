"""Predicted scores against human ratings: rank and linear correlation, and relative error. Arrays in, numbers out.

A correlation is NaN where it is undefined: fewer than two values, or all of one side equal.
"""

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_LOGISTIC_STEPS = 100_000


def plcc(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Pearson's linear correlation coefficient."""
    x, y = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = _centred(x), _centred(y)
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1, 1))


def srcc(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Spearman's rank correlation coefficient; equal values share the average of their ranks."""
    from scipy.stats import rankdata

    return plcc(rankdata(np.asarray(predicted, np.float64)), rankdata(np.asarray(truth, np.float64)))


def krcc(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Kendall's rank correlation coefficient, tau-b."""
    from scipy.stats import kendalltau

    x, y = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(kendalltau(x, y, variant="b").statistic)


def logistic_fit(predicted: ArrayLike, truth: ArrayLike) -> Floats | None:
    """(N,) predictions on the scale of the ratings, by the logistic with four parameters that fits them best.

    f(x) = (b1 - b2) / (1 + exp(-(x - b3) / |b4|)) + b2, least squares, from b1 = max y, b2 = min y, b3 = mean x and
    b4 = std x / 4: the usual step before PLCC in quality assessment.

    Returns:
        None where nothing can be fitted: fewer than four values, equal predictions, or no convergence.
    """
    from scipy.optimize import OptimizeWarning, curve_fit

    x, y = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if len(x) < 4 or np.ptp(x) == 0:
        return None
    with warnings.catch_warnings(), np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore", OptimizeWarning)  # The covariance, which is not used.
        try:
            start = [y.max(), y.min(), x.mean(), x.std() / 4]
            best, _ = curve_fit(_logistic, x, y, p0=start, jac=_logistic_slopes, maxfev=_LOGISTIC_STEPS)
        except RuntimeError:
            return None
        fitted = _logistic(x, *best)
    return fitted if np.isfinite(fitted).all() else None


def relative_l2(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean of ((p - t) / (max t - min t))^2; papers print 100 times it. yuxumin/CoRe, tools/runner.py.

    NaN where all ratings are equal.
    """
    p, t = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if not len(t) or np.ptp(t) == 0:
        return float("nan")
    return float(np.mean(((p - t) / np.ptp(t)) ** 2))


def rmse(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Root of the mean squared error; NaN of nothing."""
    p, t = np.asarray(predicted, np.float64), np.asarray(truth, np.float64)
    if not len(p):
        return float("nan")
    largest = float(np.abs(p - t).max())
    return largest * float(np.sqrt(np.mean(((p - t) / largest) ** 2))) if largest else 0.0


def _logistic(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
    return (b1 - b2) / (1 + np.exp(-(x - b3) / abs(b4))) + b2


def _logistic_slopes(x: Floats, b1: float, b2: float, b3: float, b4: float) -> Floats:
    """(N, 4) derivatives by each parameter: differences would take no step at all from b3 = 0."""
    z = (x - b3) / abs(b4)
    rise = 1 / (1 + np.exp(-z))
    steep = (b1 - b2) * rise * (1 - rise)
    return np.stack([rise, 1 - rise, -steep / abs(b4), -steep * z / b4], 1)


def _centred(values: Floats) -> Floats:
    """Without mean and of length about 1, so that squares neither vanish nor overflow."""
    deviation = values - values.mean()
    largest = np.abs(deviation).max()
    return deviation / largest if largest else deviation
