"""Moment retrieval: the official evaluators' numbers on real files, and everything left out is counted."""

import json
from pathlib import Path

import numpy as np
import pytest

from tal.annotations.records import Annotations, Moment, VideoRecord
from tal.errors import AnnotationError, ConfigError, TalError
from tal.evaluation import evaluate
from tal.segments import Segments

CASES = Path(__file__).parents[3] / "../shared/cases/moments"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")


def _expected():
    cases = json.loads((CASES / "expected.json").read_text())
    return next(numbers for name, numbers in cases.items() if name.startswith("charades_sta"))


def _charades(**options):
    return evaluate(
        "charades-sta", CASES / "charades_sta_test.txt", CASES / "charades_sta_test.predictions.json", **options
    )


@needs_cases
@pytest.mark.parametrize(("name", "nms"), [("2D-TAN_nms1.0", 1.0), ("2D-TAN_nms0.5", 0.5)])
def test_numbers_of_2d_tan(name, nms):
    numbers = _expected()[name]
    result = _charades(variant="2d-tan", nms=nms, tiou=tuple(numbers["tious"]), top=tuple(numbers["recall_at"]))
    assert result.counts["queries"] == numbers["n_queries"]
    found = [[result.metrics[f"R{top}@{tiou:.2f}"] for top in numbers["recall_at"]] for tiou in numbers["tious"]]
    np.testing.assert_allclose(found, numbers["recall"], rtol=1e-9)
    # Its code means to average the best of three windows, but looks at the first one only.
    assert result.metrics["mIoU"] == pytest.approx(numbers["miou_top3"], rel=1e-9)
    assert result.options["source"].startswith("microsoft/2D-TAN")


@needs_cases
def test_numbers_of_moment_detr():
    numbers = _expected()["moment_detr_standalone"]["metrics"]["full"]
    metrics = _charades(variant="moment-detr").metrics
    for kind, values in numbers.items():
        for tiou, value in values.items():
            name = kind if tiou == "average" else f"{kind}@{float(tiou):.2f}"
            assert metrics[name] == pytest.approx(value / 100, rel=1e-9)
    assert metrics["R1@0.70"] == metrics["MR-R1@0.70"]


@needs_cases
def test_the_default_counts_overlaps_that_reach_the_threshold_without_rounding():
    plain, rounded = _charades().metrics, _charades(variant="moment-detr").metrics
    assert list(plain) == ["R1@0.30", "R1@0.50", "R1@0.70", "R5@0.30", "R5@0.50", "R5@0.70", "mIoU"]
    for name, value in plain.items():
        assert rounded[name] == pytest.approx(value, abs=5.1e-5)
        assert value != rounded[name]


def _moment(text, *spans, **further):
    return Moment(text=text, spans_s=spans, **further)


def _annotations(moments, duration_s=None):
    videos = {
        video: VideoRecord(video=video, duration_s=duration_s, moments=tuple(each)) for video, each in moments.items()
    }
    return Annotations(classes=(), videos=videos)


TRUTH = _annotations(
    {
        "a": [_moment("A dog runs.", (0.0, 10.0)), _moment("it sits", (20.0, 30.0))],
        "b": [_moment("rain", (5.0, 6.0))],
    }
)


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _row(video, text, *windows, **further):
    return {"vid": video, "query": text, "pred_relevant_windows": [list(each) for each in windows]} | further


def test_queries_are_found_by_video_and_text(tmp_path):
    rows = [
        _row("b.mp4", "rain", (5, 6, 0.9)),
        _row("a", " it  sits", (0, 5, 0.9), (20, 30, 0.8)),
        _row("c", "rain", (5, 6, 0.9), (1, 2, 0.1)),
    ]
    result = evaluate("grounding", TRUTH, _lines(tmp_path / "p.jsonl", rows))
    assert result.metrics["R1@0.50"] == pytest.approx(1 / 3)
    assert result.metrics["R5@0.50"] == pytest.approx(2 / 3)
    assert result.metrics["mIoU"] == pytest.approx(1 / 3)
    assert (result.counts["queries"], result.counts["missing_queries"]) == (3, 1)
    assert (result.counts["predictions"], result.counts["predictions_evaluated"]) == (5, 3)
    assert result.counts["predictions_dropped"] == {"query not in the annotations": 2}
    assert "c: rain" in result.warnings[0]
    assert "1 of 3 queries have no prediction and count as misses: 'a: A dog runs.'" in result.warnings[1]


