"""UAL-Bench: arithmetic that can be followed, the three rules for missing answers, and both definitions of onset."""

import json

import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

# (start, end), (predicted start, predicted end): IoU; time difference; onset error
ROWS = {
    "a": ((2.0, 4.0), (2.0, 4.0)),  # 1; 0; 0
    "b": ((2.0, 6.0), (3.0, 6.0)),  # 3/4; 1; 1
    "c": ((1.0, 5.0), (1.2, 3.0)),  # 1.8/4; 2.2; 0.2
    "d": ((4.0, 8.0), (0.0, 1.0)),  # 0; 11; 4
    "e": ((3.0, 10.0), (None, 2.0)),  # missing
    "f": ((5.0, 6.0), ("0:05", "00:00:09")),  # 1/4; 3; 0
}


def _truth(rows=ROWS):
    return {
        video: {"start_time": start, "end_time": end, "description": video} for video, ((start, end), _) in rows.items()
    }


def _predictions(rows=ROWS):
    answers = {video: {"pred_start": start, "pred_end": end} for video, (_, (start, end)) in rows.items()}
    truth = _truth(rows)
    return {video: truth[video] | answer for video, answer in answers.items()}


def _evaluate(folder, truth=None, predictions=None, **options):
    for name, data in (("truth.json", truth or _truth()), ("predictions.json", predictions or _predictions())):
        (folder / name).write_text(json.dumps(data))
    return evaluate("ual-bench", folder / "truth.json", folder / "predictions.json", **options)


def test_a_worked_example(tmp_path):
    result = _evaluate(tmp_path)
    expected = {
        "R1@0.30": 3 / 6,
        "R1@0.50": 2 / 6,
        "R1@0.70": 2 / 6,
        "mIoU": (1 + 0.75 + 0.45 + 0.25) / 6,
        "R1@TD<=0": 1 / 6,
        "R1@TD<=1": 2 / 6,
        "R1@TD<=3": 4 / 6,
        "R1@TD<=5": 4 / 6,
        "R1@TD<=7": 4 / 6,
        "mean-TD": (0 + 1 + 2.2 + 11 + 10 + 3) / 6,
        "onset@1.0": 4 / 6,
        "onset@0.25": 3 / 6,
    }
    assert list(result.metrics) == list(expected)
    assert result.metrics == pytest.approx(expected)
    assert result.options["subset"] == "uag-oops"
    assert (result.counts["queries"], result.counts["missing_queries"]) == (6, 1)
    assert "1 of 6 queries have no prediction and are treated by the rule gt-end: 'qid e'" in result.warnings
    assert "6 queries, uag-oops has 1589" in result.warnings


def test_the_list_that_the_released_script_reads_is_both_files(tmp_path):
    rows = [row | {"video_id": video} for video, row in _predictions().items()]
    assert _evaluate(tmp_path, rows, rows).metrics == _evaluate(tmp_path).metrics


def test_rules_for_missing_answers(tmp_path):
    zero = _evaluate(tmp_path, missing="zero").metrics
    assert zero["mean-TD"] == pytest.approx((0 + 1 + 2.2 + 11 + 13 + 3) / 6)
    assert zero["mIoU"] == _evaluate(tmp_path).metrics["mIoU"]
    drawn = _evaluate(tmp_path, missing="random", seed=3).metrics
    assert drawn == _evaluate(tmp_path, missing="random", seed=3).metrics
    means = {_evaluate(tmp_path, missing="random", seed=seed).metrics["mean-TD"] for seed in range(5)}
    assert len(means) == 5
    least, most = ((0 + 1 + 2.2 + 11 + difference + 3) / 6 for difference in (0, 10))  # Within the video.
    assert least <= min(means) <= max(means) <= most
    with pytest.raises(ConfigError, match="gt-end or zero or random"):
        _evaluate(tmp_path, missing="none")


