"""The command: every format that can be written, from every kind of file that is read."""

import csv
import json
import logging
import pickle
import typing
from inspect import signature

import numpy as np
import pytest

from tal.annotations import Annotations, Moment, VideoRecord, activitynet, ava, read_annotations, tubes
from tal.annotations.moment_results import read_moments
from tal.annotations.results import read_results
from tal.boxes import Tube
from tal.cli import main
from tal.pipelines.export import export
from tal.pipelines.export_targets import TARGETS
from tal.segments import Segments

RESULTS = {
    "a": [
        {"segment": [3661.5, 3662.25], "label": "jump <b> & fall", "score": 0.75},
        {"segment": [-1.0, 2.0], "label": "run", "score": 0.5},
        {"segment": [5.0, 5.0], "label": "run", "score": 0.25},
    ],
    "../b/c": [{"segment": [0.0, 1.0], "label": "run", "score": 0.125}],
}
PER_VIDEO = ["srt", "vtt", "elan"]
OF_SEGMENTS = ["csv", *PER_VIDEO, "activitynet", "label-studio", "fiftyone"]


def _write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


@pytest.fixture
def predictions(tmp_path):
    return _write(tmp_path / "p.json", {"results": RESULTS})


@pytest.fixture
def annotations(tmp_path):
    """One video with everything that annotations can hold."""
    tube = Tube(actor="p", label="run", times_s=[1.0, 1.5], boxes=[[0, 0, 0.5, 0.5], [0.25, 0, 0.75, 0.5]])
    single = Tube(actor="q", times_s=[2.0], boxes=[[0.1, 0.2, 0.3, 0.4]])
    record = VideoRecord(
        video="v",
        duration_s=8.0,
        fps=20.0,
        subset="training",
        instances=Segments.from_names([1.0, 3.0], [2.0, 4.5], ["run", "wave"]),
        moments=(Moment(text='He runs, then "waves"', spans_s=((1.0, 2.0), (3.0, 4.0))),),
        tubes=(tube, single),
        cycles_s={0: ((1.0, 1.5), (1.5, 2.0))},
        steps=("run", "wave"),
        quality=0.5,
    )
    empty = VideoRecord(video="w", duration_s=3.0, subset="validation", instances=Segments.empty(("run", "wave")))
    activitynet.write(tmp_path / "a.json", Annotations(classes=("run", "wave"), videos={"v": record, "w": empty}))
    return tmp_path / "a.json"


@pytest.fixture
def windows(tmp_path):
    """Predicted windows for two queries of one video."""
    rows = [
        {"qid": 7, "query": "a --> b", "vid": "v", "pred_relevant_windows": [[0, 2, 0.9], [1, 3, 0.4]]},
        {"qid": 8, "query": "<i>c", "vid": "v", "pred_relevant_windows": [[4, 5, 0.2]]},
    ]
    return _write(tmp_path / "w.jsonl", "".join(json.dumps(row) + "\n" for row in rows))


def _export(source, out, *words):
    return main(["export", str(source), "--out", str(out), *words])


def _spans(rows):
    return sorted(zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.names, strict=True))


def test_the_command_offers_every_target():
    assert typing.get_args(typing.get_type_hints(export)["to"]) == tuple(TARGETS)
    assert signature(export).parameters["out"].default is signature(export).empty


@pytest.mark.parametrize("name", ["csv", "activitynet"])
def test_tables_hold_the_same_predictions(predictions, tmp_path, name):
    assert _export(predictions, tmp_path / "out" / "x", "--to", name) == 0
    first, again = read_results(predictions), read_results(tmp_path / "out" / "x")
    assert list(first) == list(again)
    for video in first:
        assert first[video].names == again[video].names
        assert first[video].start_s.tolist() == again[video].start_s.tolist()
        assert first[video].score.tolist() == again[video].score.tolist()


def test_subtitles_are_in_order_and_what_cannot_be_shown_is_counted(predictions, tmp_path, capsys):
    assert _export(predictions, tmp_path / "out", "--to", "vtt") == 0
    assert (tmp_path / "out" / "a.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nrun 0.50\n\n"
        "01:01:01.500 --> 01:01:02.250\njump &lt;b&gt; &amp; fall 0.75\n"
    )
    told = capsys.readouterr().err
    assert "4 segments on 2 videos (predictions), all but 1 written" in told
    assert "1 left out: empty, reversed" in told
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.vtt", "%2E.%2Fb%2Fc.vtt"}  # The id with ".." stays within the folder.
    assert _export(predictions, tmp_path / "one.srt", "--to", "srt", "--videos", "a", "--threshold", "0.6") == 0
    assert (tmp_path / "one.srt").read_text() == "1\n01:01:01,500 --> 01:01:02,250\njump \u2039b\u203a & fall 0.75\n"
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize("name", OF_SEGMENTS)
def test_the_best_of_each_video(predictions, tmp_path, name):
    out = tmp_path / "out" / ("x" if name in PER_VIDEO else "x.json")
    assert _export(predictions, out, "--to", name, "--top", "1") == 0
    files = sorted(out.iterdir()) if name in PER_VIDEO else [out]
    text = "".join(path.read_text() for path in files)
    assert "jump" in text
    assert "0.5" not in text.replace("0.500", "0.5").replace("00:00:00.5", "")


