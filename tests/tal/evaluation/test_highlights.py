"""QVHighlights: the official evaluator's numbers on real files, each half alone, and what is missing."""

import json
from pathlib import Path

import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

CASES = Path(__file__).parents[3] / "../shared/cases/moments"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _official(numbers):
    """Our name -> the official percentage."""
    found = {}
    for length in ("full", "short", "middle", "long"):
        prefix = "MR" if length == "full" else f"MR-{length}"
        for kind in ("mAP", "R1"):
            for tiou, value in numbers[length][f"MR-{kind}"].items():
                found[f"{prefix}-{kind}" + ("" if tiou == "average" else f"@{float(tiou):.2f}")] = value
    for level in ("Fair", "Good", "VeryGood"):
        found[f"HL-{level}-mAP"] = numbers[f"HL-min-{level}"]["HL-mAP"]
        found[f"HL-{level}-HIT@1"] = numbers[f"HL-min-{level}"]["HL-Hit1"]
    return found


@needs_cases
def test_official_numbers():
    cases = json.loads((CASES / "expected.json").read_text())
    numbers = next(each for name, each in cases.items() if name.startswith("qvhighlights"))
    files = (CASES / "qvhighlights_val.jsonl", CASES / "qvhighlights_val.predictions.jsonl")
    result = evaluate("qvhighlights", *files)
    expected = {name: value / 100 for name, value in _official(numbers).items()}
    assert set(result.metrics) == set(expected)
    assert len(expected) == 4 * (11 + 10) + 6
    for name, value in expected.items():
        assert result.metrics[name] == pytest.approx(value, rel=1e-9), name
    assert result.counts["queries"] == result.counts["queries_with_predictions"] == 1550
    plain = evaluate("qvhighlights", *files, unrounded=True).metrics
    assert list(plain) == list(result.metrics)
    assert all(abs(plain[name] - value) <= 5.1e-5 for name, value in expected.items())
    assert plain["MR-mAP"] != result.metrics["MR-mAP"]
    further = evaluate("qvhighlights", *files, variant="cg-detr").metrics
    assert further["MR-R1@0.30"] >= further["MR-R1@0.50"] == result.metrics["MR-R1@0.50"]
    assert 0 < further["MR-short-mIoU"] < further["MR-mIoU"] < 1


TRUTH = [
    {
        "qid": 1,
        "query": "a",
        "vid": "v",
        "duration": 20,
        "relevant_windows": [[0, 8], [10, 20]],
        "relevant_clip_ids": [0, 1, 2, 3],
        "saliency_scores": [[4, 0, 2], [2, 0, 2], [3, 0, 2], [4, 0, 2]],
    },
    {
        "qid": 2,
        "query": "b",
        "vid": "w",
        "duration": 41,
        "relevant_windows": [[6, 40]],
        "relevant_clip_ids": [19],
        "saliency_scores": [[4, 4, 4]],
    },
]
PREDICTIONS = [
    {
        "qid": 1,
        "vid": "v",
        "query": "a",
        "pred_relevant_windows": [[10, 20, 0.1], [0, 8, 0.9], [0, 2, 0.8]],
        "pred_saliency_scores": [0.9, 0.8, 0.1, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15],
    },
    {
        "qid": 2,
        "vid": "w",
        "query": "b",
        "pred_relevant_windows": [[8, 38, 0.5]],
        "pred_saliency_scores": [0.5] * 19 + [0.9],
    },
]


def _evaluate(folder, predictions, truth=TRUTH, **options):
    files = _lines(folder / "truth.jsonl", truth), _lines(folder / "predictions.jsonl", predictions)
    return evaluate("qvhighlights", *files, **({"unrounded": True} | options))


