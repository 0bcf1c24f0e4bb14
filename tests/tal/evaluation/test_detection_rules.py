"""What a caller can choose for temporal detection: other tools' rules, one class, ties, blocked videos, splits."""

import json
import sys
from pathlib import Path

import pytest

import tal
from tal.errors import AnnotationError, TalError
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from segment_rows import annotations_of, segments_of

CLASSES = ("Ambiguous", "CliffDiving", "Diving")


def _truth(rows, subset="test"):
    """rows: video -> [(start, end, name)]"""
    return annotations_of({video: (subset, found) for video, found in rows.items()}, CLASSES)


def _found(rows, classes=CLASSES):
    """rows: video -> [(start, end, name, score)]"""
    return {video: segments_of(found, classes) for video, found in rows.items()}


TWICE = _truth({"a": [(0, 10, "CliffDiving"), (0, 10, "Diving"), (20, 30, "Diving"), (40, 50, "Ambiguous")]})


def test_one_class_makes_duplicates_of_what_has_two():
    found = _found({"a": [(0, 10, "Diving", 0.9), (20, 30, "CliffDiving", 0.8)]})
    by_class = tal.evaluate("thumos14", TWICE, found)
    assert by_class.metrics["mAP"] == pytest.approx((0 + 1 / 2) / 2)
    one = tal.evaluate("thumos14", TWICE, found, class_agnostic=True)
    assert one.metrics["mAP"] == 1.0
    assert list(one.per_class) == ["any class"]
    assert one.counts["duplicates_removed"] == 1
    assert sum(one.counts["ground_truth_excluded"].values()) == 1  # Ambiguous stays excluded.
    kept = tal.evaluate("thumos14", TWICE, found, class_agnostic=True, duplicates="keep")
    assert kept.counts["ground_truth"] == 3
    assert kept.metrics["mAP"] == pytest.approx(2 / 3)


def test_one_class_takes_proposals_and_unknown_classes():
    plain = {"a": Segments(start_s=[0, 20], end_s=[10, 30], score=[0.9, 0.8])}
    assert tal.evaluate("thumos14", TWICE, plain, class_agnostic=True).metrics["mAP"] == 1.0
    foreign = _found({"a": [(0, 10, "jump", 0.9), (20, 30, "run", 0.8)]}, classes=("jump", "run"))
    assert tal.evaluate("thumos14", TWICE, foreign, class_agnostic=True).metrics["mAP"] == 1.0
    excluded = _found({"a": [(0, 10, "Ambiguous", 0.9), (20, 30, "Diving", 0.8)]})
    result = tal.evaluate("thumos14", TWICE, excluded, class_agnostic=True)
    assert result.counts["predictions_dropped"] == {"class excluded by the protocol": 1}


def test_ties_are_told():
    truth = _truth({"a": [(0, 10, "Diving")]})
    tied = _found({"a": [(50, 60, "Diving", 0.5), (0, 10, "Diving", 0.5)]})
    result = tal.evaluate("generic", truth, tied, ties=True)
    assert result.metrics["mAP"] == result.metrics["mAP-ties-lowest"] == 0.5
    assert result.metrics["mAP-ties-highest@0.50"] == 1.0
    assert result.counts["predictions_tied"] == 2
    assert any("extremes over all orders" in text for text in result.warnings)
    rivals = _found({"a": [(0, 10, "Diving", 0.5), (0, 9, "Diving", 0.5)]})
    result = tal.evaluate("generic", truth, rivals, ties=True)
    assert result.counts["predictions_tied_competing"] == 2
    assert any("slightly outside" in text for text in result.warnings)
    alone = _found({"a": [(0, 10, "Diving", 0.5)]})
    assert any("no two" in text for text in tal.evaluate("generic", truth, alone, ties=True).warnings)
    assert "mAP-ties-lowest" not in tal.evaluate("generic", truth, alone).metrics


def test_duplicate_rules_of_three_tools():
    truth = _truth({"a": [(0, 10, "Diving"), (0, 10.0005, "Diving"), (5, 5.0005, "Diving"), (7, 7, "Diving")]})
    found = _found({"a": [(0, 10, "Diving", 0.9)]})
    counts = {
        rule: tal.evaluate("generic", truth, found, duplicates=rule).counts["ground_truth"]
        for rule in ("keep", "remove", "opentad")
    }
    assert counts == {"keep": 4, "remove": 1, "opentad": 2}
    variant = tal.evaluate("activitynet", truth, found, subset="test", variant="opentad")
    assert variant.counts["ground_truth"] == 2
    assert variant.options["source"].startswith("sming256/OpenTAD")


def test_a_margin_of_the_union_loses_what_just_reaches_the_threshold():
    truth, found = _truth({"a": [(0, 10, "Diving")]}), _found({"a": [(0, 5, "Diving", 0.9)]})
    assert tal.evaluate("multithumos", truth, found, tiou=(0.5,)).metrics["mAP"] == 1.0
    assert tal.evaluate("multithumos", truth, found, tiou=(0.5,), variant="pointtad").metrics["mAP"] == 0.0


