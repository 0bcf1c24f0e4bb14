"""Frame mAP against a slow, independent reference that reads and judges row after row."""

import heapq
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics import frame_boxes
from tal.metrics.frame_boxes import (
    BoxRows,
    average_precision,
    class_order,
    file_order,
    has_area,
    official_order,
    score_order,
)
from tal.metrics.precision import interpolated_ap

CLASSES = 3
THRESHOLDS = [0.3, 0.5]


def _slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    return inter / union if union > 0 else 0.0


def _slow_official(rows, limit):
    """Frame -> rows (frame, label, box, score), as the official script keeps and orders them."""
    frames = {}
    for frame, label, (left, top, right, bottom), score in rows:
        heap = frames.setdefault(frame, [])
        entry = (score, label, top, left, bottom, right)
        if not limit or len(heap) < limit:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    return {
        frame: [
            (frame, label, (left, top, right, bottom), score)
            for score, label, top, left, bottom, right in sorted(heap, key=lambda entry: -entry[0])
        ]
        for frame, heap in frames.items()
    }


def _ranked(rows, column):
    """Highest score first; of equal scores the later, as NumPy's quicksort does up to 16 values; beyond, as it does."""
    if len(rows) <= 16:
        rows = rows[::-1]
        return sorted(rows, key=lambda row: -row[column])
    order = np.argsort(np.array([row[column] for row in rows], np.longdouble))[::-1]
    return [rows[row] for row in order]


def _slow_by_frame(rows, order):
    frames = {}
    for row in rows:
        frames.setdefault(row[0], []).append(row)
    if order == "score":
        return {frame: sorted(each, key=lambda row: -row[3]) for frame, each in frames.items()}
    if order == "class":
        classes = {
            frame: [[row for row in each if row[1] == label] for label in range(CLASSES)]
            for frame, each in frames.items()
        }
        return {frame: [row for rows in each for row in _ranked(rows, 3)] for frame, each in classes.items()}
    return frames


def _slow_average_precision(truth, frames, threshold, label):
    """One class; `frames` holds the detections of each frame in the order of judging."""
    boxes = [row for row in truth if row[1] == label]
    if not boxes:
        return float("nan")
    judged, taken = [], set()
    for detections in frames.values():
        for row in detections:
            left, top, right, bottom = row[2]
            if row[1] != label or not (left < right and top < bottom):
                continue
            options = [(position, each) for position, each in enumerate(boxes) if each[0] == row[0]]
            best = max(options, key=lambda option: _slow_iou(row[2], option[1][2]), default=None)
            hit = best is not None and _slow_iou(row[2], best[1][2]) >= threshold and best[0] not in taken
            if hit:
                taken.add(best[0])
            judged.append((row[3], hit))
    hits, points = 0, []
    for rank, (_, hit) in enumerate(_ranked(judged, 0), 1):
        hits += hit
        points.append((hits / len(boxes), hits / rank))
    area, before = 0.0, 0.0
    for position, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[position:])
        before = recall
    return area


def _rows(rows, scored):
    return BoxRows(
        frame_idx=np.array([row[0] for row in rows], np.int64),
        label=np.array([row[1] for row in rows], np.int64),
        boxes=np.array([row[2] for row in rows], float).reshape(-1, 4),
        score=np.array([row[3] for row in rows], float) if scored else None,
    )


# Few whole numbers: ties of scores and overlaps, equal, touching, empty and reversed boxes all occur.
_EDGE = st.integers(0, 4)
_BOX = st.tuples(_EDGE, _EDGE, _EDGE, _EDGE)
_TRUTH_BOX = _BOX.map(lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])))
_TRUTH = st.lists(st.tuples(st.integers(0, 2), st.integers(0, CLASSES - 1), _TRUTH_BOX, st.just(1.0)), max_size=12)
_SCORE = st.integers(0, 3).map(float)
_DETECTIONS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, CLASSES - 1), _BOX, _SCORE), max_size=25)


def _scored(truth, detections, order):
    kept = detections[order]
    return average_precision(truth, kept[has_area(kept.boxes)], THRESHOLDS, class_count=CLASSES)


