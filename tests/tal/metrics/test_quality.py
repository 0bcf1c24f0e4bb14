"""Correlations against plain loops, and the fitted logistic on ratings made from one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.progress import value_order_correlation
from tal.metrics.quality import krcc, logistic_fit, plcc, relative_l2, rmse, srcc

PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=15)


def _slow_pearson(x, y):
    n = len(x)
    mean_x, mean_y = sum(x) / n, sum(y) / n
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    spread = sum((a - mean_x) ** 2 for a in x) * sum((b - mean_y) ** 2 for b in y)
    return covariance / math.sqrt(spread) if spread > 1e-18 else float("nan")


def _slow_rank(values):
    return [sum(other < value for other in values) + (values.count(value) + 1) / 2 for value in values]


def _slow_tau_b(x, y):
    concordant = discordant = only_x = only_y = 0
    for i in range(len(x)):
        for j in range(i):
            a, b = x[i] - x[j], y[i] - y[j]
            concordant += a * b > 0
            discordant += a * b < 0
            only_x += a != 0 and b == 0
            only_y += a == 0 and b != 0
    below = math.sqrt((concordant + discordant + only_x) * (concordant + discordant + only_y))
    return (concordant - discordant) / below if below else float("nan")


@settings(max_examples=50, deadline=None)
@given(PAIRS)
def test_equal_to_loops(pairs):
    x, y = map(list, zip(*pairs, strict=True))
    assert plcc(x, y) == pytest.approx(_slow_pearson(x, y), nan_ok=True)
    assert srcc(x, y) == pytest.approx(_slow_pearson(_slow_rank(x), _slow_rank(y)), nan_ok=True)
    assert krcc(x, y) == pytest.approx(_slow_tau_b(x, y), nan_ok=True)
    assert rmse(x, y) == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in pairs) / len(pairs)))
    wide = max(y) - min(y)
    slow = sum(((a - b) / wide) ** 2 for a, b in pairs) / len(pairs) if wide else float("nan")
    assert relative_l2(x, y) == pytest.approx(slow, nan_ok=True)


def test_undefined_correlations_are_nan():
    for metric in (plcc, srcc, krcc):
        assert math.isnan(metric([1, 1, 1], [1, 2, 3]))
        assert math.isnan(metric([1, 2, 3], [7, 7, 7]))
        assert math.isnan(metric([1], [2]))
        assert math.isnan(metric([], []))


def test_a_fitted_logistic_raises_plcc_of_warped_scores():
    x = np.linspace(-3, 3, 60)
    ratings = 20 + 60 / (1 + np.exp(-2.5 * (x - 0.5)))
    fitted = logistic_fit(x, ratings)
    assert plcc(x, ratings) < 0.97
    assert plcc(fitted, ratings) == pytest.approx(1, abs=1e-6)
    assert rmse(fitted, ratings) < 0.01
    assert plcc(logistic_fit(-x, ratings), ratings) == pytest.approx(1, abs=1e-6)  # Falling scores can be fitted too.


@pytest.mark.parametrize("x", [[1.0, 1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0], []])
def test_nothing_to_fit(x):
    assert logistic_fit(x, list(range(len(x)))) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([25, 100, 0], -0.5),
        ([0, 100, 50], 0.5),
        ([5, 4, 3, 2, 1], -1),
        ([1, 2, 3], 1),
        ([7, 7, 7], float("nan")),
        ([4], float("nan")),
        ([], float("nan")),
        ([0, 0, 1], math.sqrt(3) / 2),
    ],
)
def test_value_order_correlation(values, expected):
    assert value_order_correlation(values) == pytest.approx(expected, nan_ok=True)


def test_nearly_constant_progress_is_undefined_where_asked_for():
    values = [50, 50.0001, 50.0002]
    assert value_order_correlation(values) == pytest.approx(1)
    assert math.isnan(value_order_correlation(values, nearly_constant=True))
