"""Differencing: splits and their mean, matches and polarity, and limits that the released code does not enforce."""

import json

import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

SAMPLES = [
    {"sample_key": "s0", "split": "easy", "differences_gt": {"0": "a", "1": "b", "2": "c", "3": None},
     "n_differences_open_prediction": 2},
    {"sample_key": "s1", "split": "hard", "differences_gt": {"0": "b", "1": "a"}, "n_differences_open_prediction": 3},
    {"sample_key": "s2", "split": "medium", "differences_gt": {"5": "b"}, "n_differences_open_prediction": 3},
]  # fmt: skip


def _write(folder, name, value):
    path = folder / name
    path.write_text(json.dumps(value))
    return path


@pytest.fixture
def samples(tmp_path):
    return _write(tmp_path, "samples.json", SAMPLES)


def test_closed_accuracy_is_the_mean_of_the_splits(samples):
    answers = {"s0": {"0": "a", "1": "a", "2": "a"}, "s1": {"0": "b", "1": "a"}, "s2": {"5": "c"}}
    result = evaluate("differencing", samples, answers)
    assert list(result.per_class) == ["easy", "medium", "hard"]
    assert result.metrics["easy/accuracy"] == 0.5
    assert result.metrics["medium/accuracy"] == 0
    assert result.metrics["hard/accuracy"] == 1
    assert result.metrics["accuracy"] == pytest.approx(0.5)
    assert result.metrics["p-value"] == pytest.approx(1)  # 3 of 5.
    assert result.metrics["hard/p-value"] == pytest.approx(0.5)
    assert result.counts["ground_truth"] == 5
    assert result.counts["ground_truth_excluded"] == {"no discernible difference": 1}


def test_predictions_in_order_as_the_released_code_takes_them(samples, tmp_path):
    listed = [{"0": "a"}, {"0": {"description": "wider", "prediction": "b"}, "9": {"prediction": "a"}}, {"5": None}]
    result = evaluate("differencing", samples, _write(tmp_path, "p.json", listed))
    assert result.metrics["accuracy"] == pytest.approx((0.5 + 0 + 0.5) / 3)
    assert result.counts["predictions_dropped"] == {"statement that is not in the sample": 1}
    only = evaluate("differencing", samples, _write(tmp_path, "p.json", listed[1:2]), subset="hard")
    assert only.metrics["accuracy"] == 0.5
    with pytest.raises(AnnotationError, match="1 entries without sample_key for 3 samples"):
        evaluate("differencing", samples, tmp_path / "p.json")


def test_missing_samples_and_other_answers_are_wrong(samples):
    result = evaluate("differencing", samples, {"s0": {"0": "A", "1": "b"}, "zz": {"0": "a"}})
    assert result.metrics["easy/accuracy"] == 0.5
    assert result.missing == ("s1", "s2")
    assert result.counts["predictions_dropped"] == {
        "video not in the ground truth": 1,
        "answer that is not a, b or c (wrong)": 1,
    }


STATEMENTS = {
    "s0": {"0": {"description": "x", "prediction": "a"}, "1": {"description": "y", "prediction": "a"},
           "2": {"description": "z", "prediction": "b"}},
    "s1": {"0": {"description": "u", "prediction": "a"}, "1": {"description": "v", "prediction": "c"}},
    "s2": {"0": {"description": "w", "prediction": "b"}},
}  # fmt: skip


def _open(samples, tmp_path, matches, **options):
    predictions = _write(tmp_path, "p.json", STATEMENTS)
    path = _write(tmp_path, "m.json", matches)
    return evaluate("differencing", samples, predictions, mode="open", matches=path, **options)


def test_open_recall_given_matches_and_polarity(samples, tmp_path):
    matches = {
        "s0": {"0": "0", "1": {"pred_key": "1", "is_opposite": "1"}, "2": "None"},
        "s1": {"0": {"pred_key": "0", "is_opposite": 0}, "1": "1"},
        "s2": {"5": None},
    }
    result = _open(samples, tmp_path, matches)
    assert result.metrics["easy/recall"] == 1  # The second answer is a, of the opposite statement: b.
    assert result.metrics["hard/recall"] == 0
    assert result.metrics["hard/err_flippedpred"] == 0.5  # The other one is undecided.
    assert result.metrics["medium/err_nomatch"] == 1
    assert result.metrics["recall"] == pytest.approx(1 / 3)
    assert result.metrics["matched"] == pytest.approx(2 / 3)
    assert result.counts["predictions_dropped"] == {
        "statement beyond the allowed number": 1,
        "statement without a match": 1,
    }


