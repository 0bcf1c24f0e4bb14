"""Each form of average precision against plain loops, and against the numbers that its definition gives by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.precision import eleven_point_ap, interpolated_ap, precision_recall, ranking_ap, trapezoid_ap


def _points(right, positives):
    """[(recall, precision)] after each prediction."""
    hits, points = 0, []
    for rank, each in enumerate(right, 1):
        hits += each
        points.append((hits / positives, hits / rank))
    return points


def _slow_interpolated(right, positives, envelope):
    points, before, area = _points(right, positives), 0.0, 0.0
    for position, (recall, precision) in enumerate(points):
        height = max(each for _, each in points[position:]) if envelope else precision
        area += (recall - before) * height
        before = recall
    return area


def _slow_trapezoid(right, positives):
    area, before = 0.0, (0.0, 1.0)
    for point in _points(right, positives):
        area += (point[0] - before[0]) * (point[1] + before[1]) / 2
        before = point
    return area


def _slow_eleven(right, positives):
    points = _points(right, positives)
    return sum(max((each for recall, each in points if recall >= tenth / 10), default=0) for tenth in range(11)) / 11


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), max_size=15), st.integers(0, 4))
def test_areas_are_those_of_plain_loops(right, missed):
    positives = sum(right) + missed
    found = np.array(right, bool)
    if not positives:
        assert np.isnan(interpolated_ap(found, 0))
        assert np.isnan(trapezoid_ap(found, 0))
        assert np.isnan(eleven_point_ap(found, 0))
        return
    for envelope in (True, False):
        expected = _slow_interpolated(right, positives, envelope)
        assert interpolated_ap(found, positives, envelope=envelope) == pytest.approx(expected, rel=1e-12)
    assert trapezoid_ap(found, positives) == pytest.approx(_slow_trapezoid(right, positives), rel=1e-12)
    assert eleven_point_ap(found, positives) == pytest.approx(_slow_eleven(right, positives), rel=1e-12)


def test_rows_are_done_at_once():
    found = np.array([[True, False, True], [False, False, True], [False, False, False]])
    assert interpolated_ap(found, [2, 2, 0])[:2].tolist() == [pytest.approx((1 + 2 / 3) / 2), pytest.approx(1 / 6)]
    assert np.isnan(interpolated_ap(found, [2, 2, 0])[2])
    precision, recall = precision_recall(found, 2)
    assert precision[0].tolist() == [1, 0.5, pytest.approx(2 / 3)]
    assert recall[1].tolist() == [0, 0, 0.5]


def test_worked_numbers():
    found = [True, False, True]
    assert interpolated_ap(found, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert trapezoid_ap(found, 3) == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 3)
    assert eleven_point_ap(found, 3) == pytest.approx((4 * 1 + 3 * 2 / 3) / 11)  # recall 0 to 0.3, 0.4 to 0.6


def _slow_together(score, right):
    total = sum(right)
    area, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        chosen = [each for value, each in zip(score, right, strict=True) if value >= threshold]
        area += (sum(chosen) / total - before) * sum(chosen) / len(chosen)
        before = sum(chosen) / total
    return area


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), max_size=15))
def test_rankings_with_ties(rows):
    score, right = [float(row[0]) for row in rows], [row[1] for row in rows]
    if not any(right):
        assert np.isnan(ranking_ap(score, right))
        return
    ranked = [row[1] for row in sorted(rows, key=lambda row: -row[0])]
    precision = [sum(ranked[:rank]) / rank for rank, each in enumerate(ranked, 1) if each]
    assert ranking_ap(score, right) == pytest.approx(sum(precision) / sum(right), rel=1e-12)
    assert ranking_ap(score, right, ties="together") == pytest.approx(_slow_together(score, right), rel=1e-12)


def test_a_frame_without_a_score_comes_last():
    assert ranking_ap([0.2, -np.inf, 0.1], [False, True, True]) == pytest.approx((1 / 2 + 2 / 3) / 2)
