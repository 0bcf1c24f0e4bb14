"""The who-when-where score: every branch of the walk, and a plain second walk over lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.who_when import Score, match_rows, score_rows


@pytest.mark.parametrize(
    ("truth", "submitted", "expected"),
    [
        ([100], [100], [0]),
        ([100], [110], [0]),  # Ten frames late matches,
        ([100], [111], [-1]),  # eleven do not;
        ([100], [90], [0]),  # ten early likewise,
        ([100], [89], [-1]),
        ([100, 110], [109], [0]),  # The earlier one wins although the later is nearer.
        ([100, 115], [111], [1]),  # The earlier is too far: the later.
        ([100, 105], [106, 107], [1, -1]),  # Both passed by the first row; the second finds none.
        ([100, 105], [104, 104], [0, 1]),  # The first took the earlier, the second the one ahead.
        ([100], [95, 96], [0, -1]),  # Taken from ahead is passed too.
        ([100, 200], [150, 195], [-1, 1]),  # Passed by a row that did not match.
        ([100, 105, 120], [130, 106], [2, -1]),  # Rows that go back find nothing that was passed.
        ([100, 105, 125], [130, 121], [2, -1]),
        ([], [5], [-1]),
        ([5], [], []),
    ],
)
def test_the_walk(truth, submitted, expected):
    assert match_rows(truth, submitted).tolist() == expected


def _slow_matches(truth, submitted, tolerance):
    left_over = list(enumerate(truth))
    result = []
    for at in submitted:
        passed = []
        while left_over and left_over[0][1] <= at:
            passed.append(left_over.pop(0))
        if passed and at - passed[-1][1] <= tolerance:
            result.append(passed[-1][0])
        elif left_over and left_over[0][1] - at <= tolerance:
            result.append(left_over.pop(0)[0])
        else:
            result.append(-1)
    return result


_FRAMES = st.lists(st.integers(0, 60), max_size=8)


@settings(max_examples=50, deadline=None)
@given(_FRAMES, _FRAMES, st.integers(0, 12))
def test_equal_to_a_plain_walk(truth, submitted, tolerance):
    assert match_rows(truth, submitted, tolerance=tolerance).tolist() == _slow_matches(truth, submitted, tolerance)


def test_row_scores_and_accuracy():
    truth = np.array([["1", "2", "0"], ["1", "3", "0"]])
    found = np.array([["1", "2", "3"], ["1", "9", "0"], ["1", "3", "0"]])
    present = np.ones((3, 3), bool)
    score = score_rows([0, 50], truth, [4, 47, 300], found, present)
    assert (score.matched, score.submitted, score.truth) == (2, 3, 2)
    assert score.row_scores == pytest.approx(2 / 3 + 2 / 3)
    assert score.accuracy == pytest.approx((4 / 3) / (2 + 0.5 * (1 + 0)))


def test_a_missing_cell_is_wrong_even_if_empty_text_would_be_right():
    truth, found = np.array([["", "2"]]), np.array([["", "2"]])
    assert score_rows([0], truth, [0], found, [[False, True]]).row_scores == 0.5
    assert score_rows([0], truth, [0], found, [[True, True]]).row_scores == 1.0


def test_scores_add_up():
    one, two = (Score(row_scores=1.0, matched=1, submitted=count, truth=1) for count in (1, 3))
    assert (one.accuracy, two.accuracy) == (1.0, 1 / 2)
    assert (one + two).accuracy == pytest.approx(2 / (2 + 0.5 * 2))
    assert np.isnan(Score(row_scores=0.0, matched=0, submitted=0, truth=0).accuracy)
    assert Score(row_scores=0.0, matched=0, submitted=0, truth=4).accuracy == 0.0
