"""Prediction files are read into columns and written so that nothing changes."""

import json

import numpy as np
import pytest

from tal.annotations.results import (
    GENERATION_TIME,
    ResultTable,
    parse_table,
    read_results,
    read_table,
    write_csv,
    write_results,
)
from tal.errors import AnnotationError
from tal.segments import Segments


def _results():
    rng = np.random.default_rng(0)
    start = rng.uniform(0, 100, 6)
    rows = Segments(
        start_s=start,
        end_s=start + rng.uniform(0, 9, 6),
        score=rng.random(6),
        label=[0, 1, 2, 0, 1, 2],
        classes=("run", "walk, slowly", 'ä "quoted"'),
        extra={"generated_s": rng.random(6), "vector": rng.random((6, 2))},
    )
    return {"a b/c": rows[:4], "d": rows[4:], "empty": rows[:0]}


@pytest.mark.parametrize("write", [write_results, write_csv])
def test_what_is_written_is_read_again(tmp_path, write):
    write(tmp_path / "p", _results())
    found = read_results(tmp_path / "p", classes=_results()["d"].classes)
    assert list(found) == (["a b/c", "d", "empty"] if write is write_results else ["a b/c", "d"])
    for video, rows in found.items():
        expected = _results()[video].by_score()
        for name in ("start_s", "end_s", "score", "label"):
            np.testing.assert_array_equal(getattr(rows, name), getattr(expected, name))


def test_further_columns_become_keys(tmp_path):
    write_results(tmp_path / "p.json", _results())
    row = json.loads((tmp_path / "p.json").read_text())["results"]["d"][0]
    assert set(row) == {"segment", "label", "score", "generated_s"}


def test_variations_of_keys(tmp_path):
    rows = [{"label_id": 3, "segment": [0, 1], "scores": 0.25}, {"label_id": 1, "segment": [1, 2], "scores": 0.5}]
    (tmp_path / "p.json").write_text(json.dumps({"database": {"v": rows}}))
    table = read_table(tmp_path / "p.json")
    assert table.by_id
    assert table.labels == ("3", "1")
    assert table.to_segments()["v"].names == ["1", "3"]


def test_columns_from_memory_join_different_class_lists():
    first = Segments.from_names([0.0], [1.0], ["b"], classes=["b", "a"])
    second = Segments(start_s=[0.0, 1.0], end_s=[1.0, 2.0], label=[-1, 0], classes=("c",))
    table = ResultTable.from_segments({"v": first, "w": second})
    assert table.labels == ("a", "b", "c")
    assert table.label_idx.tolist() == [1, -1, 2]
    assert len(ResultTable.from_segments({})) == 0


def test_a_label_outside_the_class_list_is_refused(tmp_path):
    write_results(tmp_path / "p.json", _results())
    with pytest.raises(AnnotationError, match="unknown classes: walk, slowly"):
        read_results(tmp_path / "p.json", classes=["run", 'ä "quoted"'])


def test_an_interrupted_write_leaves_the_file_before_it(tmp_path, monkeypatch):
    path = tmp_path / "p.json"
    write_results(path, _results())
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_results(path, {})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["p.json"]


@pytest.mark.parametrize("key", ["generation_time", "gentime"])
def test_generation_times_are_read_and_written(tmp_path, key):
    row = {"segment": [0, 1], "label": "run", "score": 0.5}
    (tmp_path / "p.json").write_text(json.dumps({"results": {"a": [row | {key: 1.5}], "b": [row | {key: 2}]}}))
    assert read_table(tmp_path / "p.json").generation_time_s.tolist() == [1.5, 2.0]
    results = read_results(tmp_path / "p.json")
    assert results["a"].extra[GENERATION_TIME].tolist() == [1.5]
    write_results(tmp_path / "q.json", results)
    assert read_table(tmp_path / "q.json").generation_time_s.tolist() == [1.5, 2.0]
    assert ResultTable.from_segments(results).generation_time_s.tolist() == [1.5, 2.0]
    (tmp_path / "p.csv").write_text(f"video,start,end,label,score,{key}\na,0,1,run,0.5,1.5\n")
    assert read_table(tmp_path / "p.csv").generation_time_s.tolist() == [1.5]


def test_a_generation_time_that_some_rows_lack_is_refused():
    row = {"segment": [0, 1], "label": "run", "score": 0.5}
    for rows in ([row | {"gentime": 1}, row], [row, row | {"gentime": 1}]):
        with pytest.raises(AnnotationError, match="has no gentime"):
            parse_table(json.dumps({"results": {"a": rows}}).encode(), "p.json")
    with pytest.raises(AnnotationError, match="gentime is 'soon'"):
        parse_table(json.dumps({"results": {"a": [row | {"gentime": "soon"}]}}).encode(), "p.json")


def test_scores_are_left_away_together_or_not_at_all():
    content = json.dumps({"results": {"a": [{"segment": [0, 1]}, {"segment": [2, 3]}]}}).encode()
    assert parse_table(content, "p.json", scored=False).score.tolist() == [1.0, 1.0]
    with pytest.raises(AnnotationError, match="has no score"):
        parse_table(content, "p.json")
    mixed = json.dumps({"results": {"a": [{"segment": [0, 1], "score": 1}, {"segment": [2, 3]}]}}).encode()
    with pytest.raises(AnnotationError, match="prediction 1 has no score"):
        parse_table(mixed, "p.json", scored=False)


def test_a_file_without_videos_gives_none(tmp_path):
    (tmp_path / "p.json").write_text('{"results": {}}')
    assert read_results(tmp_path / "p.json") == {}
    (tmp_path / "p.csv").write_text("video,start,end,label,score\n")
    assert read_results(tmp_path / "p.csv") == {}