@settings(max_examples=50, deadline=None)
@given(_TRUTH, _DETECTIONS, st.integers(0, 5))
def test_equal_to_the_official_order_row_by_row(truth, detections, limit):
    frames = _slow_official(detections, limit)
    ordered_truth = [row for rows in _slow_official(truth, 0).values() for row in rows]
    columns, found = _rows(truth, False), _rows(detections, True)
    result = _scored(columns[official_order(columns)], found, official_order(found, limit=limit))
    expected = [
        [_slow_average_precision(ordered_truth, frames, threshold, label) for label in range(CLASSES)]
        for threshold in THRESHOLDS
    ]
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(_DETECTIONS, st.integers(0, 5))
def test_the_rows_that_are_kept_are_those_of_the_heap(detections, limit):
    kept = [detections[row] for row in official_order(_rows(detections, True), limit=limit)]
    frames = _slow_official(detections, limit)
    assert list(dict.fromkeys(row[0] for row in kept)) == list(frames)
    for frame, expected in frames.items():
        assert [row[3] for row in kept if row[0] == frame] == [row[3] for row in expected]
        for label in range(CLASSES):  # The order of equal scores of different classes decides nothing.
            assert [row for row in kept if row[:2] == (frame, label)] == [row for row in expected if row[1] == label]


@settings(max_examples=50, deadline=None)
@given(_TRUTH, _DETECTIONS, st.sampled_from(["file", "score", "class"]))
def test_equal_to_judging_row_by_row_in_other_orders(truth, detections, order):
    found = _rows(detections, True)
    rows = {"file": file_order, "score": score_order, "class": class_order}[order](found)
    frames = _slow_by_frame(detections, order)
    assert [detections[row] for row in rows] == [row for each in frames.values() for row in each]
    expected = [
        [_slow_average_precision(truth, frames, threshold, label) for label in range(CLASSES)]
        for threshold in THRESHOLDS
    ]
    np.testing.assert_allclose(_scored(_rows(truth, False), found, rows), expected, rtol=1e-12)


@pytest.mark.parametrize("order", ["official", "file", "score", "class"])
def test_equal_to_judging_row_by_row_with_many_ties(order):
    rng = np.random.default_rng(7)
    numbers = rng.integers([0] * 7, [3, CLASSES, 2, 2, 5, 5, 9], (400, 7)).tolist()
    detections = [(frame, label, tuple(box), float(score)) for frame, label, *box, score in numbers]
    detections = [row for row in detections if row[2][0] < row[2][2] and row[2][1] < row[2][3]]
    truth = [(frame, label, (0, 0, frame + 1, label + 1), 1.0) for frame in range(3) for label in range(CLASSES)]
    found = _rows(detections, True)
    if order == "official":
        rows, frames = official_order(found, limit=120), _slow_official(detections, 120)
    else:
        rows = {"file": file_order, "score": score_order, "class": class_order}[order](found)
        frames = _slow_by_frame(detections, order)
    expected = [
        [_slow_average_precision(truth, frames, threshold, label) for label in range(CLASSES)]
        for threshold in THRESHOLDS
    ]
    np.testing.assert_allclose(_scored(_rows(truth, False), found, rows), expected, rtol=1e-12)
    assert np.min(expected) > 0


@settings(max_examples=30, deadline=None)
@given(_TRUTH, _DETECTIONS)
def test_what_is_not_contested_needs_no_heap(truth, detections):
    pairs = {row[:2] for row in truth}
    contested = np.array([row[:2] in pairs for row in detections], bool)
    found = _rows(detections, True)
    results = [
        _scored(_rows(truth, False), found, official_order(found, limit=6, contested=mask))
        for mask in (None, contested)
    ]
    np.testing.assert_array_equal(*results)


@settings(max_examples=30, deadline=None)
@given(_TRUTH, _DETECTIONS)
def test_pairs_in_pieces_change_nothing(truth, detections):
    arguments = (_rows(truth, False), _rows(detections, True), THRESHOLDS)
    whole = average_precision(*arguments, class_count=CLASSES)
    before = frame_boxes._PAIRS_AT_ONCE
    try:
        frame_boxes._PAIRS_AT_ONCE = 3
        np.testing.assert_array_equal(average_precision(*arguments, class_count=CLASSES), whole)
    finally:
        frame_boxes._PAIRS_AT_ONCE = before


