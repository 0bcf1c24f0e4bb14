"""Tubes of boxes: overlap and suppression against plain loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.errors import TalError
from tal.ops.tubes import FrameTube, nms_tubes, tube_iou

BOX = (0.0, 0.0, 9.0, 9.0)


def _tube(first, boxes, score=1.0):
    return FrameTube(frames=np.arange(first, first + len(boxes)), boxes=np.array(boxes, float), score=score)


def _slow_box_iou(a, b, one):
    width, height = (min(a[2 + side], b[2 + side]) - max(a[side], b[side]) + one for side in (0, 1))
    inter = max(width, 0) * max(height, 0)
    union = sum((each[2] - each[0] + one) * (each[3] - each[1] + one) for each in (a, b)) - inter
    return inter / union if union > 0 else 0.0


def _slow_iou(a, b, one, touching):
    first, last = max(a.first, b.first), min(a.last, b.last)
    common = last - first + 1
    if common < (1 if touching else 2):
        return 0.0
    ours, others = (dict(zip(each.frames.tolist(), each.boxes.tolist(), strict=True)) for each in (a, b))
    shared = set(ours) & set(others)
    mean = sum(_slow_box_iou(ours[frame], others[frame], one) for frame in shared) / common
    return mean * common / (max(a.last, b.last) - min(a.first, b.first) + 1)


_SIDE = st.integers(0, 4).map(float)
_BOX = st.tuples(_SIDE, _SIDE, _SIDE, _SIDE).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@st.composite
def _tubes(draw):
    """Up to five tubes, some with gaps, equal scores among them."""
    found = []
    for _ in range(draw(st.integers(0, 5))):
        frames = sorted(draw(st.sets(st.integers(1, 7), min_size=1, max_size=5)))
        boxes = [draw(_BOX) for _ in frames]
        found.append(FrameTube(frames=np.array(frames), boxes=np.array(boxes), score=draw(st.integers(0, 2)) / 2))
    return found


@settings(max_examples=60, deadline=None)
@given(_tubes(), _tubes(), st.booleans(), st.booleans())
def test_overlap_equals_plain_loops(first, second, inclusive, touching):
    result = tube_iou(first, second, inclusive=inclusive, touching=touching)
    assert result.shape == (len(first), len(second))
    for row, one in enumerate(first):
        for column, other in enumerate(second):
            expected = _slow_iou(one, other, 1 if inclusive else 0, touching)
            assert result[row, column] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(_tubes(), st.sampled_from([0.0, 0.3, 0.5]))
def test_suppression_equals_plain_loops(tubes, max_iou):
    kept = []
    for row in sorted(range(len(tubes)), key=lambda row: (tubes[row].score, row), reverse=True):
        if all(_slow_iou(tubes[row], tubes[other], 1, True) <= max_iou for other in kept):
            kept.append(row)
    assert nms_tubes(tubes, max_iou) == kept


def test_an_overlap_of_exactly_the_threshold_stays():
    long, short = _tube(1, [BOX] * 10, 0.9), _tube(1, [BOX] * 3, 0.8)
    assert tube_iou([long], [short])[0, 0] == 0.3
    assert nms_tubes([long, short], 0.3) == [0, 1]
    assert nms_tubes([long, short], 0.29) == [0]


def test_tubes_that_are_none():
    with pytest.raises(TalError, match="lengths"):
        FrameTube(frames=np.array([1, 2]), boxes=np.zeros((1, 4)))
    with pytest.raises(TalError, match="lengths"):
        FrameTube(frames=np.zeros(0), boxes=np.zeros((0, 4)))
    for frames in ([2, 1], [1, 1], [1.5, 2]):
        with pytest.raises(TalError, match="whole numbers that increase"):
            FrameTube(frames=np.array(frames), boxes=np.zeros((2, 4)))
    tube = _tube(3, [BOX, BOX], 0.5)
    assert (len(tube), tube.first, tube.last) == (2, 3, 4)
    assert tube.box_score.tolist() == [0.5, 0.5]
    assert tube.labelled(2).label == 2
