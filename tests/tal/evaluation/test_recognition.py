"""Recognition protocols: classes by name or number, clips, missing videos, and each tool's rule for empty classes."""

import json
import math

import numpy as np
import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

TRUTH = {"a": "run", "b": "walk", "c": "run"}
SCORES = {"a": {"run": 0.9, "walk": 0.1}, "b": {"run": 0.6, "walk": 0.4}, "c": {"run": 0.5, "walk": 0.2}}


def test_top_k_and_mean_class_accuracy():
    result = evaluate("recognition", TRUTH, SCORES, topk=(1, 2))
    assert result.metrics == {"top1": pytest.approx(2 / 3), "top2": 1.0, "mean-class-accuracy": pytest.approx(0.5)}
    assert result.per_class == {
        "run": {"accuracy": 1.0, "ground_truth": 2},
        "walk": {"accuracy": 0.0, "ground_truth": 1},
    }


def test_a_missing_video_is_wrong_at_every_k():
    result = evaluate("recognition", TRUTH, {"a": SCORES["a"], "zz": SCORES["b"]})
    assert result.metrics["top5"] == pytest.approx(1 / 3)
    assert result.missing == ("b", "c")
    assert result.counts["predictions_dropped"] == {"video not in the ground truth": 1}


def test_scores_without_names_need_numbers_or_a_list(tmp_path):
    vectors = {"a": [0.9, 0.1], "b": [0.6, 0.4], "c": [0.5, 0.2]}
    assert evaluate("recognition", {"a": 0, "b": 1, "c": 0}, vectors).metrics["top1"] == pytest.approx(2 / 3)
    with pytest.raises(AnnotationError, match="--classes FILE"):
        evaluate("recognition", TRUTH, vectors)
    path = tmp_path / "classes.txt"
    path.write_text("run\nwalk\n")
    result = evaluate("recognition", TRUTH, vectors, classes=path)
    assert result.metrics["top1"] == pytest.approx(2 / 3)
    assert str(path) in result.inputs
    path.write_text("run\nwalk\nfly\n")
    with pytest.raises(AnnotationError, match=r"2 scores per video(.|\n)*3 classes"):
        evaluate("recognition", TRUTH, vectors, classes=path)


def test_clips_are_averaged_after_the_activation():
    clips = {"a": [[4.0, 0.0], [0.0, 3.0], [0.0, 3.0]]}
    assert evaluate("recognition", {"a": 1}, clips).metrics["top1"] == 1
    assert evaluate("recognition", {"a": 1}, clips, views="max").metrics["top1"] == 0
    steep = {"a": [[9.0, 0.0], [0.0, 3.0], [0.0, 3.0]]}
    assert evaluate("recognition", {"a": 1}, steep).metrics["top1"] == 0
    assert evaluate("recognition", {"a": 1}, steep, activation="softmax").metrics["top1"] == 1
    assert evaluate("recognition", {"a": 1}, steep, activation="sigmoid").metrics["top1"] == 1


def test_ties_and_classes_without_scores_are_told():
    scores = {"a": {"run": 1, "walk": 1}, "b": {"run": 1, "walk": 0}}
    result = evaluate("recognition", {"a": "walk", "b": "fly"}, scores)
    assert result.metrics["top1"] == 0
    assert any("1 videos have another class" in text for text in result.warnings)
    assert any("'fly'" in text for text in result.warnings)


def test_predicted_classes_without_videos_count_where_asked_for():
    scores = {"a": {"run": 1, "walk": 0, "fly": 0}, "b": {"run": 0, "walk": 0, "fly": 1}}
    truth = {"a": "run", "b": "walk"}
    assert evaluate("recognition", truth, scores).metrics["mean-class-accuracy"] == 0.5
    found = evaluate("recognition", truth, scores, variant="mmaction2").metrics["mean-class-accuracy"]
    assert found == pytest.approx(1 / 3)


def test_several_labels_belong_to_the_other_protocol():
    with pytest.raises(AnnotationError, match="recognition-multilabel"):
        evaluate("recognition", {"a": ["run", "walk"]}, SCORES)


