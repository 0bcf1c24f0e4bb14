"""Moment retrieval against slow references that go query by query, written from the public definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics import grounding, moments
from tal.metrics.moments import Windows

QUERIES = 4
TIOUS = [0.3, 0.5, 0.75]


def _windows(rows, scored):
    rows = sorted(rows, key=lambda row: row[0])
    columns = [np.array([row[column] for row in rows], float) for column in range(4 if scored else 3)]
    return Windows(
        query_idx=columns[0].astype(np.int64),
        start_s=columns[1],
        end_s=columns[2],
        score=columns[3] if scored else None,
    )


def _of(rows, query):
    return [row[1:] for row in rows if row[0] == query]


def _inter(a, b):
    return max(0.0, min(a[1], b[1]) - max(a[0], b[0]))


def _slow_union_iou(a, b):
    union = (a[1] - a[0]) + (b[1] - b[0]) - _inter(a, b)
    if union == 0:
        return float("nan")
    return _inter(a, b) / union


def _slow_hull_iou(a, b):
    hull = max(a[1], b[1]) - min(a[0], b[0])
    return _inter(a, b) / hull if hull > 0 else 0.0


def _slow_ap(instances, predictions, threshold):
    """One query: the area under the interpolated curve, judging one window after the other."""
    ranked = sorted(predictions, key=lambda row: -row[2])
    free = list(range(len(instances)))
    hits = []
    for row in ranked:
        # A quotient of nothing by nothing passes every comparison of the public code, so it is taken first.
        overlap = {each: _slow_union_iou(row, instances[each]) for each in free}
        passing = [each for each in free if not overlap[each] < threshold]
        order = sorted(passing, key=lambda each: (not np.isnan(overlap[each]), -np.nan_to_num(overlap[each]), -each))
        hits.append(bool(order))
        if order:
            free.remove(order[0])
    recall = [sum(hits[: rank + 1]) / len(instances) for rank in range(len(hits))]
    precision = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(len(hits))]
    area, before = 0.0, 0.0
    for rank, value in enumerate(recall):
        area += (value - before) * max(precision[rank:])
        before = value
    return area


def _slow_nms(windows, overlap):
    left, kept = list(windows), []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [row for row in left if _slow_union_iou(best, row) <= overlap]
    return kept


def _slow_recall(truth, predictions, threshold, count, *, strict, nms):
    found = 0
    for query in range(QUERIES):
        windows = _of(predictions, query)
        windows = windows if nms is None else _slow_nms(windows, nms)
        overlaps = [_slow_hull_iou(row, each) for row in windows[:count] for each in _of(truth, query)]
        found += any(value > threshold if strict else value >= threshold for value in overlaps)
    return found / QUERIES


_TIME = st.integers(0, 8).map(float)
_INSTANCE = st.tuples(st.integers(0, QUERIES - 1), _TIME, _TIME)
_PREDICTION = st.tuples(st.integers(0, QUERIES - 1), _TIME, _TIME, st.integers(0, 3).map(float))


@settings(max_examples=50, deadline=None)
@given(st.lists(_INSTANCE, max_size=10), st.lists(_PREDICTION, max_size=16))
def test_average_precision_is_that_of_judging_one_by_one(truth, predictions):
    found = moments.average_precision(_windows(truth, False), _windows(predictions, True), TIOUS, query_count=QUERIES)
    for query in range(QUERIES):
        instances = _of(truth, query)
        for row, threshold in enumerate(TIOUS):
            expected = _slow_ap(instances, _of(predictions, query), threshold) if instances else np.nan
            assert found[row, query] == pytest.approx(expected, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(_INSTANCE, max_size=10),
    st.lists(_PREDICTION, max_size=20),
    st.booleans(),
    st.sampled_from([None, 0.25, 0.5, 1.0]),
)
def test_recall_is_that_of_counting_queries(truth, predictions, strict, nms):
    found = grounding.recall(
        _windows(truth, False),
        _windows(predictions, True),
        TIOUS,
        (1, 2, 5),
        query_count=QUERIES,
        strict=strict,
        nms=nms,
    )
    expected = [
        [_slow_recall(truth, predictions, each, count, strict=strict, nms=nms) for count in (1, 2, 5)] for each in TIOUS
    ]
    np.testing.assert_allclose(found, expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(_INSTANCE, max_size=8), st.lists(_PREDICTION, max_size=20))
def test_suppression_by_score_is_that_of_taking_the_last_of_an_ascending_sort(truth, predictions):
    windows = grounding.by_score(_windows(predictions, True))
    ranked = [
        (query, *row)
        for query in range(QUERIES)
        for row in reversed(sorted(_of(predictions, query), key=lambda row: row[2]))  # noqa: C413 the public order of ties
    ]
    found = grounding.recall(_windows(truth, False), windows, TIOUS, (1, 3), query_count=QUERIES, nms_margin=0.05)
    expected = [
        [_slow_recall(truth, ranked, each, count, strict=False, nms=each - 0.05) for count in (1, 3)] for each in TIOUS
    ]
    np.testing.assert_allclose(found, expected)


@settings(max_examples=50, deadline=None)
@given(st.lists(_INSTANCE, max_size=10), st.lists(_PREDICTION, max_size=10))
def test_first_overlaps(truth, predictions):
    found = moments.first_overlaps(_windows(truth, False), _windows(predictions, True), query_count=QUERIES)
    for query in range(QUERIES):
        windows = _of(predictions, query)
        expected = max((_slow_hull_iou(windows[0], each) for each in _of(truth, query)), default=0) if windows else 0
        assert found[query] == pytest.approx(expected)


def test_a_worked_example():
    truth = _windows([(0, 0.0, 10.0), (1, 20.0, 30.0), (1, 50.0, 60.0), (2, 5.0, 6.0)], False)
    predictions = _windows(
        [(0, 5.0, 15.0, 0.2), (0, 0.0, 8.0, 0.9), (1, 21.0, 30.0, 0.9), (1, 80.0, 90.0, 0.8), (1, 50.0, 60.0, 0.7)],
        True,
    )
    assert moments.best_overlaps(truth, predictions) == pytest.approx([1 / 3, 0.8, 0.9, 0, 1])
    assert moments.first_overlaps(truth, predictions, query_count=3) == pytest.approx([1 / 3, 0.9, 0])
    precision = moments.average_precision(truth, predictions, [0.5, 0.85], query_count=3)
    np.testing.assert_allclose(precision, [[1, 0.5 + 0.5 * 2 / 3, 0], [0, 0.5 + 0.5 * 2 / 3, 0]])
    found = grounding.recall(truth, predictions, [0.3, 0.8], (1, 2), query_count=3)
    np.testing.assert_allclose(found, [[2 / 3, 2 / 3], [1 / 3, 2 / 3]])
    found = grounding.recall(truth, predictions, [0.8], (1, 2), query_count=3, strict=True)
    np.testing.assert_allclose(found, [[1 / 3, 1 / 3]])  # The overlap of 0.8 does not exceed 0.8.


def test_disjoint_windows_do_not_overlap_however_the_union_is_taken():
    truth = _windows([(0, 0.0, 1.0)], False)
    for row in ((0, 5.0, 6.0, 1.0), (0, 6.0, 5.0, 1.0), (0, 1.0, 1.0, 1.0), (0, 0.5, 0.5, 1.0)):
        assert moments.best_overlaps(truth, _windows([row], True)).tolist() == [0]


def test_suppression_coupled_to_the_threshold():
    """Two windows with an overlap of 0.42: one remains at the threshold 0.4, both at 0.5."""
    truth = _windows([(0, 0.0, 10.0)], False)
    predictions = _windows([(0, 10.0, 20.0, 0.9), (0, 5.92, 15.92, 0.8), (0, 0.0, 10.0, 0.7)], True)
    assert len(grounding.suppressed(predictions, 0.4 - 0.05, 3)) == 2
    assert len(grounding.suppressed(predictions, 0.5 - 0.05, 3)) == 3
    found = grounding.recall(truth, predictions, [0.4, 0.5], (2,), query_count=1, nms_margin=0.05)
    np.testing.assert_allclose(found, [[1], [0]])
