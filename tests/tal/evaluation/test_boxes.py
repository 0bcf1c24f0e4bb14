"""AVA's protocol on real files gives the official script's numbers, and everything left out is counted."""

import json
from pathlib import Path

import numpy as np
import pytest

from tal.annotations import ava
from tal.boxes import KeyframeBoxes
from tal.datasets.ava import CLASSES, PROTOCOL
from tal.errors import AnnotationError, ConfigError, TalError
from tal.evaluation import evaluate

CASES = Path(__file__).parents[3] / "../shared/cases/boxes"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")
FILES = (CASES / "ava_like.gt.csv", CASES / "ava_like.detections.csv")
LABEL_MAP = CASES / "ava_like.labelmap.pbtxt"


@needs_cases
def test_official_numbers():
    numbers = json.loads((CASES / "expected.json").read_text())
    (official,) = [values for name, values in numbers.items() if "official AVA evaluator" in name]
    result = evaluate("ava", *FILES, labelmap=LABEL_MAP)
    assert result.metrics == {"mAP@0.50": pytest.approx(official["PascalBoxes_Precision/mAP@0.5IOU"], rel=1e-9)}
    per_class = {name.rpartition("/")[2]: value for name, value in official.items() if "ByCategory" in name}
    assert {name: each["AP@0.50"] for name, each in result.per_class.items()} == pytest.approx(per_class, rel=1e-9)
    assert result.counts["predictions_dropped"] == {"keyframe not in the ground truth": 288, "empty or reversed box": 1}
    assert result.counts["keyframes"] == 4096
    assert result.warnings == ()
    assert set(result.inputs) == {str(path) for path in (*FILES, LABEL_MAP)}


# The official script on the two files without the rows of the excluded keyframes (it has no option for them), its
# version of 2019, SlowFast's and STMixer's evaluation code with the list; all with NumPy's portable sort.
@needs_cases
@pytest.mark.parametrize(
    ("variant", "number"),
    [
        ("official", 0.6620753513050661),
        ("official-2019", 0.6592444182705167),
        ("slowfast", 0.6590943470091053),
        ("stmixer", 0.6592444182705167),
    ],
)
def test_numbers_without_the_excluded_keyframes(variant, number):
    excluded = CASES / "ava_like.excluded_timestamps.csv"
    result = evaluate("ava", *FILES, labelmap=LABEL_MAP, excluded=excluded, variant=variant)
    assert result.metrics["mAP@0.50"] == pytest.approx(number, rel=1e-9)
    assert result.counts["ground_truth_excluded"] == {"excluded keyframe": 134}
    assert result.counts["predictions_dropped"]["excluded keyframe"] == 191
    assert result.counts["keyframes"] == 4096 - 111


@needs_cases
def test_frame_boxes_takes_the_classes_of_the_ground_truth():
    named = evaluate("ava", *FILES, labelmap=LABEL_MAP)
    result = evaluate("frame-boxes", *FILES, iou=(0.5, 0.75))
    assert result.metrics["mAP@0.50"] == pytest.approx(named.metrics["mAP@0.50"], rel=1e-12)
    assert result.metrics["mAP"] == pytest.approx((result.metrics["mAP@0.50"] + result.metrics["mAP@0.75"]) / 2)
    numbers = ava.parse_label_map(LABEL_MAP.read_bytes(), LABEL_MAP)
    for number, name in numbers.items():
        expected = pytest.approx(named.per_class[name]["AP@0.50"], rel=1e-12)
        assert result.per_class[str(number)]["AP@0.50"] == expected


@needs_cases
def test_the_label_map_that_is_not_given_is_told():
    result = evaluate("ava", *FILES)
    assert "the 60 classes of ava are assumed; the ground truth holds 18 of them" in result.warnings[0]
    assert result.counts["ground_truth_excluded"] == {"class that is not evaluated": 838}
    assert result.counts["classes"] == 18
    assert "bend/bow (at the waist)" in result.per_class


@needs_cases
def test_exchanged_files_are_refused():
    with pytest.raises(AnnotationError, match=r"which is no person(.|\n)*exchanged"):
        evaluate("ava", FILES[1], FILES[0])
    with pytest.raises(AnnotationError, match=r"7 columns(.|\n)*ground truth given as detections"):
        evaluate("ava", FILES[0], FILES[0])
    with pytest.raises(AnnotationError, match="rows with boxes"):
        evaluate("ava", *FILES, excluded=FILES[0])
    with pytest.raises(AnnotationError, match="no entries of a label map"):
        evaluate("ava", *FILES, labelmap=FILES[0])


WHOLE, HALF = (0.0, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5)


def _boxes(rows, *, scored=False):
    """rows: (video, second, class, box[, score])."""
    return KeyframeBoxes.from_rows(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[3] for row in rows],
        [row[2] for row in rows],
        score=[row[4] for row in rows] if scored else None,
    )


def _found(*rows):
    return _boxes(rows, scored=True)


TRUTH = _boxes([("a", 902, 1, WHOLE), ("a", 903, 2, WHOLE), ("a", 903, 1, WHOLE), ("b", 902, 1, HALF)])