def test_annotations_keep_what_a_format_can_hold(annotations, tmp_path, capsys):
    assert _export(annotations, tmp_path / "b.json", "--to", "activitynet") == 0
    assert read_annotations(tmp_path / "b.json").videos["v"].steps == ("run", "wave")
    assert "left out" not in capsys.readouterr().err
    assert _export(annotations, tmp_path / "b.csv", "--to", "csv") == 0
    told = capsys.readouterr().err
    assert "2 segments, 1 moments with sentences, 1 tubes, 1 single boxes on 2 videos (annotations)" in told
    assert "moments become segments" in told
    assert "tubes become segments" in told
    assert "left out: 1 single boxes, 2 repetition cycles, 2 steps, 1 quality scores" in told
    again = read_annotations(tmp_path / "b.csv")
    assert _spans(again.videos["v"].instances) == [
        (1.0, 1.5, "run"),
        (1.0, 2.0, 'He runs, then "waves"'),
        (1.0, 2.0, "run"),
        (3.0, 4.0, 'He runs, then "waves"'),
        (3.0, 4.5, "wave"),
    ]
    assert (again.videos["v"].duration_s, again.videos["v"].fps, again.videos["v"].subset) == (8.0, 20.0, "training")
    assert len(again.videos["w"].instances) == 0


@pytest.mark.parametrize("name", PER_VIDEO)
def test_annotations_are_written_without_scores(annotations, tmp_path, name):
    assert _export(annotations, tmp_path / "out", "--to", name, "--subset", "training") == 0
    (path,) = (tmp_path / "out").iterdir()
    assert " 1.00" not in path.read_text()
    assert "tal-score" not in path.read_text()


def test_annotations_for_tools(annotations, tmp_path, capsys):
    assert _export(annotations, tmp_path / "ls.json", "--to", "label-studio", "--subset", "training") == 0
    told = capsys.readouterr().err
    assert "times become whole frames" in told
    assert "actors' names are lost" in told
    record = read_annotations(tmp_path / "ls.json").videos["v"]
    assert _spans(record.instances) == [
        (1.0, 2.0, 'He runs, then "waves"'),
        (1.0, 2.0, "run"),
        (3.0, 4.0, 'He runs, then "waves"'),
        (3.0, 4.5, "wave"),
    ]
    assert [(tube.label, tube.times_s.tolist()) for tube in record.tubes] == [("run", [1.0, 1.5]), ("q", [2.0])]
    assert _export(annotations, tmp_path / "boxes.csv", "--to", "ava") == 0
    boxes = ava.read_boxes(tmp_path / "boxes.csv")
    classes = ava.parse_label_map((tmp_path / "boxes.pbtxt").read_bytes(), "boxes.pbtxt")
    assert [classes[number] for number in boxes.class_id.tolist()] == ["run", "run", "person"]
    assert boxes.frame_time_s[boxes.frame_idx].tolist() == [1.0, 1.5, 2.0]


def test_moments(annotations, tmp_path):
    for name in ("qvhighlights", "charades-sta"):
        assert _export(annotations, tmp_path / name, "--to", name) == 0
        found = read_annotations(tmp_path / name).videos["v"].moments
        spans = [span for moment in found for span in moment.spans_s]
        assert {moment.text for moment in found} == {'He runs, then "waves"'}
        assert spans == [(1.0, 2.0), (3.0, 4.0)]