def test_recall_over_classes_and_over_instances():
    truth = _truth({"a": [(0, 10, "Diving"), (20, 30, "Diving"), (0, 10, "CliffDiving")]}, subset="val")
    found = _found({"a": [(0, 5, "Diving", 0.9), (20, 30, "Diving", 0.8), (50, 60, "CliffDiving", 0.7)]})
    result = tal.evaluate("ego4d-mq", truth, found)
    assert result.metrics["Recall@1x@0.50"] == pytest.approx((2 / 2 + 0) / 2)
    own = tal.evaluate("ego4d-mq", truth, found, variant="ego4d")
    assert own.metrics["Recall@1x@0.50"] == pytest.approx(1 / 3)  # 0.5 is not above 0.5
    assert own.metrics["Recall@1x@0.40"] == pytest.approx(2 / 3)
    assert "Recall@3x" in tal.evaluate("ego4d-mq", truth, found, recall_multiples=(3,)).metrics


def test_blocked_videos_are_left_out_on_both_sides(tmp_path):
    (tmp_path / "blocked.json").write_text('["b"]')
    truth = _truth({"a": [(0, 10, "Diving")], "b": [(0, 10, "Diving")]})
    found = _found({"a": [(0, 10, "Diving", 0.9)], "b": [(50, 60, "Diving", 0.95)]})
    result = tal.evaluate("generic", truth, found, blocked=tmp_path / "blocked.json")
    assert result.metrics["mAP"] == 1.0
    assert result.counts["predictions_dropped"] == {"video excluded by the protocol": 1}
    (tmp_path / "blocked.json").write_text("[1]")
    with pytest.raises(AnnotationError, match="a list of video ids"):
        tal.evaluate("generic", truth, found, blocked=tmp_path / "blocked.json")


def test_splits_by_another_name_or_by_none():
    found = _found({"a": [(0, 10, "Diving", 0.9)]})
    other = tal.evaluate("multithumos", _truth({"a": [(0, 10, "Diving")]}, subset="Testing"), found)
    assert other.options["subset"] == "testing"
    assert any("call subset 'test' 'testing'" in text for text in other.warnings)
    none = tal.evaluate("charades", _truth({"a": [(0, 10, "Diving")]}, subset=""), found)
    assert any("name no subsets" in text for text in none.warnings)
    with pytest.raises(AnnotationError, match="no video is in subset 'test'"):
        tal.evaluate("thumos14", _truth({"a": [(0, 10, "Diving")]}, subset="train"), found)


def test_faulty_segments_are_told():
    truth = _truth({"a": [(0, 10, "Diving")]})
    faulty = _found({"a": [(0, 10, "Diving", 0.9), (10, 0, "Diving", 0.8), (-5, 3, "Diving", 0.7)]})
    warnings = tal.evaluate("generic", truth, faulty).warnings
    assert any("1 predictions end before they start" in text for text in warnings)
    assert any("1 predictions start before 0" in text for text in warnings)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"recall_multiples": (0,)}, "from 1 on"),
        ({"duplicates": "all"}, "keep or remove or opentad"),
        ({"variant": "open-tad"}, "opentad"),
        ({"sampling": "rows"}, "no option sampling"),
    ],
)
def test_options_out_of_range(options, told):
    with pytest.raises(TalError, match=told):
        tal.evaluate("generic", TWICE, {}, **options)


@pytest.mark.parametrize(
    ("protocol", "name", "own"),
    [
        ("thumos14", "thumos14", "actionformer"),
        ("activitynet", "activitynet13", "activitynet-toolkit"),
        ("multithumos", "multithumos", "actionformer"),
    ],
)
def test_official_numbers_by_the_name_of_the_tool(cases, protocol, name, own):
    folder = cases / "temporal"
    (rules,) = [
        rules
        for title, rules in json.loads((folder / "expected.json").read_text()).items()
        if title.startswith(f"{name}.predictions")
    ]
    files = [folder / f"{name}.{kind}.json" for kind in ("annotations", "predictions")]
    assert tal.evaluate(protocol, *files).metrics == tal.evaluate(protocol, *files, variant=own).metrics
    for variant, numbers in zip(("activitynet-toolkit", "actionformer"), rules.values(), strict=True):
        result = tal.evaluate(protocol, *files, variant=variant)
        assert result.counts["ground_truth"] == numbers["n_gt"]
        assert result.metrics["mAP"] == pytest.approx(numbers["average_mAP"], rel=1e-9)
        found = [value for key, value in result.metrics.items() if key.startswith("mAP@")]
        assert found == pytest.approx(numbers["mAP"], rel=1e-9)


def test_numbers_of_pointtad_and_opentad(cases):
    """Computed with their evaluators (PointTAD datasets/evaluate.py, OpenTAD mAP.py) on the same files."""
    files = [cases / "temporal" / f"multithumos.{kind}.json" for kind in ("annotations", "predictions")]
    pointtad = tal.evaluate("multithumos", *files, variant="pointtad").metrics
    assert pointtad["mAP@0.50"] == pytest.approx(0.6172216325958177, rel=1e-12)
    assert pointtad["mAP@0.90"] == pytest.approx(0.04303308311096262, rel=1e-12)
    opentad = tal.evaluate("multithumos", *files, variant="opentad", recall_multiples=(1, 5)).metrics
    assert opentad["mAP"] == pytest.approx(0.5078458128319393, rel=1e-12)
    assert opentad["Recall@5x@0.90"] == pytest.approx(0.18892823819309154, rel=1e-12)


def test_predictions_mostly_of_other_classes_are_told():
    truth = _truth({"a": [(0, 10, "Diving")]})
    found = _found({"a": [(0, 10, "Diving", 0.9), (0, 1, "run", 0.8), (0, 1, "jump", 0.7)]}, ("Diving", "jump", "run"))
    warnings = tal.evaluate("generic", truth, found).warnings
    assert any("2 of 3 predictions are of classes that the annotations lack" in text for text in warnings)
