"""Online protocols: what is counted, what the options change, what is refused; and a bound measured elsewhere."""

import json
import math
import sys
from pathlib import Path

import pytest

from tal.annotations import read_annotations
from tal.annotations.results import GENERATION_TIME
from tal.errors import AnnotationError, ConfigError, TalError
from tal.evaluation import evaluate
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from segment_rows import annotations_of, segments_of

CASES = Path(__file__).parents[3] / "../shared/cases/temporal"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")


def _segments(rows, classes=("run", "walk")):
    return segments_of(rows, classes, GENERATION_TIME)


def _annotations(rows, subset="test", classes=("run", "walk")):
    return annotations_of({video: (subset, found) for video, found in rows.items()}, classes)


TRUTH = _annotations(
    {"a": [(0, 10, "run"), (0, 10, "walk"), (20, 30, "run")], "b": [(0, 4, "walk")], "c": [(5, 9, "run")]}
)
FOUND = {
    "a": _segments(
        [(0, 10, "run", 0.9, 12), (1, 10, "walk", 0.8, 10), (20, 28, "run", 0.7, 29), (50, 60, "run", 1, 55)]
    ),
    "b": _segments([]),
}


def test_everything_at_once():
    result = evaluate("online", TRUTH, FOUND)
    metrics = result.metrics
    # run: wrong, right, right of 3 -> 2/3 + 2/3 over 3; walk: right of 2.
    assert metrics["mAP@0.50"] == pytest.approx((4 / 9 + 1 / 2) / 2)
    assert metrics["AEDT@0.50"] == pytest.approx(((12 - 10) + (29 - 30) + (10 - 10)) / 3)
    assert metrics["AEDT"] == pytest.approx(metrics["AEDT@0.50"])
    assert result.per_class["run"]["AEDT@0.50"] == pytest.approx(0.5)
    # 3 of 4 predictions, 3 of the 4 instances in a and b; c is not in the predictions.
    assert metrics["precision@0.50"] == pytest.approx(3 / 4)
    assert metrics["recall@0.50"] == pytest.approx(3 / 4)
    assert metrics["F1@0.50"] == pytest.approx(0.75)
    assert metrics["p-AP@1.0"] == pytest.approx(metrics["mAP@0.50"])
    assert list(metrics)[-1] == "recall@0.70"
    assert result.counts["predictions_ending_later"] == 1
    assert result.counts["predictions_evaluated"] == 4
    assert result.missing == ("b", "c")
    assert "1 predictions end after the time at which they were made" in result.warnings[0]


def test_f1_over_all_videos_and_with_dummies():
    everything = evaluate("online", TRUTH, FOUND, f1_videos="all")
    assert everything.counts["f1_ground_truth"] == 5
    assert everything.metrics["recall@0.50"] == pytest.approx(3 / 5)
    for videos, predictions in (("predicted", 5), ("all", 6)):
        result = evaluate("online", TRUTH, FOUND, f1_videos=videos, dummies=True)
        assert result.counts["f1_predictions"] == predictions
        assert result.metrics["precision@0.50"] == pytest.approx(3 / predictions)
    written = {**FOUND, "b": _segments([(0, 0, "run", 0.0, 0)])}  # As ActionSwitch writes it.
    assert evaluate("online", TRUTH, written).metrics["F1@0.50"] == pytest.approx(
        evaluate("online", TRUTH, FOUND, dummies=True).metrics["F1@0.50"]
    )