def test_everything_left_out_is_counted():
    found = _found(
        ("a", 902, 1, WHOLE, 0.9),
        ("a", 902, 7, WHOLE, 0.9),
        ("a", 904, 1, WHOLE, 0.8),
        ("a", 903, 1, (0.5, 0.0, 0.5, 1.0), 0.7),
        ("zz", 902, 1, WHOLE, 0.7),
    )
    result = evaluate("frame-boxes", TRUTH, found)
    assert result.counts["predictions_dropped"] == {
        "class that is not evaluated": 1,
        "keyframe not in the ground truth": 2,
        "empty or reversed box": 1,
    }
    assert result.counts["predictions_evaluated"] == 1
    assert result.counts["keyframes"] == 3
    assert result.counts["keyframes_with_predictions"] == 2
    assert result.missing == ("b",)
    assert result.per_class == {
        "1": {"AP@0.50": pytest.approx(1 / 3), "ground_truth": 3},
        "2": {"AP@0.50": 0.0, "ground_truth": 1},
    }


def test_keyframes_of_either_side_by_the_variants(tmp_path):
    """Keyframes that the ground truth lacks, that hold another class, that hold nothing, and without detections."""
    truth = "a,902,0,0,1,1,1\na,903,0,0,1,1,2\na,0904\nb,902,0,0,1,1,1\n"
    found = "".join(f"a,{second},0,0,1,1,1,0.{second}\n" for second in (902, 903, 904, 905))
    paths = [tmp_path / name for name in ("gt.csv", "found.csv", "map.pbtxt")]
    for path, text in zip(paths, (truth, found, 'item { name: "stand" id: 1 }'), strict=True):
        path.write_text(text)
    false_before = {None: 2, "official": 2, "tuber": 2, "official-2019": 3, "slowfast": 3, "stmixer": 3}
    for variant, count in false_before.items():
        result = evaluate("ava", paths[0], paths[1], labelmap=paths[2], variant=variant)
        assert result.metrics["mAP@0.50"] == pytest.approx(0.5 / (1 + count)), variant
        assert result.missing == ("b",)
    result = evaluate("ava", paths[0], paths[1], labelmap=paths[2], variant="videoglue")
    assert result.metrics["mAP@0.50"] == 1.0
    assert result.counts["ground_truth_excluded"] == {
        "class that is not evaluated": 1,
        "keyframe without detections": 1,
    }
    assert result.counts["predictions_dropped"] == {"keyframe without ground truth": 3}
    assert result.missing == ("b",)


def test_order_within_a_keyframe_by_the_variants():
    """The better box comes later: in the file's order the worse one takes the ground truth, at its lower score."""
    truth = _boxes([("a", 902, 1, WHOLE), ("a", 903, 1, WHOLE)])
    found = _found(("a", 902, 1, WHOLE, 0.3), ("a", 902, 1, WHOLE, 0.9), ("a", 903, 1, WHOLE, 0.5))
    by_score = evaluate("ava", truth, found, variant="stmixer").metrics["mAP@0.50"]
    assert by_score == evaluate("ava", truth, found).metrics["mAP@0.50"] == 1.0
    by_file = evaluate("ava", truth, found, variant="slowfast").metrics["mAP@0.50"]
    assert by_file == pytest.approx(0.5 * 2 / 3 + 0.5 * 2 / 3)


def test_only_the_official_script_limits_the_rows_of_a_keyframe():
    truth = _boxes([("a", 902, 1, WHOLE), ("a", 902, 12, WHOLE)])
    rows = [("a", 902, 1, WHOLE, 0.9 - row / 1000) for row in range(50)]
    found = _found(*rows, ("a", 902, 12, WHOLE, 0.1))
    official = evaluate("ava", truth, found)
    assert official.metrics["mAP@0.50"] == 0.5
    assert official.counts["predictions_dropped"] == {"beyond the 50 rows of a keyframe": 1}
    for variant in ("slowfast", "stmixer", "tuber", "videoglue"):
        assert evaluate("ava-kinetics", truth, found, variant=variant).metrics["mAP@0.50"] == 1.0


def test_excluded_and_included_keyframes(tmp_path):
    found = _found(("a", 902, 1, WHOLE, 0.9), ("a", 903, 1, HALF, 0.8))
    (tmp_path / "excluded.csv").write_text("a,0903\nb,0902\n")
    (tmp_path / "included.txt").write_text("0902\n")
    without = evaluate("frame-boxes", TRUTH, found, excluded=tmp_path / "excluded.csv")
    assert without.counts["ground_truth"] == 1
    assert without.metrics["mAP@0.50"] == 1.0
    assert without.missing == ()
    within = evaluate("frame-boxes", TRUTH, found, included=tmp_path / "included.txt")
    assert within.counts["ground_truth_excluded"] == {"second that is not included": 2}
    assert within.counts["predictions_dropped"] == {"second that is not included": 1}
    (tmp_path / "excluded.csv").write_text("c,0903\n")
    told = evaluate("frame-boxes", TRUTH, found, excluded=tmp_path / "excluded.csv").warnings
    assert "none of the 1 excluded keyframes" in told[0]
    (tmp_path / "excluded.csv").write_text("a,902\na,903\nb,902\n")
    with pytest.raises(AnnotationError, match=r"no ground truth is left of 4 rows(.|\n)*4 left out: excluded keyframe"):
        evaluate("frame-boxes", TRUTH, found, excluded=tmp_path / "excluded.csv")


