"""Progress: orders by hand, what is undefined, and the public forms of files."""

import json
import math

import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

TRUTH = {"up": 3, "down": 5, "half": 3, "flat": 3, "short": 3, "none": 4}
VALUES = {"up": [0, 50, 90], "down": [5, 4, 3, 2, 1], "half": [0, 100, 50], "flat": [7, 7, 7], "short": [1, 2]}


def test_by_hand():
    result = evaluate("progress", TRUTH, VALUES)
    assert result.metrics["VOC"] == pytest.approx((1 - 1 + 0.5) / 3)
    assert result.metrics["VOC-median"] == pytest.approx(0.5)
    assert result.metrics["VOC-positive"] == pytest.approx(2 / 3)
    assert result.metrics["success-rate"] == pytest.approx(1 / 6)
    assert result.counts["undefined"] == 3
    dropped = {"wrong number of values": 1, "constant, or fewer than two values": 1}
    assert result.counts["predictions_dropped"] == dropped
    assert result.missing == ("none",)
    assert math.isnan(result.per_class["flat"]["VOC"])


def test_opengvl_counts_what_is_undefined_as_zero():
    result = evaluate("progress", TRUTH, VALUES, variant="opengvl")
    assert result.metrics["VOC"] == pytest.approx((1 - 1 + 0.5) / 6)
    assert result.metrics["VOC-median"] == 0
    assert "opengvl" in result.options["source"]
    nearly = {"up": [50, 50.0001, 50.0002]}
    assert evaluate("progress", {"up": 3}, nearly).metrics["VOC"] == pytest.approx(1)
    assert evaluate("progress", {"up": 3}, nearly, variant="opengvl").metrics["VOC"] == 0


def test_success_is_compared_where_it_is_known(tmp_path):
    path = tmp_path / "a.json"
    rows = [("up", 3, True), ("down", 5, True), ("half", 3, False), ("flat", 3, False)]
    path.write_text(json.dumps([{"id": name, "frames": count, "success": won} for name, count, won in rows]))
    metrics = evaluate("progress", path, VALUES | {"half": [0, 50, 100]}).metrics
    assert metrics["success-accuracy"] == pytest.approx(2 / 4)
    assert metrics["success-precision"] == pytest.approx(1 / 2)
    assert metrics["success-recall"] == pytest.approx(1 / 2)
    assert "success-accuracy" not in evaluate("progress", TRUTH, VALUES).metrics


def test_frames_are_put_back_into_order(tmp_path):
    rows = [
        {
            "dataset": "kitchen",
            "eval_episode": {"episode_index": index, "shuffled_frames_indices": [40, 10, 30, 20]},
            "predicted_percentages": predicted,
        }
        for index, predicted in ((0, [90, 10, 60, 30]), (0, [10, 60, 30]))
    ]
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    result = evaluate("progress", path, path, variant="opengvl")
    assert result.per_class["kitchen/0"]["VOC"] == pytest.approx(1)
    assert math.isnan(result.per_class["kitchen/0#2"]["VOC"])
    assert result.metrics["VOC"] == pytest.approx(0.5)
    assert result.counts["predictions_dropped"] == {"wrong number of values": 1}


def test_a_folder_of_demonstrations(tmp_path):
    for name, numbers in (("lift", [0, 40, 100]), ("drop", [100, 40, 0])):
        frames = [{"frame_id": index, "number": value, "frame_order": 2 - index} for index, value in enumerate(numbers)]
        (tmp_path / f"{name}.json").write_text(json.dumps({"task_id": name, "frames": frames}))
    result = evaluate("progress", tmp_path, tmp_path)
    assert {name: values["VOC"] for name, values in result.per_class.items()} == pytest.approx({"drop": -1, "lift": 1})
    assert len(result.inputs) == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"up": [0, NaN, 1]}', "finite number"),
        ('{"up": 3}', "a number instead of a list"),
        ('{"zz": [0, 1, 2]}', "none of its 1 ids"),
        ('{"up": "x"}', "no number"),
        ('{"up": [0, 1', "truncated"),
        ("[[0, 1, 2]]", "names no trajectory"),
        ('{"eval_episode": {}}\n{"eval_episode": {}}', "an episode without"),
        ('[{"eval_episode": {"episode_index": 0, "shuffled_frames_indices": [1, "x"]}}]', "'x' is no number"),
        ('{"frames": [{"frame_id": 1}]}', "frames without numbers"),
    ],
)
def test_unusable_predictions_are_refused(tmp_path, content, told):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=told):
        evaluate("progress", TRUTH, path)


def test_unusable_options_and_values_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="from -1 to 1"):
        evaluate("progress", TRUTH, VALUES, success=5.0)
    with pytest.raises(AnnotationError, match="NaN or infinite"):
        evaluate("progress", TRUTH, {"up": [0.0, math.nan, 1.0]})
    with pytest.raises(AnnotationError, match="without json files"):
        evaluate("progress", TRUTH, tmp_path)