def test_every_form_of_predictions_scores_the_same(tmp_path):
    lists = [[[0, 6, 0.9], [0, 10, 0.8]], [[22, 30, 0.7]], []]
    names = [("a", "A dog runs"), ("a", "it sits"), ("b", "rain")]
    csv = "video,query,start,end,score\n" + "".join(
        f"{video},{text},{start},{end},{score}\n"
        for (video, text), windows in zip(names, lists, strict=True)
        for start, end, score in windows
    )
    (tmp_path / "p.csv").write_text(csv)
    (tmp_path / "p.json").write_text(json.dumps(lists))
    _lines(tmp_path / "p.jsonl", [_row(*name, *windows) for name, windows in zip(names, lists, strict=True)])
    found = [evaluate("grounding", TRUTH, tmp_path / name) for name in ("p.csv", "p.json", "p.jsonl")]
    assert found[0].metrics == found[1].metrics == found[2].metrics
    assert found[0].metrics["R1@0.70"] == pytest.approx(1 / 3)
    assert [each.counts["missing_queries"] for each in found] == [1, 1, 1]
    assert found[1].missing == ("b",)


def test_a_split_is_chosen_where_there_are_several():
    videos = {
        name: VideoRecord(video=name, subset=subset, moments=(_moment("x", (0.0, 10.0)),))
        for name, subset in (("a", "train"), ("b", "test"))
    }
    truth = Annotations(classes=(), videos=videos)
    with pytest.raises(AnnotationError, match="several subsets and none chosen"):
        evaluate("grounding", truth, {})
    result = evaluate("grounding", truth, {}, subset="Test")
    assert result.missing == ("b",)
    with pytest.raises(AnnotationError, match="no video is in subset 'val'"):
        evaluate("grounding", truth, {}, subset="val")


def test_queries_with_ids_are_found_by_them():
    truth = _annotations({"a": [_moment("x", (0.0, 10.0), qid="7"), _moment("x", (20.0, 30.0), qid="8")]})
    rows = Segments(start_s=np.array([0.0]), end_s=np.array([10.0]), score=np.array([1.0]))
    result = evaluate("grounding", truth, {"7": rows, "8": rows})
    assert result.metrics["R1@0.50"] == 0.5


def test_one_sentence_asked_twice_of_a_video(tmp_path):
    truth = _annotations({"a": [_moment("x", (0.0, 10.0)), _moment("x", (20.0, 30.0))]})
    one = _lines(tmp_path / "1.jsonl", [_row("a", "x", (0, 10, 1))])
    assert evaluate("grounding", truth, one).metrics["R1@0.50"] == 0.5
    rows = [_row("a", "x", (0, 10, 1), qid=1), _row("a", "x", (20, 30, 1), qid=2)]
    assert evaluate("grounding", truth, _lines(tmp_path / "2.jsonl", rows)).metrics["R1@0.50"] == 1
    with pytest.raises(AnnotationError, match="3 answers to 2 queries 'a', 'x'"):
        evaluate("grounding", truth, _lines(tmp_path / "3.jsonl", [*rows, _row("a", "x", (1, 2, 1), qid=3)]))
    with pytest.raises(AnnotationError, match="1 answers to 2 queries"):
        evaluate("grounding", truth, _lines(tmp_path / "4.jsonl", [{**_row("a", "", (0, 10, 1))}]))


def test_no_predictions_in_memory_score_zero():
    result = evaluate("grounding", TRUTH, {})
    assert set(result.metrics.values()) == {0.0}
    assert result.counts["missing_queries"] == 3
    assert result.counts["missing_videos"] == 2


def test_variants_compare_and_suppress_as_their_tools(tmp_path):
    truth = _annotations({"a": [_moment("x", (0.0, 10.0))]})
    path = tmp_path / "p.json"
    path.write_text(json.dumps([[[20, 30, 0.2], [21, 31, 0.3], [22, 32, 0.4], [0, 5, 0.9]]]))
    assert evaluate("grounding", truth, path, top=(2,)).metrics["R2@0.50"] == 0
    assert evaluate("grounding", truth, path, top=(2,), nms=0.5).metrics["R2@0.50"] == 1  # The overlap is 0.5.
    assert evaluate("grounding", truth, path, top=(2,), variant="2d-tan").metrics["R2@0.50"] == 0  # Not above 0.5.
    assert evaluate("grounding", truth, path, variant="ctrl").metrics["R1@0.50"] == 1  # The highest score.
    assert "1 queries list windows in another order" in evaluate("grounding", truth, path).warnings[0]
    assert evaluate("grounding", truth, path, variant="ctrl").warnings == ()
    tiou = {"tiou": (0.5,), "top": (1,)}
    assert evaluate("tacos", truth, path, **tiou).options["compare"].startswith("exceed")
    assert evaluate("tacos", truth, path, variant="moment-detr", **tiou).metrics["MR-mAP"] == 0.1


def test_reversed_and_negative_windows_keep_their_rank(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps([[[10, 0, 0.9], [-1, 10, 0.8]], [], []]))
    metrics = evaluate("grounding", TRUTH, tmp_path / "p.json").metrics
    assert metrics["R1@0.30"] == 0
    assert metrics["R5@0.70"] == pytest.approx(1 / 3)


