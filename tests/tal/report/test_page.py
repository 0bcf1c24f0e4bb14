"""The page as a file: text from outside stays text, and the data is what was given."""

import json
import re

import numpy as np
import pytest

from tal.report.data import Report, ReportVideo
from tal.report.page import embedded_json, page_data, render, write_report
from tal.segments import Segments

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "line\u2028separator\u2029",
    "$title ${data} $$",
    "&lt;b&gt; a % # ? [x] (y) {z}",
    "\udcff",
]


def report(name="wave", **changes):
    predictions = Segments.from_names([1.0, 4.0], [2.0, 6.0], [name, "b"], score=[0.9, 0.2])
    truth = Segments.from_names([1.1], [2.0], [name])
    video = ReportVideo(video=name, duration_s=10.0, predictions=predictions, truth=truth)
    return Report(title=name, videos=[video], **changes)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_data_and_nothing_else(text):
    page = render(report(text, facts={text: text}, subtitle=text, per_class={text: {text: 0.5}}, metrics={text: 0.5}))
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert "<img src=x" not in page
    embedded = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1]
    assert not set(embedded) & set("<>&\u2028\u2029")
    data = json.loads(embedded)
    assert data["title"] == data["videos"][0]["id"] == data["facts"][0][0] == text
    assert text in data["classes"]
    page.encode("utf-8")


def test_numbers_that_json_cannot_hold_are_refused():
    with pytest.raises(ValueError):
        embedded_json([float("nan")])


def test_data_of_a_page():
    data = page_data(report(per_class={"wave": {"AP@0.50": 0.25}}, metrics={"mAP": float("nan")}, threshold=0.5))
    assert data["classes"] == ["b", "wave"]
    assert data["metrics"] == [["mAP", None]]
    assert data["perClass"] == [[1, 1, [0.25]]]
    assert data["videos"][0]["truth"] == [[1.1, 2.0, 1, 0.9]]
    assert data["videos"][0]["pred"] == [[1.0, 2.0, 1, 0.9, 1, 0.9], [4.0, 6.0, 0, 0.2, 3, 0.0]]


def test_faulty_ground_truth_is_left_out_of_the_drawing():
    truth = Segments.from_names([1, 5, np.nan], [2, 3, 4], ["a", "a", "a"])
    video = ReportVideo(video="v", duration_s=9, predictions=Segments.empty(), truth=truth)
    assert page_data(Report(title="t", videos=[video]))["videos"][0]["truth"] == [[1.0, 2.0, 0, -1.0]]


def test_proposals_without_a_class():
    video = ReportVideo(video="v", duration_s=9, predictions=Segments(start_s=np.array([1.0]), end_s=np.array([2.0])))
    assert page_data(Report(title="t", videos=[video]))["classes"] == [""]


def test_a_page_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report(path, report())
    before = path.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(path, report("other"))
    assert path.read_text() == before
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_nothing_is_loaded_from_a_network():
    page = render(report())
    assert not re.findall(r"https?://", page)
    assert "@import" not in page
