"""Protocols on real files give the official evaluators' numbers, and everything left out is counted."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tal.annotations import elan, read_annotations
from tal.annotations.results import write_csv, write_results
from tal.errors import AnnotationError, ConfigError, TalError
from tal.evaluation import evaluate
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from segment_rows import annotations_of, segments_of

CASES = Path(__file__).parents[3] / "../shared/cases/temporal"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")

OFFICIAL = [
    ("thumos14", "thumos14", "thumos14", None),
    ("activitynet", "activitynet13", "activitynet13", None),
    ("generic", "multithumos", "multithumos", "test"),
    ("generic", "50Salads_mid_mid_video_ED-TCN_L2_C15", "50Salads_mid_mid_video_ED-TCN_L2_C15", None),
    ("generic", "GTEA_video_SVM", "GTEA_video_SVM", None),
]


@needs_cases
@pytest.mark.parametrize(("protocol", "annotations", "predictions", "subset"), OFFICIAL)
def test_official_numbers(protocol, annotations, predictions, subset):
    expected = json.loads((CASES / "expected.json").read_text())
    (rules,) = [rules for name, rules in expected.items() if name.startswith(predictions)]
    for tool, numbers in rules.items():
        result = evaluate(
            protocol,
            CASES / f"{annotations}.annotations.json",
            CASES / f"{predictions}.predictions.json",
            subset=subset,
            tiou=numbers["tious"] if protocol == "generic" else None,
            duplicates="keep" if tool.startswith("ActivityNet") else "remove",
        )
        assert list(result.options["tiou"]) == numbers["tious"]
        assert result.counts["ground_truth"] == numbers["n_gt"]
        assert result.counts["predictions_evaluated"] == numbers["n_pred"]
        assert result.metrics["mAP"] == pytest.approx(numbers["average_mAP"], rel=1e-9)
        found = [value for name, value in result.metrics.items() if name.startswith("mAP@")]
        assert found == pytest.approx(numbers["mAP"], rel=1e-9)
        for multiple in (1, 5):
            found = [value for name, value in result.metrics.items() if name.startswith(f"Recall@{multiple}x@")]
            if found and f"recall_{multiple}x" in numbers:
                assert found == pytest.approx(numbers[f"recall_{multiple}x"], rel=1e-9)


@needs_cases
@pytest.mark.parametrize("kind", ["verb", "noun", "action"])
def test_official_numbers_of_epic_kitchens(kind):
    expected = json.loads((CASES / "expected.json").read_text())["epic100.predictions on epic100_validation.csv"]
    numbers = expected[f"EPIC-KITCHENS C2 evaluator: {kind}"]
    annotations = read_annotations(
        CASES / "epic100_validation.csv", format="epic" if kind == "action" else f"epic-{kind}"
    )
    found = json.loads((CASES / "epic100.predictions.json").read_text())["results"]
    predictions = {
        video: Segments.from_names(
            [row["segment"][0] for row in rows],
            [row["segment"][1] for row in rows],
            [str(row[kind]) for row in rows],
            score=[row["score"] for row in rows],
        )
        for video, rows in found.items()
    }
    result = evaluate("generic", annotations, predictions, tiou=numbers["tious"])
    assert result.counts["classes"] == numbers["n_classes"]
    found = [value for name, value in result.metrics.items() if name.startswith("mAP@")]
    assert found == pytest.approx(numbers["mAP"], rel=1e-9)


def _annotations(rows, classes=("run", "walk")):
    """rows: video -> (subset, [(start, end, name)])"""
    return annotations_of(rows, classes)


def _predictions(rows, classes=("run", "walk")):
    return {video: segments_of(found, classes) for video, found in rows.items()}


TRUTH = _annotations(
    {
        "a": ("Test", [(0, 10, "run"), (0, 10.0005, "run"), (5, 5, "run"), (20, 30, "walk")]),
        "b": ("test", [(0, 4, "run")]),
        "c": ("testing", [(0, 4, "walk")]),
    }
)


def test_a_subset_is_compared_whole_and_in_any_case():
    result = evaluate("generic", TRUTH, _predictions({"a": [(0, 10, "run", 0.9)]}), subset="TEST")
    assert result.counts["videos"] == 2
    assert result.missing == ("b",)
    with pytest.raises(AnnotationError, match=r"Test \(1 videos\), test \(1 videos\), testing"):
        evaluate("generic", TRUTH, {}, subset="tes")
    with pytest.raises(AnnotationError, match="none chosen"):
        evaluate("generic", TRUTH, {})


def test_everything_left_out_is_counted():
    predictions = _predictions(
        {"a": [(0, 10, "run", 0.9), (0, 1, "fly", 0.5)], "c": [(0, 4, "walk", 0.9)], "zz": [(0, 4, "run", 0.95)]},
        classes=("fly", "run", "walk"),
    )
    result = evaluate("generic", TRUTH, predictions, subset="test", outside="drop")
    assert result.counts["duplicates_removed"] == 1
    assert sum(result.counts["ground_truth_excluded"].values()) == 1
    assert result.counts["ground_truth"] == 3
    assert result.counts["predictions_dropped"] == {
        "video not in the annotations": 1,
        "video of another subset": 1,
        "class not in the annotations": 1,
    }
    assert result.metrics["mAP@0.50"] == pytest.approx((0.5 + 0) / 2)
    assert result.per_class["run"]["ground_truth"] == 2

    counted = evaluate("generic", TRUTH, predictions, subset="test")
    assert counted.counts["predictions_outside"] == 2
    assert counted.metrics["mAP@0.50"] == pytest.approx(0.5 * 0.5 / 2)  # The false alarm on zz comes first.
    assert len(counted.warnings) == 2

    kept = evaluate("generic", TRUTH, predictions, subset="test", duplicates="keep")
    assert kept.counts["ground_truth"] == 5
    assert kept.options["duplicates"].startswith("keep: ActivityNet toolkit")


def test_no_predictions_in_memory_score_zero():
    result = evaluate("generic", TRUTH, {}, subset="test")
    assert result.metrics["mAP"] == 0.0
    assert result.counts["missing_videos"] == 2


def test_results_written_as_json_and_csv_score_the_same(tmp_path):
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 25, 60)
    found = zip(start.tolist(), rng.uniform(2, 9.9, 60).tolist(), rng.random(60).tolist(), strict=True)
    rows = {"a": [(first, first + length, "walk" if first > 12 else "run", score) for first, length, score in found]}
    results = _predictions(rows)
    write_results(tmp_path / "p.json", results)
    write_csv(tmp_path / "p.csv", results)
    memory = evaluate("generic", TRUTH, results, subset="test")
    for name in ("p.json", "p.csv"):
        file = evaluate("generic", TRUTH, tmp_path / name, subset="test")
        assert file.metrics == memory.metrics
        assert list(file.inputs) == [str(tmp_path / name)]
    assert 0 < memory.metrics["mAP"] < 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"results": {}}, "no predictions"),
        ({"results": {"a": [{"segment": [0, 1], "label": "run"}]}}, "prediction 0 has no score"),
        ({"results": {"a": [{"segment": [0, 1], "label": "run", "score": float("nan")}]}}, "score NaN"),
        ({"results": {"a": [{"segment": [0], "label": "run", "score": 1}]}}, "segment is"),
        ({"results": {"a": [{"segment": [0, 1], "label": "swim", "score": 1}]}}, "none of its 1 classes"),
        ({"results": {"zz": [{"segment": [0, 1], "label": "run", "score": 1}]}}, "not in subset"),
        ({"results": {"a": [{"segment": [0, 10**400], "label": "run", "score": 1}]}}, "no numbers"),
        ({"results": {"a": [{"segment": [0, 1], "label": ["run"], "score": 1}]}}, "a label of"),
        ({"results": {"a": ["run"]}}, "segment is None"),
        ({"results": {"a": [{"segment": [0, 1], "verb": 3, "score": 1}]}}, "none of its 1 predictions has a label"),
        ({"results": {"a": {"annotations": []}}}, "annotations, not predictions"),
        ({"database": {"a": {"annotations": []}}}, "annotations, not predictions"),
        ([1, 2], "a list"),
    ],
)
def test_unusable_predictions_are_refused(tmp_path, content, told):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=told):
        evaluate("generic", TRUTH, path, subset="test")


def test_unknown_names_and_thresholds_are_refused():
    with pytest.raises(TalError, match=r"unknown protocol(.|\n)*thumos14"):
        evaluate("thumos", TRUTH, {})
    with pytest.raises(ConfigError, match="duplicate rule"):
        evaluate("generic", TRUTH, {}, duplicates="some")
    with pytest.raises(ConfigError, match="thresholds"):
        evaluate("generic", TRUTH, {}, tiou=[50])
    with pytest.raises(AnnotationError, match="no ground truth"):
        evaluate("generic", _annotations({"a": ("test", [])}), {})


ROWS = [{"segment": [0, 10], "label": "run"}, {"segment": [20, 30], "label": "walk"}]
PARSED = {"database": {"v": {"subset": "test", "annotations": ROWS}}}


@pytest.mark.parametrize("wrapped", [True, False])
def test_parsed_json_at_hand_is_taken_as_it_is(wrapped):
    found = {"v": [row | {"score": 0.5} for row in ROWS]}
    result = evaluate("generic", PARSED, {"results": found} if wrapped else found)
    assert result.metrics["mAP"] == 1
    assert result.inputs == {}


@pytest.mark.parametrize(
    ("annotations", "predictions"), [(3, {}), (TRUTH, 3), (TRUTH, {"v": 3}), ({"a": 1}, {"v": []})]
)
def test_values_that_are_neither_files_nor_segments_are_told(annotations, predictions):
    with pytest.raises(TalError):
        evaluate("generic", annotations, predictions)


def test_a_folder_of_elan_documents_is_one_set(tmp_path):
    rows = Segments.from_names([0.0, 5.0], [4.0, 9.0], ["run", "walk"], score=[0.9, 0.8])
    for video in ("a", "b"):
        elan.write(tmp_path / f"{video}.eaf", video, rows[:1] if video == "b" else rows)
    result = evaluate("generic", tmp_path, {"a": rows, "b": rows[:1]})
    assert result.metrics["mAP"] == 1
    assert result.counts["ground_truth"] == 3
    assert len(result.inputs) == 2
    assert read_annotations(tmp_path).classes == ("run", "walk")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="without ELAN documents"):
        evaluate("generic", tmp_path / "empty", {"a": rows})