def test_a_query_that_the_file_does_not_name_is_missing_too(tmp_path):
    predictions = {video: row for video, row in _predictions().items() if video != "d"}
    result = _evaluate(tmp_path, predictions=predictions | {"zz": _predictions()["a"]})
    assert result.counts["missing_queries"] == 2
    assert result.counts["predictions_dropped"] == {"query not in the annotations": 1}
    assert result.metrics["mean-TD"] == pytest.approx((0 + 1 + 2.2 + 8 + 10 + 3) / 6)
    assert result.missing == ("d", "e")


def test_onset_by_any_annotator_is_another_metric(tmp_path):
    times = {video: {"t": [start, -1.0, start + 3], "len": 10} for video, ((start, _), _) in ROWS.items()}
    times["d"]["t"] = [4.0, 4.5, 0.5]
    (tmp_path / "times.json").write_text(json.dumps(times))
    result = _evaluate(tmp_path, onsets=tmp_path / "times.json")
    assert result.metrics["onset@1.0"] == pytest.approx(4 / 6)
    assert result.metrics["onset-any@1.0"] == pytest.approx(5 / 6)
    assert result.metrics["onset-any@0.25"] == pytest.approx(3 / 6)
    assert str(tmp_path / "times.json") in result.inputs
    del times["b"]
    (tmp_path / "times.json").write_text(json.dumps(times))
    with pytest.raises(AnnotationError, match="no transition times of 1 videos, the first 'b'"):
        _evaluate(tmp_path, onsets=tmp_path / "times.json")
    (tmp_path / "times.json").write_text(json.dumps({"a": 3}))
    with pytest.raises(AnnotationError, match="no transition times per video"):
        _evaluate(tmp_path, onsets=tmp_path / "times.json")


def test_behaviours_are_found_by_video_and_number(tmp_path):
    truth = [
        ["v_1", {"id": "b_01", "time": "0018:0024", "description": "x"}],
        ["v_1", {"id": "b_02", "time": "0105:0125", "description": "x"}],
    ]
    predictions = {
        f"v_1_{row['id']}": {"behaviour": row, "pred_start": start, "pred_end": end}
        for (_, row), start, end in zip(truth, (18.5, 65.0), (24.5, 85.0), strict=True)
    }
    result = _evaluate(tmp_path, truth, predictions)
    assert result.options["subset"] == "uag-ssbd"
    assert result.metrics["mean-TD"] == pytest.approx(0.5)
    assert (result.counts["videos"], result.counts["queries"]) == (1, 2)


def test_absurd_differences_count_as_the_end_of_the_truth_in_the_mean(tmp_path):
    rows = {"a": ((2.0, 4.0), (2.0, 20_000.0)), "b": ((0.0, 2.0), (0.0, 2.0))}
    assert _evaluate(tmp_path, _truth(rows), _predictions(rows)).metrics["mean-TD"] == pytest.approx(2)


def test_unusable_input_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match="annotations, not predictions"):
        _evaluate(tmp_path, predictions=_truth())
    with pytest.raises(AnnotationError, match="has the form of uag-oops, and uag-ssbd was asked for"):
        _evaluate(tmp_path, subset="uag-ssbd")
    with pytest.raises(ConfigError, match="uag-oops or uag-ssbd"):
        _evaluate(tmp_path, subset="oops")
    with pytest.raises(ConfigError, match="from 0 on"):
        _evaluate(tmp_path, within_s=(-1.0,))
    with pytest.raises(AnnotationError, match="none of its 1 queries"):
        _evaluate(tmp_path, predictions={"zz": _predictions()["a"]})
    two = [{"qid": 1, "query": "x", "vid": "v", "duration": 9, "relevant_windows": [[0, 1], [2, 3]]}]
    (tmp_path / "two.jsonl").write_text(json.dumps(two[0]) + "\n")
    (tmp_path / "p.json").write_text(json.dumps([[[0, 1]]]))
    with pytest.raises(AnnotationError, match="2 windows for 1 queries"):
        evaluate("ual-bench", tmp_path / "two.jsonl", tmp_path / "p.json")
