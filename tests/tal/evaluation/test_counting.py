"""Counting protocols: the published definitions on RepCount, and everything missing, foreign or repeated counted."""

import json
from pathlib import Path

import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate
from tal.segments import Segments

CASES = Path(__file__).parents[3] / "../shared/cases/counting"
TRUTH = {"a": 4, "b": 10, "c": 0}


@pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")
@pytest.mark.parametrize("truth", ["cycles", "column"])
def test_official_numbers(truth):
    expected = json.loads((CASES / "expected.json").read_text())["repcount_test.predictions on repcount_test.csv"]
    result = evaluate("repcount", CASES / "repcount_test.csv", CASES / "repcount_test.predictions.json", truth=truth)
    assert result.metrics["MAE"] == pytest.approx(expected["MAE (|d|/(count+0.1))"], rel=1e-9)
    assert result.metrics["MAE-plain"] == pytest.approx(expected["MAE (|d|/(count+1e-9))"], rel=1e-9)
    assert result.metrics["OBO"] == pytest.approx(expected["OBO"], rel=1e-9)
    assert result.counts["videos"] == result.counts["videos_with_predictions"] == expected["videos"]
    assert sum(values["ground_truth"] for values in result.per_class.values()) == expected["videos"]


def test_missing_videos_count_as_zero_or_are_dropped():
    predictions = {"a": 5.4, "b": 12}
    result = evaluate("counting", TRUTH, predictions)
    assert result.metrics["MAE"] == pytest.approx((1 / 4.1 + 2 / 10.1 + 0) / 3)
    assert result.metrics["MAE-raw"] == pytest.approx((1.4 / 4.1 + 2 / 10.1 + 0) / 3)
    assert result.metrics["OBO"] == pytest.approx(2 / 3)
    assert result.metrics["OBO-raw"] == pytest.approx(1 / 3)
    assert result.metrics["OBZ"] == pytest.approx(1 / 3)
    assert result.metrics["RMSE"] == pytest.approx((5 / 3) ** 0.5)
    assert result.missing == ("c",)
    dropped = evaluate("counting", TRUTH, predictions, missing="drop")
    assert dropped.metrics["OBO"] == pytest.approx(1 / 2)
    assert dropped.counts["ground_truth"] == 2
    assert dropped.counts["missing_videos"] == 1


def test_foreign_and_repeated_predictions_are_counted(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("video,count\na,9\na,4\nb,10\nzz,3\n")
    result = evaluate("counting", TRUTH, path)
    assert result.metrics["OBZ"] == 1
    assert result.counts["predictions"] == 4
    assert result.counts["predictions_evaluated"] == 2
    assert sorted(result.counts["predictions_dropped"].values()) == [1, 1]
    assert list(result.inputs) == [str(path)]


def test_segments_are_counted(tmp_path):
    found = {"a": [{"segment": [0, 1], "label": "squat", "score": score} for score in (0.9, 0.8, 0.3)], "b": []}
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"results": found}))
    truth = {"a": 2, "b": 0}
    assert evaluate("counting", truth, path).metrics["OBZ"] == 0.5
    assert evaluate("counting", truth, path, min_score=0.5).metrics["OBZ"] == 1
    memory = {"a": Segments.from_names([0, 1, 2], [1, 2, 3], ["x"] * 3, score=[0.9, 0.8, 0.3])}
    assert evaluate("counting", truth, memory, min_score=0.5).metrics["OBZ"] == 1
    path.write_text('{"a": 1}')
    with pytest.raises(ConfigError, match="counts instead of segments"):
        evaluate("counting", truth, path, min_score=0.5)
    path.write_text('{"a": [1, 2, 3]}')
    with pytest.raises(AnnotationError, match="holds no cycles"):
        evaluate("counting", path, {"a": 3})


def test_annotations_with_segments_subsets_and_counts(tmp_path):
    path = tmp_path / "a.json"
    two = [{"segment": [0, 1], "label": "jump"}, {"segment": [1, 2], "label": "jump"}]
    database = {"a": {"subset": "test", "count": 3, "annotations": two}, "b": {"subset": "train", "annotations": []}}
    path.write_text(json.dumps({"database": database}))
    result = evaluate("counting", path, {"a": 2}, subset="Test")
    assert result.metrics["OBZ"] == 1
    assert list(result.per_class) == ["jump"]
    assert evaluate("counting", path, {"a": 3}, subset="test", truth="column").metrics["OBZ"] == 1
    with pytest.raises(AnnotationError, match="several subsets"):
        evaluate("counting", path, {"a": 2})
    with pytest.raises(AnnotationError, match="no entry of subset 'val'"):
        evaluate("counting", path, {"a": 2}, subset="val")


