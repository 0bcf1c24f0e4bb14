"""Linking against slow references written step by step from the rules, and worked examples of each."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.errors import TalError
from tal.ops.linking import (
    link_detections,
    link_tubelets,
    link_viterbi,
    soft_nms_boxes,
    soft_nms_tubelets,
)

BOX = [0.0, 0.0, 9.0, 9.0]
FAR = [50.0, 50.0, 59.0, 59.0]


def _iou(a, b, one=1):
    width, height = (min(a[2 + side], b[2 + side]) - max(a[side], b[side]) + one for side in (0, 1))
    inter = max(width, 0) * max(height, 0)
    union = sum((each[2] - each[0] + one) * (each[3] - each[1] + one) for each in (a, b)) - inter
    return inter / union if union > 0 else 0.0


def _slow_soft_nms(tubelets, scores, weight):
    waiting = sorted(range(len(scores)), key=lambda row: (scores[row], row), reverse=True)
    result, frames = list(scores), len(tubelets[0]) if tubelets else 1
    while waiting:
        best = waiting.pop(0)
        for other in list(waiting):
            total = sum(_iou(a, b) for a, b in zip(tubelets[best], tubelets[other], strict=True))
            if total > 0.6 * frames:
                result[other] = scores[other] * (1 - (total if weight == "sum" else total / frames))
                waiting.remove(other)
    return result


def _slow_links(per_start, weight, min_frames):
    """[(first frame, [(start, tubelet, score)])] of the tubes, as BuildTubes has them."""
    finished, growing = [], []
    for start, found in enumerate(per_start, 1):
        scores = _slow_soft_nms([each[0] for each in found], [each[1] for each in found], weight)
        ranked = sorted(range(len(found)), key=lambda row: (scores[row], row), reverse=True)[:10]
        left = [(found[row][0], scores[row]) for row in ranked]
        growing.sort(key=lambda tube: -sum(each[2] for each in tube) / len(tube))
        done = []
        for tube in growing:
            last_start, last, _ = tube[-1]
            frames, offset = len(last), start - last_start
            fits = []
            for each in left:
                if offset < frames:
                    common = [_iou(each[0][step], last[step + offset]) for step in range(frames - offset)]
                else:
                    common = [_iou(each[0][0], last[-1])]
                if sum(common) / len(common) >= 0.5:
                    fits.append(each)
            if fits:
                chosen = max(fits, key=lambda each: each[1])
                tube.append((start, *chosen))
                left = [each for each in left if each is not chosen]
            elif offset >= frames:
                done.append(tube)
        finished += done
        growing = [tube for tube in growing if not any(tube is each for each in done)]
        growing += [[(start, *each)] for each in left]
    tubes = []
    for tube in finished + growing:
        score = sum(each[2] for each in tube) / len(tube)
        frames = range(tube[0][0], tube[-1][0] + len(tube[0][1]))
        if score < 0.005 or len(frames) < min_frames:
            continue
        boxes = []
        for frame in frames:
            covering = [each[frame - at] for at, each, _ in tube if 0 <= frame - at < len(each)]
            boxes.append([sum(side) / len(covering) for side in zip(*covering, strict=True)])
        tubes.append((list(frames), boxes, score))
    return tubes


@st.composite
def _detections(draw, frames=1, starts=6):
    """Per start frame up to four tubelets on three places that drift; scores of a few values, but no equal means."""
    found = []
    for start in range(draw(st.integers(1, starts))):
        here = []
        for _ in range(draw(st.integers(0, 4))):
            place, jitter = draw(st.integers(0, 2)) * 20, draw(st.integers(0, 4))
            tubelet = [
                [place + jitter + start + step, jitter, place + 14.0 + start, 12.0 + jitter] for step in range(frames)
            ]
            here.append((tubelet, draw(st.integers(1, 99)) / 128))
        found.append(here)
    return found


def _columns(found, frames):
    return (
        [np.array([each[0] for each in here], float).reshape(len(here), frames, 4) for here in found],
        [np.array([each[1] for each in here], float) for here in found],
    )


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([1, 2, 4]), st.sampled_from(["sum", "mean"]))
def test_tubelets_link_as_step_by_step(data, frames, weight):
    found = data.draw(_detections(frames))
    boxes, scores = _columns(found, frames)
    result = link_tubelets(boxes, scores, label=3, weight=weight, min_frames=2)
    expected = _slow_links(found, weight, 2)
    assert len(result) == len(expected)
    for tube, (numbers, wanted, score) in zip(result, expected, strict=True):
        assert tube.frames.tolist() == numbers
        assert tube.label == 3
        np.testing.assert_allclose(tube.boxes, wanted, rtol=1e-12)
        assert tube.score == pytest.approx(score, rel=1e-12)


def test_suppressed_tubelets_get_one_minus_the_sum_of_overlaps():
    pair = [[BOX, BOX], [BOX, BOX]]
    assert soft_nms_tubelets(pair, [0.9, 0.5], weight="sum").tolist() == pytest.approx([0.9, 0.5 * (1 - 2)])
    assert soft_nms_tubelets(pair, [0.9, 0.5], weight="mean").tolist() == pytest.approx([0.9, 0.0])
    half = [0.0, 0.0, 9.0, 6.9]  # Overlaps by 0.79.
    assert soft_nms_boxes([BOX, half], [0.4, 0.8]).tolist() == pytest.approx([0.4 * (1 - 0.79), 0.8])
    assert soft_nms_boxes([BOX, [0.0, 0.0, 9.0, 5.0]], [0.4, 0.8]).tolist() == [0.4, 0.8]  # 0.6 is not above 0.6.
    assert soft_nms_boxes(np.zeros((0, 4)), []).tolist() == []


def test_short_and_weak_tubes_are_left_out():
    def linked(count, score):
        return link_tubelets([np.array([[BOX]])] * count, [np.array([score])] * count)

    assert [len(tube) for tube in linked(15, 0.005)] == [15]
    assert linked(14, 0.9) == []
    assert linked(15, 0.004) == []


def test_a_gap_as_long_as_a_tubelet_is_bridged_by_neighbouring_boxes():
    def linked(gap):
        none = np.zeros((0, 3, 4))
        boxes = [np.array([[BOX] * 3])] + [none] * gap + [np.array([[BOX] * 3])]
        return link_tubelets(boxes, [np.full(len(each), 0.5) for each in boxes], min_frames=1)

    assert [len(tube) for tube in linked(2)] == [6]
    assert [len(tube) for tube in linked(3)] == [3, 3]


@st.composite
def _frames(draw):
    """Per frame up to three boxes; few values, so that paths are of distinct worth but rarely."""
    return [
        [
            (
                [draw(st.integers(0, 6)), draw(st.integers(0, 6)), 10 + draw(st.integers(0, 6)), 12.0],
                draw(st.floats(0, 1)),
            )
            for _ in range(draw(st.integers(0, 3)))
        ]
        for _ in range(draw(st.integers(1, 5)))
    ]


def _worth(path):
    return sum(_iou(a, b, 0) + (s + t) + 0.5 * s * t for (a, s), (b, t) in itertools.pairwise(path))


@settings(max_examples=50, deadline=None)
@given(_frames())
def test_every_path_is_the_best_of_all_that_are_left(found):
    boxes = [np.array([each[0] for each in here], float).reshape(-1, 4) for here in found]
    result = link_viterbi(boxes, [[each[1] for each in here] for here in found], max_iou=1.0)
    filled = [row for row, here in enumerate(found) if here]
    if not filled:
        assert result == []
        return
    left = [list(found[min(filled, key=lambda row: (abs(row - frame), row))]) for frame in range(len(found))]
    ranked = sorted(result, key=lambda tube: -_worth(list(zip(tube.boxes.tolist(), tube.box_score, strict=True))))
    assert len(result) == min(3, *map(len, left))
    for tube in ranked if len(found) > 1 else []:
        best = max(_worth(path) for path in itertools.product(*left))
        taken = list(zip(tube.boxes.tolist(), tube.box_score.tolist(), strict=True))
        assert _worth(taken) == pytest.approx(best, rel=1e-9, abs=1e-9)
        for here, (box, score) in zip(left, taken, strict=True):
            here.remove((box, score))


def test_viterbi_fills_frames_suppresses_and_trims():
    none, both = np.zeros((0, 4)), np.array([BOX, FAR])
    boxes = [none, both, none, np.array([FAR, BOX]), none, none]
    scores = [[], [0.9, 0.1], [], [0.2, 0.8], [], []]
    first, second = link_viterbi(boxes, scores, label=1)
    assert first.frames.tolist() == [1, 2, 3, 4, 5, 6]
    assert first.box_score.tolist() == [0.9, 0.9, 0.9, 0.8, 0.8, 0.8]  # Frame 3 lies between 2 and 4: the earlier.
    assert first.score == pytest.approx(0.85)
    np.testing.assert_array_equal(second.boxes, [FAR] * 6)
    cut, _ = link_viterbi(boxes, scores, trim=True)
    assert cut.frames.tolist() == [3, 4]  # Two frames have boxes, the first of them is frame 2.
    same = link_viterbi([np.array([BOX, BOX])] * 2, [[0.9, 0.8]] * 2)
    assert len(same) == 1
    assert link_viterbi([none], [[]]) == []


def test_detections_of_all_classes_as_columns():
    frame, label = np.repeat(np.arange(1, 21), 2), np.tile([1, 0], 20)
    boxes, score = np.tile([BOX, FAR], (20, 1)), np.tile([0.5, 0.25], 20)
    for method in ("act", "yowo", "tuber"):
        tubes = link_detections(frame, boxes, score, label, frame_count=20, method=method)
        assert [tube.label for tube in tubes] == [0, 1]
        assert [tube.score for tube in tubes] == pytest.approx([0.25, 0.5])
        np.testing.assert_array_equal(tubes[0].boxes[0], FAR)
    assert link_detections([], np.zeros((0, 4)), [], [], frame_count=3) == []
    for wrong in ([0], [21]):
        with pytest.raises(TalError, match="frames 1 to 20"):
            link_detections(wrong, [BOX], [1.0], [0], frame_count=20)


def test_the_order_of_rows_does_not_matter_to_distinct_scores():
    random = np.random.default_rng(0)
    frame = np.tile(np.arange(1, 21), 6)
    boxes = np.repeat(np.array([BOX, FAR, [20.0, 0.0, 40.0, 30.0]]), 40, axis=0) + random.normal(0, 1, (120, 4))
    label, score = np.repeat([0, 1, 0], 40), random.random(120)
    order = random.permutation(120)
    for method in ("act", "yowo"):
        one = link_detections(frame, boxes, score, label, frame_count=20, method=method)
        two = link_detections(frame[order], boxes[order], score[order], label[order], frame_count=20, method=method)
        assert [tube.score for tube in one] == pytest.approx([tube.score for tube in two])
        assert len(one) >= 3
