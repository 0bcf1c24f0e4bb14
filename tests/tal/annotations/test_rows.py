"""Files of values per video: every form gives the same rows, and what cannot be read is told."""

import io
import json

import numpy as np
import pytest

from tal.annotations.rows import VALUE, number, parse_npz, parse_rows
from tal.errors import AnnotationError

FORMS = [
    b'{"a": {"count": 3}, "b": {"count": 4}}',
    b'{"results": {"a.mp4": {"count": 3}, "b": {"count": 4}}}',
    b'[{"video": "x/a.mp4", "count": 3}, {"video": "b", "count": 4}]',
    b'{"predictions": [{"video_id": "a", "count": 3}, {"id": "b", "count": 4}]}',
    b'{"video": "a", "count": 3}\n{"video": "b", "count": 4}\n',
    b"video,count\na,3\nb,4\n",
    b"count;Video-ID\n3;a\n\n4;b.avi\n",
    "\ufeffname\tcount\na\t3\nb\t4\n".encode(),
]


@pytest.mark.parametrize("content", FORMS)
def test_every_form_gives_the_same_rows(content):
    rows = parse_rows(content, "f")
    assert [(row.id, number(row.cells["count"], row.where)) for row in rows] == [("a", 3), ("b", 4)]


def test_values_without_names_and_entries_without_ids():
    assert [(row.id, row.cells) for row in parse_rows(b'{"a": 3, "b": [1, 2]}', "f")] == [
        ("a", {VALUE: 3}),
        ("b", {VALUE: [1, 2]}),
    ]
    assert [(row.id, row.cells[VALUE]) for row in parse_rows(b"[[1, 2], [3, 4]]", "f")] == [("", [1, 2]), ("", [3, 4])]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"a": 3, "b": 4, "a": 5}', "'a' stands twice"),
        (b'{"a": 3, "b": ', "line 1, column 1[45](.|\n)*truncated"),
        (b'{"video": "a"}\n{"video": ', "line 2 of 2"),
        (b"{}", "no entries"),
        (b"[]", "no entries"),
        (b"1.5,2\n3,4\n", "no column names the video"),
        (b"video,count\na,3,4\n", "line 2 has 3 cells"),
        (b"video,count,count\na,3,4\n", "two columns are called 'count'"),
        (b'video,count\n"a,3\n', "line 2"),
        (b"\x93\x00\xff", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_told(content, told):
    with pytest.raises(AnnotationError, match=told):
        parse_rows(content, "f")


@pytest.mark.parametrize("value", ["", None, "nan", float("nan"), "inf", "three", [1], True, 10**400])
def test_only_finite_numbers_are_numbers(value):
    with pytest.raises(AnnotationError, match="here: "):
        number(value, "here")


def test_npz_holds_plain_arrays_alone():
    buffer = io.BytesIO()
    np.savez(buffer, scores=np.eye(2), videos=np.array(["a", "b"]))
    assert sorted(parse_npz(buffer.getvalue(), "f")) == ["scores", "videos"]
    with pytest.raises(AnnotationError, match="damaged"):
        parse_npz(buffer.getvalue()[:60], "f")
    buffer = io.BytesIO()
    np.savez(buffer, scores=np.array([{"a": 1}], dtype=object))
    with pytest.raises(AnnotationError, match="never loaded"):
        parse_npz(buffer.getvalue(), "f")
    with pytest.raises(AnnotationError, match="npz"):
        parse_npz(json.dumps({}).encode(), "f")
