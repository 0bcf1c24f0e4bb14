"""Open-vocabulary protocols: base and novel classes, generalised and constrained; what is counted and refused."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from tal.annotations import read_annotations
from tal.annotations.results import write_results
from tal.datasets.open_vocabulary import THUMOS14_BASE
from tal.errors import AnnotationError, ConfigError, TalError
from tal.evaluation import evaluate
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from segment_rows import annotations_of, segments_of

CASES = Path(__file__).parents[3] / "../shared/cases/temporal"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")

CLASSES = ("clap", "jump", "spin", "wave")


def _segments(rows, classes=CLASSES):
    return segments_of(rows, classes)


def _annotations(rows, subset="validation"):
    return annotations_of({video: (subset, found) for video, found in rows.items()}, CLASSES)


TRUTH = _annotations(
    {
        "base": [(0, 10, "clap"), (20, 30, "jump")],
        "novel": [(0, 10, "spin")],
        "both": [(0, 10, "clap"), (20, 30, "spin")],
        "late": [(0, 10, "spin"), (20, 30, "spin")],
    }
)
FOUND = {
    "base": _segments([(0, 10, "clap", 0.9), (20, 30, "wave", 0.8)]),
    "novel": _segments([(0, 10, "spin", 0.7), (50, 60, "spin", 0.9)]),
    "both": _segments([(0, 10, "jump", 0.9), (20, 30, "spin", 0.6)]),
}


@pytest.fixture
def base(tmp_path):
    path = tmp_path / "base.txt"
    path.write_text("clap\njump\n")
    return path


def test_generalised(base):
    result = evaluate("activitynet-open", TRUTH, FOUND, base=base)
    clap, jump, spin = 1 / 2, 0, 2 / 3 * 2 / 4
    assert result.metrics["mAP@0.50"] == pytest.approx((clap + jump + spin) / 3)
    assert result.metrics["base/mAP@0.50"] == pytest.approx((clap + jump) / 2)
    assert result.metrics["novel/mAP@0.95"] == pytest.approx(spin)
    assert result.metrics["novel/mAP"] == pytest.approx(spin)
    # Whatever the class: both of "base", one of "novel" (2nd), both of "both"; "late" has no predictions.
    assert result.metrics["agnostic/Recall@1x@0.50"] == pytest.approx(4 / 7)
    assert result.metrics["agnostic/Recall@100@0.50"] == pytest.approx(5 / 7)
    assert result.per_class["spin"]["base"] == 0
    assert result.counts["base_classes"] == 2
    assert result.counts["predictions_dropped"] == {"class without ground truth in the subset": 1}
    assert result.missing == ("late",)
    assert result.options["base"] == str(base)


def test_constrained_to_base_classes(base):
    result = evaluate("activitynet-open", TRUTH, FOUND, base=base, setting="constrained-base")
    assert result.counts["videos"] == 1
    assert result.metrics["mAP@0.50"] == pytest.approx(1 / 2)
    assert result.counts["ground_truth"] == 2
    assert result.counts["ground_truth_excluded"] == {
        "video with classes of the other kind": 3,
        "video with base and novel classes": 2,
    }
    assert result.counts["predictions_dropped"] == {
        "video with classes of the other kind": 2,
        "video with base and novel classes": 2,
        "class that is not evaluated": 1,
    }
    assert not any(name.startswith(("base/", "novel/")) for name in result.metrics)
    assert result.metrics["agnostic/Recall@100@0.50"] == pytest.approx(1 / 2)


def test_constrained_to_novel_classes(base):
    result = evaluate("activitynet-open", TRUTH, FOUND, base=base, setting="constrained-novel")
    assert result.counts["videos"] == 2
    assert result.metrics["mAP@0.50"] == pytest.approx(1 / 2 / 3)
    named = {**FOUND, "late": _segments([])}
    predicted = evaluate("activitynet-open", TRUTH, named, base=base, setting="constrained-novel", variant="stov-tal")
    assert predicted.metrics["mAP@0.50"] == pytest.approx(1 / 2)
    assert predicted.counts["ground_truth_excluded"]["video without predictions"] == 2
    assert predicted.metrics["agnostic/Recall@100@0.50"] == pytest.approx(1 / 3)
    assert any("mAP is without 1 videos" in text for text in predicted.warnings)


def test_no_class_of_a_kind_has_no_mean(tmp_path):
    path = tmp_path / "base.json"
    path.write_text(json.dumps(["clap", "jump", "spin", "wave"]))
    result = evaluate("activitynet-open", TRUTH, FOUND, base=path)
    assert math.isnan(result.metrics["novel/mAP"])
    assert result.metrics["base/mAP"] == pytest.approx(result.metrics["mAP"])


def test_a_setting_without_videos_is_refused(tmp_path):
    path = tmp_path / "base.json"
    path.write_text(json.dumps(["clap", "jump", "spin", "wave"]))
    with pytest.raises(AnnotationError, match="none of 4 videos holds novel classes alone"):
        evaluate("activitynet-open", TRUTH, FOUND, base=path, setting="constrained-novel")


def test_only_the_very_same_instance_is_a_duplicate(base):
    rows = [(0, 10, "clap"), (0, 10, "clap"), (0, 10.0001, "clap"), (0, 10, "jump"), (9, 3, "clap"), (4, 4, "clap")]
    truth, found = _annotations({"a": rows}), {"a": _segments([(0, 10, "clap", 1.0)])}
    result = evaluate("activitynet-open", truth, found, base=base)
    assert result.counts["duplicates_removed"] == 1
    assert result.counts["ground_truth"] == 4
    assert sum(result.counts["ground_truth_excluded"].values()) == 1
    kept = evaluate("activitynet-open", truth, found, base=base, duplicates="keep")
    assert kept.counts["ground_truth"] == 6


def test_the_base_list_is_asked_for_and_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"which classes are base(.|\n)*--base FILE"):
        evaluate("activitynet-open", TRUTH, FOUND)
    path = tmp_path / "base.txt"
    path.write_text("clap\nwaving\n")
    with pytest.raises(AnnotationError, match=r"'waving' is not in the annotations(.|\n)*wave"):
        evaluate("activitynet-open", TRUTH, FOUND, base=path)
    with pytest.raises(AnnotationError, match="no such file"):
        evaluate("activitynet-open", TRUTH, FOUND, base=tmp_path / "none.txt")
    with pytest.raises(AnnotationError, match=r"none of the 12 base classes(.|\n)*--base FILE"):
        evaluate("thumos14-open", _annotations({"a": [(0, 1, "clap")]}, "test"), FOUND)
    path.write_text("")
    with pytest.raises(AnnotationError, match="is empty"):
        evaluate("activitynet-open", TRUTH, FOUND, base=path)


def test_ids_of_classes_are_read_where_they_mean_one_thing(tmp_path, base):
    rows = {"novel": [{"segment": [0, 10], "label_id": 3, "score": 0.5}]}
    (tmp_path / "p.json").write_text(json.dumps({"results": rows}))
    names = {3: "spin", 0: "clap", 1: "jump"}
    annotated = [{"segment": [0, 10], "label": name, "label_id": number} for number, name in names.items()]
    database = {
        "novel": {"subset": "validation", "annotations": annotated[:1]},
        "base": {"subset": "validation", "annotations": annotated[1:]},
    }
    (tmp_path / "a.json").write_text(json.dumps({"database": database}))
    result = evaluate("activitynet-open", tmp_path / "a.json", tmp_path / "p.json", base=base)
    assert result.per_class["spin"]["AP@0.50"] == 1
    with pytest.raises(AnnotationError, match=r"label_id(.|\n)*class names"):
        evaluate("activitynet-open", tmp_path / "a.json", tmp_path / "p.json", base=base, setting="constrained-novel")


def test_predictions_outside_the_split_are_told(base):
    found = {**FOUND, "elsewhere": _segments([(0, 10, "spin", 0.95)])}
    counted = evaluate("activitynet-open", TRUTH, found, base=base, setting="constrained-novel")
    dropped = evaluate("activitynet-open", TRUTH, found, base=base, setting="constrained-novel", outside="drop")
    assert counted.counts["predictions_outside"] == 1
    assert counted.metrics["mAP"] < dropped.metrics["mAP"]
    assert dropped.counts["predictions_dropped"]["video not in the annotations"] == 1


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"base": _segments([(0, 1, "fly", 0.5)], ("fly",))}, "none of its 1 classes"),
        ({"zz": _segments([(0, 1, "spin", 0.5)])}, "not in the split"),
        ({"base": _segments([(0, 1, "clap", float("nan"))])}, "score NaN"),
    ],
)
@pytest.mark.parametrize("setting", ["generalised", "constrained-base"])
def test_unusable_predictions_are_refused(base, found, told, setting):
    with pytest.raises(AnnotationError, match=told):
        evaluate("activitynet-open", TRUTH, found, base=base, setting=setting)


@pytest.mark.parametrize("options", [{"setting": "open"}, {"videos": "some"}])
def test_unknown_rules_are_refused(base, options):
    with pytest.raises(ConfigError):
        evaluate("activitynet-open", TRUTH, FOUND, base=base, **options)


def test_unknown_variants_are_refused(base):
    with pytest.raises(TalError, match="stov-tal"):
        evaluate("activitynet-open", TRUTH, FOUND, base=base, variant="stov")


@needs_cases
def test_thumos14_has_twelve_base_and_eight_novel_classes(tmp_path):
    annotations = read_annotations(CASES / "thumos14.annotations.json")
    assert len(THUMOS14_BASE) == 12
    assert set(THUMOS14_BASE) < set(annotations.classes)
    result = evaluate("thumos14-open", annotations, CASES / "thumos14.predictions.json")
    plain = evaluate("thumos14", annotations, CASES / "thumos14.predictions.json", duplicates="keep")
    assert result.counts["classes"] == 20
    assert result.counts["base_classes"] == 12
    # The average over all classes is that of base and novel, weighted by their number.
    weighted = (12 * result.metrics["base/mAP@0.50"] + 8 * result.metrics["novel/mAP@0.50"]) / 20
    assert weighted == pytest.approx(result.metrics["mAP@0.50"])
    identical = result.counts["duplicates_removed"]
    assert result.counts["ground_truth"] == plain.counts["ground_truth"] - identical
    novel = evaluate("thumos14-open", annotations, CASES / "thumos14.predictions.json", setting="constrained-novel")
    assert novel.counts["classes"] == 8
    assert novel.counts["videos"] == 83


@needs_cases
def test_perfect_proposals_are_all_recalled(tmp_path):
    annotations = read_annotations(CASES / "thumos14.annotations.json")
    rng = np.random.default_rng(0)
    found = {
        video: Segments(
            start_s=record.instances.start_s,
            end_s=record.instances.end_s,
            score=rng.random(len(record.instances)),
            label=rng.permutation(record.instances.label),
            classes=annotations.classes,
        )
        for video, record in annotations.videos.items()
        if record.subset.lower() == "test"
    }
    write_results(tmp_path / "p.json", found)
    result = evaluate("thumos14-open", annotations, tmp_path / "p.json")
    assert result.metrics["agnostic/Recall@1x@0.50"] == 1
    assert result.metrics["mAP"] < 1
