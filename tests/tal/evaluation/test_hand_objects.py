"""Hands with their objects: the score from its parts, and what cannot be evaluated."""

import json

import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

HAND, THING, FAR = [0, 0, 9, 9], [10, 0, 20, 10], [50, 50, 60, 60]
TRUTH = {"a": [{"hand": HAND, "object": THING}], "b": [{"hand": HAND, "object": None}], "c": []}


def test_scores_from_their_parts(tmp_path):
    found = {
        "a": [{"hand": HAND, "object": THING, "hand_score": 0.9, "contact": 0.8, "object_score": 0.5}],
        "b": [{"hand": HAND, "object": THING, "hand_score": 0.9, "contact": 0.05}],
        "c": [{"hand": FAR, "object": THING, "hand_score": 0.5, "contact": 0.5}],
        "zz": [{"hand": FAR, "object": THING, "hand_score": 0.5, "contact": 0.5}],
    }
    path = tmp_path / "p.json"
    path.write_text(json.dumps(found))
    result = evaluate("hand-objects", TRUTH, path)
    # b: 0.9 * 0.95, its object taken away, right; a: 0.9 * 0.8 * 0.5, right; c: 0.25, a false alarm.
    assert result.metrics == pytest.approx({"AP@0.25": 1, "AP@0.50": 1, "AP@0.75": 1})
    assert result.counts["predictions_dropped"] == {"image not in the ground truth": 1}
    assert evaluate("hand-objects", TRUTH, path, joint=0.5).metrics["AP@0.50"] == pytest.approx(6 / 11)
    assert evaluate("hand-objects", TRUTH, path, contact=0.0).metrics["AP@0.50"] == pytest.approx(
        (6 * 1 + 5 * 2 / 3) / 11
    )


def test_objects_alone():
    found = {"a": [{"object": THING, "score": 0.5}, {"object": FAR, "score": 0.9}], "b": [{"object": None, "score": 1}]}
    result = evaluate("active-objects", TRUTH, found, iou=(0.5,))
    assert result.metrics == {"AP@0.50": pytest.approx(0.5)}
    assert result.counts["ground_truth"] == 1
    assert result.counts["ground_truth_excluded"] == {"hand without an object": 1}
    assert result.counts["predictions_dropped"] == {"hand without an object": 1}


def test_an_image_without_predictions_is_counted():
    result = evaluate("hand-objects", TRUTH, {"a": [{"hand": HAND, "object": THING, "score": 1}]})
    assert result.missing == ("b", "c")
    assert result.metrics["AP@0.50"] == pytest.approx(6 / 11)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"hand": HAND, "object": THING}, "no score"),
        ({"hand": HAND, "object": THING, "score": float("nan")}, "finite number"),
        ({"object": THING, "score": 1}, "no hand"),
        ({"hand": [9, 0, 0, 9], "score": 1}, "reversed box"),
        ({"hand": [0, 0, 9], "score": 1}, "left, top, right, bottom"),
        ({"hand": [0, 0, 9, None], "score": 1}, "finite number"),
    ],
)
def test_unusable_entries_are_refused(entry, told):
    with pytest.raises(AnnotationError, match=told):
        evaluate("hand-objects", TRUTH, {"a": [entry]})


def test_unusable_files_and_options_are_refused():
    with pytest.raises(AnnotationError, match="'a' is 3"):
        evaluate("hand-objects", TRUTH, {"a": 3})
    with pytest.raises(AnnotationError, match="none of its 1 ids"):
        evaluate("hand-objects", TRUTH, {"x": []})
    with pytest.raises(AnnotationError, match="no box in the ground truth"):
        evaluate("hand-objects", {"a": []}, {"a": []})
    with pytest.raises(ConfigError, match="from 0 to 1"):
        evaluate("hand-objects", TRUTH, {"a": []}, joint=2.0)
    with pytest.raises(ConfigError, match="IoU thresholds"):
        evaluate("hand-objects", TRUTH, {"a": []}, iou=(50.0,))
