"""Average precision against a slow, independent reference that judges predictions one by one."""

import sys
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics import detection
from tal.metrics.detection import average_precision, duplicates, overlaps, recall_at, tie_bounds

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from detection_rows import rows_of

CLASSES = 3
TIOUS = [0.2, 0.5, 0.75]


def _slow_tiou(a, b):
    inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - inter
    if union == 0:
        return float("inf")
    return inter / union if union > 0 else 0.0


def _slow_average_precision(truth, predictions, threshold, label):
    """One class; rows are (video, label, start, end[, score])."""
    instances = [row for row in truth if row[1] == label]
    if not instances:
        return float("nan")
    ranked = sorted((row for row in predictions if row[1] == label), key=lambda row: -row[4])
    taken, hits, precision = set(), 0, []
    for rank, row in enumerate(ranked, 1):
        options = [
            (_slow_tiou(row[2:4], each[2:4]), position)
            for position, each in enumerate(instances)
            if each[0] == row[0] and position not in taken
        ]
        best = max((each for each in options if each[0] >= threshold), default=None)
        if best:
            taken.add(best[1])
            hits += 1
        precision.append((hits / rank, bool(best)))
    return sum(
        max(value for value, _ in precision[position:]) for position, (_, hit) in enumerate(precision) if hit
    ) / len(instances)


def _slow_recall(truth, predictions, threshold, label, multiple, strict=False):
    instances = [row for row in truth if row[1] == label]
    hits = 0
    for video in {row[0] for row in instances}:
        ours = [row for row in instances if row[0] == video]
        ranked = sorted((row for row in predictions if row[:2] == (video, label)), key=lambda row: -row[4])
        best = ranked[: multiple * len(ours)]
        for each in ours:
            found = [_slow_tiou(row[2:4], each[2:4]) for row in best]
            hits += any(threshold <= value < np.inf and not (strict and value == threshold) for value in found)
    return hits / len(instances) if instances else float("nan")


# Small whole numbers: ties of scores and overlaps, touching, equal, empty and reversed segments all occur.
_TIME = st.integers(0, 8).map(float)
_SCORE = st.integers(0, 4).map(float)
_INSTANCE = st.tuples(st.integers(0, 2), st.integers(0, CLASSES - 1), _TIME, _TIME)
_PREDICTION = st.tuples(st.integers(0, 3), st.integers(0, CLASSES - 1), _TIME, _TIME, _SCORE)


@settings(max_examples=150, deadline=None)
@given(st.lists(_INSTANCE, max_size=14), st.lists(_PREDICTION, max_size=25))
def test_equal_to_judging_one_by_one(truth, predictions):
    pairs = overlaps(rows_of(truth, False), rows_of(predictions, True), TIOUS, class_count=CLASSES)
    expected = [
        [_slow_average_precision(truth, predictions, threshold, label) for label in range(CLASSES)]
        for threshold in TIOUS
    ]
    np.testing.assert_allclose(average_precision(pairs), expected, rtol=1e-12)
    for multiple, strict in ((1, False), (2, False), (1, True)):
        expected = [
            [_slow_recall(truth, predictions, threshold, label, multiple, strict) for label in range(CLASSES)]
            for threshold in TIOUS
        ]
        np.testing.assert_allclose(recall_at(pairs, multiple, strict=strict), expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(_INSTANCE, min_size=1, max_size=14), st.lists(_PREDICTION, min_size=1, max_size=25))
def test_pairs_in_pieces_change_nothing(truth, predictions):
    arguments = (rows_of(truth, False), rows_of(predictions, True), TIOUS)
    whole = average_precision(overlaps(*arguments, class_count=CLASSES))
    before = detection._PAIRS_AT_ONCE
    try:
        detection._PAIRS_AT_ONCE = 3
        np.testing.assert_array_equal(average_precision(overlaps(*arguments, class_count=CLASSES)), whole)
    finally:
        detection._PAIRS_AT_ONCE = before


def test_a_worked_example():
    truth = rows_of([(0, 0, 0.0, 10.0), (0, 0, 20.0, 30.0)], False)
    predictions = rows_of([(0, 0, 0.0, 10.0, 0.9), (0, 0, 50.0, 60.0, 0.8), (0, 0, 20.0, 30.0, 0.7)], True)
    pairs = overlaps(truth, predictions, [0.5], class_count=2)
    result = average_precision(pairs)
    assert result[0, 0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)  # Recall 0.5 at precision 1, recall 1 at 2/3.
    assert np.isnan(result[0, 1])


