"""Frame-AP and video-AP against slow references that judge one prediction after the other, written from the rules."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.tubes import (
    FRAME_RULES,
    TUBE_RULES,
    BoxRows,
    VideoTube,
    average_precision,
    frame_candidates,
    pascal_average_precision,
    tube_candidates,
)
from tal.ops.ties import numpy_order
from tal.ops.tubes import FrameTube

CLASSES = 2
IOUS = (0.2, 0.5, 0.75)


def _slow_iou(a, b, one):
    width = min(a[2], b[2]) - max(a[0], b[0]) + one
    height = min(a[3], b[3]) - max(a[1], b[1]) + one
    inter = max(0.0, width) * max(0.0, height)
    union = sum((each[2] - each[0] + one) * (each[3] - each[1] + one) for each in (a, b)) - inter
    return inter / union if union > 0 else 0.0


def _slow_tube_iou(a, b, touching):
    """a, b: {frame: box} without gaps."""
    first, last = max(min(a), min(b)), min(max(a), max(b))
    if last < first or (last == first and not touching):
        return 0.0
    spatial = sum(_slow_iou(a[frame], b[frame], 1) for frame in range(first, last + 1)) / (last - first + 1)
    return spatial * (last - first + 1) / (max(max(a), max(b)) - min(min(a), min(b)) + 1)


def _slow_ap(ranked, truth, overlap, threshold, *, retry, envelope, margin=0.0):
    """One class: `ranked` (place, thing), best first; `truth` [(place, thing)]."""
    free, hits, points = [True] * len(truth), 0, [(0.0, 1.0)]
    for rank, (place, thing) in enumerate(ranked, 1):
        options = [
            (overlap(thing, each), -row)
            for row, (where, each) in enumerate(truth)
            if where == place and (free[row] or not retry)
        ]
        best = max(options, default=(0.0, 0))
        if best[0] >= threshold and free[-best[1]]:
            free[-best[1]] = False
            hits += 1
        points.append((hits / (len(truth) + margin), hits / rank))
    area = 0.0
    for position in range(1, len(points)):
        step = points[position][0] - points[position - 1][0]
        if envelope:
            area += step * max(precision for _, precision in points[position:])
        else:
            area += step * (points[position - 1][1] + points[position][1]) / 2
    return area


# Small whole numbers: equal scores and overlaps, touching, equal, one-pixel, empty and reversed boxes all occur.
_SIDE = st.integers(0, 5).map(float)
_BOX = st.tuples(_SIDE, _SIDE, _SIDE, _SIDE)
_PROPER = st.tuples(_SIDE, _SIDE, _SIDE, _SIDE).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]) + 1, max(b[1], b[3]) + 1)
)
_WHERE = (st.integers(0, 1), st.integers(1, 2), st.integers(0, CLASSES - 1))
_TRUTH = st.lists(st.tuples(*_WHERE, _PROPER), max_size=6)
_FOUND = st.lists(st.tuples(*_WHERE, _BOX, st.integers(0, 3).map(float)), max_size=14)


def _rows(rows, scored):
    return BoxRows(
        video_idx=np.array([row[0] for row in rows], np.int64),
        frame=np.array([row[1] for row in rows], np.int64),
        label=np.array([row[2] for row in rows], np.int64),
        boxes=np.array([row[3] for row in rows], np.float64).reshape(-1, 4),
        score=np.array([row[4] for row in rows], np.float64) if scored else None,
    )


def _split(rows, label):
    return [((row[0], row[1]), row[3]) for row in rows if row[2] == label]


@settings(max_examples=60, deadline=None)
@given(_TRUTH, _FOUND, st.sampled_from(sorted(FRAME_RULES)))
def test_boxes_equal_judging_one_by_one(truth, found, name):
    rule = FRAME_RULES[name]
    pairs = frame_candidates(_rows(truth, False), _rows(found, True), rule)
    result = average_precision(pairs, IOUS, rule, class_count=CLASSES)
    for label in range(CLASSES):
        wanted = _split(truth, label)
        ranked = _split(sorted(found, key=lambda row: -row[4]), label)
        for row, threshold in enumerate(IOUS):
            expected = (
                _slow_ap(
                    ranked, wanted, lambda a, b: _slow_iou(a, b, 1), threshold,
                    retry=name == "act", envelope=name != "act",
                )
                if wanted
                else np.nan
            )  # fmt: skip
            np.testing.assert_allclose(result[row, label], expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(_TRUTH, _FOUND, st.randoms(use_true_random=False))
def test_pascal_equals_judging_one_by_one(truth, found, random):
    scores = [step / 16 for step in range(len(found))]
    random.shuffle(scores)  # No equal scores: their order is the file's in a frame and the reverse between frames.
    found = [(*row[:4], score) for row, score in zip(found, scores, strict=True)]
    found = [row for row in found if row[3][0] < row[3][2] and row[3][1] < row[3][3]]
    result = pascal_average_precision(_rows(truth, False), _rows(found, True), IOUS, class_count=CLASSES)
    for label in range(CLASSES):
        wanted = _split(truth, label)
        ranked = _split(sorted(found, key=lambda row: -row[4]), label)
        for row, threshold in enumerate(IOUS):
            overlap = lambda a, b: _slow_iou(a, b, 0)  # noqa: E731
            expected = _slow_ap(ranked, wanted, overlap, threshold, retry=False, envelope=True) if wanted else np.nan
            np.testing.assert_allclose(result[row, label], expected, rtol=1e-12, atol=1e-12)


_TUBE = st.tuples(
    st.integers(0, 1), st.integers(0, CLASSES - 1), st.integers(1, 4), st.lists(_PROPER, min_size=1, max_size=3)
)


def _tube(row, score=1.0):
    frames = np.arange(row[2], row[2] + len(row[3]))
    return VideoTube(video_idx=row[0], tube=FrameTube(frames=frames, boxes=np.array(row[3]), label=row[1], score=score))


def _as_boxes(row):
    return {row[2] + step: box for step, box in enumerate(row[3])}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(_TUBE, max_size=5),
    st.lists(st.tuples(_TUBE, st.integers(0, 3).map(float)), max_size=10),
    st.sampled_from(sorted(TUBE_RULES)),
)
def test_tubes_equal_judging_one_by_one(truth, found, name):
    rule = TUBE_RULES[name]
    pairs = tube_candidates([_tube(row) for row in truth], [_tube(row, score) for row, score in found], rule)
    result = average_precision(pairs, IOUS, rule, class_count=CLASSES)
    for label in range(CLASSES):
        wanted = [(row[0], _as_boxes(row)) for row in truth if row[1] == label]
        ranked = [(row[0], _as_boxes(row)) for row, _ in sorted(found, key=lambda each: -each[1]) if row[1] == label]
        for row, threshold in enumerate(IOUS):
            expected = (
                _slow_ap(
                    ranked, wanted, lambda a, b: _slow_tube_iou(a, b, name == "act"), threshold,
                    retry=True, envelope=name == "yowo", margin=1e-5 if name == "yowo" else 0.0,
                )
                if wanted
                else np.nan
            )  # fmt: skip
            np.testing.assert_allclose(result[row, label], expected, rtol=1e-9, atol=1e-12)


def _ap(name, truth, found, threshold=0.5):
    rule = FRAME_RULES[name]
    pairs = frame_candidates(_rows(truth, False), _rows(found, True), rule)
    return average_precision(pairs, [threshold], rule, class_count=CLASSES)[0].tolist()


BOX, NEAR = (0.0, 0.0, 9.0, 9.0), (0.0, 0.0, 9.0, 8.0)


def test_two_detections_on_one_ground_truth_are_one_right_and_one_wrong():
    truth = [(0, 1, 0, BOX), (0, 2, 0, BOX)]
    found = [(0, 1, 0, BOX, 0.9), (0, 1, 0, NEAR, 0.8), (0, 2, 0, BOX, 0.7)]
    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1.
    assert _ap("act", truth, found)[0] == pytest.approx(0.5 * 1 + 0.5 * (1 / 2 + 2 / 3) / 2)
    assert _ap("yowo", truth, found)[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_the_second_best_counts_for_act_only():
    truth = [(0, 1, 0, BOX), (0, 1, 0, NEAR)]
    found = [(0, 1, 0, BOX, 0.9), (0, 1, 0, BOX, 0.8)]
    assert _ap("act", truth, found)[0] == 1.0
    assert _ap("yowo", truth, found)[0] == 0.5


def test_a_class_without_ground_truth_has_no_ap_and_one_without_detections_has_none_right():
    assert _ap("act", [(0, 1, 0, BOX)], [(0, 1, 1, BOX, 0.5)])[0] == 0.0
    assert np.isnan(_ap("act", [(0, 1, 0, BOX)], [(0, 1, 1, BOX, 0.5)])[1])


def test_the_last_pixel_belongs_to_the_box():
    half = (0.0, 0.0, 9.0, 4.0)  # 50 of 100 pixels; 36 of 81 between the edges.
    assert _ap("act", [(0, 1, 0, BOX)], [(0, 1, 0, half, 1.0)])[0] == 1.0
    result = pascal_average_precision(
        _rows([(0, 1, 0, BOX)], False), _rows([(0, 1, 0, half, 1.0)], True), [0.5], class_count=1
    )
    assert result[0, 0] == 0.0


def test_tubes_of_one_common_frame():
    truth, found = (0, 0, 1, [BOX]), (0, 0, 1, [BOX])
    for name, expected in (("act", 1.0), ("yowo", 0.0)):
        rule = TUBE_RULES[name]
        pairs = tube_candidates([_tube(truth)], [_tube(found)], rule)
        assert average_precision(pairs, [0.5], rule, class_count=1)[0, 0] == expected


def test_the_denominator_of_yowo():
    rule = TUBE_RULES["yowo"]
    tubes = [_tube((0, 0, 1, [BOX, BOX]))]
    assert average_precision(tube_candidates(tubes, tubes, rule), [0.5], rule, class_count=1)[0, 0] == 1 / (1 + 1e-5)


def test_more_than_sixteen_equal_scores_are_in_the_order_of_numpys_quicksort():
    """A median of three pivots swaps rows around: of 17 equal values the order is known from the algorithm."""
    assert numpy_order(np.zeros(16)).tolist() == list(range(16))
    moved = numpy_order(np.zeros(40))
    assert sorted(moved.tolist()) == list(range(40))
    assert moved.tolist() == _introsort(np.zeros(40))
    values = np.random.default_rng(3).integers(0, 4, 200).astype(float)
    assert numpy_order(values).tolist() == _introsort(values)


def _introsort(values):
    """Quicksort of a list of rows as NumPy has it: median of three, Hoare's partition, insertion below 17."""
    rows = list(range(len(values)))
    waiting = [(0, len(rows) - 1)]
    while waiting:
        low, high = waiting.pop()
        while high - low > 15:
            middle = low + ((high - low) >> 1)
            for one, two in ((middle, low), (high, middle), (middle, low)):
                if values[rows[one]] < values[rows[two]]:
                    rows[one], rows[two] = rows[two], rows[one]
            pivot = values[rows[middle]]
            left, right = low, high - 1
            rows[middle], rows[right] = rows[right], rows[middle]
            while True:
                left += 1
                while values[rows[left]] < pivot:
                    left += 1
                right -= 1
                while pivot < values[rows[right]]:
                    right -= 1
                if left >= right:
                    break
                rows[left], rows[right] = rows[right], rows[left]
            rows[left], rows[high - 1] = rows[high - 1], rows[left]
            if left - low < high - left:
                waiting.append((left + 1, high))
                high = left - 1
            else:
                waiting.append((low, left - 1))
                low = left + 1
        for position in range(low + 1, high + 1):
            row, hole = rows[position], position
            while hole > low and values[row] < values[rows[hole - 1]]:
                rows[hole] = rows[hole - 1]
                hole -= 1
            rows[hole] = row
    return rows
