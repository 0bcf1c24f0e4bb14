"""Segments and tIoU against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal import Segments, TalError
from tal.segments import tiou

times = st.floats(-1e4, 1e4, allow_nan=False)
spans = st.lists(st.tuples(times, times), max_size=8)


def _brute_tiou(a, b):
    """Overlap measured by hand, one pair at a time."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    inter = high - low if high > low else 0.0
    union = (a[1] - a[0]) + (b[1] - b[0]) - inter
    return inter / union if union > 0 else 0.0


@given(spans, spans)
def test_tiou_equals_brute_force(first, second):
    a, b = np.array(first).reshape(-1, 2), np.array(second).reshape(-1, 2)
    got = tiou(a[:, 0], a[:, 1], b[:, 0], b[:, 1])
    want = np.array([[_brute_tiou(x, y) for y in second] for x in first]).reshape(len(first), len(second))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=0)


@given(spans)
def test_tiou_row_by_row_is_the_diagonal(rows):
    a = np.array(rows).reshape(-1, 2)
    b = a + np.array([0.5, 1.5])
    full = tiou(a[:, 0], a[:, 1], b[:, 0], b[:, 1])
    np.testing.assert_array_equal(tiou(a[:, 0], a[:, 1], b[:, 0], b[:, 1], pairwise=False), np.diag(full))


def test_tiou_of_faulty_segments_is_zero():
    assert tiou([np.nan, 3.0, 2.0], [1.0, 1.0, 2.0], [0.0], [2.0]).tolist() == [[0.0], [0.0], [0.0]]


def _some():
    return Segments.from_names(
        [0, 5, 2], [1, 6, 4], ["walk", "run", "walk"], score=[0.2, 0.9, 0.5], extra={"query": np.array(["a", "b", "c"])}
    )


def test_rows_carry_every_column():
    picked = _some()[[2, 0]]
    assert picked.start_s.tolist() == [2, 0]
    assert picked.names == ["walk", "walk"]
    assert picked.extra["query"].tolist() == ["c", "a"]
    assert _some().by_score().score.tolist() == [0.9, 0.5, 0.2]
    assert len(_some()[_some().score > 1]) == 0


def test_ties_keep_their_order():
    tied = Segments(start_s=np.arange(6.0), end_s=np.arange(6.0) + 1, score=np.array([1, 2, 1, 2, 1, 2]))
    assert tied.by_score().start_s.tolist() == [1, 3, 5, 0, 2, 4]


def test_concat_is_the_inverse_of_slicing():
    whole = _some()
    again = Segments.concat([whole[:1], whole[1:]])
    assert again.start_s.tolist() == whole.start_s.tolist()
    assert again.extra["query"].tolist() == whole.extra["query"].tolist()
    with pytest.raises(TalError, match="different class lists"):
        Segments.concat([whole, Segments.empty(["other"])])


def test_shift_and_clip():
    moved = _some().shifted(10).clipped(11, 15.5)
    assert moved.start_s.tolist() == [11, 15, 12]
    assert moved.end_s.tolist() == [11, 15.5, 14]
    assert _some().length_s.tolist() == [1, 1, 2]


def test_class_list_is_sorted_without_one_and_kept_with_one():
    assert _some().classes == ("run", "walk")
    assert Segments.from_names([0], [1], ["walk"], classes=["walk", "run"]).label.tolist() == [0]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Segments(start_s=np.zeros(2), end_s=np.ones(3)), "different lengths"),
        (lambda: Segments(start_s=np.zeros(1), end_s=np.ones(1), extra={"x": np.zeros(2)}), "different lengths"),
        (lambda: Segments(start_s=np.zeros(1), end_s=np.ones(1), label=np.array([0])), "0 classes"),
        (lambda: Segments.from_names([0], [1], ["jump"], classes=["walk"]), "not in the class list: jump"),
    ],
)
def test_wrong_columns_are_refused(build, message):
    with pytest.raises(TalError, match=message):
        build()


def test_proposals_have_no_class():
    proposals = Segments(start_s=np.zeros(1), end_s=np.ones(1))
    assert proposals.label.tolist() == [-1]
    assert proposals.names == [""]
    assert proposals.score.tolist() == [1.0]