def test_a_worked_example(tmp_path):
    result = _evaluate(tmp_path, PREDICTIONS)
    metrics = result.metrics
    # Query 1: hit, false, hit by score: 1/2 + 1/2 * 2/3. Query 2: the overlap is 30/34.
    assert metrics["MR-mAP@0.50"] == pytest.approx((5 / 6 + 1) / 2)
    assert metrics["MR-mAP@0.90"] == pytest.approx((5 / 6 + 0) / 2)
    assert metrics["MR-mAP"] == pytest.approx((8 * (5 / 6 + 1) / 2 + 2 * 5 / 12) / 10)
    assert (metrics["MR-R1@0.85"], metrics["MR-R1@0.90"]) == (1, 0.5)
    # Of windows up to 10 s both of query 1; R1 judges the window that is listed first.
    assert metrics["MR-short-mAP"] == pytest.approx(5 / 6)
    assert metrics["MR-short-R1@0.95"] == 1
    assert metrics["MR-long-mAP@0.75"] == 1
    assert not any(name.startswith("MR-middle") for name in metrics)
    assert "no MR-middle" in "".join(result.warnings)
    # Very good: clips 0 and 3 of query 1 for one annotator of three, at ranks 1 and 3; clip 19 of query 2 for all.
    assert metrics["HL-VeryGood-mAP"] == pytest.approx(((1 + 2 / 3) / 2 + 3) / 6)
    assert metrics["HL-VeryGood-HIT@1"] == 1
    # Fair: clips 0 to 3 of query 1 for two annotators, at ranks 1, 2, 3 and 10.
    assert metrics["HL-Fair-mAP"] == pytest.approx((2 * (1 + 1 + 1 + 4 / 10) / 4 + 3) / 6)


def test_saliency_of_another_length_is_cut_or_filled_with_zeros(tmp_path):
    rows = [PREDICTIONS[0], PREDICTIONS[1] | {"pred_saliency_scores": [0.5] * 19 + [0.9] + [2.0]}]
    result = _evaluate(tmp_path, rows)
    assert result.metrics["HL-VeryGood-mAP"] == pytest.approx(((1 + 2 / 3) / 2 + 3) / 6)  # 41 s are 20 clips.
    assert result.metrics["HL-VeryGood-HIT@1"] == 0.5  # The best clip lies beyond the video.
    assert "longer than their video" in "".join(result.warnings)
    rows[1] = PREDICTIONS[1] | {"pred_saliency_scores": [-0.5] * 18}
    result = _evaluate(tmp_path, rows)
    assert result.metrics["HL-VeryGood-mAP"] == pytest.approx(((1 + 2 / 3) / 2 + 3 / 2) / 6)
    assert "shorter than their video" in "".join(result.warnings)


@pytest.mark.parametrize(("half", "other"), [("windows", "saliency_scores"), ("saliency_scores", "windows")])
def test_one_half_alone_is_evaluated_and_said(tmp_path, half, other):
    name = "pred_relevant_windows" if other == "windows" else f"pred_{other}"
    result = _evaluate(tmp_path, [{key: value for key, value in row.items() if key != name} for row in PREDICTIONS])
    both = _evaluate(tmp_path, PREDICTIONS).metrics
    prefix = "MR" if half == "windows" else "HL"
    assert result.metrics == {name: value for name, value in both.items() if name.startswith(prefix)}
    assert f"the predictions have {half.split('_')[0]} only" in "".join(result.warnings)
    assert result.counts["missing_queries"] == result.counts["missing_videos"] == 0


def test_moments_without_saliency(tmp_path):
    truth = [{key: value for key, value in row.items() if "clip" not in key and "sal" not in key} for row in TRUTH]
    result = _evaluate(tmp_path, PREDICTIONS, truth)
    assert "HL-Fair-mAP" not in result.metrics
    assert "the annotations have no saliency scores" in "".join(result.warnings)
    saliency = [{key: value for key, value in row.items() if "windows" not in key} for row in PREDICTIONS]
    with pytest.raises(AnnotationError, match="saliency only, the annotations none"):
        _evaluate(tmp_path, saliency, truth)