def test_a_column_that_is_not_the_number_of_cycles_is_told(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("type,name,count,L1,L2,L3,L4\nsquat,a.mp4,3,0,5,6,9\nsquat,b.mp4,,0,5,,\n")
    result = evaluate("repcount", path, {"a": 2, "b": 1})
    assert result.metrics["OBZ"] == 1
    assert "'a'" in result.warnings[0]
    column = evaluate("repcount", path, {"a": 3, "b": 1}, truth="column")
    assert column.metrics["OBZ"] == 1
    assert column.counts["ground_truth_excluded"] == {"no count": 1}


def test_transracs_own_ground_truth_is_lower_where_cycles_are_many(tmp_path):
    names = ",".join(f"L{place}" for place in range(1, 121))
    many = ",".join(str(5 * place + end) for place in range(60) for end in (0, 5))
    few = ",".join(["0", "90", "110", "190"] + [""] * 116)
    path = tmp_path / "a.csv"
    path.write_text(f"type,name,count,{names}\nsquat,a.mp4,60,{many}\nsquat,b.mp4,2,{few}\nsquat,c.mp4,,{few}\n")
    frames = tmp_path / "frames.json"
    frames.write_text('{"a": 300, "b": 300, "c": 300}')
    predictions = {"a": 60, "b": 2, "c": 2}
    assert evaluate("repcount", path, predictions).metrics["OBZ"] == 1
    result = evaluate("repcount", path, predictions, variant="transrac", frames=frames)
    assert result.metrics["OBO"] == 0.5
    assert result.counts["ground_truth_excluded"] == {"no count": 1}
    assert str(frames) in result.inputs
    with pytest.raises(ConfigError, match="--frames FILE"):
        evaluate("repcount", path, predictions, variant="transrac")
    with pytest.raises(ConfigError, match="nothing else does"):
        evaluate("repcount", path, predictions, frames=frames)
    frames.write_text('{"a": 300}')
    with pytest.raises(AnnotationError, match="no number of frames of 'b'"):
        evaluate("repcount", path, predictions, truth="density", frames=frames)
    frames.write_text('{"a": 300, "b": 0}')
    with pytest.raises(AnnotationError, match="without frames: 'b'"):
        evaluate("repcount", path, predictions, truth="density", frames=frames)
    path.write_text('{"a": 3}')
    with pytest.raises(AnnotationError, match="not RepCount's CSV"):
        evaluate("repcount", path, predictions, truth="density", frames=frames)


@pytest.mark.parametrize(
    ("predictions", "told"),
    [
        ('{"a": NaN}', "finite number"),
        ('{"a": "many"}', "no number"),
        ('{"a": null}', "'a' has no count"),
        ('{"a": [1, 2]}', "holds no segments"),
        ('{"zz": 3}', "none of its 1 ids"),
        ('{"a": 3', "truncated"),
        ("{}", "no entries"),
        ("type,name,count,L1,L2\nsquat,a.mp4,1,0,5\n", "exchanged"),
        ('{"database": {"a": {"annotations": []}}}', "exchanged"),
        ("[1, 2]", "names no video"),
    ],
)
def test_unusable_predictions_are_refused(tmp_path, predictions, told):
    path = tmp_path / "p"
    path.write_text(predictions)
    with pytest.raises(AnnotationError, match=told):
        evaluate("counting", TRUTH, path)


def test_unusable_truth_and_options_are_refused():
    with pytest.raises(AnnotationError, match="negative"):
        evaluate("counting", {"a": -1}, {"a": 1})
    with pytest.raises(AnnotationError, match="no counts"):
        evaluate("counting", {}, {"a": 1})
    with pytest.raises(ConfigError, match="cycles, column or density"):
        evaluate("repcount", TRUTH, {"a": 1}, truth="sum")
    with pytest.raises(ConfigError, match="no option tiou"):
        evaluate("repcount", TRUTH, {"a": 1}, tiou=(0.5,))


def test_a_table_that_may_be_cut_off_is_told(tmp_path):
    (tmp_path / "truth.csv").write_text("video,count\na,3\nb,14\n")
    (tmp_path / "found.csv").write_text("video,count\na,3\nb,1")
    result = evaluate("counting", tmp_path / "truth.csv", tmp_path / "found.csv")
    assert [note for note in result.warnings if "found.csv: its last line has no end" in note]
    assert not [note for note in result.warnings if "truth.csv" in note]
