"""Per-frame AP against plain loops over frames and segments."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.frames import frame_average_precision, frame_labels, point_times, row_times, segment_scores
from tal.segments import Segments

CLASSES = ("jump", "run")
_TIME = st.integers(0, 6).map(float)
_SEGMENT = st.tuples(_TIME, _TIME, st.integers(-1, 1), st.integers(0, 3).map(float))


def _segments(rows):
    columns = list(zip(*rows, strict=True)) or [[], [], [], []]
    return Segments(start_s=columns[0], end_s=columns[1], label=columns[2], score=columns[3], classes=CLASSES)


def _in(time, row, ends):
    return row[0] <= time <= row[1] if ends == "closed" else row[0] < time < row[1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.lists(_SEGMENT, max_size=4), st.lists(_SEGMENT, max_size=6)), min_size=1, max_size=3),
    st.sampled_from(["closed", "open"]),
)
def test_equal_to_judging_frame_by_frame(videos, ends):
    times = np.arange(13) / 2
    scores, labels, rows = [], [], []
    for truth, found in videos:
        scores.append(segment_scores(times, _segments(found), class_count=2, ends=ends))
        labels.append(frame_labels(times, _segments(truth), class_count=2, ends=ends))
        for time in times.tolist():
            row = []
            for label in range(2):
                covering = [each[3] for each in found if each[2] == label and _in(time, each, ends)]
                shown = any(each[2] == label and _in(time, each, ends) for each in truth)
                row.append((max(covering, default=-np.inf), shown))
            rows.append(row)
    found = frame_average_precision(np.concatenate(scores), np.concatenate(labels))
    for label in range(2):
        ranked = [row[label][1] for row in sorted(rows, key=lambda row: -row[label][0])]
        precision = [sum(ranked[:rank]) / rank for rank, shown in enumerate(ranked, 1) if shown]
        expected = sum(precision) / len(precision) if precision else np.nan
        np.testing.assert_allclose(found[label], expected, rtol=1e-12)


def test_times():
    assert row_times(4, duration_s=8).tolist() == [0, 2, 4, 6]
    assert row_times(3, rate=10).tolist() == [0, 0.1, 0.2]
    assert point_times(4, 10).tolist() == [0, 2.5, 5, 7.5]


def test_a_worked_ranking_of_frames():
    scores = np.array([[0.9, 0.1], [0.8, 0.1], [0.7, 0.9]])
    labels = np.array([[True, False], [False, False], [True, False]])
    found = frame_average_precision(scores, labels)
    assert found[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(found[1])
    together = frame_average_precision(np.ones((4, 1)), np.array([[True], [False], [False], [True]]), ties="together")
    assert together.tolist() == [0.5]