MANY = {"a": ["run", "walk"], "b": ["walk"], "c": [], "d": ["run"]}
MANY_SCORES = {"a": [0.9, 0.5, 0.1], "b": [0.8, 0.5, 0.2], "c": [0.95, 0.7, 0.3], "d": [0.8, 0.1, 0.4]}


def test_multilabel_map_by_hand(tmp_path):
    classes = tmp_path / "classes.json"
    classes.write_text(json.dumps(["run", "walk", "fly"]))
    result = evaluate("recognition-multilabel", MANY, MANY_SCORES, classes=classes)
    # run: c .95, a .9 (right), b and d .8 together (one right); walk: c .7, a and b .5 together (both right).
    run, walk = (1 / 2 + 2 / 4) / 2, 2 / 3
    assert result.metrics["mAP"] == pytest.approx((run + walk) / 2)
    assert result.metrics["mAP-weighted"] == pytest.approx((2 * run + 2 * walk) / 4)
    assert result.metrics["mAP-samples"] == pytest.approx((1 + 1 / 2 + 1) / 3)
    assert result.per_class["run"] == {"AP": pytest.approx(run), "ground_truth": 2}
    assert "fly" not in result.per_class
    zero = evaluate("recognition-multilabel", MANY, MANY_SCORES, classes=classes, variant="scikit-learn")
    assert zero.metrics["mAP"] == pytest.approx((run + walk) / 3)
    charades = evaluate("recognition-multilabel", MANY, MANY_SCORES, classes=classes, variant="charades")
    # c, without a label, comes last; b comes before d.
    assert charades.metrics["mAP"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)


def test_a_missing_video_is_ranked_last():
    truth = {"a": [0], "b": [1], "c": [0, 1]}
    scores = {"a": [0.9, 0.3], "b": [0.1, 0.8]}
    result = evaluate("recognition-multilabel", truth, scores)
    assert result.metrics["mAP"] == pytest.approx(((1 + 2 / 3) / 2 + (1 + 2 / 3) / 2) / 2)
    assert result.counts["missing_videos"] == 1


def test_equal_to_scikit_learn_by_loops():
    rng = np.random.default_rng(0)
    score, right = rng.integers(0, 4, (30, 5)) / 4, rng.random((30, 5)) < 0.3
    truth = {f"v{i}": np.flatnonzero(row).tolist() for i, row in enumerate(right)}
    result = evaluate("recognition-multilabel", truth, {f"v{i}": row for i, row in enumerate(score)})
    total = []
    for s, g in zip(score.T, right.T, strict=True):
        value, before = 0.0, 0.0
        for threshold in sorted(set(s.tolist()), reverse=True):
            chosen = s >= threshold
            recall = g[chosen].sum() / g.sum()
            value += (recall - before) * g[chosen].mean()
            before = recall
        total.append(value)
    assert result.metrics["mAP"] == pytest.approx(np.mean(total))


@pytest.mark.parametrize("protocol", ["recognition", "recognition-multilabel"])
def test_unusable_input_is_refused(protocol, tmp_path):
    for content, told in [
        ('{"a": {"run": NaN}}', "finite"),
        ('{"zz": {"run": 1}}', "none of its 1 ids"),
        ('{"a": {"fly": 1}}', "its classes are 'fly'"),
        ('{"a": {"run": 1', "truncated"),
    ]:
        path = tmp_path / "p.json"
        path.write_text(content)
        with pytest.raises(AnnotationError, match=told):
            evaluate(protocol, TRUTH, path)
    with pytest.raises(ConfigError, match="mean or max"):
        evaluate(protocol, TRUTH, SCORES, views="median")
    with pytest.raises(AnnotationError, match="no video has a label"):
        evaluate(protocol, {"a": []}, {"a": [0.1]})
    assert not math.isnan(evaluate(protocol, TRUTH, SCORES, subset=None).metrics.popitem()[1])
