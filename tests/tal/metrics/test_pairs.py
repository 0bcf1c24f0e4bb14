"""Pairs of hand and object against judging them one by one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.pairs import Pairs, pair_ap, right_pairs

NONE = [math.nan] * 4


def _pairs(rows, scored):
    return Pairs(
        image_idx=np.array([row[0] for row in rows], np.int64),
        box=np.array([row[1] for row in rows], float).reshape(-1, 4),
        partner=np.array([row[2] or NONE for row in rows], float).reshape(-1, 4),
        score=np.array([row[3] for row in rows], float) if scored else None,
    )


def _iou(a, b, more):
    width = min(a[2], b[2]) - max(a[0], b[0]) + more
    height = min(a[3], b[3]) - max(a[1], b[1]) + more
    inter = max(width, 0) * max(height, 0)
    union = sum((box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (a, b)) - inter
    return inter / union if union else 0


def _slow_ap(detected, truth, threshold):
    left = list(truth)
    hits, recall, precision = 0, [], []
    for rank, (image, hand, thing, _) in enumerate(sorted(detected, key=lambda row: -row[3]), 1):
        best, place = -1, None
        for position, instance in enumerate(left):
            if instance[0] == image and _iou(hand, instance[1], 1) > best:
                best, place = _iou(hand, instance[1], 1), position
        if place is not None and best > threshold:
            other = left[place][2]
            fits = (thing is None) == (other is None) and (thing is None or _iou(thing, other, 0) > threshold)
            if fits:
                hits += 1
                del left[place]
        recall.append(hits / len(truth) if truth else math.nan)
        precision.append(hits / rank)
    if not truth:
        return math.nan
    total = 0.0
    for point in np.arange(0.0, 1.1, 0.1):
        total += max((p for p, r in zip(precision, recall, strict=True) if r >= point), default=0) / 11
    return total


_SIZES = st.tuples(*[st.integers(0, 3)] * 2, *[st.integers(1, 4)] * 2)
BOX = _SIZES.map(lambda size: [size[0], size[1], size[0] + size[2], size[1] + size[3]])
ROW = st.tuples(st.integers(0, 1), BOX, st.none() | BOX)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(ROW, st.integers(0, 3)).map(lambda each: (*each[0], each[1])), max_size=8),
    st.lists(ROW, max_size=5),
    st.sampled_from([0.25, 0.5]),
)
def test_equal_to_judging_one_by_one(detected, truth, threshold):
    found = pair_ap(_pairs(detected, True), _pairs(truth, False), threshold)
    assert found == pytest.approx(_slow_ap(detected, truth, threshold), nan_ok=True)


HAND, THING, FAR = [0, 0, 9, 9], [10, 0, 20, 10], [50, 50, 60, 60]


@pytest.mark.parametrize(
    ("detected", "truth", "right"),
    [
        ([(0, HAND, None, 1)], [(0, HAND, None)], [True]),
        ([(0, HAND, THING, 1)], [(0, HAND, None)], [False]),
        ([(0, HAND, None, 1)], [(0, HAND, THING)], [False]),
        ([(0, HAND, THING, 1), (0, HAND, THING, 0.5)], [(0, HAND, THING)], [True, False]),
        ([(0, HAND, FAR, 1), (0, HAND, THING, 0.5)], [(0, HAND, THING)], [False, True]),
        ([(0, FAR, THING, 1)], [(0, HAND, THING)], [False]),
        ([(1, HAND, THING, 1)], [(0, HAND, THING)], [False]),
    ],
)
def test_by_hand(detected, truth, right):
    assert right_pairs(_pairs(detected, True), _pairs(truth, False), 0.5).tolist() == right


def test_recall_of_three_tenths_does_not_reach_the_evaluators_third_point():
    truth = [(image, HAND, None) for image in range(10)]
    detected = [(image, HAND, None, 1.0) for image in range(3)]
    assert pair_ap(_pairs(detected, True), _pairs(truth, False), 0.5) == pytest.approx(3 / 11)


def test_objects_by_themselves():
    found = Pairs(image_idx=np.array([0, 0]), box=np.array([THING, FAR], float), score=np.array([0.5, 0.9]))
    truth = Pairs(image_idx=np.array([0]), box=np.array([THING], float))
    assert right_pairs(found, truth, 0.5).tolist() == [False, True]
    assert pair_ap(found, truth, 0.5) == pytest.approx(0.5)
