"""Judging detections: what is right, missed, wrong, and what is worst."""

import numpy as np
import pytest

from tal.report.data import ReportVideo
from tal.report.judge import Outcome, best_threshold, judge, worst_misses
from tal.segments import Segments

CLASSES = ("jump", "wave")


def segments(*rows):
    """(start, end, name) or (start, end, name, score) rows."""
    return Segments.from_names(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        classes=CLASSES,
        score=[row[3] if len(row) > 3 else 1.0 for row in rows],
    )


TRUTH = segments((0, 10, "jump"), (20, 30, "jump"), (40, 50, "wave"))


def test_every_outcome():
    detected = segments(
        (0, 10, "jump", 0.9),
        (1, 10, "jump", 0.8),
        (26, 36, "jump", 0.7),
        (60, 70, "jump", 0.6),
        (40, 50, "jump", 0.5),
    )
    verdict = judge(detected, TRUTH)
    assert verdict.outcome.tolist() == [
        Outcome.CORRECT,
        Outcome.DUPLICATE,
        Outcome.BOUNDARY,
        Outcome.FALSE,
        Outcome.FALSE,
    ]
    assert verdict.found_score.tolist() == [0.9, -1, -1]
    assert verdict.best_tiou[2] == pytest.approx(4 / 16)


def test_the_highest_score_chooses_first_whatever_the_order_of_rows():
    verdict = judge(segments((1, 10, "jump", 0.3), (0, 10, "jump", 0.4)), TRUTH)
    assert verdict.outcome.tolist() == [Outcome.DUPLICATE, Outcome.CORRECT]


def test_a_higher_threshold_changes_nothing_above_it():
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 50, 200)
    names = [CLASSES[i] for i in rng.integers(0, 2, 200)]
    many = Segments.from_names(start, start + rng.uniform(1, 12, 200), names, classes=CLASSES, score=rng.random(200))
    above = many.score >= 0.6
    assert judge(many, TRUTH).outcome[above].tolist() == judge(many[above], TRUTH).outcome.tolist()


def test_nothing_detected_and_nothing_true():
    assert judge(Segments.empty(CLASSES), TRUTH).found_score.tolist() == [-1, -1, -1]
    assert judge(TRUTH, Segments.empty(CLASSES)).outcome.tolist() == [Outcome.FALSE] * 3


def video(predictions, truth=TRUTH, name="v"):
    return ReportVideo(video=name, duration_s=60, predictions=predictions, truth=truth)


def test_best_threshold_has_the_highest_f1():
    detected = segments((0, 10, "jump", 0.9), (20, 30, "jump", 0.5), (55, 58, "wave", 0.3), (40, 50, "wave", 0.1))
    # F1 at 0.9, 0.5, 0.3, 0.1: 2/4, 4/5, 4/6, 6/7
    assert best_threshold([video(detected)]) == 0.1
    assert best_threshold([video(detected[:3])]) == 0.5
    assert best_threshold([video(detected[2:3])]) == 0.0


def test_worst_misses_by_kind():
    detected = segments((24, 35, "jump", 0.7), (58, 60, "jump", 0.6), (41, 50, "jump", 0.9), (0, 10, "jump", 0.2))
    misses = worst_misses([video(detected)], 0.3)
    assert [(miss.kind, miss.start_s, miss.detail) for miss in misses] == [
        ("missed", 0, "nothing detected here"),
        ("missed", 40, "jump detected here"),
        ("false", 41, "is wave"),
        ("false", 58, "no instance here"),
        ("boundary", 24, "tIoU 0.40"),
    ]


def test_one_bad_video_does_not_fill_the_list():
    many = segments(*((second, second + 1, "wave", 0.9) for second in range(30)))
    other = segments((13, 14, "jump", 0.1))
    misses = worst_misses([video(many), video(other, name="w")], 0.0, count=5)
    assert [miss.video_idx for miss in misses if miss.kind == "false"] == [0, 0, 1]


def test_videos_without_truth_are_not_judged():
    assert worst_misses([video(TRUTH, truth=None)], 0.0) == []
