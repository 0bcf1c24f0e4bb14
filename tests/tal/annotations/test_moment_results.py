"""Predicted windows per query: every published form gives the same columns."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations.moment_results import MomentTable, Query, parse_moments, read_moments, write_answers, write_moments
from tal.errors import AnnotationError
from tal.segments import Segments


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _lines(path, rows):
    return _write(path, "".join(json.dumps(row) + "\n" for row in rows))


def _windows(table):
    return list(zip(table.query_idx.tolist(), table.start_s.tolist(), table.end_s.tolist(), strict=True))


ROW = {"qid": 7, "query": "a dog", "vid": "v", "pred_relevant_windows": [[0, 4.5, 0.2], [2, 6, 0.9]]}


def test_json_lines_keep_the_listed_order(tmp_path):
    rows = [ROW | {"pred_saliency_scores": [0.5, -1]}, ROW | {"qid": 8, "vid": "w.mp4", "pred_saliency_scores": [1]}]
    rows[1]["pred_relevant_windows"] = []
    table = read_moments(_lines(tmp_path / "p.jsonl", rows))
    assert table.queries == (Query(qid="7", video="v", text="a dog"), Query(qid="8", video="w", text="a dog"))
    assert _windows(table) == [(0, 0, 4.5), (0, 2, 6)]
    assert table.score.tolist() == [0.2, 0.9]
    assert [each.tolist() for each in table.saliency] == [[0.5, -1], [1]]
    alone = read_moments(_lines(tmp_path / "w.jsonl", [ROW]))
    assert alone.saliency is None
    assert alone.has_windows


def test_rows_may_stand_in_one_list(tmp_path):
    table = read_moments(_write(tmp_path / "p.json", [ROW, ROW | {"qid": 8}]))
    assert [each.qid for each in table.queries] == ["7", "8"]
    with pytest.raises(AnnotationError, match="entry 1 has no pred_relevant_windows"):
        read_moments(_write(tmp_path / "p.json", [ROW, {"qid": 8, "vid": "v"}]))


def test_saliency_alone(tmp_path):
    table = read_moments(_lines(tmp_path / "p.jsonl", [{"qid": 7, "vid": "v", "pred_saliency_scores": [1, 2]}]))
    assert not table.has_windows
    assert len(table) == 0


@pytest.mark.parametrize("wrapped", [True, False])
def test_lists_are_those_of_the_annotations_queries(tmp_path, wrapped):
    lists = [[[0, 1, 0.5], [2, 3, 0.6]], [], [[4, 5, 0.1]]]
    table = read_moments(_write(tmp_path / "p.json", {"note": "", "predictions": lists} if wrapped else lists))
    assert table.in_order
    assert len(table.queries) == 3
    assert _windows(table) == [(0, 0, 1), (0, 2, 3), (2, 4, 5)]
    assert read_moments(_write(tmp_path / "q.json", [[[0, 1]], [[2, 3]]])).score is None


def test_csv_is_ranked_by_score(tmp_path):
    text = "video,query,start,end,score\nv.mp4,a dog,0,1,0.2\nw,rain,5,6,0.3\nv.mp4,a dog,00:02,00:03,0.9\n"
    table = read_moments(_write(tmp_path / "p.csv", text))
    assert table.queries == (Query(video="v", text="a dog"), Query(video="w", text="rain"))
    assert _windows(table) == [(0, 2, 3), (0, 0, 1), (1, 5, 6)]
    by_id = read_moments(_write(tmp_path / "q.csv", "qid\tstart\tend\tscore\n12\t0\t1\t0.5\n"))
    assert by_id.queries == (Query(qid="12"),)


@pytest.mark.parametrize("as_list", [True, False])
def test_answers_of_ual_bench(tmp_path, as_list):
    row = {"start_time": 1.0, "end_time": 2.0, "description": "a fall"}
    data = {
        "a": row | {"pred_start": 1.5, "pred_end": 3},
        "b": row | {"pred_start": None, "pred_end": 3},
        "c": row | {"pred_start": "0:07", "pred_end": "00:01:03"},
    }
    rows = [each | {"video_id": video} for video, each in data.items()]
    table = read_moments(_write(tmp_path / "p.json", rows if as_list else data))
    assert [(each.video, each.text) for each in table.queries] == [("a", "a fall"), ("b", "a fall"), ("c", "a fall")]
    assert _windows(table) == [(0, 1.5, 3), (2, 7, 63)]


def test_answers_of_ual_bench_name_their_queries(tmp_path):
    data = {
        "v_1_b_02": {
            "video_path": "/x/v_1.mp4",
            "behaviour": {"id": "b_02", "time": "0001:0002"},
            "pred_start": 1,
            "pred_end": 2,
        },
        "test_0": {
            "visual_input": "H_1.mp4",
            "instruction": "?",
            "start_time": 0,
            "end_time": 1,
            "pred_start": 1,
            "pred_end": 2,
        },
    }
    expected = [("v_1", "v_1_b_02"), ("H_1", "H_1")]
    for content in (data, list(data.values())):
        table = read_moments(_write(tmp_path / "p.json", content))
        assert [(each.video, each.qid) for each in table.queries] == expected


def test_predictions_in_memory_are_ranked_by_score():
    rows = Segments(start_s=np.array([0.0, 2.0]), end_s=np.array([1.0, 3.0]), score=np.array([0.1, 0.8]))
    table = MomentTable.from_segments({"7": rows, "8": Segments.empty()})
    assert [each.qid for each in table.queries] == ["7", "8"]
    assert _windows(table) == [(0, 2, 3), (0, 0, 1)]


def test_what_is_written_is_read_again(tmp_path):
    rows = [ROW | {"pred_saliency_scores": [0.1 + 0.2, 1]}, ROW | {"qid": "x_1", "pred_saliency_scores": [3.0]}]
    table = read_moments(_lines(tmp_path / "p.jsonl", rows))
    write_moments(tmp_path / "q.jsonl", table)
    assert [json.loads(line) for line in (tmp_path / "q.jsonl").read_text().splitlines()] == rows
    found = read_moments(tmp_path / "q.jsonl")
    assert found.queries == table.queries
    assert _windows(found) == _windows(table)
    assert found.saliency[0].tolist() == table.saliency[0].tolist()
    write_answers(tmp_path / "a.json", table)
    answers = read_moments(tmp_path / "a.json")
    assert _windows(answers) == [(0, 0, 4.5), (1, 0, 4.5)]
    unnamed = read_moments(_write(tmp_path / "l.json", [[[0, 1]], []]))
    write_moments(tmp_path / "m.jsonl", unnamed)
    assert _windows(read_moments(tmp_path / "m.jsonl")) == [(0, 0, 1)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([ROW, {"qid": 8, "vid": "v"}], "line 2 has no pred_relevant_windows"),
        ([ROW, ROW], "qid 7 again, first on line 1"),
        ([ROW, {"query": "x", "pred_relevant_windows": []}], "line 2 has no qid and no vid"),
        ([ROW, ROW | {"qid": 8, "pred_relevant_windows": [[0, 1]]}], "line 2, window 0 has no score"),
        ([ROW | {"pred_relevant_windows": [[0, 1, "high"]]}], r"line 1, window 0 is \[0, 1, 'high'\]"),
        ([ROW | {"pred_relevant_windows": [[0, 10**400, 1]]}], "no numbers"),
        ([ROW | {"pred_relevant_windows": None}], "line 1: None"),
        ([{"qid": 1, "vid": "v", "pred_saliency_scores": []}], "is empty"),
        ([{"qid": 1, "vid": "v", "pred_saliency_scores": [float("nan")]}], "holds NaN"),
        ([{"qid": 1, "vid": "v", "pred_saliency_scores": ["x"]}], "pred_saliency_scores is"),
        ([{"qid": 1, "query": "x", "vid": "v", "relevant_windows": [[0, 1]]}], "annotations, not predictions"),
        ([{"qid": 1}, {"qid": 2}], "no windows and no saliency"),
    ],
)
def test_unusable_lines_are_refused(tmp_path, content, told):
    with pytest.raises(AnnotationError, match=told):
        read_moments(_lines(tmp_path / "p.jsonl", content))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"results": {"v": [{"segment": [0, 1], "label": "run", "score": 1}]}}, "detections with classes"),
        ({"database": {"v": {"annotations": []}}}, "annotations, not predictions"),
        ({"v": {"timestamps": [[0, 1]], "sentences": ["x"], "duration": 3}}, "annotations, not predictions"),
        ([["v", {"id": "b", "time": "0001:0002"}]], "annotations, not predictions"),
        ([{"video_id": "v", "start_time": 0, "end_time": 1}], "annotations, not predictions"),
        ([{"video_id": "v", "pred_start": 0, "pred_end": 1}, {"video_id": "w", "pred_start": 0}], "query 1 has no"),
        ([{"video_id": "v", "pred_start": "soon", "pred_end": 1}], "a time of 'soon'"),
        ([[0, 1, 0.5], [2, 3, 0.5]], "query 0, window 0 is 0"),
        ({"predictions": [[[0, 1, 0.5], [1, 2]]]}, "query 0, window 1 has no score"),
        ([1, 2], "a list"),
        ('{"predictions": [[[0, 1, 0.', "truncated"),
        ("video,query,start,end\nv,x,0,1\n", "no column for score"),
        ("start,end,score\n0,1,0.5\n", "line 2 names no query"),
        ("video,query,start,end,score\nv,x,0,1,high\n", "a time of 'high'"),
        ("v 0.0 1.0##a dog runs\n", "annotations, not predictions"),
    ],
)
def test_unusable_files_are_refused(tmp_path, content, told):
    with pytest.raises(AnnotationError, match=told):
        read_moments(_write(tmp_path / "p", content))


_KEYS = ["qid", "vid", "pred_relevant_windows", "pred_saliency_scores", "predictions", "pred_start", "pred_end", "time"]
_LEAF = st.one_of(st.none(), st.booleans(), st.integers(-3, 99), st.floats(), st.sampled_from(["", "x", "0:05"]))
_JSON = st.recursive(
    _LEAF, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), each, max_size=5)
)


@settings(max_examples=50, deadline=None)
@given(
    st.one_of(_JSON, st.lists(st.dictionaries(st.sampled_from(_KEYS), _JSON), min_size=1, max_size=3)), st.booleans()
)
def test_any_json_is_predictions_or_one_clear_error(data, in_lines):
    rows = data if in_lines and isinstance(data, list) and data else [data]
    try:
        table = parse_moments("\n".join(map(json.dumps, rows)).encode(), "p.json")
    except AnnotationError:
        return  # Any other error fails the test.
    assert len(table) == len(table.start_s) == len(table.end_s)