def test_predictions_from_the_future_can_be_left_out():
    result = evaluate("online", TRUTH, FOUND, drop_future=True)
    assert result.counts["predictions"] == 4
    assert result.counts["predictions_evaluated"] == 3
    assert result.counts["predictions_dropped"] == {"end after the time at which it was made": 1}
    assert result.metrics["mAP@0.50"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert result.metrics["precision@0.50"] == pytest.approx(1)


def test_no_true_positive_has_no_delay():
    result = evaluate("online", TRUTH, {"a": _segments([(50, 60, "run", 0.5, 61)])})
    assert result.metrics["mAP"] == 0
    assert math.isnan(result.metrics["AEDT@0.50"])


def test_without_generation_times_there_is_no_aedt(tmp_path):
    found = {"a": _segments([(0, 10, "run", 0.9)])}
    result = evaluate("online", TRUTH, found)
    assert not any(name.startswith("AEDT") for name in result.metrics)
    assert "no generation times" in result.warnings[0]


def test_f1_needs_no_labels_and_no_scores(tmp_path):
    rows = [{"segment": [0, 10]}, {"segment": [20, 28]}]
    for extra in ({}, {"score": 0.5}, {"label": "run"}):
        (tmp_path / "p.json").write_text(json.dumps({"results": {"a": [row | extra for row in rows]}}))
        result = evaluate("online", TRUTH, tmp_path / "p.json")
        assert {name.split("@")[0] for name in result.metrics} == {"F1", "precision", "recall"}
        assert result.metrics["recall@0.50"] == pytest.approx(2 / 3)
        assert "no labels or no scores" in result.warnings[0]


def test_unknown_classes_count_for_f1_alone():
    found = {"a": _segments([(0, 10, "run", 0.9, 12), (0, 10, "fly", 0.9, 12)], ("fly", "run"))}
    result = evaluate("online", TRUTH, found)
    assert result.counts["predictions_dropped"] == {"class not in the annotations": 1}
    assert result.counts["predictions_evaluated"] == 1
    assert result.metrics["precision@0.50"] == pytest.approx(1)


def test_videos_of_the_actionswitch_variant_are_left_out_of_mean_average_precision_alone():
    blocked = "video_test_0000270"
    truth = _annotations({"a": [(0, 10, "run")], blocked: [(0, 10, "run")]})
    found = {"a": _segments([(0, 10, "run", 0.5, 11)]), blocked: _segments([(50, 60, "run", 0.9, 61)])}
    plain = evaluate("thumos14-online", truth, found)
    other = evaluate("thumos14-online", truth, found, variant="actionswitch")
    assert plain.metrics["mAP"] == pytest.approx(0.25)
    assert other.metrics["mAP"] == pytest.approx(1)
    assert other.counts["predictions_dropped"] == {"video excluded by the protocol": 1}
    assert sum(other.counts["ground_truth_excluded"].values()) == 1
    assert plain.metrics["F1@0.50"] == other.metrics["F1@0.50"] == pytest.approx(0.5)
    assert "compute.py" in other.options["source"]


def test_duplicates_are_a_rule_of_the_average_precisions():
    truth = _annotations({"a": [(0, 10, "run"), (0, 10.0005, "run")]})
    found = {"a": _segments([(0, 10, "run", 0.5, 11)])}
    assert evaluate("online", truth, found).metrics["p-AP@1.0"] == pytest.approx(0.5)
    removed = evaluate("online", truth, found, variant="simon")
    assert removed.metrics["p-AP@1.0"] == pytest.approx(1)
    assert removed.metrics["recall@0.50"] == pytest.approx(0.5)


def test_start_detection_options():
    result = evaluate("online", TRUTH, FOUND, offsets_s=(0.5, 2.0), depth=0.5)
    assert [name for name in result.metrics if name.startswith("p-AP")] == ["p-AP", "p-AP@0.5", "p-AP@2.0"]
    # Half of 3 and of 2 is one instance each: run has one wrong start before it, walk starts 1 s late.
    assert result.metrics["p-AP@0.5"] == pytest.approx(2 / 3 / 2)
    assert result.metrics["p-AP@2.0"] == pytest.approx((2 / 3 + 1) / 2)


def test_csv_with_generation_times(tmp_path):
    (tmp_path / "p.csv").write_text("video,start,end,label,score,gentime\na,0,10,run,0.9,12\n")
    assert evaluate("online", TRUTH, tmp_path / "p.csv").metrics["AEDT@0.50"] == pytest.approx(2)


ROW = {"segment": [0, 1], "label": "run", "score": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"results": {"a": [ROW | {"gentime": float("nan")}]}}, "without a finite generation time"),
        ({"results": {"a": [ROW | {"gentime": 1}, ROW]}}, "prediction 1 has no gentime"),
        ({"results": {"a": [ROW | {"gentime": "1:00"}]}}, "gentime is '1:00'"),
        ({"results": {"a": [ROW | {"score": float("nan")}]}}, "score NaN"),
        ({"results": {"a": [ROW, {"segment": [0, 1], "label": "run"}]}}, "prediction 1 has no score"),
        ({"results": {"a": [ROW | {"segment": [float("nan"), 1]}]}}, "start NaN"),
        ({"results": {"zz": [ROW]}}, "not in subset"),
        ({"results": {"a": [ROW | {"label": "swim"}]}}, "none of its 1 classes"),
        ({"results": {}}, "no predictions"),
        ({"database": {"a": {"annotations": []}}}, "annotations, not predictions"),
    ],
)
def test_unusable_predictions_are_refused(tmp_path, content, told):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=told):
        evaluate("online", TRUTH, path)


