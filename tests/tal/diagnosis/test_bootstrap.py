"""Draws of videos against rows copied one by one; two sets of predictions that are the same, and that are not."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.diagnosis import bootstrap, compare
from tal.diagnosis.bootstrap import Interval, draws, ranked_by_video, weighted_precision
from tal.diagnosis.errors import judge
from tal.metrics.detection import average_precision, overlaps

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from detection_rows import rows_of

CLASSES, VIDEOS = 3, 4
TIOUS = [0.3, 0.6]


def _judged(truth, predictions):
    instances, found = rows_of(truth, False), rows_of(predictions, True)
    return judge(instances, found, overlaps(instances, found, TIOUS, class_count=CLASSES))


def _ranked(truth, predictions, videos=VIDEOS):
    judged = _judged(truth, predictions)
    return ranked_by_video(judged, judged.predictions.video_idx, judged.truth.video_idx, videos)


def _copied(rows, weights):
    """Every row as often as its video is drawn, each copy in a video of its own, side by side."""
    return [(row[0] + VIDEOS * copy, *row[1:]) for row in rows for copy in range(weights[row[0]])]


_TIME = st.integers(0, 8).map(float)
_INSTANCE = st.tuples(st.integers(0, VIDEOS - 1), st.integers(0, CLASSES - 1), _TIME, _TIME)
_PREDICTION = st.tuples(st.integers(0, VIDEOS - 1), st.integers(0, CLASSES - 1), _TIME, _TIME, st.integers(0, 4))
_TRUTH = st.lists(_INSTANCE, min_size=1, max_size=12)
_FOUND = st.lists(_PREDICTION, max_size=20)


@settings(max_examples=60, deadline=None)
@given(_TRUTH, _FOUND, st.lists(st.integers(0, 3), min_size=VIDEOS, max_size=VIDEOS))
def test_weights_are_copies(truth, predictions, weights):
    found = weighted_precision(_ranked(truth, predictions), np.array([[1] * VIDEOS, weights]))
    # A stable sort by falling score, made beforehand, keeps the copies of a prediction side by side.
    predictions = sorted(predictions, key=lambda row: -row[4])
    for value, each in zip(found, ([1] * VIDEOS, weights), strict=True):
        instances, rows = rows_of(_copied(truth, each), False), rows_of(_copied(predictions, each), True)
        expected = average_precision(overlaps(instances, rows, TIOUS, class_count=CLASSES))
        np.testing.assert_allclose(value, expected, atol=1e-12)


def test_draws_are_of_as_many_videos_and_the_same_for_a_seed():
    drawn = draws(7, 50, seed=3)
    assert drawn.shape == (50, 7)
    assert (drawn.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(drawn, draws(7, 50, seed=3))
    assert (drawn != draws(7, 50, seed=4)).any()


def test_one_video_is_always_drawn_and_its_interval_has_no_width():
    truth = [(0, 0, 0.0, 10.0), (0, 0, 20.0, 30.0)]
    predictions = [(0, 0, 0.0, 10.0, 0.9), (0, 0, 50.0, 60.0, 0.8), (0, 0, 20.0, 30.0, 0.7)]
    ranked = _ranked(truth, predictions, videos=1)
    values = weighted_precision(ranked, draws(1, 20))
    np.testing.assert_allclose(values[:, :, 0], 0.5 + 0.5 * 2 / 3)
    interval = Interval.of(5 / 6, values[:, 0, 0])
    assert (interval.low, interval.high, interval.deviation) == pytest.approx((5 / 6, 5 / 6, 0.0))


def test_a_class_that_is_not_drawn_does_not_count():
    truth = [(0, 0, 0.0, 10.0), (1, 1, 0.0, 10.0)]
    ranked = _ranked(truth, [(0, 0, 0.0, 10.0, 0.9)], videos=2)
    values = weighted_precision(ranked, np.array([[2, 0], [0, 2], [1, 1]]))
    np.testing.assert_array_equal(
        np.isnan(values[:, 0]), [[False, True, True], [True, False, True], [False, False, True]]
    )
    np.testing.assert_array_equal(bootstrap.mean_precision(values)[:, 0], [1.0, 0.0, 0.5])


def test_intervals_leave_out_the_bias_and_stay_in_range():
    drawn = np.linspace(0.5, 0.7, 1001)
    interval = Interval.of(0.5, drawn)
    assert interval.bias == pytest.approx(0.1)
    assert (interval.low, interval.high) == pytest.approx((0.405, 0.595))
    assert Interval.of(0.02, drawn).low == 0.0
    nothing = Interval.of(0.5, np.full(3, np.nan))
    assert np.isnan([nothing.low, nothing.high, nothing.deviation]).all()


def _random_set(seed, *, jitter_s=1.0, scale=1.0, videos=30):
    """(truth, predictions) of a detector that finds most instances."""
    random = np.random.default_rng(seed)
    places = np.random.default_rng(0)
    truth = [(v, int(places.integers(CLASSES)), s, s + 6.0) for v in range(videos) for s in (5.0, 25.0, 45.0)]
    noise = random.normal(0, jitter_s, (len(truth), 2))
    found = [
        (v, c, s + a, max(e + b, s + a + 0.1), scale * random.random())
        for (v, c, s, e), (a, b) in zip(truth, noise, strict=True)
    ]
    found += [
        (video, int(random.integers(CLASSES)), 60.0, 66.0, scale * random.random())
        for video in range(videos)
        for _ in range(random.poisson(1.5))
    ]
    return truth, found


def _tests(first, second, truth, videos=30, resamples=200):
    sides = [_ranked(truth, first, videos), _ranked(truth, second, videos)]
    ones = np.ones((1, videos))
    value = [bootstrap.mean_precision(weighted_precision(side, ones)).mean() for side in sides]
    weights = draws(videos, resamples)
    drawn = [bootstrap.mean_precision(weighted_precision(side, weights)).mean(axis=1) for side in sides]
    difference = value[1] - value[0]
    interval, p = compare.paired_bootstrap(difference, drawn[1] - drawn[0])
    exchanges = np.random.default_rng(1).random((resamples, videos)) < 0.5
    return difference, interval, p, compare.permutation_p(*sides, difference, exchanges)


def test_the_same_predictions_twice_differ_by_nothing():
    truth, found = _random_set(1)
    difference, interval, *p = _tests(found, found, truth)
    assert (difference, interval.low, interval.high) == (0.0, 0.0, 0.0)
    assert p == [1.0, 1.0]


def test_another_scale_of_the_scores_is_no_difference():
    truth, found = _random_set(1)
    scaled = [(*row[:4], row[4] * 1e-3) for row in found]
    difference, _, *p = _tests(found, scaled, truth)
    assert difference == pytest.approx(0.0, abs=1e-12)
    assert p == [1.0, 1.0]


def test_worse_boundaries_are_told_from_chance():
    truth, found = _random_set(1, jitter_s=0.3)
    _, worse = _random_set(2, jitter_s=3.0)
    difference, interval, *p = _tests(found, worse, truth)
    assert difference < interval.high < 0
    assert max(p) < 0.05


@pytest.mark.full
def test_p_values_are_as_rare_as_they_say_where_there_is_no_difference():
    p = np.array(
        [
            _tests(_random_set(2 * seed)[1], _random_set(2 * seed + 1)[1], _random_set(0)[0])[2:]
            for seed in range(1, 201)
        ]
    )
    assert ((p <= 0.1).mean(axis=0) < 0.17).all()
    assert ((p <= 0.5).mean(axis=0) > 0.38).all()


@settings(max_examples=40, deadline=None)
@given(_TRUTH, _FOUND, _FOUND, st.lists(st.booleans(), min_size=VIDEOS, max_size=VIDEOS))
def test_exchanged_videos_are_judged_as_files_with_exchanged_rows(truth, first, second, flips):
    """The statistic behind the permutation test, against two lists of rows whose scores are ranks within a class."""

    def by_rank(rows):
        order = sorted(range(len(rows)), key=lambda each: (rows[each][1], -rows[each][4], each))
        ranks, counts = {}, {}
        for each in order:
            ranks[each] = counts.get(rows[each][1], 0)
            counts[rows[each][1]] = ranks[each] + 1
        return [(*rows[each][:4], -float(ranks[each])) for each in order]

    one, other = by_rank(first), by_rank(second)
    mixed = [row for row in one if not flips[row[0]]] + [row for row in other if flips[row[0]]]
    merged = compare._side_by_side(_ranked(truth, first), _ranked(truth, second))
    flip = np.array([flips], float)
    found = weighted_precision(merged, np.hstack([1 - flip, flip, np.ones((1, 1))]))[0]
    pairs = overlaps(rows_of(truth, False), rows_of(mixed, True), TIOUS, class_count=CLASSES)
    np.testing.assert_allclose(found, average_precision(pairs), atol=1e-12)


def test_precision_within_a_video_alone():
    truth = [(0, 0, 0.0, 10.0), (0, 1, 0.0, 10.0), (1, 0, 0.0, 10.0), (1, 0, 20.0, 30.0)]
    predictions = [
        (0, 0, 0.0, 10.0, 0.1),  # first of its class in its video, though not in the set
        (0, 2, 0.0, 10.0, 0.9),  # of a class that the video does not hold
        (1, 0, 50.0, 60.0, 0.9),
        (1, 0, 0.0, 10.0, 0.8),
        (3, 0, 0.0, 10.0, 0.8),
    ]
    values = compare.precision_per_video(_judged(truth, predictions), 3)
    np.testing.assert_allclose(values, [0.5, 0.25, np.nan])
