"""`tal report` as typed."""

import json
import re

import pytest

from tal.cli import main


@pytest.fixture
def dataset(tmp_path, make_video):
    """Annotations of two subsets, predictions, and the file of one video."""
    database = {
        f"v{number}": {
            "subset": "test" if number < 3 else "train",
            "duration": 10.0,
            "annotations": [{"segment": [1.0 + number, 3.0 + number], "label": label}],
        }
        for number, label in enumerate(["jump", "wave", "wave", "jump"])
    }
    results = {
        "v0": [{"segment": [1.1, 3.0], "label": "jump", "score": 0.9}],
        "v1": [{"segment": [6.0, 8.0], "label": "wave", "score": 0.8}],
        "v3": [{"segment": [6.0, 8.0], "label": "wave", "score": 0.8}],
    }
    (tmp_path / "labels.json").write_text(json.dumps({"database": database}))
    (tmp_path / "predictions.json").write_text(json.dumps({"results": results}))
    make_video(tmp_path / "videos" / "v1.mp4", frames=250)
    return tmp_path


def data_of(page):
    found = re.search(r'id="data">(.*?)</script>', page.read_text(), re.S)
    return json.loads(found[1])


def run(*words):
    return main(["report", *map(str, words)])


def test_a_dataset(dataset, capsys):
    out = dataset / "out" / "page.html"
    words = ("--annotations", dataset / "labels.json", "--videos", dataset / "videos", "--subset", "test")
    words += ("--threshold", 0.5)
    assert run("--predictions", dataset / "predictions.json", "--out", out, *words) == 0
    assert capsys.readouterr().out.strip() == str(out)
    data = data_of(out)
    assert [video["id"] for video in data["videos"]] == ["v0", "v1", "v2"]
    assert dict(data["metrics"])["mAP@0.50"] == pytest.approx(0.5)
    assert {data["classes"][label]: count for label, count, _ in data["perClass"]} == {"jump": 1, "wave": 2}
    kinds = {(miss["kind"], data["videos"][miss["video"]]["id"]): miss for miss in data["misses"]}
    assert set(kinds) == {("missed", "v1"), ("missed", "v2"), ("false", "v1")}
    assert kinds["false", "v1"]["thumbnail"].startswith("data:image/jpeg;base64,")
    assert kinds["missed", "v2"]["thumbnail"] == ""
    assert [video["src"] for video in data["videos"]] == ["", "../videos/v1.mp4", ""]
    assert len(data["videos"][1]["strip"]) == 12


def test_predictions_alone(dataset):
    assert run("--predictions", dataset / "predictions.json", "--out", dataset / "page.html") == 0
    data = data_of(dataset / "page.html")
    assert [video["truth"] for video in data["videos"]] == [None] * 3
    assert data["metrics"] == []
    assert data["videos"][0]["duration"] == 3.0


def test_what_cannot_be_drawn_is_left_out_and_told(tmp_path, capsys):
    segments = [{"segment": span, "label": "jump"} for span in ([1.0, 2.0], [None, 2.0], [3.0, 1.0])]
    (tmp_path / "labels.json").write_text(json.dumps({"database": {"v0": {"subset": "test", "annotations": segments}}}))
    rows = [{"segment": [1.0, 2.5], "label": "jump", "score": score} for score in (0.5, float("nan"))]
    (tmp_path / "predictions.json").write_text(json.dumps({"results": {"v0": rows}}))
    assert run("--predictions", tmp_path / "predictions.json", "--out", tmp_path / "page.html") == 0
    assert len(data_of(tmp_path / "page.html")["videos"][0]["pred"]) == 1
    assert "v0: 1 segments are not shown" in capsys.readouterr().err
    (tmp_path / "predictions.json").write_text(json.dumps({"results": {"v0": rows[:1]}}))
    words = ("--annotations", tmp_path / "labels.json", "--out", tmp_path / "judged.html")
    assert run("--predictions", tmp_path / "predictions.json", *words) == 0
    video = data_of(tmp_path / "judged.html")["videos"][0]
    assert (len(video["truth"]), video["duration"]) == (1, 2.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"--predictions": "nothing.json"}, "nothing.json"),
        ({"--predictions": "labels.json"}, "annotations, not predictions"),
        ({"--annotations": "predictions.json"}, "predictions.json"),
        ({"--protocol": "thumos15"}, "did you mean thumos14"),
        ({"--subset": "nope"}, "no video is in subset"),
        ({"--videos": "nowhere"}, "nowhere"),
        ({"--threshold": "nan"}, "threshold nan"),
    ],
)
def test_misuse(dataset, change, said, capsys, monkeypatch):
    monkeypatch.chdir(dataset)
    words = {"--predictions": "predictions.json", "--annotations": "labels.json", "--out": "page.html"} | change
    words = {"--subset": "test"} | words
    assert run(*(part for pair in words.items() for part in pair)) == 2
    assert said in capsys.readouterr().err
    assert not (dataset / "page.html").exists()


def test_a_broken_video_is_said_on_the_page(dataset):
    (dataset / "videos" / "v1.mp4").write_bytes(b"no video")
    words = ("--annotations", dataset / "labels.json", "--videos", dataset / "videos", "--subset", "test")
    assert run("--predictions", dataset / "predictions.json", "--out", dataset / "page.html", *words) == 0
    assert "open failed" in data_of(dataset / "page.html")["videos"][1]["note"]
