"""Average recall against plain loops over videos, instances and points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.detection import Rows
from tal.metrics.proposals import RecallCurve, recall_curve, shared_recall_curve

TIOUS = [0.3, 0.5, 0.75]


def _tiou(a, b):
    inter = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    union = (a[1] - a[0]) + (b[1] - b[0]) - inter
    return inter / union if union > 0 else 0.0


def _ranked(proposals, video):
    return sorted((row for row in proposals if row[0] == video), key=lambda row: -row[3])


def _found(truth, proposals, video, count, threshold):
    """How many instances of a video its best `count` proposals find."""
    looked_at = _ranked(proposals, video)[:count]
    ours = [row for row in truth if row[0] == video]
    return sum(any(_tiou(row[1:3], each[1:3]) >= threshold for each in looked_at) for row in ours)


def _slow_curve(truth, proposals, threshold, limit):
    videos = sorted({row[0] for row in truth})
    ratio = limit * float(len(videos)) / len(proposals)
    have = {video: len(_ranked(proposals, video)) for video in videos}
    kept = {video: min(int(count * ratio), count) for video, count in have.items()}
    total = sum(kept.values())
    recalls = []
    for point in range(1, limit + 1):
        share = point / float(limit) * (limit * float(len(videos)) / total)
        counts = {video: min(int(kept[video] * share), kept[video]) for video in videos}
        recalls.append(sum(_found(truth, proposals, video, counts[video], threshold) for video in videos) / len(truth))
    return recalls


def _slow_shared(truth, proposals, threshold, points):
    videos = sorted({row[0] for row in proposals})
    total = sum(row[0] in videos for row in truth)
    return [
        sum(
            _found(truth, proposals, video, int(len(_ranked(proposals, video)) * (point / points)), threshold)
            for video in videos
        )
        / total
        for point in range(1, points + 1)
    ]


def _rows(rows, scored):
    columns = list(zip(*rows, strict=True)) or [[]] * (4 if scored else 3)
    return Rows(
        video_idx=np.array(columns[0], np.int64),
        label=np.arange(len(rows)) % 3,
        start_s=np.array(columns[1], float),
        end_s=np.array(columns[2], float),
        score=np.array(columns[3], float) if scored else None,
    )


_TIME = st.integers(0, 8).map(float)
_TRUTH = st.lists(st.tuples(st.integers(0, 2), _TIME, _TIME), min_size=1, max_size=10)
_PROPOSALS = st.lists(st.tuples(st.integers(0, 3), _TIME, _TIME, st.integers(0, 6).map(float)), min_size=1, max_size=20)


@settings(max_examples=50, deadline=None)
@given(_TRUTH, _PROPOSALS, st.sampled_from([2, 5, 10]))
def test_the_curve_is_that_of_plain_loops(truth, proposals, limit):
    curve = recall_curve(_rows(truth, False), _rows(proposals, True), TIOUS, limit=limit)
    np.testing.assert_allclose(curve.number, np.arange(1, limit + 1), rtol=1e-12)
    have = {row[0] for row in truth} & {row[0] for row in proposals}
    if not have:
        assert not curve.recall.any()
        return
    videos = {row[0] for row in truth}
    ratio = limit * float(len(videos)) / len(proposals)
    if sum(min(int(len(_ranked(proposals, video)) * ratio), len(_ranked(proposals, video))) for video in videos):
        expected = [_slow_curve(truth, proposals, threshold, limit) for threshold in TIOUS]
        np.testing.assert_allclose(curve.recall, expected, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(_TRUTH, _PROPOSALS)
def test_the_curve_of_shares_is_that_of_plain_loops(truth, proposals):
    curve = shared_recall_curve(_rows(truth, False), _rows(proposals, True), TIOUS, points=6)
    if not {row[0] for row in truth} & {row[0] for row in proposals}:
        assert np.isnan(curve.recall).all()
        return
    expected = [_slow_shared(truth, proposals, threshold, 6) for threshold in TIOUS]
    np.testing.assert_allclose(curve.recall, expected, rtol=1e-12)
    per_video = len(proposals) / len({row[0] for row in proposals})
    assert curve.number[-1] == pytest.approx(per_video)


def test_a_worked_curve():
    truth = _rows([(0, 0, 10), (0, 20, 30), (1, 0, 10)], False)
    proposals = _rows([(0, 20, 30, 0.9), (0, 0, 10, 0.8), (1, 50, 60, 0.9), (1, 0, 10, 0.1)], True)
    curve = recall_curve(truth, proposals, [0.5], limit=4)
    assert curve.number.tolist() == [1, 2, 3, 4]
    assert curve.average_recall.tolist() == [pytest.approx(1 / 3), 1, 1, 1]
    assert curve.area == pytest.approx(((1 / 3 + 1) / 2 + 1 + 1) / 4)


def test_recall_between_points_and_outside():
    curve = RecallCurve(number=np.array([1.0, 3.0]), recall=np.array([[0.2, 0.4], [0.4, 0.8]]))
    assert curve.at(2) == pytest.approx(0.45)
    assert np.isnan(curve.at(4))
    assert curve.area == pytest.approx((0.3 + 0.6) / 2 * 2 / 3)


def test_segments_without_length_find_nothing():
    nothing = recall_curve(_rows([(0, 5, 5)], False), _rows([(0, 5, 5, 1.0)], True), [0.5], limit=1)
    assert nothing.recall.tolist() == [[0.0]]