def test_no_predictions_in_memory_score_zero():
    result = evaluate("frame-boxes", TRUTH, _found())
    assert result.metrics == {"mAP@0.50": 0.0}
    assert result.missing == ("a", "b")


def test_the_order_of_ties_is_told_when_asked_for():
    found = _found(("a", 902, 1, WHOLE, 0.5), ("a", 903, 1, HALF, 0.5), ("b", 902, 1, WHOLE, 0.5))
    truth = _boxes([("a", 902, 1, WHOLE), ("a", 903, 1, (0.5, 0.5, 1.0, 1.0))])
    result = evaluate("frame-boxes", truth, found, ties=True)
    assert result.metrics["mAP-ties-lowest@0.50"] == 0.25
    assert result.metrics["mAP-ties-highest@0.50"] == 0.5
    assert result.counts["predictions_tied"] == 2


def test_boxes_outside_the_frame_are_kept_and_told():
    truth = _boxes([("a", 902, 1, (-0.1, 0.0, 1.0, 1.0)), ("a", 903, 1, (0.5, 0.5, 0.5, 0.5))])
    result = evaluate("ava", truth, _found(("a", 902, 1, (0.0, 0.0, 1.0, 1.2), 0.9)))
    assert result.metrics["mAP@0.50"] == 0.5
    assert [told[:30] for told in result.warnings[:3]] == [
        "1 boxes of the ground truth ha",
        "1 predictions have edges outsi",
        "1 boxes of the ground truth ar",
    ]


@pytest.mark.parametrize(
    ("truth", "found", "told"),
    [
        (TRUTH, TRUTH, "without scores"),
        (TRUTH, _found(("a", 27060, 1, WHOLE, 0.9)), "no row is on a keyframe(.|\n)*numbers of frames"),
        (TRUTH, _found(("c", 902, 1, WHOLE, 0.9)), "no row is on a keyframe(.|\n)*other ids"),
        (TRUTH, _found(("a", 902, 1, (10, 20, 200, 300), 0.9)), "edges are around 250, .*around 1(.|\n)*pixels"),
        (_boxes([("a", 902, 1, (0.9, 0, 0.1, 1))]), _found(("a", 902, 1, WHOLE, 0.9)), "1 boxes are reversed"),
        (_boxes([("a", 902, 81, WHOLE)]), _found(("a", 902, 1, WHOLE, 0.9)), "numbered 81 to 81(.|\n)*label map"),
        (_boxes([("a", 902, 2, WHOLE)]), _found(("a", 902, 1, WHOLE, 0.9)), "no ground truth is left of 1 rows"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(truth, found, told):
    with pytest.raises(AnnotationError, match=told):
        evaluate("ava", truth, found)


def test_files_without_predictions_and_unknown_options_are_refused(tmp_path):
    (tmp_path / "found.csv").write_text("a,902\n")
    with pytest.raises(AnnotationError, match="holds no predictions"):
        evaluate("ava", TRUTH, tmp_path / "found.csv")
    with pytest.raises(TalError, match=r"unknown variant of ava 'slow'(.|\n)*slowfast"):
        evaluate("ava", TRUTH, TRUTH, variant="slow")
    with pytest.raises(ConfigError, match="no option tiou"):
        evaluate("ava", TRUTH, TRUTH, tiou=(0.5,))
    with pytest.raises(ConfigError, match="IoU thresholds"):
        evaluate("ava", TRUTH, TRUTH, iou=(50,))


def test_the_60_classes():
    numbers = [number for number, _ in CLASSES]
    assert len(CLASSES) == len({name for _, name in CLASSES}) == 60
    assert numbers == sorted(numbers)
    assert not {2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75} & set(numbers)
    assert PROTOCOL.limit == 50


def test_writing_and_reading_changes_no_number(tmp_path):
    rng = np.random.default_rng(0)
    corners = rng.random((80, 2)) * 0.5
    rows = np.column_stack([corners, corners + 0.2 + rng.random((80, 2)) * 0.3])
    columns = ([f"v{row % 3}" for row in range(80)], 902 + np.arange(80) // 9, rows, rng.choice([1, 3, 4], 80))
    truth = KeyframeBoxes.from_rows(*columns)
    columns = (*columns[:2], rows + rng.normal(0, 0.05, rows.shape), columns[3])
    found = KeyframeBoxes.from_rows(*columns, score=rng.random(80))
    ava.write_ava(tmp_path / "gt.csv", truth)
    ava.write_ava(tmp_path / "found.csv", found)
    memory, file = evaluate("ava", truth, found), evaluate("ava", tmp_path / "gt.csv", tmp_path / "found.csv")
    assert memory.metrics == file.metrics
    assert 0.1 < memory.metrics["mAP@0.50"] < 1
