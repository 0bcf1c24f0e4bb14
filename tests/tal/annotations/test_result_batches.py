"""Large prediction files, read in parts, give what whole ones give; damage is told as clearly."""

import json

import numpy as np
import pytest

from tal.annotations import results
from tal.errors import AnnotationError


@pytest.fixture
def in_parts(monkeypatch):
    """Every JSON file counts as large, and is read three entries at a time."""
    monkeypatch.setattr(results, "_LARGE", 0)
    monkeypatch.setattr(results, "_ROWS_AT_ONCE", 3)


def _entry(number, **further):
    label = "run" if number % 3 else "walk"
    return {"segment": [number, number + 1.5], "label": label, "score": 0.1 * number, **further}


@pytest.mark.parametrize(
    "content",
    [
        {"version": "1", "results": {f"v{count}": [_entry(row) for row in range(count)] for count in range(6)}, "x": 0},
        {"database": {"a": [{"segment": [0, 1], "label_id": 3, "scores": 0.5}] * 4, "b": []}},
        {"results": {"a": [_entry(row, generation_time=row) for row in range(4)], "b": [_entry(1, generation_time=9)]}},
        {"results": {"a": [_entry(0)] * 4, "b": [{"segment": [0, 1], "score": 1, "label_id": 3}]}},
        {"results": {"a": [_entry(0)] * 4, "b": [_entry(1, gentime=2.0)]}},
        {"results": {}},
        {"results": {"a": []}},
        {"database": {"a": [_entry(1)]}, "results": {"b": [_entry(2)]}},
        {"results": {'quo"ted \\ {[,': [_entry(1), {"segment": [0, 1], "score": 1}] * 3}},
    ],
)
def test_large_files_read_in_parts_give_the_same(tmp_path, in_parts, monkeypatch, content):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content, indent=1))
    parts = _outcome(path)
    monkeypatch.setattr(results, "_LARGE", 10**9)
    assert parts == _outcome(path)


def _outcome(path):
    """The columns as plain values, or the error's text."""
    try:
        table = results.read_table(path)
    except AnnotationError as error:
        return str(error)
    names = [*table.labels, None]
    made_s = table.generation_time_s
    return (
        table.videos,
        [table.videos[video] for video in table.video_idx],
        [names[label] for label in table.label_idx],
        np.column_stack([table.start_s, table.end_s, table.score]).tolist(),
        None if made_s is None else made_s.tolist(),
        table.by_id,
        table.scored,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"results": {"a": [{"segment": [0, 1], "label": "x", "score": 1}', "truncated"),
        ('{"results": {"a": []', "truncated"),
        ('{"results": {"a": []}', "truncated"),
        ('{"results": {"a" []}}', "line 1, column 18"),
        ('{"results": {"a": [] "b": []}}', "not valid JSON at line 1, column 22"),
        ('{"results": {a: []}}', "property name enclosed"),
        ('{"results": {"a": []}} x', "Extra data"),
        ('{"results": {"a": {"annotations": []}}}', "annotations, not predictions"),
        ('{"results": {"a": [{"segment": [0, 1], "label": "x"}]}}', "prediction 0 has no score"),
        ("[1, 2]", "a list"),
    ],
)
def test_large_files_that_are_damaged(tmp_path, in_parts, text, told):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(AnnotationError, match=told):
        results.read_table(path)


def test_a_file_that_does_not_fit_into_memory(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    path = tmp_path / "p.json"
    path.write_text('{"results": {}}')
    monkeypatch.setattr(results.files, "to_unique_json", full)
    with pytest.raises(AnnotationError, match="do not fit into this machine's memory"):
        results.read_table(path)