def test_queries_have_to_match_unless_another_rule_is_chosen(tmp_path):
    with pytest.raises(AnnotationError, match=r"1 of 2 queries are missing: 'qid 2'(.|\n)*missing=miss"):
        _evaluate(tmp_path, PREDICTIONS[:1])
    with pytest.raises(AnnotationError, match="1 are not in the annotations: '3'"):
        _evaluate(tmp_path, [*PREDICTIONS, PREDICTIONS[0] | {"qid": 3}])
    both = _evaluate(tmp_path, PREDICTIONS).metrics
    miss = _evaluate(tmp_path, PREDICTIONS[:1], missing="miss")
    assert miss.metrics["MR-mAP@0.50"] == pytest.approx(5 / 12)
    assert miss.metrics["MR-long-R1@0.50"] == 0
    assert miss.metrics["HL-VeryGood-HIT@1"] == 0.5
    assert miss.metrics["HL-VeryGood-mAP"] == pytest.approx((1 + 2 / 3) / 2 / 6)
    assert (miss.counts["missing_queries"], miss.missing) == (1, ("w",))
    left = _evaluate(tmp_path, [*PREDICTIONS[:1], PREDICTIONS[0] | {"qid": 3}], missing="drop")
    assert left.metrics["MR-mAP@0.50"] == pytest.approx(5 / 6)
    assert left.metrics["MR-short-mAP"] == both["MR-short-mAP"]
    assert (left.counts["queries"], left.counts["ground_truth"]) == (1, 2)
    assert left.counts["ground_truth_excluded"] == {"query that the predictions do not name": 1}
    assert left.counts["predictions_dropped"] == {"query not in the annotations": 3}


def test_a_query_with_an_empty_list_is_a_miss(tmp_path):
    result = _evaluate(tmp_path, [PREDICTIONS[0], PREDICTIONS[1] | {"pred_relevant_windows": []}])
    assert result.metrics["MR-R1@0.50"] == 0.5
    assert result.metrics["MR-mAP@0.50"] == pytest.approx(5 / 12)
    assert "1 of 2 queries have no prediction and count as misses: 'qid 2'" in result.warnings


def test_windows_after_the_tenth_are_not_looked_at(tmp_path):
    rows = [PREDICTIONS[0], PREDICTIONS[1] | {"pred_relevant_windows": [[0, 1, 0.1]] * 10 + [[6, 40, 0.9]]}]
    result = _evaluate(tmp_path, rows)
    assert result.metrics["MR-long-mAP"] == 0
    assert result.counts["predictions_dropped"] == {"window after the first 10 of its query": 1}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"relevant_clip_ids": [20]}, "has clips 20 to 20, its video 20"),
        ({"duration": None}, "has no duration"),
        ({"duration": float("nan")}, "has a duration of nan s"),
        ({"duration": 1e308}, "has a duration of 1e"),
        ({"relevant_clip_ids": [0.5]}, "are no numbers"),
        ({"relevant_clip_ids": [10**400]}, "its video 20"),
        ({"saliency_scores": [[4, 4, float("nan")]]}, "NaN or infinity"),
        ({"saliency_scores": [[4, 4]]}, "2 annotators, others 3"),
        ({"relevant_windows": []}, "has no window"),
    ],
)
def test_unusable_annotations_are_refused(tmp_path, change, told):
    with pytest.raises(AnnotationError, match=told):
        _evaluate(tmp_path, PREDICTIONS, [TRUTH[0], TRUTH[1] | change])


def test_exchanged_files_and_unknown_rules_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="predictions, not annotations"):
        _evaluate(tmp_path, PREDICTIONS, PREDICTIONS)
    with pytest.raises(AnnotationError, match="annotations, not predictions"):
        _evaluate(tmp_path, TRUTH)
    with pytest.raises(ConfigError, match="refuse, miss or drop"):
        _evaluate(tmp_path, PREDICTIONS, missing="ignore")


def test_an_id_that_answers_another_query_is_told(tmp_path):
    told = "predictions name another video or text"
    assert not [note for note in _evaluate(tmp_path, PREDICTIONS).warnings if told in note]
    for wrong in ({"vid": "other"}, {"query": "another sentence"}):
        result = _evaluate(tmp_path, [PREDICTIONS[0] | wrong, *PREDICTIONS[1:]])
        assert [note for note in result.warnings if note.startswith(f"1 {told}")]
        assert result.metrics == _evaluate(tmp_path, PREDICTIONS).metrics