def test_predicted_windows(windows, tmp_path, capsys):
    assert _export(windows, tmp_path / "again.jsonl", "--to", "qvhighlights", "--top", "1", "--threshold", "0.3") == 0
    table = read_moments(tmp_path / "again.jsonl")
    assert [query.qid for query in table.queries] == ["7", "8"]  # A query that is left without windows stays.
    assert table.score.tolist() == [0.9]
    capsys.readouterr()
    assert _export(windows, tmp_path / "v.vtt", "--to", "vtt", "--threshold", "0.3") == 0
    assert (tmp_path / "v.vtt").read_text() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\na --&gt; b 0.90\n\n00:00:01.000 --> 00:00:03.000\na --&gt; b 0.40\n"
    )
    assert "left out: 2 query ids" in capsys.readouterr().err
    table = _write(tmp_path / "t.csv", "video,query,start,end,score\nv,q,0,1,0.5\nv,q,1,2,0.75\nu,r,0,1,0.5\n")
    assert _export(table, tmp_path / "t.jsonl", "--to", "qvhighlights", "--videos", "v") == 0
    rows = read_moments(tmp_path / "t.jsonl")
    assert [query.text for query in rows.queries] == ["q"]
    assert rows.start_s.tolist() == [1.0, 0.0]
    bare = _write(tmp_path / "bare.json", [[[0, 1, 0.5]], [[0, 1, 0.5]]])
    assert _export(bare, tmp_path / "x", "--to", "csv") == 2
    assert "2 of 2 queries name no video" in capsys.readouterr().err


AVA = "v,902,0.1,0.2,0.5,0.6,12,{}\nv,903,0.1,0.2,0.5,0.6,12,{}\nw,902,0,0,1,1,3,{}\n"


def test_boxes_on_keyframes(tmp_path, capsys):
    truth = _write(tmp_path / "gt.csv", AVA.format(1, 1, 2))
    detections = _write(tmp_path / "det.csv", AVA.format(0.5, 0.25, 0.75))
    labels = _write(tmp_path / "l.pbtxt", 'item {\n  name: "walk"\n  id: 12\n}\n')
    assert _export(truth, tmp_path / "out.csv", "--to", "csv", "--labelmap", str(labels)) == 0
    with (tmp_path / "out.csv").open() as lines:
        rows = list(csv.reader(lines))
    assert rows[1][:4] == ["v", "902.0", "903.0", "walk"]
    assert rows[2][:4] == ["w", "", "", ""]
    capsys.readouterr()
    assert _export(detections, tmp_path / "x", "--to", "csv") == 2
    told = capsys.readouterr().err
    assert "holds 3 single boxes; csv is for segments or moments with sentences or tubes" in told
    assert "one of label-studio, ava" in told
    assert _export(detections, tmp_path / "o.csv", "--to", "ava", "--threshold", "0.5", "--videos", "v") == 0
    again = ava.read_detections(tmp_path / "o.csv")
    assert (again.videos, again.score.tolist()) == (("v",), [0.5])
    words = ("--to", "label-studio", "--threshold", "0.5", "--videos", "v")
    assert _export(detections, tmp_path / "v.json", *words) == 0
    assert [task["data"]["tal_video"] for task in json.loads((tmp_path / "v.json").read_text())] == ["v"]
    capsys.readouterr()
    assert _export(detections, tmp_path / "ls.json", "--to", "label-studio", "--labelmap", str(labels)) == 0
    assert "left out: 3 scores of boxes" in capsys.readouterr().err
    assert _export(detections, tmp_path / "x", "--to", "ava", "--top", "3") == 2


TUBES = {
    "labels": ["run", "jump"],
    "videos": {
        "a/v": {"nframes": 4, "resolution": [100, 200], "tubes": [
            {"label": "jump", "boxes": [[1, 0, 0, 99, 49], [3, 100, 50, 199, 99]]},
        ]},
        "w": {"nframes": 8, "resolution": [100, 200], "tubes": []},
    },
    "train_videos": [["a/v"]],
    "test_videos": [["w"]],
}  # fmt: skip


