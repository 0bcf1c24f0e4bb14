"""Unusual activity localization against plain arithmetic, query by query."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics import onset

_TIME = st.integers(0, 12).map(lambda value: value / 2)
_ANSWER = st.one_of(st.just(math.nan), _TIME, st.just(20_001.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_ANSWER, _ANSWER, _TIME, _TIME, _TIME), min_size=1, max_size=8))
def test_equal_to_plain_arithmetic(rows):
    start_s, end_s, begin_s, stop_s, second_s = np.array(rows, float).T
    overlap = onset.overlaps(start_s, end_s, begin_s, stop_s)
    difference = onset.time_differences(start_s, end_s, begin_s, stop_s)
    onsets_s = np.stack([begin_s, second_s], axis=1)
    near = onset.onset_hits(start_s, end_s, onsets_s, 1.0)
    means = []
    for row, (first, last, begin, stop, second) in enumerate(rows):
        missing = math.isnan(first) or math.isnan(last)
        inter = 0 if missing else max(0, min(stop, last) - max(begin, first))
        union = 0 if missing else (stop - begin) + (last - first) - inter
        assert overlap[row] == pytest.approx(inter / union if union > 0 else 0)
        expected = stop if missing else abs(begin - first) + abs(stop - last)
        assert difference[row] == pytest.approx(expected)
        means.append(stop if expected > 10_000 else expected)
        assert near[row] == (not missing and (abs(begin - first) <= 1 or abs(second - first) <= 1))
    assert onset.mean_time_difference(difference, stop_s) == pytest.approx(sum(means) / len(means))


def test_intervals_without_length_and_reversed_ones_do_not_crash():
    truth = np.array([3.0, 3.0, 3.0]), np.array([3.0, 5.0, 5.0])
    start_s, end_s = np.array([3.0, 4.0, 5.0]), np.array([3.0, 4.0, 3.0])
    assert onset.overlaps(start_s, end_s, *truth).tolist() == [0, 0, 0]
    assert onset.time_differences(start_s, end_s, *truth).tolist() == [0, 2, 4]
