"""Suppression against loops that follow its definition, torchvision, and the bars for time."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tal.errors import ConfigError
from tal.ops import nms, nms_kernels
from tal.ops.nms import NmsConfig, hard_nms, soft_nms, suppress, vote
from tal.segments import Segments


def _draw(seed, count, *, classes=1, span_s=20.0, length_s=3.0):
    rng = np.random.default_rng(seed)
    start_s = rng.uniform(0, span_s, count)
    end_s = start_s + rng.exponential(length_s, count)
    return start_s, end_s, rng.uniform(0.001, 1, count), rng.integers(0, classes, count)


def _iou(start_s, end_s, one, other, eps):
    inter = max(0.0, min(end_s[one], end_s[other]) - max(start_s[one], start_s[other]))
    lengths = [end_s[row] - start_s[row] + eps for row in (one, other)]
    return inter / (sum(lengths) - inter) if inter > 0 else 0.0


def slow_soft_nms(start_s, end_s, score, weight, min_score):
    """Definition: take the best, decay the rest, drop what falls below `min_score`, until nothing is left."""
    score, left, taken = score.copy(), list(range(len(score))), []
    while left:
        best = max(left, key=lambda row: (score[row], -row))
        taken.append((best, score[best]))
        left.remove(best)
        for row in left:
            score[row] *= weight(_iou(start_s, end_s, best, row, 1e-6))
        left = [row for row in left if score[row] >= min_score]
    return taken


def slow_hard_nms(start_s, end_s, score, tiou):
    taken = []
    for row in sorted(range(len(score)), key=lambda row: (-score[row], row)):
        if all(_iou(start_s, end_s, other, row, 0.0) <= tiou for other in taken):
            taken.append(row)
    return taken


def slow_vote(start_s, end_s, score, kept, tiou, weighted="score_tiou"):
    voted = []
    for row in kept:
        overlap = np.array([_iou(start_s, end_s, row, other, 0.0) for other in range(len(score))])
        weight = np.where(overlap >= tiou, score if weighted == "score" else overlap * score, 0.0)
        voted.append((weight @ start_s / weight.sum(), weight @ end_s / weight.sum()))
    return np.array(voted).T


@pytest.fixture(params=["compiled", "numpy"])
def kernels(request, monkeypatch):
    if request.param == "numpy":
        monkeypatch.setattr(nms, "kernels", nms_kernels.numpy_kernels)


seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 90)
either_kernel = pytest.mark.usefixtures("kernels")


@either_kernel
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, counts, st.floats(0.05, 2.0), st.floats(0.0005, 0.3))
def test_gaussian_equals_its_definition(seed, count, sigma, min_score):
    start_s, end_s, score, _ = _draw(seed, count)
    rows, scores = soft_nms(start_s, end_s, score, sigma=sigma, min_score=min_score)
    expected = slow_soft_nms(start_s, end_s, score, lambda o: np.exp(-o * o / sigma), min_score)
    assert rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(scores, [value for _, value in expected], rtol=1e-9)


@either_kernel
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, counts, st.floats(0.0, 0.9))
def test_linear_equals_its_definition(seed, count, tiou):
    start_s, end_s, score, _ = _draw(seed, count)
    rows, scores = soft_nms(start_s, end_s, score, linear_from_tiou=tiou, min_score=0.01)
    expected = slow_soft_nms(start_s, end_s, score, lambda o: 1 - o if o >= tiou else 1.0, 0.01)
    assert rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(scores, [value for _, value in expected], rtol=1e-9)


@either_kernel
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, counts, st.floats(0.0, 1.0))
def test_hard_equals_its_definition(seed, count, tiou):
    start_s, end_s, score, _ = _draw(seed, count)
    assert hard_nms(start_s, end_s, score, tiou=tiou).tolist() == slow_hard_nms(start_s, end_s, score, tiou)


@either_kernel
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seeds, st.integers(1, 90), st.floats(0.05, 1.0))
def test_voting_equals_its_definition(seed, count, tiou):
    start_s, end_s, score, _ = _draw(seed, count)
    kept = hard_nms(start_s, end_s, score, tiou=0.5)
    for weight in ("score_tiou", "score"):
        expected = slow_vote(start_s, end_s, score, kept, tiou, weight)
        voted = vote(start_s, end_s, score, kept=kept, tiou=tiou, weight=weight)
        np.testing.assert_allclose(voted, expected, rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(0, 300), st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_hard_keeps_what_torchvision_keeps(seed, count, tiou):
    torch = pytest.importorskip("torch")
    from torchvision.ops import nms as box_nms

    start_s, end_s, score, _ = _draw(seed, count)
    score = score.round(2)  # ties, to be kept in order
    boxes = np.stack([start_s, np.zeros(count), end_s, np.ones(count)], axis=1)
    expected = box_nms(torch.from_numpy(boxes), torch.from_numpy(score), tiou)
    assert hard_nms(start_s, end_s, score, tiou=tiou).tolist() == expected.tolist()


@either_kernel
def test_classes_do_not_touch_each_other():
    start_s, end_s, score, label = _draw(3, 400, classes=7)
    rows, scores = soft_nms(start_s, end_s, score, label=label)
    expected = {}
    for one in range(7):
        (of_class,) = np.nonzero(label == one)
        picked, values = soft_nms(start_s[of_class], end_s[of_class], score[of_class])
        expected |= dict(zip(of_class[picked].tolist(), values.tolist(), strict=True))
    assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == expected
    assert (np.diff(scores) <= 0).all()
    hard = hard_nms(start_s, end_s, score, tiou=0.3, label=label)
    parts = [np.nonzero(label == one)[0] for one in range(7)]
    apart = [part[hard_nms(start_s[part], end_s[part], score[part], tiou=0.3)] for part in parts]
    assert sorted(hard.tolist()) == sorted(np.concatenate(apart).tolist())


def test_compiled_and_numpy_agree_on_many_blocks():
    start_s, end_s, score, label = _draw(5, 3000, classes=2, span_s=400)
    compiled = soft_nms(start_s, end_s, score, label=label)
    before, nms.kernels = nms.kernels, nms_kernels.numpy_kernels
    try:
        plain = soft_nms(start_s, end_s, score, label=label)
    finally:
        nms.kernels = before
    np.testing.assert_array_equal(compiled[0], plain[0])
    np.testing.assert_allclose(compiled[1], plain[1], rtol=1e-12)


@either_kernel
def test_equal_and_empty_segments():
    same = np.ones(4)
    rows, scores = soft_nms(same, same + 1, same * 0.5, sigma=0.5, min_score=0.0)
    assert rows.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(scores, 0.5 * np.exp(-2.0 * np.arange(4)), rtol=1e-4)
    assert hard_nms(same, same + 1, same, tiou=0.5).tolist() == [0]
    assert hard_nms(same, same, same, tiou=0.5).tolist() == [0, 1, 2, 3]  # no length, no overlap
    assert soft_nms(same, same, same)[0].tolist() == [0, 1, 2, 3]
    none = np.empty(0)
    assert len(soft_nms(none, none, none)[0]) == len(hard_nms(none, none, none, tiou=0.5)) == 0
    assert len(vote(same, same + 1, same, kept=np.empty(0, int), tiou=0.5)[0]) == 0


@either_kernel
def test_the_best_of_a_class_is_kept_below_the_minimum():
    rows, _ = soft_nms([0.0, 5.0, 9.0], [1.0, 6.0, 9.5], [0.02, 0.01, 0.5], label=[0, 0, 1], min_score=0.1)
    assert rows.tolist() == [2, 0]


@either_kernel
def test_at_most_so_many_per_label():
    start_s, end_s, score, label = _draw(9, 200, classes=3)
    whole, _ = soft_nms(start_s, end_s, score, label=label)
    capped, _ = soft_nms(start_s, end_s, score, label=label, max_segments=5)
    for one in range(3):
        assert capped[label[capped] == one].tolist() == whole[label[whole] == one][:5].tolist()
    assert (
        np.bincount(label[hard_nms(start_s, end_s, score, tiou=0.9, label=label, max_segments=4)]).tolist() == [4] * 3
    )


def _segments(seed, count, classes):
    start_s, end_s, score, label = _draw(seed, count, classes=classes)
    extra = {"row": np.arange(count)}
    return Segments(start_s=start_s, end_s=end_s, score=score, label=label, classes=tuple("abcdef"), extra=extra)


def test_suppress_votes_only_where_classes_suppress_each_other():
    candidates = _segments(1, 300, 3)
    apart = suppress(candidates, NmsConfig(per_class=True))
    np.testing.assert_array_equal(apart.start_s, candidates.start_s[apart.extra["row"]])
    config = NmsConfig(per_class=False, voting_tiou=0.6, max_segments=50)
    together = suppress(candidates, config)
    rows, scores = soft_nms(candidates.start_s, candidates.end_s, candidates.score, max_segments=50)
    np.testing.assert_array_equal(together.extra["row"], rows)
    np.testing.assert_array_equal(together.score, scores)
    expected = slow_vote(candidates.start_s, candidates.end_s, candidates.score, rows, 0.6)
    np.testing.assert_allclose([together.start_s, together.end_s], expected)
    by_score = suppress(candidates, replace(config, voting_weight="score"))
    expected = slow_vote(candidates.start_s, candidates.end_s, candidates.score, rows, 0.6, "score")
    np.testing.assert_allclose([by_score.start_s, by_score.end_s], expected)
    unvoted = suppress(candidates, replace(config, voting_tiou=0))
    np.testing.assert_array_equal(unvoted.start_s, candidates.start_s[rows])


@pytest.mark.parametrize("method", ["gaussian", "linear", "hard", "none"])
def test_suppress_gives_falling_scores_and_no_more_than_asked(method):
    found = suppress(_segments(2, 500, 4), NmsConfig(method=method, max_segments=30, min_score=0.2))
    assert len(found) == 30
    assert (np.diff(found.score) <= 0).all()
    assert len(suppress(Segments.empty(("a",)), NmsConfig(method=method))) == 0


def test_hard_suppression_drops_low_scores_first():
    candidates = _segments(4, 200, 2)
    found = suppress(candidates, NmsConfig(method="hard", tiou=0.4, min_score=0.5, max_segments=500))
    assert found.score.min() > 0.5
    above = candidates[candidates.score > 0.5]
    rows = hard_nms(above.start_s, above.end_s, above.score, tiou=0.4, label=above.label)
    assert found.extra["row"].tolist() == above.extra["row"][rows].tolist()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": 0.0},
        {"tiou": 1.5},
        {"method": "soft"},
        {"max_segments": 0},
        {"min_score": float("nan")},
        {"voting_weight": "x"},
        {"near_tiou": (0.5, 2.0)},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        NmsConfig(**wrong)


def _least_s(function, repeats=15):
    function()
    times = []
    for _ in range(repeats):
        began = time.process_time()
        function()
        times.append(time.process_time() - began)
    return min(times)


def test_a_long_video_costs_in_proportion():
    """Ten times the video, ten times the candidates: far from a hundred times the time."""
    short = _draw(0, 10_000, span_s=2_000)[:3]
    long = _draw(0, 100_000, span_s=20_000)[:3]
    assert _least_s(lambda: soft_nms(*long), 2) < 40 * _least_s(lambda: soft_nms(*short), 3)


@pytest.mark.full
def test_bars():
    start_s, end_s, score, label = _draw(0, 2000, classes=20, span_s=200, length_s=8)
    assert _least_s(lambda: soft_nms(start_s, end_s, score, label=label)) < 0.003

    def one_class():
        kept, _ = soft_nms(start_s, end_s, score)
        vote(start_s, end_s, score, kept=kept, tiou=0.7)

    assert _least_s(one_class) < 0.010


def test_import_compiles_nothing():
    script = "import tal.ops.nms, sys; print('numba' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_without_a_folder_for_the_cache():
    """numba raises where it finds no writable place; the kernels then compile without one."""
    calls = []

    def njit(**options):
        calls.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    assert nms_kernels._compiled(njit, nms_kernels._vote) is nms_kernels._vote
    assert [bool(options.get("cache")) for options in calls] == [True, False]


def test_without_numba(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert nms_kernels.kernels.__wrapped__() == nms_kernels.numpy_kernels()
    assert "numba" in caplog.text


@pytest.mark.parametrize("seed", range(4))
def test_only_what_overlaps_by_more_than_the_width_asks_decays(seed, kernels):
    """The rule of BMN: thresholds from 0.5 for the shortest segments to 0.9 for one as long as the video."""
    start_s, end_s, score, _ = _draw(seed, 60, span_s=10.0, length_s=6.0)
    duration_s, left, expected = 20.0, score.copy(), []
    while (left > 0).any():
        top = int(left.argmax())
        expected.append((top, left[top]))
        left[top] = 0
        overlap = np.array([_iou(start_s, end_s, top, row, 1e-6) for row in range(len(left))])
        near = overlap > 0.5 + 0.4 * (end_s[top] - start_s[top]) / duration_s
        left[near] *= np.exp(-(overlap[near] ** 2) / 0.4)
    segments = Segments(
        start_s=start_s,
        end_s=end_s,
        score=score,
        label=np.full(len(score), -1),
        classes=(),
        extra={"duration_s": np.full(len(score), duration_s), "row": np.arange(len(score))},
    )
    config = NmsConfig(sigma=0.4, near_tiou=(0.5, 0.9), min_score=0.0, per_class=False, voting_tiou=0.0)
    found = suppress(segments, config)
    assert found.extra["row"].tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(found.score, [value for _, value in expected], rtol=1e-9)
    assert not np.allclose(suppress(segments, replace(config, near_tiou=None)).score, found.score)


def test_classes_that_do_not_suppress_each_other_may_vote_each_for_itself():
    rng = np.random.default_rng(3)
    start_s = rng.uniform(0, 20, 120)
    both = Segments(
        start_s=start_s,
        end_s=start_s + rng.uniform(1, 6, 120),
        score=rng.uniform(0.01, 1, 120),
        label=rng.integers(0, 2, 120),
        classes=("run", "jump"),
    )
    settings = {"voting_tiou": 0.5, "min_score": 0.0}
    found = suppress(both, NmsConfig(class_voting=True, **settings))
    plain = suppress(both, NmsConfig(**settings))
    np.testing.assert_array_equal(found.score, plain.score)
    assert not np.allclose(found.start_s, plain.start_s)
    for label in (0, 1):
        alone = suppress(both[both.label == label], NmsConfig(per_class=False, **settings))
        np.testing.assert_allclose(found[found.label == label].start_s, alone.start_s)
        np.testing.assert_allclose(found[found.label == label].end_s, alone.end_s)