def test_a_second_prediction_takes_the_next_instance_or_is_false():
    truth = rows_of([(0, 0, 0.0, 10.0), (0, 0, 2.0, 12.0)], False)
    twice = rows_of([(0, 0, 0.0, 10.0, 0.9), (0, 0, 0.0, 10.0, 0.8), (0, 0, 0.0, 10.0, 0.7)], True)
    pairs = overlaps(truth, twice, [0.6, 0.9], class_count=1)
    assert detection.matched(pairs, 0.6).tolist() == [True, True, False]
    assert detection.matched(pairs, 0.9).tolist() == [True, False, False]


def test_duplicates_are_compared_with_those_that_are_kept():
    rows = [
        (0, 0, 1.0, 2.0),
        (0, 0, 1.0008, 2.0),  # of the first
        (0, 0, 1.0016, 2.0),  # not of the first, and the second is not kept
        (0, 1, 1.0, 2.0),
        (1, 0, 1.0, 2.0),
        (0, 0, 1.0, 2.002),
        (1, 0, 1.0, 2.0),
    ]
    assert duplicates(rows_of(rows, False)).tolist() == [False, True, False, False, False, False, True]
    assert duplicates(rows_of([], False)).tolist() == []


def test_an_instance_without_an_end_is_no_duplicate():
    rows = [(0, 0, 1.0, float("nan")), (0, 0, 1.0, 2.0), (0, 0, 1.0, float("nan")), (0, 0, 1.0, 2.0)]
    assert duplicates(rows_of(rows, False)).tolist() == [False, False, False, True]


def _orders(predictions):
    """Every order of one class's predictions that differs from another only among equal scores."""
    for order in permutations(predictions):
        if all(first[4] >= second[4] for first, second in pairwise(order)):
            yield list(order)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.just(0), _TIME, _TIME), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 2), st.just(0), _TIME, _TIME, st.integers(0, 1).map(float)), max_size=6),
)
def test_bounds_of_ties_are_reached_and_hold(truth, predictions):
    pairs = overlaps(rows_of(truth, False), rows_of(predictions, True), [0.5], class_count=1)
    bounds = tie_bounds(pairs)
    lowest, highest, usual = bounds.lowest[0, 0], bounds.highest[0, 0], average_precision(pairs)[0, 0]
    reachable = [_slow_average_precision(truth, order, 0.5, 0) for order in _orders(predictions)]
    assert min(abs(value - lowest) for value in reachable) < 1e-12
    assert min(abs(value - highest) for value in reachable) < 1e-12
    assert lowest <= usual <= highest
    if not bounds.competing:
        assert (lowest, highest) == (pytest.approx(min(reachable)), pytest.approx(max(reachable)))
    scores = [row[4] for row in predictions]
    assert bounds.tied == sum(scores.count(score) > 1 for score in scores)


def test_tied_predictions_that_want_one_instance_are_told():
    truth = rows_of([(0, 0, 0.0, 10.0)], False)
    twice = rows_of([(0, 0, 0.0, 10.0, 0.9), (0, 0, 0.0, 9.0, 0.9), (0, 0, 50.0, 60.0, 0.9)], True)
    bounds = tie_bounds(overlaps(truth, twice, [0.5], class_count=1))
    assert (bounds.tied, bounds.competing) == (3, 2)
    assert (bounds.lowest[0, 0], bounds.highest[0, 0]) == (pytest.approx(1 / 2), 1.0)


def test_a_margin_of_the_union_makes_overlaps_smaller():
    truth, found = rows_of([(0, 0, 0.0, 10.0)], False), rows_of([(0, 0, 0.0, 10.0, 0.9), (0, 0, 5.0, 5.0, 0.1)], True)
    pairs = overlaps(truth, found, [0.5], class_count=1, union_margin_s=1e-4)
    assert pairs.pair_tiou.tolist() == [pytest.approx(10 / 10.0001, rel=1e-15)]
    nothing = overlaps(rows_of([(0, 0, 5.0, 5.0)], False), found, [0.5], class_count=1, union_margin_s=1e-4)
    assert not len(nothing.pair_tiou)
