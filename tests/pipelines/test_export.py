"""The command: every format from one prediction file."""

import json

import pytest

from tal.annotations.results import read_results
from tal.cli import main

RESULTS = {
    "a": [
        {"segment": [3661.5, 3662.25], "label": "jump <b> & fall", "score": 0.75},
        {"segment": [-1.0, 2.0], "label": "run", "score": 0.5},
        {"segment": [5.0, 5.0], "label": "run", "score": 0.25},
    ],
    "../b/c": [{"segment": [0.0, 1.0], "label": "run", "score": 0.125}],
}


@pytest.fixture
def predictions(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"results": RESULTS}))
    return path


def _export(predictions, out, *words):
    return main(["export", str(predictions), "--out", str(out), *words])


@pytest.mark.parametrize("name", ["csv", "activitynet"])
def test_tables_hold_the_same_predictions(predictions, tmp_path, name):
    assert _export(predictions, tmp_path / "out" / "x", "--to", name) == 0
    first, again = read_results(predictions), read_results(tmp_path / "out" / "x")
    assert list(first) == list(again)
    for video in first:
        assert first[video].names == again[video].names
        assert first[video].start_s.tolist() == again[video].start_s.tolist()
        assert first[video].score.tolist() == again[video].score.tolist()


def test_subtitles_are_in_order_and_what_cannot_be_shown_is_left_out(predictions, tmp_path):
    assert _export(predictions, tmp_path / "out", "--to", "vtt") == 0
    assert (tmp_path / "out" / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nrun 0.50\n\n"
        "01:01:01.500 --> 01:01:02.250\njump &lt;b&gt; &amp; fall 0.75\n"
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.vtt", "%2E.%2Fb%2Fc.vtt"}  # The id with ".." stays within the folder.
    assert _export(predictions, tmp_path / "one.srt", "--to", "srt", "--videos", "a", "--threshold", "0.6") == 0
    assert (tmp_path / "one.srt").read_text() == "1\n01:01:01,500 --> 01:01:02,250\njump \u2039b\u203a & fall 0.75\n"


@pytest.mark.parametrize("name", ["elan", "label-studio"])
def test_annotation_tools(predictions, tmp_path, name):
    assert _export(predictions, tmp_path / "out", "--to", name, "--top", "1") == 0
    assert (tmp_path / "out").exists()


def test_misuse(predictions, tmp_path, capsys):
    assert _export(predictions, tmp_path / "x.srt", "--to", "srt") == 2
    assert "holds 2 videos" in capsys.readouterr().err
    assert _export(predictions, predictions, "--to", "activitynet") == 2
    assert "the file that is read" in capsys.readouterr().err
    assert _export(predictions, tmp_path / "x", "--to", "csv", "--videos", "zz") == 2
    assert "no video zz" in capsys.readouterr().err
    capsys.readouterr()
    assert _export(predictions, tmp_path / "x", "--to", "csv", "--threshold", "nan") == 2
    assert "threshold nan" in capsys.readouterr().err
    assert _export(tmp_path / "none.json", tmp_path / "x", "--to", "csv") == 2
