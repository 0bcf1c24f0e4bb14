"""EPIC-KITCHENS: verbs, nouns and actions from one file; classes without ground truth; files of one task."""

import json
from dataclasses import replace

import pytest

import tal
from tal.annotations import epic
from tal.annotations.results import ResultTable
from tal.errors import AnnotationError, ConfigError
from tal.segments import Segments

HEADER = "narration_id,video_id,start_timestamp,stop_timestamp,narration,verb_class,noun_class\n"
ROWS = [("P01_1", "00:00:00.00", "00:00:10.00", 0, 5), ("P01_1", "00:00:20.00", "00:00:30.00", 3, 5)]


@pytest.fixture
def annotations(tmp_path):
    path = tmp_path / "validation.csv"
    lines = (f"n{position},{row[0]},{row[1]},{row[2]},do,{row[3]},{row[4]}" for position, row in enumerate(ROWS))
    path.write_text(HEADER + "\n".join(lines))
    return path


@pytest.fixture
def predictions(tmp_path):
    def written(rows):
        path = tmp_path / "p.json"
        path.write_text(json.dumps({"version": "0.2", "results": {"P01_1": rows}}))
        return path

    return written


def _row(start, end, score, **classes):
    return {"segment": [start, end], "score": score, **classes}


def test_one_call_gives_verbs_nouns_and_actions(annotations, predictions):
    path = predictions(
        [_row(0, 10, 0.9, verb=0.0, noun="5", action="0, 5"), _row(20, 30, 0.8, verb=3, noun=7, action="3,7")]
    )
    result = tal.evaluate("epic-kitchens", annotations, path)
    assert result.metrics["verb/mAP"] == 1.0
    assert result.metrics["noun/mAP@0.10"] == 0.5
    assert result.metrics["action/mAP"] == 0.5
    assert result.per_class["action/0,5"]["AP@0.50"] == 1.0
    assert (result.counts["verb_classes"], result.counts["action_classes"]) == (2, 2)
    assert result.counts["predictions_dropped"] == {
        "noun: class not in the annotations": 1,
        "action: class not in the annotations": 1,
    }


@pytest.mark.parametrize(("task", "number"), [("verb", 3), ("noun", 5)])
def test_files_of_one_task_give_that_task(annotations, predictions, task, number):
    result = tal.evaluate("epic-kitchens", annotations, predictions([_row(0, 10, 0.9, **{task: number})]))
    assert {name.split("/")[0] for name in result.metrics} == {task}
    assert any(f"evaluated are {task}" in text for text in result.warnings)


def test_one_kind_of_class_as_label(annotations, predictions, tmp_path):
    path = predictions([_row(0, 10, 0.9, label="0")])
    with pytest.raises(AnnotationError, match=r"no prediction has a verb(.|\n)*task=verb"):
        tal.evaluate("epic-kitchens", annotations, path)
    assert tal.evaluate("epic-kitchens", annotations, path, task="verb").metrics["verb/mAP"] == 0.5
    converted = tmp_path / "verb.json"
    rows = [{"segment": [0, 10], "label": "take", "label_id": 0}]
    converted.write_text(json.dumps({"database": {"P01_1": {"subset": "validation", "annotations": rows}}}))
    with pytest.raises(AnnotationError, match="no verb and noun classes"):
        tal.evaluate("epic-kitchens", converted, predictions([_row(0, 10, 0.9, verb=0)]))
    found = tal.evaluate("epic-kitchens", converted, predictions([_row(0, 10, 0.9, label="take")]), task="verb")
    assert found.metrics["verb/mAP"] == 1.0


def test_classes_without_ground_truth_are_left_out_or_renumbered(annotations, predictions):
    """Verbs 0 and 3 have ground truth: the old evaluator calls them 0 and 1, and takes verb 1 for verb 3."""
    path = predictions([_row(0, 10, 0.9, verb=0), _row(0, 10, 0.9, verb=1), _row(20, 30, 0.8, verb=3)])
    assert tal.evaluate("epic-kitchens", annotations, path).metrics["verb/mAP"] == 1.0
    old = tal.evaluate("epic-kitchens", annotations, path, variant="c2-2022")
    assert old.metrics["verb/mAP"] == pytest.approx((1 + 1 / 2) / 2)
    assert any("1 predictions of 1 classes" in text for text in old.warnings)


def test_numbers_of_actions_are_pairs():
    rows = ResultTable.from_segments({"v": Segments.from_names([0, 1, 2], [1, 2, 3], ["0,1", "0,0", "1,0"])})
    table, moved = epic.renumbered(replace(rows, by_id=False), ("0,5", "4,2"), "action")
    assert table.labels == ("0,5", "4,2", "1,0")  # 300 x 0 + 0 and + 1 are new numbers, 300 x 1 + 0 is none.
    assert moved == {"0,0": 1, "0,1": 1}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (_row(0, 1, 0.5, verb=97), "a number from 0 to 96"),
        (_row(0, 1, 0.5, verb=None), "verb is None"),
        (_row(0, 1, 0.5, verb=True), "verb is True"),
        (_row(0, 1, 0.5, verb=1.5), "verb is 1.5"),
        (_row(0, 1, 0.5, action="3"), '"verb,noun"'),
        (_row(0, 1, 0.5, action="3,300"), "0 to 299"),
        ({"segment": [0, 1], "verb": 1}, "has no score"),
        (_row(0, 1, float("nan"), verb=0), "score NaN"),
        (_row(0, 1, 0.5), "no prediction has a verb"),
    ],
)
def test_unusable_predictions_are_refused(annotations, predictions, row, told):
    with pytest.raises(AnnotationError, match=told):
        tal.evaluate("epic-kitchens", annotations, predictions([row]))


def test_empty_or_foreign_files_are_refused(annotations, predictions):
    with pytest.raises(AnnotationError, match="holds no predictions"):
        tal.evaluate("epic-kitchens", annotations, predictions([]))
    with pytest.raises(AnnotationError, match="no prediction has a verb"):
        tal.evaluate("epic-kitchens", annotations, annotations)
    with pytest.raises(ConfigError, match="absent"):
        tal.evaluate("epic-kitchens", annotations, predictions([]), absent_classes="some")


def test_numbers_of_the_challenge(cases):
    expected = json.loads((cases / "temporal" / "expected.json").read_text())["epic100.predictions on "
                                                                              "epic100_validation.csv"]  # fmt: skip
    folder = cases / "temporal"
    result = tal.evaluate("epic-kitchens", folder / "epic100_validation.csv", folder / "epic100.predictions.json")
    for task in ("verb", "noun", "action"):
        numbers = expected[f"EPIC-KITCHENS C2 evaluator: {task}"]
        assert result.metrics[f"{task}/mAP"] == pytest.approx(numbers["average_mAP"], rel=1e-9)
        found = [value for name, value in result.metrics.items() if name.startswith(f"{task}/mAP@")]
        assert found == pytest.approx(numbers["mAP"], rel=1e-9)
        assert result.counts[f"{task}_classes"] == numbers["n_classes"]
        assert result.counts["ground_truth"] == numbers["n_gt"]
