"""Files that are of no use: every protocol tells each with a TalError, and nothing leaves the numbers uncounted."""

import json
import pickle

import pytest

from tal.annotations.results import parse_table
from tal.errors import AnnotationError, TalError
from tal.evaluation import evaluate
from tal.registry import PROTOCOLS

DAMAGED = {
    "empty": b"",
    "blank": b" \n\n",
    "mark-alone": b"\xef\xbb\xbf",
    "zeros": b"\x00" * 64,
    "list": b"[]",
    "object": b"{}",
    "null": b"null",
    "truncated": b'{"results": {"a": [{"segment": [0, 1',
    "long-number": b'{"a": ' + b"9" * 5000 + b"}",
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "pickle": pickle.dumps({"a": 1}),
    "bytes": bytes(range(256)),
    "html": b"<!DOCTYPE html><html><body>404</body></html>",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_protocol_tells_what_is_wrong_with_the_annotations(protocol, tmp_path):
    path = tmp_path / "file.json"
    for name, content in DAMAGED.items():
        path.write_bytes(content)
        with pytest.raises(TalError) as told:
            evaluate(protocol, path, path)
        assert len(str(told.value)) > 20, name
    for other in (tmp_path, tmp_path / "nothing.json"):
        with pytest.raises(TalError):
            evaluate(protocol, other, other)


TRUTH = {"database": {"a": {"subset": "test", "annotations": [{"segment": [0, 10], "label": "run"}]}}}
FOUND = {"results": {"a": [{"segment": [0, 10], "label": "run", "score": 0.9}]}}


@pytest.mark.parametrize("content", [each for each in DAMAGED.values() if each != DAMAGED["zeros"]])
def test_damaged_predictions(content, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(TRUTH))
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(AnnotationError):
        evaluate("generic", tmp_path / "a.json", tmp_path / "p.json")


@pytest.mark.parametrize("large", [0, 2**40])
def test_a_video_that_stands_twice_is_refused(monkeypatch, large):
    monkeypatch.setattr("tal.annotations.results._LARGE", large)
    entries = json.dumps(FOUND["results"]["a"])
    twice = f'{{"results": {{"a": {entries}, "b": {entries}, "a": {entries}}}}}'
    with pytest.raises(AnnotationError, match="'a' stands twice"):
        parse_table(twice.encode(), "p.json")


@pytest.mark.parametrize("segment", [[None, 10], [0, "nan"], [0, float("inf")]])
def test_ground_truth_without_a_time_is_left_out_and_counted(segment, tmp_path):
    truth = json.loads(json.dumps(TRUTH))
    truth["database"]["a"]["annotations"].append({"segment": segment, "label": "run"})
    (tmp_path / "a.json").write_text(json.dumps(truth))
    (tmp_path / "p.json").write_text(json.dumps(FOUND))
    for protocol in ("generic", "proposals"):
        result = evaluate(protocol, tmp_path / "a.json", tmp_path / "p.json")
        assert result.counts["ground_truth_excluded"] == {"start or end missing": 1}
        assert result.counts["ground_truth"] == 1