def test_spans_are_limited_to_the_video_where_the_tool_does_so(tmp_path):
    truth = _annotations({"a": [_moment("x", (0.0, 20.0)), _moment("y", (11.0, 12.0)), _moment("z", (2.0, 4.0))]}, 10.0)
    (tmp_path / "p.json").write_text(json.dumps([[[0, 10]], [[1, 2]], [[2, 4]]]))
    result = evaluate("grounding", truth, tmp_path / "p.json", variant="2d-tan")
    assert result.metrics["R1@0.70"] == 1
    assert result.counts["ground_truth_excluded"] == {"span empty within its video": 1}
    assert (result.counts["queries"], result.counts["ground_truth"]) == (2, 2)
    assert evaluate("grounding", truth, tmp_path / "p.json").metrics["R1@0.70"] == pytest.approx(1 / 3)


def test_durations_can_come_from_a_file_of_their_own(tmp_path):
    (tmp_path / "a.txt").write_text("A 0.0 20.0##x\nB 0.0 3.0##y\n")
    (tmp_path / "p.json").write_text(json.dumps([[[0, 10]], [[0, 3]]]))
    csv = tmp_path / "Charades.csv"
    csv.write_text("id,actions,script,length\nA,,s,10.0\nB,,s,4.0\n")
    files = (tmp_path / "a.txt", tmp_path / "p.json")
    untold = evaluate("charades-sta", *files, variant="2d-tan")
    assert untold.metrics["R1@0.50"] == 0.5
    assert "do not say how long 2 videos are" in untold.warnings[0]
    told = evaluate("charades-sta", *files, variant="2d-tan", durations=csv)
    assert told.metrics["R1@0.50"] == 1
    assert str(csv) in told.inputs
    csv.write_text("id,actions,script,length\nA,,s,10.0\n")
    with pytest.raises(AnnotationError, match="no duration of video 'B'"):
        evaluate("charades-sta", *files, variant="2d-tan", durations=csv)


def test_both_annotations_of_a_video_can_be_evaluated_together(tmp_path):
    def captions(name, *rows):
        data = {"v_x": {"duration": 30, "timestamps": [row[1] for row in rows], "sentences": [row[0] for row in rows]}}
        (tmp_path / name).write_text(json.dumps(data))
        return tmp_path / name

    first, second = captions("1.json", ("a", [0, 10]), ("b", [10, 20])), captions("2.json", ("c", [5, 9]))
    (tmp_path / "p.json").write_text(json.dumps([[[0, 10]], [[0, 5]], [[5, 9]]]))
    result = evaluate("activitynet-captions", first, tmp_path / "p.json", further=second)
    assert result.metrics["R1@0.50"] == pytest.approx(2 / 3)
    assert (result.counts["queries"], result.counts["videos"]) == (3, 1)
    with pytest.raises(AnnotationError, match="3 lists of windows for 2 queries"):
        evaluate("activitynet-captions", first, tmp_path / "p.json")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([_row("a", "it sits", (20, 30, float("nan")))], "1 windows whose score is NaN"),
        ([_row("a", "it sits", (float("inf"), 30, 1))], "1 windows whose start is NaN or infinite"),
        ([_row("z", "it sits", (20, 30, 1))], "none of its 1 queries is in the annotations: 'z: it sits'"),
    ],
)
def test_unusable_predictions_are_refused(tmp_path, rows, told):
    with pytest.raises(AnnotationError, match=told):
        evaluate("grounding", TRUTH, _lines(tmp_path / "p.jsonl", rows))


def test_what_the_rules_need_is_told(tmp_path):
    (tmp_path / "p.json").write_text(json.dumps([[[0, 1]], [[2, 3]], []]))
    for variant, told in (("ctrl", "they decide the order"), ("moment-detr", "ranks windows by score")):
        with pytest.raises(AnnotationError, match=told):
            evaluate("grounding", TRUTH, tmp_path / "p.json", variant=variant)
    (tmp_path / "e.json").write_text("[]")
    with pytest.raises(AnnotationError, match="no predictions"):
        evaluate("grounding", TRUTH, tmp_path / "e.json")
    with pytest.raises(AnnotationError, match="none with a query"):
        evaluate("grounding", _annotations({"a": []}), {})
    with pytest.raises(AnnotationError, match="a: x has a time missing"):
        evaluate("grounding", _annotations({"a": [_moment("x", (0.0, float("nan")))]}), {})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"tiou": (0.0,)}, "tIoU thresholds"),
        ({"top": (0,)}, "numbers of windows"),
        ({"compare": "beat"}, "reach or exceed"),
        ({"nms": 2.0}, "an overlap in"),
        ({"nms_margin": 0.3}, "below 0.3"),
        ({"nms": 0.5, "nms_margin": 0.05}, "both nms"),
        ({"durations": Path("x")}, "spans clipped"),
        ({"variant": "2dtan"}, "2d-tan"),
        ({"outside": "drop"}, "no option outside"),
    ],
)
def test_settings_outside_their_range_are_refused(options, told):
    with pytest.raises((ConfigError, TalError), match=told):
        evaluate("grounding", TRUTH, {}, **options)