def test_truncated_and_exchanged_files_are_refused(tmp_path):
    (tmp_path / "p.json").write_text('{"results": {"a": [{"segment": [0, 1], "la')
    with pytest.raises(AnnotationError, match=r"line 1, column(.|\n)*truncated"):
        evaluate("online", TRUTH, tmp_path / "p.json")
    (tmp_path / "p.json").write_text(json.dumps({"results": {"a": [ROW]}}))
    with pytest.raises(AnnotationError, match="predictions, not annotations"):
        evaluate("online", tmp_path / "p.json", tmp_path / "p.json")


def test_reversed_and_negative_segments_are_false_alarms():
    found = {"a": _segments([(0, 10, "run", 0.5, 11), (8, 2, "run", 0.9, 9), (-9, -3, "walk", 0.9, 9)])}
    result = evaluate("online", TRUTH, found)
    assert result.per_class["run"]["AP@0.50"] == pytest.approx(0.5 / 3)
    assert result.metrics["precision@0.50"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "options", [{"depth": 0}, {"depth": 1.5}, {"offsets_s": (-1.0,)}, {"offsets_s": ()}, {"f1_videos": "some"}]
)
def test_options_outside_their_range_are_refused(options):
    with pytest.raises(ConfigError):
        evaluate("online", TRUTH, FOUND, **options)


def test_unknown_variants_are_refused():
    with pytest.raises(TalError, match="actionswitch"):
        evaluate("thumos14-online", TRUTH, FOUND, variant="cagqil")


def _switched(instances, rate, switches):
    """Spans that ActionSwitch's state labels can hold: encoded in frames, each on the first idle switch, and decoded.

    An instance without an idle switch is lost, instances that touch on one switch become one, and what is active in the
    last frame is never told.
    """
    count = max(1, round(instances.duration_s * rate))
    per_s = count / instances.duration_s
    tracks = [[False] * count for _ in range(switches)]
    for start, end in sorted(zip(instances.instances.start_s, instances.instances.end_s, strict=True)):
        first, last = int(start * per_s), int(end * per_s)
        for track in tracks:
            if not any(track[first:last]):
                track[first:last] = [True] * len(track[first:last])
                break
    spans = []
    for track in tracks:
        edges = [frame for frame in range(1, count) if track[frame] != track[frame - 1]]
        edges = [0, *edges] if track[0] else edges
        spans += [(a / per_s, b / per_s) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    return spans


@needs_cases
@pytest.mark.parametrize(
    ("rate", "switches", "bound"), [(4, 1, 0.933), (4, 2, 0.975), (4, 3, 0.975), (5, 1, 0.944), (5, 2, 0.988)]
)
def test_the_bound_of_switches_on_thumos14(rate, switches, bound):
    """Upper bounds of Hungarian F1@0.5 of ActionSwitch's encoding that were measured without this code.

    They depend on how durations are rounded to a number of features, which moves them by up to 0.004.
    """
    annotations = read_annotations(CASES / "thumos14.annotations.json")
    found = {
        video: _segments([(*span, "any", 1.0) for span in _switched(record, rate, switches)], ("any",))
        for video, record in annotations.videos.items()
        if record.subset.lower() == "test"
    }
    plain = {video: Segments(start_s=rows.start_s, end_s=rows.end_s) for video, rows in found.items()}
    result = evaluate("thumos14-online", annotations, plain)
    assert result.metrics["F1@0.50"] == pytest.approx(bound, abs=0.005)
