"""Highlight metrics against a slow reference that walks along the precision-recall curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.highlights import average_precision, hit_at_one


def _slow_ap(relevant, score):
    if all(relevant) or not any(relevant):
        return float(all(relevant))
    points = []  # (precision, relevant clips found) from the lowest threshold, where all clips are taken, upwards
    for threshold in sorted(set(score)):
        taken = [each for each, value in zip(relevant, score, strict=True) if value >= threshold]
        points.append((sum(taken) / len(taken), sum(taken)))
    points.append((1.0, 0))
    best = [max(value for value, _ in points[: position + 1]) for position in range(len(points))]
    return np.mean([best[each] for each in range(len(points) - 1) if points[each][1] != points[each + 1][1]])


_QUERY = st.lists(st.tuples(st.booleans(), st.integers(-2, 3).map(float)), min_size=1, max_size=9)


@settings(max_examples=60, deadline=None)
@given(st.lists(_QUERY, min_size=1, max_size=4), st.integers(0, 3))
def test_average_precision(queries, padding):
    count = np.array([len(query) for query in queries])
    width = int(count.max()) + padding
    score, relevant = np.full((len(queries), width), 7.5), np.ones((len(queries), width), bool)
    for row, query in enumerate(queries):
        relevant[row, : len(query)] = [each for each, _ in query]
        score[row, : len(query)] = [value for _, value in query]
    expected = [_slow_ap([each for each, _ in query], [value for _, value in query]) for query in queries]
    np.testing.assert_allclose(average_precision(score, relevant, count), expected)
    both = np.stack([relevant, ~relevant])
    opposite = [_slow_ap([not each for each, _ in query], [value for _, value in query]) for query in queries]
    np.testing.assert_allclose(average_precision(score, both, count), [expected, opposite])


def test_worked_examples():
    score = np.array([[0.9, 0.8, 0.8, 0.1]])
    # Points: (1/1, 1 found), (2/3, 2 found), (2/4, 2 found): the last adds nothing.
    relevant = np.array([[True, True, False, False]])
    assert average_precision(score, relevant, np.array([4]))[0] == pytest.approx((1 + 2 / 3) / 2)
    # The point of the ties finds both at 2/3; the first point's precision of 0 is never used.
    relevant = np.array([[False, True, True, False]])
    assert average_precision(score, relevant, np.array([4]))[0] == pytest.approx(2 / 3)
    # Precision at a lower recall counts as the best of any higher recall.
    relevant = np.array([[False, True, True, True]])
    assert average_precision(score, relevant, np.array([4]))[0] == pytest.approx((3 / 4 + 3 / 4) / 2)


def test_no_relevant_clip_and_nothing_but_relevant_clips():
    score, count = np.zeros((1, 3)), np.array([3])
    assert average_precision(score, np.zeros((1, 3), bool), count)[0] == 0
    assert average_precision(score, np.ones((1, 3), bool), count)[0] == 1


def test_hit_at_one():
    relevant = np.array([[True, False, False], [False, True, False]])
    assert hit_at_one(np.array([0, 0]), relevant, np.array([3, 2])).tolist() == [1, 0]
    assert hit_at_one(np.array([0, 5]), relevant, np.array([3, 2])).tolist() == [1, 0]  # Beyond the query's clips.
    both = np.stack([relevant, ~relevant])
    assert hit_at_one(np.array([1, 1]), both, np.array([3, 2])).tolist() == [[0, 1], [1, 0]]
