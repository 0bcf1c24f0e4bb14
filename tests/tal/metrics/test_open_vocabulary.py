"""Class-agnostic recall against a slow reference, and the rounding of T3AL."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.detection import overlaps, recall_at
from tal.metrics.open_vocabulary import recall_of_best, rounded_percent, without_classes

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from detection_rows import rows_of

TIOUS = [0.3, 0.5]


@st.composite
def _row(draw, scored):
    start = draw(st.integers(0, 8))
    row = (draw(st.integers(0, 2)), draw(st.integers(0, 2)), start, start + draw(st.integers(0, 5)))
    return (*row, draw(st.integers(0, 3)) / 4) if scored else row


def _slow_recall(truth, predictions, threshold, admitted):
    """Share of the instances that one of their video's best predictions overlaps; `admitted`: instances -> number."""
    hit = 0
    for instance in truth:
        inside = sorted((each for each in predictions if each[0] == instance[0]), key=lambda each: -each[4])
        for each in inside[: admitted(sum(other[0] == instance[0] for other in truth))]:
            inter = max(0, min(each[3], instance[3]) - max(each[2], instance[2]))
            union = each[3] - each[2] + instance[3] - instance[2] - inter
            if union and inter / union >= threshold:
                hit += 1
                break
    return hit / len(truth)


@settings(max_examples=50, deadline=None)
@given(st.lists(_row(False), min_size=1, max_size=9), st.lists(_row(True), max_size=14))
def test_recall_ignores_classes(truth, predictions):
    pairs = overlaps(
        without_classes(rows_of(truth, False)), without_classes(rows_of(predictions, True)), TIOUS, class_count=1
    )
    for count in (1, 2, 100):
        expected = [_slow_recall(truth, predictions, threshold, lambda _, count=count: count) for threshold in TIOUS]
        assert recall_of_best(pairs, count) == pytest.approx(expected)
        expected = [_slow_recall(truth, predictions, threshold, lambda size, x=count: x * size) for threshold in TIOUS]
        assert recall_at(pairs, count)[:, 0] == pytest.approx(expected)


def test_rounding_to_a_tenth_of_a_per_cent():
    assert rounded_percent(np.array([0.12345, 0.9996, 0.0004])) == pytest.approx([0.123, 1.0, 0.0])