def test_tubes_on_numbered_frames(tmp_path, capsys):
    truth = _write(tmp_path / "gt.json", TUBES)
    assert _export(truth, tmp_path / "x", "--to", "csv") == 2
    assert "holds 1 tubes on numbered frames" in (told := capsys.readouterr().err)
    assert "with --fps" in told
    assert _export(truth, tmp_path / "a.csv", "--to", "ava", "--fps", "10") == 0
    boxes = ava.read_boxes(tmp_path / "a.csv")
    assert boxes.frame_time_s.tolist() == [0.0, 0.2]
    assert boxes.boxes.tolist() == [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]]
    assert _export(truth, tmp_path / "again.json", "--to", "tubes", "--videos", "a/v") == 0
    again = tubes.parse(json.loads((tmp_path / "again.json").read_text()), source="again")
    assert again.splits == {"train1": ("a/v",)}
    (tube,) = again.videos["a/v"].frame_tubes
    assert tube.boxes.tolist() == [[0, 0, 99, 49], [100, 50, 199, 99]]
    detected = {"label": "run", "score": 0.5, "boxes": [[2, 0, 0, 9, 9, 0.5], [3, 0, 0, 9, 9, 0.5]]}
    source = _write(tmp_path / "d.json", {"videos": {"v": [detected, detected | {"score": 0.75}], "w": []}})
    capsys.readouterr()
    assert _export(source, tmp_path / "d.csv", "--to", "csv", "--fps", "10", "--top", "1") == 0
    assert "the boxes are lost" in capsys.readouterr().err
    rows = read_results(tmp_path / "d.csv")["v"]
    assert (_spans(rows), rows.score.tolist()) == ([(0.1, 0.3, "run")], [0.75])
    assert _export(source, tmp_path / "e.json", "--to", "tubes", "--threshold", "0.6") == 0
    videos = json.loads((tmp_path / "e.json").read_text())["videos"]
    assert [tube["score"] for tube in videos["v"]] == [0.75]
    frames = _write(tmp_path / "f.csv", "video,frame,label,score,x1,y1,x2,y2\nv,1,run,0.5,0,0,9,9\n")
    capsys.readouterr()
    assert _export(frames, tmp_path / "x", "--to", "ava") == 2
    assert "boxes on numbered frames" in capsys.readouterr().err
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"a": 1}))
    assert _export(tmp_path / "p.pkl", tmp_path / "x", "--to", "csv") == 2
    assert "no annotations of tubes" in capsys.readouterr().err


def test_media(predictions, tmp_path, capsys):
    (tmp_path / "videos" / "sub").mkdir(parents=True)
    for name in ("videos/a b.mkv", "videos/sub/a.webm"):
        (tmp_path / name).touch()
    _write(predictions, {"results": {"a b": RESULTS["a"], "sub/a": [], "z": []}})
    folder = str(tmp_path / "videos")
    assert _export(predictions, tmp_path / "fo", "--to", "fiftyone", "--media", folder) == 0
    assert json.loads((tmp_path / "fo" / "data.json").read_text()) == {
        "a b.mkv": str(tmp_path / "videos/a b.mkv"),
        "sub/a.webm": str(tmp_path / "videos/sub/a.webm"),
    }
    assert _export(predictions, tmp_path / "ls.json", "--to", "label-studio", "--media", folder) == 0
    tasks = json.loads((tmp_path / "ls.json").read_text())
    assert [task["data"]["video"] for task in tasks] == [
        "/data/local-files/?d=videos/a%20b.mkv",
        "/data/local-files/?d=videos/sub/a.webm",
        "z.mp4",
    ]
    assert _export(predictions, tmp_path / "eaf", "--to", "elan", "--media", folder, "--videos", "a b") == 0
    assert (
        f'"file://{tmp_path}/videos/a%20b.mkv" MIME_TYPE="video/x-matroska"' in (tmp_path / "eaf/a b.eaf").read_text()
    )
    assert _export(predictions, tmp_path / "web", "--to", "elan", "--media", "https://h/x/", "--videos", "a b") == 0
    assert 'MEDIA_URL="https://h/x/a%20b.mp4"' in (tmp_path / "web/a b.eaf").read_text()
    capsys.readouterr()
    assert _export(predictions, tmp_path / "x", "--to", "elan", "--media", str(tmp_path / "none")) == 2
    assert "expected: a folder with videos" in capsys.readouterr().err


NASTY = ["a\x00b\x1f", "q\"<&>' --> \r\n\n1", "\ud800", "\u202e\u0085", "", "=1+1", "é" * 90, "x,y;z\t"]


@pytest.mark.parametrize("name", OF_SEGMENTS)
def test_names_and_times_that_break_files(tmp_path, name):
    """Whatever stands in a file, each format is well-formed, and its reader finds what can be found."""
    videos = ["n" * 180, "../../etc/x", "con", "a\x07\n<b>", "\udfff"]
    times = [(-5, -1), (np.nan, 1), (1, np.nan), (3, 2), (1e300, 1e308), (-1, 1), (0, 0.0001), (2, 3)]
    entries = [
        {"segment": list(span), "label": label, "score": score}
        for span in times
        for label, score in zip(NASTY, [0.5, -1, 1e9, np.nan, 0, 1, 2, 3], strict=True)
    ]
    source = _write(tmp_path / "p.json", {"results": dict.fromkeys(videos, entries)})
    out = tmp_path / "out" / ("deep" if name in PER_VIDEO else "x.json")
    assert _export(source, out, "--to", name) == 0
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert all(path.read_bytes().decode("utf-8") for path in written)
    if name in PER_VIDEO:
        assert len(written) == len(videos)
        assert {path.parent for path in written} == {out}
    if name == "elan":
        for path in written:
            rows = read_annotations(path).videos.popitem()[1].instances
            assert set(_spans(rows)) == {(start_s, start_s + 1, label) for start_s in (0, 2) for label in rows.names}
            assert len(set(rows.names)) == len(NASTY)
    if name in ("srt", "vtt"):
        cues = written[0].read_text().split("\n\n")
        assert sum(cue.count(" --> ") for cue in cues) == 2 * len(NASTY)
        assert all(len(cue.strip().split("\n")) <= 3 for cue in cues)
    if name == "csv":
        assert set(read_results(out)) == {*videos[:4], "?"}
    if name in ("label-studio", "fiftyone"):
        assert "NaN" not in out.read_text()


