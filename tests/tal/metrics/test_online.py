"""Online metrics against slow references written from their definitions, which judge one prediction at a time."""

import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics import online
from tal.metrics.detection import average_precision, overlaps

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from detection_rows import rows_of

CLASSES = 2
VIDEOS = 3


def _segment(draw):
    start = draw(st.integers(0, 8))
    return start, start + draw(st.integers(0, 5))


@st.composite
def _instance(draw):
    return (draw(st.integers(0, VIDEOS - 1)), draw(st.integers(0, CLASSES - 1)), *_segment(draw))


@st.composite
def _prediction(draw):
    score, made = draw(st.integers(0, 3)) / 4, draw(st.integers(0, 14))
    return (draw(st.integers(0, VIDEOS)), draw(st.integers(0, CLASSES - 1)), *_segment(draw), score, made)


_TRUTH = st.lists(_instance(), max_size=9)
_PREDICTIONS = st.lists(_prediction(), max_size=12)


def _slow_tiou(a, b, margin):
    inter = max(0.0, min(a[3], b[3]) - max(a[2], b[2]))
    union = (a[3] - a[2]) + (b[3] - b[2]) - inter + margin
    return inter / union if union > 0 else float("inf")


def _ranked(predictions, label):
    """Rows of a class from the highest score to the lowest, ties in the order of the rows."""
    return sorted((each for each in predictions if each[1] == label), key=lambda each: -each[4])


def _slow_ap(right, instances):
    """Area under the curve whose precision, at each recall, is the highest from there on."""
    points = []
    for rank in range(1, len(right) + 1):
        hits = sum(right[:rank])
        points.append((hits / instances, hits / rank))
    area = 0.0
    for step in range(1, instances + 1):
        beyond = [precision for recall, precision in points if recall >= step / instances - 1e-12]
        area += max(beyond, default=0.0) / instances
    return area


def _slow_delays(truth, predictions, threshold):
    delays = []
    for label in range(CLASSES):
        free = [row for row in range(len(truth)) if truth[row][1] == label]
        for each in _ranked(predictions, label):
            best = None
            for row in free:
                value = _slow_tiou(each, truth[row], 0.0)
                if truth[row][0] == each[0] and value >= threshold and (best is None or value >= best[0]):
                    best = (value, row)
            if best is not None:
                free.remove(best[1])
                delays.append(each[5] - truth[best[1]][3])
    return delays


@settings(max_examples=50, deadline=None)
@given(_TRUTH, _PREDICTIONS, st.sampled_from([0.3, 0.5, 1.0]))
def test_end_delays(truth, predictions, threshold):
    ground, found = rows_of(truth, False), rows_of(predictions, True)
    made = np.array([each[5] for each in predictions], np.float64)
    pairs = overlaps(ground, found, [0.1, threshold], class_count=CLASSES)
    delays, labels = online.end_delays(pairs, threshold, ground.end_s, made)
    assert len(delays) == len(labels)
    assert sorted(delays.tolist()) == sorted(_slow_delays(truth, predictions, threshold))


def _slow_best_sum(truth, predictions):
    """The largest sum of tIoU of any one-to-one assignment, by trying all of them."""
    few, many = sorted((truth, predictions), key=len)
    return max(
        sum(_slow_tiou(a, b, 1e-8) for a, b in zip(few, chosen, strict=True)) for chosen in permutations(many, len(few))
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(_instance(), max_size=6), st.lists(_prediction(), max_size=6))
def test_the_assignment_has_the_largest_sum(truth, predictions):
    found = online.assigned_tious(rows_of(truth, False), rows_of(predictions, True))
    expected = pairs = 0
    for video in range(VIDEOS + 1):
        inside = [[each for each in rows if each[0] == video] for rows in (truth, predictions)]
        expected += _slow_best_sum(*inside)
        pairs += min(map(len, inside))
    assert len(found) == pairs
    assert found.sum() == pytest.approx(expected)


