"""Whole diagnoses: the numbers of `tal evaluate`, what is counted, what is refused, and real files."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

import tal
from tal.annotations.records import Annotations, VideoRecord
from tal.diagnosis.run import diagnose
from tal.errors import ConfigError
from tal.segments import Segments

CASES = Path(__file__).parents[3] / "../shared/cases/temporal"
CLASSES = ("jump", "run", "throw")


def _segments(rows, scored=True):
    return Segments.from_names(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        classes=CLASSES,
        score=[row[3] for row in rows] if scored else None,
    )


def _annotations(videos, duration_s=100.0, subset="test"):
    return Annotations(
        classes=CLASSES,
        videos={
            name: VideoRecord(video=name, duration_s=duration_s, subset=subset, instances=_segments(rows, False))
            for name, rows in videos.items()
        },
    )


TRUTH = {
    "a": [(10.0, 20.0, "jump"), (30.0, 40.0, "jump"), (50.0, 60.0, "run")],
    "b": [(0.0, 30.0, "run"), (70.0, 72.0, "throw")],
    "c": [(5.0, 9.0, "jump")],
}
FOUND = {
    "a": [(10.0, 20.0, "jump", 0.9), (11.0, 20.0, "jump", 0.8), (50.0, 60.0, "jump", 0.7), (33.0, 43.0, "jump", 0.6)],
    "b": [(0.0, 29.0, "run", 0.9), (80.0, 90.0, "throw", 0.8), (66.0, 71.0, "jump", 0.7), (20.0, 50.0, "run", 0.5)],
    "d": [(0.0, 1.0, "run", 0.1)],
}
BETTER = FOUND | {"c": [(5.0, 9.0, "jump", 0.95)]}


def _found(rows):
    return {name: _segments(each) for name, each in rows.items()}


def _diagnosed(**options):
    return diagnose("generic", _annotations(TRUTH), _found(FOUND), resamples=50, **options)


def test_the_numbers_are_those_of_evaluate_to_the_last_digit():
    for options in ({}, {"tiou": (0.5, 0.9)}, {"outside": "drop"}, {"class_agnostic": True}, {"duplicates": "keep"}):
        evaluated = tal.evaluate("generic", _annotations(TRUTH), _found(FOUND), **options)
        found = diagnose("generic", _annotations(TRUTH), _found(FOUND), resamples=20, **options)
        assert found.evaluation.metrics == evaluated.metrics
        assert found.evaluation.per_class == evaluated.per_class
        assert found.evaluation.counts == evaluated.counts
        for name, row in found.per_class.items():
            assert pytest.approx(evaluated.per_class[name]["AP"], rel=1e-12) == row.AP
        assert found.intervals["mAP"].value == evaluated.metrics["mAP"]


def test_every_kind_is_counted_with_what_it_costs():
    found = _diagnosed(tiou=(0.5,))
    counts = {kind: sum(budget[kind] for budget in found.false_positives.counts["0.50"]) for kind in FOUND_KINDS}
    assert counts == FOUND_KINDS
    assert sum(found.false_positives.shares()[0].values()) == pytest.approx(1.0)
    assert all(math.isnan(share) for share in found.false_positives.shares()[9].values())
    assert found.false_positives.gain["double_detection"]["mAP"] > 0
    assert {case.kind for case in found.cases} == {*FOUND_KINDS, "missed"} - {"true_positive"}
    assert found.per_class["throw"].main_loss == "missed"
    assert found.per_class["throw"].recall == 0.0


FOUND_KINDS = {
    "true_positive": 3,
    "double_detection": 1,
    "wrong_label": 1,
    "localization": 1,
    "confusion": 1,
    "background": 2,
}


def test_case_videos_hold_what_stands_in_them():
    found = _diagnosed(tiou=(0.5,))
    videos = {video.video: video for video in found.videos}
    assert {case.video for case in found.cases} == set(videos)
    assert videos["d"].truth == ()  # a video that is not in the annotations
    assert [span.kind for span in videos["a"].truth] == ["found", "found", "missed"]
    for case in found.cases:
        shown = videos[case.video]
        assert case.span in (shown.truth if case.kind == "missed" else shown.predictions)


def test_without_durations_coverage_is_left_out_and_said():
    found = diagnose("generic", _annotations(TRUTH, duration_s=None), _found(FOUND), resamples=0)
    assert [each.name for each in found.characteristics] == ["length", "instances"]
    assert any("durations" in note for note in found.notes)
    assert found.intervals == {}


def test_buckets_hold_every_instance_once():
    found = _diagnosed()
    for each in found.characteristics:
        assert sum(bucket.instances for bucket in each.buckets) + each.outside == 6


def test_a_comparison_names_what_changed():
    found = _diagnosed(against=_found(BETTER)).comparison
    before, after = (tal.evaluate("generic", _annotations(TRUTH), _found(rows)).metrics for rows in (FOUND, BETTER))
    assert (found.metrics["mAP"].first, found.metrics["mAP"].second) == (before["mAP"], after["mAP"])
    assert found.per_class["jump"].second > found.per_class["jump"].first
    assert found.per_class["run"].p == 1.0
    assert [(change.video, change.first, change.second) for change in found.gained] == [("c", 0.0, 1.0)]
    assert found.lost == ()


def test_the_same_file_twice_gives_no_difference():
    found = _diagnosed(against=_found(FOUND)).comparison
    for row in (*found.metrics.values(), *found.per_class.values()):
        assert (row.second - row.first, row.interval.low, row.interval.high, row.p) == (0.0, 0.0, 0.0, 1.0)
    assert found.p_permutation == 1.0
    assert (found.gained, found.lost) == ((), ())


def test_the_same_seed_gives_the_same_result():
    assert _diagnosed(seed=5).as_dict() == _diagnosed(seed=5).as_dict()
    assert _diagnosed(seed=5).intervals != _diagnosed(seed=6).intervals


@pytest.mark.parametrize("options", [{"resamples": -1}, {"against": _found(FOUND), "resamples": 0}])
def test_impossible_draws_are_refused(options):
    with pytest.raises(ConfigError, match="resamples"):
        diagnose("generic", _annotations(TRUTH), _found(FOUND), **options)


def test_a_protocol_that_is_no_detection_is_told_with_those_that_are():
    with pytest.raises(ConfigError) as told:
        diagnose("counting", _annotations(TRUTH), _found(FOUND))
    assert "thumos14" in str(told.value)
    assert "counting" not in told.value.expected


@pytest.mark.parametrize(
    ("protocol", "name"),
    [("thumos14", "thumos14"), ("activitynet", "activitynet13"), ("multithumos", "multithumos")],
)
def test_real_files(protocol, name):
    annotations, predictions = CASES / f"{name}.annotations.json", CASES / f"{name}.predictions.json"
    if not annotations.exists():
        pytest.skip(f"{annotations} is not on this machine")
    found = diagnose(protocol, annotations, predictions, resamples=30)
    assert found.evaluation.metrics == tal.evaluate(protocol, annotations, predictions).metrics
    interval = found.intervals["mAP"]
    assert interval.low < interval.value < interval.high
    assert all(gain >= -1e-12 for gains in found.what_if.values() for gain in gains.values())
    perfect = found.evaluation.metrics["mAP"] + found.what_if["perfect_ranking"]["mAP"]
    recall = np.mean([row.recall for row in found.per_class.values()])
    assert perfect == pytest.approx(recall, abs=1e-9)
    assert {each.scheme for each in found.characteristics} <= {protocol, "quantiles"}
    json.dumps(found.as_dict())


@pytest.mark.parametrize("name", ["50Salads_mid_mid_video_ED-TCN_L2_C15", "GTEA_video_SVM"])
def test_predictions_of_a_real_model(name):
    annotations, predictions = CASES / f"{name}.annotations.json", CASES / f"{name}.predictions.json"
    if not annotations.exists():
        pytest.skip(f"{annotations} is not on this machine")
    found = diagnose("generic", annotations, predictions, against=predictions, resamples=30)
    assert found.evaluation.metrics == tal.evaluate("generic", annotations, predictions).metrics
    assert found.comparison.metrics["mAP"].p == 1.0


@pytest.mark.parametrize("task", ["verb", "noun", "action"])
def test_one_task_of_epic_kitchens(task):
    annotations, predictions = CASES / "epic100_validation.csv", CASES / "epic100.predictions.json"
    if not annotations.exists():
        pytest.skip(f"{annotations} is not on this machine")
    found = diagnose("epic-kitchens", annotations, predictions, resamples=0, task=task)
    whole = tal.evaluate("epic-kitchens", annotations, predictions)
    assert found.evaluation.metrics["mAP"] == whole.metrics[f"{task}/mAP"]
    assert np.mean([row.AP for row in found.per_class.values()]) == pytest.approx(
        whole.metrics[f"{task}/mAP"], rel=1e-9
    )


def test_epic_kitchens_needs_a_task():
    with pytest.raises(ConfigError, match="one of them is diagnosed at a time"):
        diagnose("epic-kitchens", _annotations(TRUTH), _found(FOUND))
