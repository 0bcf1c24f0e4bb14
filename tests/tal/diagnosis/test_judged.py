"""Kinds of errors, what-ifs and sensitivity against slow loops written from the definitions, and by construction."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.diagnosis import characteristics, errors, oracles, sensitivity
from tal.diagnosis.errors import Kind, judge
from tal.metrics import detection
from tal.metrics.detection import overlaps

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from detection_rows import rows_of

CLASSES = 3
TIOUS = [0.3, 0.5, 0.8]


def _judged(truth, predictions, tious=TIOUS, classes=CLASSES):
    instances, found = rows_of(truth, False), rows_of(predictions, True)
    return judge(instances, found, overlaps(instances, found, tious, class_count=classes))


# The slow reference: lists of (video, label, start, end[, score]), one prediction after the other.


def _slow_tiou(a, b):
    inter = max(0.0, min(a[3], b[3]) - max(a[2], b[2]))
    union = (a[3] - a[2]) + (b[3] - b[2]) - inter
    return inter / union if union > 0 else math.inf if union == 0 else 0.0


def _slow_ranking(predictions):
    """Positions of the predictions by class, then falling score, ties in the order given."""
    return sorted(range(len(predictions)), key=lambda each: (predictions[each][1], -predictions[each][4], each))


def _slow_kinds(truth, predictions, threshold):
    """position -> (kind, instance that it takes or None, nearest instance or None)."""
    free, found = set(range(len(truth))), {}
    for each in _slow_ranking(predictions):
        row = predictions[each]
        overlap = {g: _slow_tiou(row, truth[g]) for g in range(len(truth)) if truth[g][0] == row[0]}
        mine = [(overlap[g], g) for g in overlap if g in free and truth[g][1] == row[1] and overlap[g] >= threshold]
        nearest = max(overlap, key=lambda g: (overlap[g], truth[g][1] == row[1], -g), default=None)
        if mine:
            taken = max(mine)[1]
            free.discard(taken)
            found[each] = ("true", taken, nearest)
            continue
        best = overlap.get(nearest, 0.0)
        own = nearest is not None and truth[nearest][1] == row[1]
        if best >= threshold:
            kind = "double" if own else "label"
        elif best >= 0.1:
            kind = "localization" if own else "confusion"
        else:
            kind = "background"
        found[each] = (kind, None, nearest)
    return found


def _slow_area(rights, instances, normal=None):
    """Interpolated average precision of a ranked list of True and False."""
    curve, hits = [], 0
    for rank, right in enumerate(rights, 1):
        hits += right
        expected = hits if normal is None else hits / instances * normal
        false = rank - hits
        curve.append(expected / (expected + false) if expected + false else 0.0)
    return sum(max(curve[position:]) for position, right in enumerate(rights) if right) / instances


KINDS = {
    Kind.TRUE: "true",
    Kind.DOUBLE: "double",
    Kind.WRONG_LABEL: "label",
    Kind.LOCALIZATION: "localization",
    Kind.CONFUSION: "confusion",
    Kind.BACKGROUND: "background",
}
# Small whole numbers: ties of scores and overlaps, touching, equal, empty and reversed segments all occur.
_TIME = st.integers(0, 8).map(float)
_SCORE = st.integers(0, 4).map(float)
_INSTANCE = st.tuples(st.integers(0, 2), st.integers(0, CLASSES - 1), _TIME, _TIME)
_PREDICTION = st.tuples(st.integers(0, 3), st.integers(0, CLASSES - 1), _TIME, _TIME, _SCORE)
_TRUTH = st.lists(_INSTANCE, min_size=1, max_size=12)
_FOUND = st.lists(_PREDICTION, max_size=20)


@settings(max_examples=60, deadline=None)
@given(_TRUTH, _FOUND)
def test_kinds_profile_and_gains_are_those_of_one_by_one(truth, predictions):
    judged = _judged(truth, predictions)
    assert judged.order.tolist() == _slow_ranking(predictions)
    profile = errors.profile(judged, budgets=3)
    gains = errors.removal_gains(judged)
    for row, threshold in enumerate(TIOUS):
        slow = _slow_kinds(truth, predictions, threshold)
        ranking = _slow_ranking(predictions)
        assert [KINDS[kind] for kind in judged.kind[row].tolist()] == [slow[each][0] for each in ranking]
        assert judged.taken[row].tolist() == [-1 if slow[each][1] is None else slow[each][1] for each in ranking]
        assert judged.nearest.tolist() == [-1 if slow[each][2] is None else slow[each][2] for each in ranking]
        counts = np.zeros((3, len(Kind)), int)
        for label in range(CLASSES):
            instances = sum(each[1] == label for each in truth)
            mine = [each for each in ranking if predictions[each][1] == label]
            for rank, each in enumerate(mine):
                if instances and rank // instances < 3:
                    counts[rank // instances, list(KINDS.values()).index(slow[each][0])] += 1
            if not instances:
                assert np.isnan(judged.average_precision[row, label])
                continue
            before = _slow_area([slow[each][0] == "true" for each in mine], instances)
            assert judged.average_precision[row, label] == pytest.approx(before, abs=1e-12)
            for kind, values in gains.items():
                left = [slow[each][0] == "true" for each in mine if slow[each][0] != KINDS[kind]]
                assert values[row, label] == pytest.approx(_slow_area(left, instances) - before, abs=1e-12)
        np.testing.assert_array_equal(profile[row], counts)


def _slow_mended(truth, predictions, slow, kind):
    """class -> ranked right or wrong, after those of one kind claim their nearest instance."""
    rows = []
    for each in _slow_ranking(predictions):
        name, taken, nearest = slow[each]
        mended = name == kind
        claim = nearest if mended else taken
        label = truth[nearest][1] if mended else predictions[each][1]
        rows.append((label, -predictions[each][4], claim))
    if kind == "label":
        rows.sort(key=lambda each: each[:2])
    claimed, lists = set(), {}
    for label, _, claim in rows:
        if claim is None:
            lists.setdefault(label, []).append(False)
        elif claim not in claimed:
            claimed.add(claim)
            lists.setdefault(label, []).append(True)
    return lists


@settings(max_examples=60, deadline=None)
@given(_TRUTH, _FOUND)
def test_what_ifs_are_those_of_the_definitions(truth, predictions):
    judged = _judged(truth, predictions)
    found = {name: oracle(judged) for name, oracle in oracles.ORACLES.items()}
    counts = [sum(each[1] == label for each in truth) for label in range(CLASSES)]
    for row, threshold in enumerate(TIOUS):
        slow = _slow_kinds(truth, predictions, threshold)
        boundaries = _slow_mended(truth, predictions, slow, "localization")
        labels = _slow_mended(truth, predictions, slow, "label")
        near = {nearest for kind, _, nearest in slow.values() if kind in ("localization", "label")}
        taken = {instance for _, instance, _ in slow.values() if instance is not None}
        for label, instances in enumerate(counts):
            values = {name: value[row, label] for name, value in found.items()}
            if not instances:
                assert all(map(np.isnan, values.values()))
                continue
            ranking = [each for each in _slow_ranking(predictions) if predictions[each][1] == label]
            kinds = [slow[each][0] for each in ranking]
            left = sum(g in taken or g in near for g, each in enumerate(truth) if each[1] == label)
            rights = [kind == "true" for kind in kinds]
            expected = {
                "perfect_boundaries": _slow_area(boundaries.get(label, []), instances),
                "perfect_labels": _slow_area(labels.get(label, []), instances),
                "perfect_ranking": _slow_area(sorted(rights, reverse=True), instances),
                "no_duplicates": _slow_area([kind == "true" for kind in kinds if kind != "double"], instances),
                "no_background": _slow_area([kind == "true" for kind in kinds if kind != "background"], instances),
                "no_misses": _slow_area(rights, left) if left else 1.0,
            }
            assert values == pytest.approx(expected, abs=1e-12)
            assert min(values.values()) >= judged.average_precision[row, label] - 1e-12


@settings(max_examples=60, deadline=None)
@given(_TRUTH, _FOUND, st.data())
def test_normalised_precision_of_some_instances(truth, predictions, data):
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(truth), max_size=len(truth))))
    judged = _judged(truth, predictions)
    values = sensitivity.normalised_precision_within(judged, chosen)
    slow = [_slow_kinds(truth, predictions, threshold) for threshold in TIOUS]
    normal = len(truth) / len({each[1] for each in truth})
    elsewhere = {each for one in slow for each, (_, taken, _) in one.items() if taken is not None and not chosen[taken]}
    missed = sensitivity.not_found(judged, least_precision=0.3)
    for row, one in enumerate(slow):
        taken = set()
        for label in range(CLASSES):
            instances = sum(each[1] == label for each in truth)
            mine = sum(bool(chosen[g]) for g, each in enumerate(truth) if each[1] == label)
            ranking = [each for each in _slow_ranking(predictions) if predictions[each][1] == label]
            if mine:
                rights = [one[each][0] == "true" for each in ranking if each not in elsewhere]
                assert values[row, label] == pytest.approx(_slow_area(rights, mine, normal), abs=1e-12)
            else:
                assert np.isnan(values[row, label])
            hits = 0
            for rank, each in enumerate(ranking, 1):
                hits += one[each][0] == "true"
                expected = hits / instances * normal if instances else 0.0
                if one[each][1] is not None and expected / (expected + rank - hits) > 0.3:
                    taken.add(one[each][1])
        assert np.flatnonzero(~missed[row]).tolist() == sorted(taken)


# By construction: one video of 100 s with a jump from 10 to 20 and a run from 50 to 60.

JUMP, RUN = 0, 1
TRUTH = [(0, JUMP, 10.0, 20.0), (0, RUN, 50.0, 60.0)]


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        ((0, JUMP, 10.0, 19.0, 0.5), Kind.DOUBLE),
        ((0, RUN, 10.0, 19.0, 0.5), Kind.WRONG_LABEL),
        ((0, JUMP, 16.0, 24.0, 0.5), Kind.LOCALIZATION),
        ((0, RUN, 16.0, 24.0, 0.5), Kind.CONFUSION),
        ((0, JUMP, 30.0, 40.0, 0.5), Kind.BACKGROUND),
        ((1, JUMP, 10.0, 20.0, 0.5), Kind.BACKGROUND),  # a video without ground truth
        ((0, JUMP, 19.0, 29.0, 0.5), Kind.BACKGROUND),  # tIoU 1 / 19
    ],
)
def test_each_kind(prediction, kind):
    judged = _judged(TRUTH, [(0, JUMP, 10.0, 20.0, 0.9), prediction], [0.5], 2)
    position = judged.order.tolist().index(1)
    assert judged.kind[0, position] == kind
    assert (judged.kind[0] == Kind.TRUE).sum() == 1


def test_of_equal_overlaps_its_own_class_decides():
    """CliffDiving of THUMOS14 stands in the annotations as Diving too: the second detection of it is a double one."""
    both = [(0, JUMP, 10.0, 20.0), (0, RUN, 10.0, 20.0)]
    judged = _judged(both, [(0, RUN, 10.0, 20.0, 0.9), (0, RUN, 10.0, 20.0, 0.8)], [0.5], 2)
    assert judged.kind[0].tolist() == [Kind.TRUE, Kind.DOUBLE]


def test_without_all_errors_and_misses_nothing_is_left_to_lose():
    predictions = [
        (0, JUMP, 10.0, 20.0, 0.4),
        (0, JUMP, 10.0, 19.0, 0.3),
        (0, RUN, 10.0, 19.0, 0.9),
        (0, RUN, 51.0, 70.0, 0.8),
        (0, RUN, 15.0, 24.0, 0.8),
        (0, JUMP, 30.0, 40.0, 0.9),
        (0, RUN, 50.0, 60.0, 0.1),
    ]
    truth = [*TRUTH, (0, JUMP, 80.0, 90.0)]
    judged = _judged(truth, predictions, [0.3, 0.5], 2)
    assert {*judged.kind[1].tolist()} == set(Kind)
    without = judged.precision_of(judged.kind == Kind.TRUE)
    np.testing.assert_allclose(without, [[0.5, 1.0], [0.5, 1.0]])  # what is left are misses
    np.testing.assert_array_equal(without, oracles.perfect_ranking(judged))
    found = np.isin(np.arange(len(truth)), judged.taken[1])
    left = _judged([row for row, kept in zip(truth, found, strict=True) if kept], predictions, [0.3, 0.5], 2)
    np.testing.assert_array_equal(left.precision_of(left.kind == Kind.TRUE), 1.0)


def test_perfect_boundaries_find_an_instance_once():
    predictions = [(0, JUMP, 16.0, 24.0, 0.9), (0, JUMP, 10.0, 19.0, 0.8), (0, JUMP, 5.0, 13.0, 0.7)]
    judged = _judged(TRUTH[:1], predictions, [0.5], 1)
    assert judged.average_precision.item() == 0.5
    assert oracles.perfect_boundaries(judged).item() == 1.0


def test_normalised_precision_of_the_paper_by_hand():
    """Two classes with 1 and 3 instances: N = 2. One hit at rank 2 of the first class: R N / (R N + F) = 2 / 3."""
    truth = [(0, JUMP, 10.0, 20.0), *[(0, RUN, start, start + 10.0) for start in (30.0, 50.0, 70.0)]]
    predictions = [(0, JUMP, 90.0, 95.0, 0.9), (0, JUMP, 10.0, 20.0, 0.8), (0, RUN, 30.0, 40.0, 0.8)]
    judged = _judged(truth, predictions, [0.5], 2)
    assert judged.normal == 2.0
    np.testing.assert_allclose(judged.average_precision, [[1 / 2, 1 / 3]])
    np.testing.assert_allclose(sensitivity.normalised_precision(judged), [[2 / 3, 1 / 3]])


def test_no_predictions_at_all():
    judged = _judged(TRUTH, [], [0.5], 2)
    assert errors.profile(judged).sum() == 0
    np.testing.assert_array_equal(judged.average_precision, [[0.0, 0.0]])
    assert sensitivity.not_found(judged).all()
    for name, oracle in oracles.ORACLES.items():
        np.testing.assert_array_equal(oracle(judged), [[1.0, 1.0] if name == "no_misses" else [0.0, 0.0]])


def test_average_precision_is_that_of_the_metric():
    random = np.random.default_rng(0)
    truth = [(v, int(random.integers(3)), s, s + 5) for v in range(9) for s in random.uniform(0, 50, 4).tolist()]
    found = [(v, c, s + random.normal(), e + random.normal(), random.random()) for v, c, s, e in truth * 5]
    pairs = overlaps(rows_of(truth, False), rows_of(found, True), TIOUS, class_count=CLASSES)
    judged = judge(rows_of(truth, False), rows_of(found, True), pairs)
    np.testing.assert_allclose(judged.average_precision, detection.average_precision(pairs), rtol=1e-12)


def test_pairs_in_pieces_change_nothing(monkeypatch):
    random = np.random.default_rng(1)
    truth = [(int(random.integers(4)), int(random.integers(3)), s, s + 9.0) for s in random.uniform(0, 50, 30)]
    found = [(v, c, s + random.normal(), e, random.random()) for v, c, s, e in truth * 3]
    whole = errors.nearest_instances(rows_of(truth, False), rows_of(found, True))
    monkeypatch.setattr(errors, "_PAIRS_AT_ONCE", 7)
    for one, other in zip(whole, errors.nearest_instances(rows_of(truth, False), rows_of(found, True)), strict=True):
        np.testing.assert_array_equal(one, other)


# Characteristics and their buckets.


def test_characteristics_of_the_ground_truth():
    truth = rows_of([(0, 0, 0.0, 2.0), (0, 0, 5.0, 9.0), (0, 1, 0.0, 1.0), (1, 0, 0.0, 3.0), (2, 0, 1.0, 2.0)], False)
    values = characteristics.measure(truth, [20.0, None, 0.0])
    np.testing.assert_array_equal(values["length"], [2, 4, 1, 3, 1])
    np.testing.assert_array_equal(values["coverage"], [0.1, 0.2, 0.05, np.nan, np.nan])
    np.testing.assert_array_equal(values["instances"], [2, 2, 1, 1, 1])


def test_published_buckets_are_open_below_and_closed_above():
    values = {"length": np.array([0.0, 3.0, 3.1, 12.0, 18.0, 18.1, -1.0])}
    (buckets,) = characteristics.sort_into_buckets(values, protocol="thumos14")
    assert buckets.scheme == "thumos14"
    assert buckets.of.tolist() == [0, 0, 1, 2, 3, 4, -1]
    values = {"coverage": np.array([0.0, 0.2, 0.21, 1.0, 1.01, np.nan])}
    (buckets,) = characteristics.sort_into_buckets(values, protocol="activitynet")
    assert buckets.of.tolist() == [0, 0, 1, 4, -1, -1]


def test_other_sets_get_quantiles_and_so_do_values_that_all_fall_into_one_bucket():
    lengths = {"length": np.arange(100.0) + 200}
    (buckets,) = characteristics.sort_into_buckets(lengths, protocol="thumos14")
    assert buckets.scheme == "quantiles"
    assert np.bincount(buckets.of).tolist() == [20, 20, 20, 20, 20]
    (buckets,) = characteristics.sort_into_buckets(lengths, protocol="thumos14", scheme="thumos14")
    assert buckets.of.tolist() == [4] * 100
    (buckets,) = characteristics.sort_into_buckets(lengths, protocol="mine")
    assert (buckets.scheme, buckets.names) == ("quantiles", ("XS", "S", "M", "L", "XL"))


@pytest.mark.parametrize(
    ("values", "of"),
    [([1, 1, 1, 1, 2, 3], [0, 0, 0, 0, 1, 2]), ([4, 4, 4], [0, 0, 0]), ([1, 2], [0, 1]), ([7], [0])],
)
def test_quantiles_of_few_values(values, of):
    (buckets,) = characteristics.sort_into_buckets({"instances": np.array(values, float)}, protocol="mine")
    assert buckets.of.tolist() == of
    assert len(buckets.names) == len(buckets.edges) - 1


def test_a_characteristic_that_is_never_known_is_left_out():
    values = {"length": np.array([1.0]), "coverage": np.array([np.nan])}
    assert [each.name for each in characteristics.sort_into_buckets(values, protocol="mine")] == ["length"]