def test_generation_times(tmp_path, capsys):
    row = {"segment": [0, 1], "label": "run", "score": 0.5, "generation_time": 1.25}
    source = _write(tmp_path / "p.json", {"results": {"v": [row]}})
    for name in ("csv", "activitynet"):
        assert _export(source, tmp_path / name, "--to", name) == 0
        assert read_results(tmp_path / name)["v"].extra["generation_time"].tolist() == [1.25]
    assert "left out" not in capsys.readouterr().err
    assert _export(source, tmp_path / "v.srt", "--to", "srt") == 0
    assert "left out: 1 generation times" in capsys.readouterr().err


def test_nothing_outside_the_output_is_touched(predictions, tmp_path):
    before = predictions.read_bytes()
    (tmp_path / "out").mkdir()
    _write(tmp_path / "out" / "a.srt", "old")
    assert _export(predictions, tmp_path / "out", "--to", "srt") == 0
    assert (tmp_path / "out" / "a.srt").read_text() != "old"
    assert {path.name for path in tmp_path.iterdir()} == {"p.json", "out"}
    assert predictions.read_bytes() == before


def test_misuse(predictions, annotations, tmp_path, capsys):
    def told(*words):
        assert _export(*words) == 2
        return capsys.readouterr().err

    assert "holds 2 videos" in told(predictions, tmp_path / "x.srt", "--to", "srt")
    assert "is a file that is read" in told(predictions, predictions, "--to", "activitynet")
    assert "is a file that is read" in told(predictions, tmp_path, "--to", "activitynet")
    assert "no video zz" in told(predictions, tmp_path / "x", "--to", "csv", "--videos", "zz")
    assert "threshold nan" in told(predictions, tmp_path / "x", "--to", "csv", "--threshold", "nan")
    assert "top 0" in told(predictions, tmp_path / "x", "--to", "csv", "--top", "0")
    assert "no such file" in told(tmp_path / "none.json", tmp_path / "x", "--to", "csv")
    assert "is a file" in told(predictions, annotations, "--to", "srt")
    assert "holds annotations, which have no scores" in told(annotations, tmp_path / "x", "--to", "csv", "--top", "3")
    assert "no video is in subset 'test'" in told(annotations, tmp_path / "x", "--to", "csv", "--subset", "test")
    assert "holds no videos" in told(_write(tmp_path / "e.json", {"results": {}}), tmp_path / "x", "--to", "csv")
    assert "fps -1" in told(predictions, tmp_path / "x", "--to", "label-studio", "--fps", "-1")
    told_ava = told(predictions, tmp_path / "x", "--to", "ava")
    assert "holds 4 segments; ava is for tubes or single boxes" in told_ava
    assert "one of csv, srt, vtt, activitynet, elan, label-studio, fiftyone" in told_ava
    assert not (tmp_path / "x").exists()


def test_ten_thousand_segments(tmp_path):
    rng = np.random.default_rng(0)
    start_s = rng.uniform(0, 3600, 10_000)
    rows = Segments(start_s=start_s, end_s=start_s + rng.exponential(5, 10_000), label=rng.integers(0, 5, 10_000),
                    score=rng.random(10_000), classes=tuple("abcde"))  # fmt: skip
    entries = [{"segment": list(span[:2]), "label": span[2], "score": 0.5} for span in _spans(rows)]
    source = _write(tmp_path / "p.json", {"results": {"v": entries}})
    assert _export(source, tmp_path / "v.eaf", "--to", "elan") == 0
    found = read_annotations(tmp_path / "v.eaf").videos["v"].instances
    assert len(found) == sum(round(1000 * end) > round(1000 * start) for start, end, _ in _spans(rows))


def test_light_and_quiet(predictions, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="tal"):
        assert _export(predictions, tmp_path / "x.csv", "--to", "csv") == 0
    assert not caplog.records