@settings(max_examples=30, deadline=None)
@given(_TRUTH, st.lists(st.tuples(st.integers(0, 2), st.just(0), _TRUTH_BOX, st.integers(0, 1).map(float)), max_size=6))
def test_ties_range_over_the_orders_of_equal_scores(truth, detections):
    found = _rows(detections, True)
    found = found[score_order(found)]
    found = found[has_area(found.boxes)]
    columns, score = _rows(truth, False), found.score
    assert frame_boxes.tied(found) == sum(list(score).count(value) > 1 for value in score)
    taken, overlap = frame_boxes.best_overlaps(columns, found)
    count = sum(row[1] == 0 for row in truth)
    for position, threshold in enumerate(THRESHOLDS):
        right = frame_boxes.first_takers(taken, overlap >= threshold)
        every = [
            interpolated_ap(right[list(order)], count)
            for order in permutations(range(len(score)))
            if all(score[first] >= score[second] for first, second in pairwise(order))
        ]
        for ties, expected in (("lowest", min(every)), ("highest", max(every))):
            result = average_precision(columns, found, THRESHOLDS, class_count=CLASSES, ties=ties)[position, 0]
            np.testing.assert_allclose(result, expected, rtol=1e-12)


def _precision(truth, detections, threshold=0.5):
    """AP per class of rows (frame, label, box, score) by the official script's rules."""
    columns, found = _rows([(*row, 1.0) for row in truth], False), _rows(detections, True)
    return average_precision(columns, found[official_order(found, limit=50)], threshold, class_count=2)[0]


WHOLE = (0.0, 0.0, 1.0, 1.0)
MOST = (0.0, 0.0, 1.0, 0.8)


def test_the_second_detection_of_a_box_is_false():
    both = [(0, 0, WHOLE, 0.9), (0, 0, MOST, 0.8)]
    columns, found = _rows([(0, 0, WHOLE, 1.0)], False), _rows(both, True)
    taken, overlap = frame_boxes.best_overlaps(columns, found)
    assert taken.tolist() == [0, 0]
    assert overlap.tolist() == [1.0, pytest.approx(0.8)]
    assert frame_boxes.first_takers(taken, overlap >= 0.5).tolist() == [True, False]
    assert _precision([(0, 0, WHOLE)], both)[0] == 1.0
    assert _precision([(0, 0, WHOLE)], [(0, 0, WHOLE, 0.8), (0, 0, MOST, 0.9)])[0] == 1.0
    assert _precision([(0, 0, WHOLE), (1, 0, WHOLE)], [*both, (1, 0, WHOLE, 0.7)])[0] == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )


def test_there_is_no_second_best():
    truth = [(0, 0, WHOLE), (0, 0, MOST)]
    twice = [(0, 0, WHOLE, 0.9), (0, 0, WHOLE, 0.8)]  # The second would reach 0.8 with the other box, which is free.
    assert _precision(truth, twice)[0] == 0.5


def test_of_51_rows_the_lowest_is_cut_off():
    rows = [(0, 1, WHOLE, 0.5 + row / 1000) for row in range(50)]
    assert _precision([(0, 0, WHOLE), (0, 1, WHOLE)], [*rows, (0, 0, WHOLE, 0.4)]).tolist() == [0.0, 1.0]
    assert _precision([(0, 0, WHOLE), (0, 1, WHOLE)], [*rows, (0, 0, WHOLE, 0.9)]).tolist() == [1.0, 1.0]
    equal = [(0, 1, WHOLE, 0.4)] * 50
    assert _precision([(0, 0, WHOLE)], [*equal, (0, 0, WHOLE, 0.4)])[0] == 0.0  # Not strictly higher: not taken in.


def test_a_class_without_detections_is_0_and_one_without_ground_truth_is_left_out():
    result = _precision([(0, 0, WHOLE)], [(0, 1, WHOLE, 0.9)])
    assert result[0] == 0.0
    assert np.isnan(result[1])


def test_boxes_without_area():
    boxes = np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0.0]])
    assert has_area(boxes).tolist() == [True, False, False, False, False]


def test_of_a_few_equal_scores_the_later_row_is_ranked_first():
    truth = [(0, 0, WHOLE)]
    right, wrong = (0, 0, WHOLE, 0.5), (1, 0, WHOLE, 0.5)
    assert _precision(truth, [wrong, right])[0] == 1.0
    assert _precision(truth, [right, wrong])[0] == 0.5


def test_of_equal_overlaps_the_earlier_box_is_taken():
    left, right = (0.0, 0.0, 2.0, 1.0), (1.0, 0.0, 3.0, 1.0)
    truth, found = _rows([(0, 0, right, 1.0), (0, 0, left, 1.0)], False), _rows([(0, 0, (0.5, 0, 2.5, 1), 0.9)], True)
    assert frame_boxes.best_overlaps(truth, found)[0].tolist() == [0]


def test_nothing_at_all():
    nothing = _rows([], True)
    assert official_order(nothing, limit=50).tolist() == []
    assert np.isnan(average_precision(_rows([], False), nothing, [0.5], class_count=2)).all()