def test_the_largest_sum_is_not_the_largest_number_of_pairs():
    truth = rows_of([(0, 0, 0.0, 10.0), (0, 0, 4.0, 9.0)], False)
    predictions = rows_of([(0, 0, 0.0, 10.0, 0.5), (0, 0, 0.0, 5.5, 0.5)], True)
    # (1, 1.5/9) sums to 1.17, (0.55, 0.5) to 1.05: one pair above 0.5 is preferred to two.
    found = online.assigned_tious(truth, predictions)
    assert sorted(found) == pytest.approx([1.5 / 9, 1.0])
    scores = online.f1(found, [0.1, 0.5], predictions=2, truth=2)
    assert scores.f1 == pytest.approx([1.0, 0.5], abs=1e-7)


def test_a_tiou_of_exactly_the_threshold_does_not_reach_it():
    truth, predictions = rows_of([(0, 0, 0.0, 2.0)], False), rows_of([(0, 0, 0.0, 1.0, 0.5)], True)
    found = online.assigned_tious(truth, predictions)
    assert found == pytest.approx([0.5])
    assert online.f1(found, [0.5], predictions=1, truth=1).recall == pytest.approx([0.0])


def test_nothing_predicted_and_nothing_to_find_are_no_division_by_zero():
    for predictions, truth in ((0, 3), (3, 0), (0, 0)):
        scores = online.f1(np.empty(0), [0.5], predictions=predictions, truth=truth)
        assert (scores.precision, scores.recall, scores.f1) == ([0.0], [0.0], [0.0])


def test_segments_without_sense_overlap_nothing():
    truth = rows_of([(0, 0, 0.0, 2.0), (0, 0, float("nan"), 3.0)], False)
    inf = float("inf")
    predictions = rows_of([(0, 0, inf, inf, 0.5), (0, 0, 5.0, 1.0, 0.5), (0, 0, -inf, inf, 0.5)], True)
    assert online.assigned_tious(truth, predictions).tolist() == [0.0, 0.0]


def _slow_starts(truth, predictions, offset, label):
    """Whether each start of a class, from the highest score to the lowest, is right."""
    free = [row for row in range(len(truth)) if truth[row][1] == label]
    right = []
    for each in _ranked(predictions, label):
        near = [
            (abs(truth[row][2] - each[2]), row)
            for row in free
            if truth[row][0] == each[0] and abs(truth[row][2] - each[2]) <= offset
        ]
        right.append(bool(near))
        if near:
            free.remove(min(near)[1])
    return right


@settings(max_examples=50, deadline=None)
@given(_TRUTH, _PREDICTIONS)
def test_start_detection(truth, predictions):
    offsets = [1.0, 2.0, 5.0]
    pairs = online.start_pairs(rows_of(truth, False), rows_of(predictions, True), offsets, class_count=CLASSES)
    expected = np.full((len(offsets), CLASSES), np.nan)
    for row, offset in enumerate(offsets):
        for label in range(CLASSES):
            instances = sum(each[1] == label for each in truth)
            if instances:
                expected[row, label] = _slow_ap(_slow_starts(truth, predictions, offset, label), instances)
    np.testing.assert_allclose(average_precision(pairs), expected, rtol=1e-9)
    np.testing.assert_allclose(online.precision_to_depth(pairs, 1.0), expected, rtol=1e-9)


def test_precision_to_a_depth():
    truth = rows_of([(0, 0, 10.0 * row, 10.0 * row + 5) for row in range(4)], False)
    starts = [0.0, 55.0, 10.0, 20.0]  # right, wrong, right, right; the fourth instance is never found
    predictions = rows_of([(0, 0, start, start + 1, 0.9 - rank / 10) for rank, start in enumerate(starts)], True)
    pairs = online.start_pairs(truth, predictions, [1.0], class_count=2)
    for depth, expected in ((0.1, 1.0), (0.25, 1.0), (0.5, (1 + 0.75) / 2), (0.75, 2.5 / 3), (1.0, 2.5 / 4)):
        result = online.precision_to_depth(pairs, depth)
        assert result[0, 0] == pytest.approx(expected)
        assert np.isnan(result[0, 1])
