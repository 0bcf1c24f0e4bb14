"""Counting errors against their definitions, one video at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.counting import PLAIN_OFFSET, relative_error, rmse, within

PAIRS = st.lists(st.tuples(st.floats(-1, 40), st.integers(0, 30)), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.booleans(), st.sampled_from([0.1, 1e-9]))
def test_equal_to_the_definitions(pairs, rounded, offset):
    total, close, exact, squares = 0.0, 0, 0, 0.0
    for p, g in pairs:
        value = round(p) if rounded else p
        total += abs(value - g) / (g + offset)
        close += abs(value - g) <= 1
        exact += value == g
        squares += (value - g) ** 2
    p, g = zip(*pairs, strict=True)
    assert relative_error(p, g, offset=offset, rounded=rounded).mean() == pytest.approx(total / len(pairs))
    assert within(p, g, rounded=rounded).mean() == pytest.approx(close / len(pairs))
    assert within(p, g, tolerance=0, rounded=rounded).mean() == pytest.approx(exact / len(pairs))
    assert rmse(p, g, rounded=rounded) == pytest.approx(math.sqrt(squares / len(pairs)))


def test_by_hand():
    assert relative_error([9.6, 0.4], [8, 0]).tolist() == pytest.approx([2 / 8.1, 0])
    assert relative_error([9.6], [8], rounded=False).tolist() == pytest.approx([1.6 / 8.1])
    assert relative_error([3], [4], offset=PLAIN_OFFSET).tolist() == pytest.approx([0.25])
    assert relative_error([2], [0])[0] == pytest.approx(20)
    assert within([2.5, 3.5], [1, 3]).tolist() == [True, True]  # Halves go to the even number: 2 and 4.
    assert within([2.4], [1], rounded=False).tolist() == [False]
    assert np.isnan(rmse([], []))
