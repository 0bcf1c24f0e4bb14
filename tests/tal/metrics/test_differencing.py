"""Differencing scores against counting by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.differencing import CODES, chance_p_value, difference_scores, flipped

ROWS = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.sampled_from("abc")), max_size=15)


def _codes(answers):
    return [-1 if answer is None else CODES[answer] for answer in answers]


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_equal_to_counting(rows):
    decided = [(p, g) for p, g in rows if g != "c"]
    found = difference_scores(_codes(p for p, _ in rows), _codes(g for _, g in rows))
    assert found.count == len(decided)
    assert found.right == sum(p == g for p, g in decided)
    if not decided:
        assert math.isnan(found.accuracy)
        return
    assert found.accuracy == pytest.approx(sum(p == g for p, g in decided) / len(decided))
    assert found.no_match == pytest.approx(sum(p is None for p, _ in decided) / len(decided))
    assert found.undecided == pytest.approx(sum(p == "c" for p, _ in decided) / len(decided))
    assert found.flipped == pytest.approx(sum((p, g) in (("a", "b"), ("b", "a")) for p, g in decided) / len(decided))
    assert found.accuracy + found.no_match + found.undecided + found.flipped == pytest.approx(1)


def test_opposite_statements_exchange_the_videos_alone():
    assert flipped(_codes(["a", "b", "c", None, "a"]), [1, 1, 1, 1, 0]).tolist() == _codes(["b", "a", "c", None, "a"])


def test_chance():
    assert chance_p_value(5, 10) == pytest.approx(1)
    assert chance_p_value(10, 10) == pytest.approx(2 / 1024)
    assert chance_p_value(0, 10) == pytest.approx(2 / 1024)
    assert math.isnan(chance_p_value(0, 0))
