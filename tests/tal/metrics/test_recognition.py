"""Top-k and class accuracy against sorting one video at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.recognition import NEVER, class_accuracy, label_rank, pooled, tied

ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(0, 3)), min_size=1, max_size=10
)


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_equal_to_sorting(rows):
    score, label = zip(*rows, strict=True)
    ordered = [sorted(range(4), key=lambda index, s=s: -s[index]) for s in score]
    assert label_rank(score, label).tolist() == [order.index(g) for order, g in zip(ordered, label, strict=True)]
    assert tied(score, label).tolist() == [s.count(s[g]) > 1 for s, g in rows]
    right = label_rank(score, label) == 0
    for index, value in enumerate(class_accuracy(right, label, class_count=4)):
        own = [order[0] == index for order, g in zip(ordered, label, strict=True) if g == index]
        assert value == pytest.approx(sum(own) / len(own) if own else math.nan, nan_ok=True)


def test_rows_of_one_video_are_pooled():
    score = [[1.0, 0.0], [0.0, 4.0], [0.5, 0.5]]
    assert pooled(score, [1, 1, 0]).tolist() == [[0.5, 0.5], [0.5, 2.0]]
    assert pooled(score, [1, 1, 0], maximum=True).tolist() == [[0.5, 0.5], [1.0, 4.0]]
    assert np.isneginf(pooled([[-np.inf, 1.0]], [0]))[0].tolist() == [True, False]


def test_a_class_without_a_score_is_never_right():
    score = [[-np.inf, -np.inf], [0.0, -np.inf], [-np.inf, 0.0]]
    assert label_rank(score, [0, 1, 1]).tolist() == [NEVER, NEVER, 0]
    assert not tied(score, [0, 1, 1]).any()
