"""Boxes as columns, and their overlap against pixels counted one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.boxes import KeyframeBoxes, box_iou, keyframes
from tal.errors import TalError

_CORNER = st.integers(0, 6)
_BOX = st.tuples(_CORNER, _CORNER, _CORNER, _CORNER).map(
    lambda ends: (min(ends[0], ends[2]), min(ends[1], ends[3]), max(ends[0], ends[2]), max(ends[1], ends[3]))
)


def _cells(box, inclusive):
    more = 1 if inclusive else 0
    return {(x, y) for x in range(box[0], box[2] + more) for y in range(box[1], box[3] + more)}


@settings(max_examples=50, deadline=None)
@given(st.lists(_BOX, min_size=1, max_size=5), st.lists(_BOX, min_size=1, max_size=5), st.booleans())
def test_iou_is_the_share_of_common_cells(first, second, inclusive):
    result = box_iou(first, second, inclusive=inclusive)
    for row, one in enumerate(first):
        for column, two in enumerate(second):
            common, either = (
                getattr(_cells(one, inclusive), way)(_cells(two, inclusive)) for way in ("intersection", "union")
            )
            assert result[row, column] == pytest.approx(len(common) / len(either) if either else 0)
    count = min(len(first), len(second))
    by_row = box_iou(first[:count], second[:count], pairwise=False, inclusive=inclusive)
    assert by_row.tolist() == np.diag(result[:count, :count]).tolist()


def test_iou_of_no_boxes_and_of_empty_boxes():
    assert box_iou(np.empty((0, 4)), [[0, 0, 1, 1]]).shape == (0, 1)
    assert box_iou([[0, 0, 1, 1]], []).shape == (1, 0)
    assert box_iou([[0.5, 0.5, 0.5, 0.5]], [[0.5, 0.5, 0.5, 0.5]]).tolist() == [[0.0]]
    assert box_iou([[5, 5, 5, 5]], [[5, 5, 5, 5]], inclusive=True).tolist() == [[1.0]]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-2, 2)), max_size=12))
def test_keyframes_are_numbered_by_their_first_row(rows):
    video_idx, time_s = np.array(rows, np.int64).reshape(-1, 2).T
    number, first = keyframes(video_idx, time_s / 4)
    known = {}
    assert number.tolist() == [known.setdefault(row, len(known)) for row in rows]
    assert first.tolist() == [rows.index(row) for row in known]


def test_times_that_agree_in_six_decimals_are_one_keyframe():
    boxes = KeyframeBoxes.from_rows(["b", "a", "b"], [902, 902, 902.0000001], np.zeros((3, 4)), [1, 1, 2])
    assert boxes.videos == ("b", "a")
    assert boxes.frame_idx.tolist() == [0, 1, 0]
    assert boxes.frame_time_s.tolist() == [902, 902]
    assert "3 boxes on 2 keyframes of 2 videos" in repr(boxes)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"class_id": [1]}, "different lengths"),
        ({"score": [0.5, float("nan")]}, "score that is NaN"),
        ({"boxes": [[0, 0, 1, float("inf")], [0, 0, 1, 1]]}, "box that is NaN"),
        ({"time_s": [float("nan"), 1]}, "time that is NaN"),
    ],
)
def test_columns_are_checked(changed, told):
    columns = {"time_s": [1, 2], "boxes": np.zeros((2, 4)), "class_id": [1, 2]} | changed
    with pytest.raises(TalError, match=told):
        KeyframeBoxes.from_rows(["a", "a"], **columns)
    with pytest.raises(TalError, match="frame_idx from 0 to 3"):
        KeyframeBoxes(
            videos=("a",),
            frame_video_idx=[0],
            frame_time_s=[1],
            frame_idx=[0, 3],
            class_id=[1, 1],
            boxes=np.zeros((2, 4)),
        )