def test_limits_are_enforced_but_by_the_released_code(samples, tmp_path):
    matches = {"s0": {"0": "0", "1": "2"}, "s1": {"0": {"pred_key": "0", "is_opposite": 1}, "1": "0"}, "s2": {"5": "7"}}
    result = _open(samples, tmp_path, matches)
    assert result.metrics["easy/recall"] == 0.5  # Statement 2 is beyond the two that are allowed.
    assert result.metrics["hard/recall"] == 0.5  # Statement 0 was matched before.
    assert result.counts["predictions_dropped"]["statement matched to a second difference"] == 1
    assert result.counts["predictions_dropped"]["match to a statement that is not there"] == 2
    released = _open(samples, tmp_path, matches, variant="viddiff")
    assert released.metrics["easy/recall"] == 1
    assert released.metrics["hard/recall"] == 1


def test_matches_by_words_as_the_released_code_logs_them(samples, tmp_path):
    def entry(key, words, opposite):
        return {"sample_key": key, "gt_description": "", "pred_description": words, "is_opposite": opposite}

    matches = [
        {"0": entry("s0", "x", "0"), "1": entry("s0", "y", "1"), "2": entry("s0", None, float("nan"))},
        {"0": entry("s1", "u", "1"), "1": entry("s1", "v", "0")},
        {"5": entry("s2", "w", "0")},
    ]
    result = _open(samples, tmp_path, matches)
    assert result.metrics["easy/recall"] == 1
    assert result.metrics["hard/recall"] == 0.5
    assert result.metrics["medium/recall"] == 1


def test_matches_are_needed_for_the_open_mode_alone(samples, tmp_path):
    with pytest.raises(ConfigError, match="--matches FILE"):
        evaluate("differencing", samples, STATEMENTS, mode="open")
    with pytest.raises(ConfigError, match="for the open mode"):
        evaluate("differencing", samples, {}, matches=tmp_path / "m.json")
    matches = _write(tmp_path, "m.json", {"s1": {"0": {"pred_key": "0", "is_opposite": 1}}})
    found = evaluate("differencing", samples, STATEMENTS, mode="open", matches=matches)
    assert found.metrics["hard/recall"] == 0.5
    with pytest.raises(AnnotationError, match="none of its samples"):
        _open(samples, tmp_path, {"zz": {"0": "1"}})
    with pytest.raises(AnnotationError, match="names no sample"):
        _open(samples, tmp_path, [{"0": "1"}])
    with pytest.raises(AnnotationError, match='"is_opposite": 0 or 1'):
        _open(samples, tmp_path, {"s0": {"0": {"pred_key": "0", "is_opposite": "maybe"}}})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (SAMPLES, "exchanged"),
        ({"s0": {"0": 3}}, "difference '0' is 3"),
        ({"s0": {"0": {"description": "x"}}}, "difference '0'"),
        ({"zz": {"0": "a"}}, "none of its 1 ids"),
        ([], "no entries"),
    ],
)
def test_unusable_predictions_are_refused(samples, tmp_path, content, told):
    with pytest.raises(AnnotationError, match=told):
        evaluate("differencing", samples, _write(tmp_path, "p.json", content))


def test_unusable_truth_is_refused(tmp_path):
    for content, told in [
        ({"s0": {"0": "a"}}, "no sample of VidDiffBench"),
        ([{"sample_key": "s0", "differences_gt": {"0": "left"}}], "an answer of 'left'"),
        ([{"sample_key": "s0", "split": "easy", "differences_gt": {"0": "c"}}], "no difference whose answer"),
        ([{"sample_key": "s0", "differences_gt": {"0": "a"}}], "has no split"),
        ([SAMPLES[0] | {"split": 3}], "a split of 3"),
        ([SAMPLES[0], SAMPLES[0]], "stands twice"),
        ([SAMPLES[0] | {"n_differences_open_prediction": float("nan")}], "finite number"),
    ]:
        with pytest.raises(AnnotationError, match=told):
            evaluate("differencing", _write(tmp_path, "a.json", content), {"s0": {"0": "a"}})
    with pytest.raises(AnnotationError, match="no sample of split 'extreme'"):
        evaluate("differencing", _write(tmp_path, "a.json", SAMPLES), {}, subset="extreme")
    as_text = [{"sample_key": "s0", "split": "easy", "differences_gt": json.dumps({"0": "a"})}]
    assert evaluate("differencing", _write(tmp_path, "a.json", as_text), {"s0": {"0": "a"}}).metrics["accuracy"] == 1
