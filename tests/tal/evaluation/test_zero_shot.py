"""Zero-shot protocols: unseen classes alone, averaged over splits; T3AL's rules; what is counted and refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tal.annotations import Annotations, VideoRecord
from tal.annotations.results import write_results
from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from segment_rows import annotations_of, segments_of

CLASSES = ("clap", "jump", "spin", "wave")


def _segments(rows, classes=CLASSES):
    return segments_of(rows, classes)


TRUTH = annotations_of(
    {
        "a": ("test", [(0, 10, "clap"), (20, 30, "jump")]),
        "b": ("test", [(0, 10, "spin"), (20, 30, "spin"), (40, 50, "spin")]),
        "c": ("test", [(0, 10, "wave")]),
        "d": ("validation", [(0, 10, "wave"), (20, 30, "clap")]),
    },
    CLASSES,
)
FOUND = {
    "a": _segments([(0, 10, "clap", 0.9), (0, 10, "spin", 0.8), (50, 60, "jump", 0.9), (20, 30, "jump", 0.8)]),
    "b": _segments([(0, 10, "spin", 0.7), (50, 60, "clap", 0.95)]),
    "c": _segments([]),
}
SPLITS = {0: ["clap", "jump"], 1: ["clap", "spin"], 2: ["jump", "wave"]}


@pytest.fixture
def splits(tmp_path):
    folder = tmp_path / "splits"
    folder.mkdir()
    for number, names in SPLITS.items():
        (folder / f"split_{number}.list").write_text("".join(f"{name}\n" for name in names))
    return folder


def test_the_mean_over_splits(splits):
    result = evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits)
    # Seen classes neither count nor compete: in split 0 the clap in b is on a video without an unseen class.
    first, second, third = (1 + 0.5) / 2, (0.5 + 1 / 2 / 3) / 2, (0.5 + 0) / 2
    assert result.metrics["split_0/mAP@0.50"] == pytest.approx(first)
    assert result.metrics["split_1/mAP@0.50"] == pytest.approx(second)
    assert result.metrics["split_2/mAP@0.50"] == pytest.approx(third)
    assert result.metrics["mAP@0.50"] == pytest.approx(np.mean([first, second, third]))
    assert result.metrics["mAP"] == pytest.approx(np.mean([first, second, third]))
    assert result.metrics["deviation/mAP"] == pytest.approx(np.std([first, second, third]))
    assert result.per_class["clap"]["splits"] == 2
    assert result.per_class["clap"]["AP"] == pytest.approx((1 + 0.5) / 2)
    assert result.counts["splits"] == 3
    assert result.counts["videos"] == 3
    assert result.missing == ("c",)
    assert result.counts["ground_truth"] == 2 + 4 + 2
    assert result.counts["ground_truth_excluded"] == {
        "video without an unseen class": (3 + 1) + 1 + 3,
        "class that is not evaluated": 1 + 1,
    }
    assert any("3 splits are listed, the benchmark has 10" in text for text in result.warnings)


def test_a_file_per_split(splits, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    for number in (0, 2):
        write_results(folder / f"clip_split{number}_v2.json", FOUND)
    whole = evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits)
    result = evaluate("thumos14-zeroshot", TRUTH, folder, splits=splits)
    assert result.metrics["split_2/mAP"] == whole.metrics["split_2/mAP"]
    assert "split_1/mAP" not in result.metrics
    assert result.metrics["mAP"] == pytest.approx((whole.metrics["split_0/mAP"] + whole.metrics["split_2/mAP"]) / 2)
    assert result.counts["splits"] == 2
    assert result.counts["splits_missing"] == 1
    assert any("no predictions for 1 splits: split_1" in text for text in result.warnings)
    assert len(result.inputs) == 5
    write_results(folder / "other_0.json", FOUND)
    with pytest.raises(AnnotationError, match="both of split 0"):
        evaluate("thumos14-zeroshot", TRUTH, folder, splits=splits)


def test_a_list_of_all_classes_is_no_split(splits):
    (splits / "split_10.list").write_text("clap\njump\nspin\nwave\n")
    result = evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits)
    assert result.counts["splits"] == 3
    assert any("split_10.list names every class" in text for text in result.warnings)


def test_published_folders_hold_test_lists_beside_training_lists(splits, tmp_path):
    (tmp_path / "both").mkdir()
    splits.rename(tmp_path / "both" / "test")
    (tmp_path / "both" / "train").mkdir()
    assert evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=tmp_path / "both").counts["splits"] == 3
    with pytest.raises(ConfigError, match="holds the seen classes"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=tmp_path / "both" / "train")


def test_the_rules_of_t3al(splits):
    found = {**FOUND, "d": _segments([(0, 10, "wave", 0.9)])}
    del found["b"]
    result = evaluate("thumos14-zeroshot", TRUTH, found, splits=splits, variant="t3al")
    # Every annotated video that is named, whatever its split: a, c (without predictions) and d. In split 0, clap has
    # one of two; in split 1, spin has no ground truth left and counts 0; in split 2, wave has one of two.
    assert result.metrics["split_0/mAP@0.50"] == pytest.approx((0.5 + 0.5) / 2)
    assert result.metrics["split_1/mAP@0.50"] == pytest.approx((0.5 + 0) / 2)
    assert result.metrics["split_2/mAP@0.50"] == pytest.approx((0.5 + 0.5) / 2)
    assert result.counts["ground_truth_excluded"]["video that the predictions do not name"] == 3
    tests_alone = evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits, variant="t3al", subset="test")
    # b: one of three spins, rounded; a false spin in a comes first.
    assert tests_alone.per_class["spin"]["AP@0.50"] == pytest.approx(0.167)
    assert tests_alone.metrics["split_1/mAP@0.50"] == pytest.approx((0.5 + 0.167) / 2)
    assert evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits).per_class["spin"]["AP@0.50"] == pytest.approx(
        1 / 6
    )


def test_the_two_averages_of_activitynet(splits):
    truth = Annotations(
        classes=CLASSES,
        videos={
            "v": VideoRecord(
                video="v",
                subset="validation",
                instances=_segments([(0, 10, name) for name in CLASSES] + [(20, 30, name) for name in CLASSES]),
            )
        },
    )
    rows = [(0, length, name, 0.9) for length, name in ((5.2, "clap"), (7.6, "jump"), (9.6, "spin"), (10, "wave"))]
    found = {"v": _segments(rows)}
    usual = evaluate("activitynet-zeroshot", truth, found, splits=splits)
    other = evaluate("activitynet-zeroshot", truth, found, splits=splits, variant="t3al")
    assert len([name for name in usual.metrics if name.startswith("mAP@")]) == 10
    at = [other.metrics[f"mAP@{threshold}"] for threshold in ("0.50", "0.75", "0.95")]
    assert other.metrics["mAP"] == pytest.approx(np.mean(at))
    assert at == pytest.approx([usual.metrics[f"mAP@{threshold}"] for threshold in ("0.50", "0.75", "0.95")])
    assert usual.metrics["mAP"] != pytest.approx(other.metrics["mAP"], abs=1e-3)


def test_predictions_without_a_class_of_the_split_score_zero(splits):
    result = evaluate("thumos14-zeroshot", TRUTH, {"b": _segments([(0, 10, "spin", 0.7)])}, splits=splits)
    assert result.metrics["split_0/mAP"] == 0
    assert result.metrics["split_1/mAP"] > 0


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"a": _segments([(0, 1, "fly", 0.5)], ("fly",))}, "none of its 1 classes"),
        ({"a": _segments([(0, 1, "clap", float("nan"))])}, "score NaN"),
        ({"zz": _segments([(0, 1, "clap", 0.5)])}, "not in the split"),
    ],
)
def test_unusable_predictions_are_refused(splits, found, told):
    with pytest.raises(AnnotationError, match=told):
        evaluate("thumos14-zeroshot", TRUTH, found, splits=splits)


def test_unusable_splits_are_refused(splits, tmp_path):
    with pytest.raises(ConfigError, match=r"needs the splits(.|\n)*--splits FOLDER"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND)
    with pytest.raises(AnnotationError, match="no such folder"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=tmp_path / "none")
    with pytest.raises(AnnotationError, match=r"is a file(.|\n)*a folder"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits / "split_0.list")
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match=r"no file whose name(.|\n)*split_0"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=tmp_path / "empty")
    with pytest.raises(AnnotationError, match="no file whose name"):
        evaluate("thumos14-zeroshot", TRUTH, tmp_path / "empty", splits=splits)
    (tmp_path / "empty" / "run_7.json").write_text(json.dumps({"results": {}}))
    with pytest.raises(AnnotationError, match=r"files of splits 7(.|\n)*0, 1, 2"):
        evaluate("thumos14-zeroshot", TRUTH, tmp_path / "empty", splits=splits)
    (splits / "split_1.list").write_text("clap\nJumping\n")
    with pytest.raises(AnnotationError, match=r"'Jumping' is not in the annotations"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits)
    for path in splits.iterdir():
        path.write_text("clap\njump\nspin\nwave\n")
    with pytest.raises(AnnotationError, match="no list leaves a class to be seen"):
        evaluate("thumos14-zeroshot", TRUTH, FOUND, splits=splits)
