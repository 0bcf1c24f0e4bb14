"""Thresholds against brute force, and what is scored."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tal.errors import TalError
from tal.metrics.matching import best_threshold
from tal.pipelines.train_finish import Scorer, choose_thresholds
from tal.pipelines.train_recipe import build_recipe
from tal.pipelines.train_samples import open_data
from tal.segments import Segments, tiou

from .conftest import recipe_values

CLASSES = ("jump", "squat")


@pytest.mark.parametrize("seed", range(20))
def test_best_threshold_is_the_best_of_all(seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 6, 15) / 5  # ties
    true = rng.random(15) < 0.4
    positives = int(true.sum()) + int(rng.integers(0, 3))

    def f1(threshold):
        kept = score >= threshold
        return 2 * true[kept].sum() / (kept.sum() + positives)

    assert f1(best_threshold(score, true, positives)) == pytest.approx(max(map(f1, score)))


def test_no_true_detection_gives_none():
    assert best_threshold(np.array([0.5]), np.array([False]), 3) is None
    assert best_threshold(np.empty(0), np.empty(0, bool), 3) is None


def test_thresholds_per_class():
    truth = Segments.from_names([0, 10, 20], [5, 15, 25], ["jump", "jump", "squat"], classes=CLASSES)
    # Jumps: two hits at .9 and .6, a miss at .7 and doubles at .5. Squats: never hit.
    start = np.array([0, 10, 30, 0.2, 50])
    found = Segments(
        start_s=start, end_s=start + 5, score=[0.9, 0.6, 0.7, 0.5, 0.8], label=[0, 0, 0, 0, 1], classes=CLASSES
    )
    chosen = choose_thresholds({"v": found}, {"v": truth}, CLASSES)
    assert tiou([0], [5], [0.2], [5.2])[0, 0] > 0.5
    assert chosen["jump"] == 0.6
    assert chosen["squat"] == 0.6  # the best for all classes together: F1 4/7 there, 2/4 at 0.9


def test_detections_without_class_share_one_threshold():
    truth = Segments.from_names([0, 20], [5, 25], ["jump", "squat"], classes=CLASSES)
    found = Segments(start_s=[0, 20, 40], end_s=[5, 25, 45], score=[0.9, 0.4, 0.2], classes=CLASSES)
    assert choose_thresholds({"v": found}, {"v": truth}, CLASSES) == {"jump": 0.4, "squat": 0.4}


def test_validation_follows_the_rules_of_a_variant(data_folder):
    """An instance that is annotated twice counts twice officially, and once as ActionFormer's evaluator has it."""
    path = data_folder / "annotations.json"
    content = json.loads(path.read_text())
    for record in content["database"].values():
        record["annotations"] *= 2
    path.write_text(json.dumps(content))
    found = {}
    for variant in (None, "actionformer"):
        values = recipe_values(data_folder)
        values["data"] |= {"protocol": "activitynet", "variant": variant, "validation_subsets": ["validation"]}
        recipe = build_recipe(values)
        data = open_data(recipe.data)
        truth = {each.video: each.instances for each in data.validation.records}
        detections = {video: replace(each, score=np.ones(len(each))) for video, each in truth.items()}
        found[variant] = Scorer.of(recipe, data)(detections)["mAP"]
    assert found["actionformer"] == pytest.approx(1.0)
    assert found[None] == pytest.approx(0.5)
    with pytest.raises(TalError, match="variant of activitynet"):
        Scorer.of(replace(recipe, data=replace(recipe.data, variant="mine")), data)


def test_no_detections_at_all():
    nothing = {"v": Segments.empty(CLASSES)}
    truth = {"v": Segments.from_names([0], [5], ["jump"], classes=CLASSES)}
    assert choose_thresholds(nothing, truth, CLASSES) == {"jump": 0.0, "squat": 0.0}


def test_several_splits_are_scored_together(data_folder):
    path = data_folder / "annotations.json"
    published = json.loads(path.read_text())
    last = list(published["database"])[-1]
    published["database"][last]["subset"] = "testing"
    path.write_text(json.dumps(published))
    values = recipe_values(data_folder)
    values["data"]["validation_subsets"] = ["validation", "testing"]
    recipe = build_recipe(values)
    data = open_data(recipe.data)
    truth = {record.video: record.instances for record in data.validation.records}
    assert {data.annotations.videos[video].subset for video in truth} == {"validation", "testing"}
    perfect = {video: replace(rows, score=np.ones(len(rows))) for video, rows in truth.items()}
    assert Scorer.of(recipe, data)(perfect)["mAP"] == 1.0
