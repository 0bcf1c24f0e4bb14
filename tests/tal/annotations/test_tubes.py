"""Files of action tubes: what is written is read again, ACT's pickles give the same, and faults are told."""

import json
import pickle

import numpy as np
import pytest

from tal.annotations import read_annotations
from tal.annotations.findings import check_annotations
from tal.annotations.tube_results import BoxTable, TubeTable, parse_results, write_boxes, write_tubes
from tal.annotations.tubes import looks_like, parse, parse_bytes, write_annotations
from tal.errors import AnnotationError, TalError

BOX = [1.0, 10.0, 20.0, 30.0, 40.0]
JSON = {
    "labels": ["run", "walk"],
    "videos": {
        "run/a": {"nframes": 5, "resolution": [240, 320], "tubes": [{"label": "run", "boxes": [BOX, [2, 1, 2, 3, 4]]}]},
        "walk/b": {"nframes": 4, "resolution": [240, 320], "tubes": []},
    },
    "train_videos": [["walk/b"], ["run/a"]],
    "test_videos": [["run/a"], ["walk/b"]],
}
ACT = {
    "labels": ["run", "walk"],
    "nframes": {"run/a": 5, "walk/b": 4},
    "resolution": {"run/a": (240, 320), "walk/b": (240, 320)},
    "gttubes": {"run/a": {0: [np.array([BOX, [2, 1, 2, 3, 4]], np.float32)]}, "walk/b": {}},
    "train_videos": [["walk/b"], ["run/a"]],
    "test_videos": [["run/a"], ["walk/b"]],
}


def _bytes(data):
    return json.dumps(data).encode()


def _same(one, two):
    assert (one.classes, list(one.videos), one.splits, one.further_subsets) == (
        two.classes,
        list(two.videos),
        two.splits,
        two.further_subsets,
    )
    for first, second in zip(one.videos.values(), two.videos.values(), strict=True):
        assert (first.subset, first.frame_count, first.frame_size) == (
            second.subset,
            second.frame_count,
            second.frame_size,
        )
        for tube, other in zip(first.frame_tubes, second.frame_tubes, strict=True):
            assert tube.label == other.label
            assert tube.frames.tolist() == other.frames.tolist()
            assert tube.boxes.tolist() == other.boxes.tolist()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_the_json_the_pickle_and_what_is_written_are_the_same(tmp_path, protocol):
    from_json = parse_bytes(_bytes(JSON), "x.json")
    from_pickle = parse_bytes(pickle.dumps(ACT, protocol), "x.pkl")
    _same(from_json, from_pickle)
    write_annotations(tmp_path / "again.json", from_pickle)
    _same(from_json, parse_bytes((tmp_path / "again.json").read_bytes(), "again.json"))
    assert from_json.splits["test1"] == ("run/a",)
    assert from_json.videos["run/a"].subset == "train2"
    assert from_json.further_subsets == (("walk/b", "test2"), ("run/a", "test1"))
    assert (from_json.format, from_pickle.format) == ("tubes", "act-pickle")


def test_the_one_door_reads_both_the_pickle_by_its_name_only(tmp_path):
    (tmp_path / "x.json").write_bytes(_bytes(JSON))
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(ACT))
    assert read_annotations(tmp_path / "x.json").format == "tubes"
    _same(read_annotations(tmp_path / "x.json"), read_annotations(tmp_path / "x.pkl", format="act-pickle"))
    with pytest.raises(AnnotationError, match="is a Python pickle"):
        read_annotations(tmp_path / "x.pkl")


def test_a_label_that_is_not_in_the_list_is_kept_as_a_fault():
    data = json.loads(json.dumps(JSON))
    data["videos"]["run/a"]["tubes"][0]["label"] = "fly"
    assert [tube.label for tube in parse(data, source="x").videos["run/a"].frame_tubes] == [-1]
    assert [tube.label for tube in parse(JSON, source="x", classes=["walk"]).videos["run/a"].frame_tubes] == [-1]


def _with(**changes):
    data = json.loads(json.dumps(JSON))
    data["videos"]["run/a"] |= changes
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"results": {}}, "no annotations of tubes"),
        ({"labels": [], "videos": {}}, "no videos"),
        ({"columns": [], "videos": {"a": []}}, "predictions, not annotations"),
        (_with(tubes=[{"label": "run", "boxes": []}]), "no rows of 5 or 6 numbers"),
        (_with(tubes=[{"label": "run"}]), "no rows of 5 or 6 numbers"),
        (_with(tubes=[{"label": "run", "boxes": [[1, 2, 3]]}]), "no rows of 5 or 6 numbers"),
        (_with(tubes=[{"label": "run", "boxes": [BOX, BOX]}]), "frames are not whole numbers that increase"),
        (_with(tubes=[{"label": "run", "boxes": [[None, 1, 2, 3, 4]]}]), "NaN"),
        (_with(tubes=[["run"]]), "no list of objects"),
        (_with(nframes="many"), "nframes 'many'"),
        (_with(nframes=2**70), "nframes 1180591"),
        (_with(nframes=0), "nframes 0"),
        (_with(resolution=[240]), "resolution"),
        (JSON | {"test_videos": ["run/a"]}, "no list of lists"),
        (JSON | {"test_videos": [["c"]]}, "'c', which has no annotation"),
    ],
)
def test_annotations_that_are_refused(data, message):
    with pytest.raises(AnnotationError, match=message):
        parse_bytes(_bytes(data), "x.json")


def test_pickles_and_damaged_files_that_are_refused():
    for data in ({"labels": []}, [1], {"gttubes": 1, "labels": [], "nframes": {}, "resolution": {}}):
        with pytest.raises(AnnotationError, match="no annotations of tubes"):
            parse_bytes(pickle.dumps(data), "x.pkl")
    with pytest.raises(AnnotationError, match="truncated"):
        parse_bytes(_bytes(JSON)[:-20], "x.json")
    assert looks_like(JSON)
    assert not looks_like({"labels": ["a"], "database": {}})
    assert not looks_like([JSON])


CSV = "video,frame,label,score,x1,y1,x2,y2\nrun/a,1,run,0.5,1,2,3,4\nwalk/b,2,walk,0.25,5,6,7,8.5\n"
TUBES = {"columns": [], "videos": {"run/a": [{"label": "run", "score": 0.5, "boxes": [[*BOX, 0.5]]}], "walk/b": []}}


def _parsed(content, name="x"):
    return parse_results(content, name, videos=("run/a", "walk/b"), classes=("run", "walk"))


def test_boxes_come_back(tmp_path):
    table = _parsed(CSV.encode())
    assert isinstance(table, BoxTable)
    assert table.frame.tolist() == [1, 2]
    assert table.boxes[1].tolist() == [5, 6, 7, 8.5]
    write_boxes(tmp_path / "x.csv", table)
    again = _parsed((tmp_path / "x.csv").read_bytes())
    for name in ("videos", "labels"):
        assert getattr(again, name) == getattr(table, name)
    for name in ("video_idx", "label_idx", "frame", "score", "boxes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert len(_parsed(CSV.splitlines()[0].encode())) == 0


def test_tubes_come_back(tmp_path):
    table = _parsed(_bytes(TUBES))
    assert isinstance(table, TubeTable)
    assert len(table) == 1
    write_tubes(tmp_path / "x.json", table)
    assert _parsed((tmp_path / "x.json").read_bytes()).videos["run/a"][0].box_score.tolist() == [0.5]


def test_pickled_predictions():
    rows = np.array([[1, 3, 0, 0.5, 1, 2, 3, 4]], np.float32)
    table = _parsed(pickle.dumps(rows, 4))
    assert (table.video_idx.tolist(), table.label_idx.tolist(), table.frame.tolist()) == ([1], [0], [3])
    tubes = _parsed(pickle.dumps({1: [("run/a", np.float32(0.5), np.array([BOX]))], 0: []}))
    assert [tube.label for tube in tubes.videos["run/a"]] == [1]
    for wrong, message in (
        (np.array([[2, 3, 0, 0.5, 1, 2, 3, 4]]), "points to videos 2 to 2"),
        (np.array([[0, 3, 2, 0.5, 1, 2, 3, 4]]), "points to classes"),
        (np.zeros((2, 7)), "not of predictions"),
        ({}, "not of predictions"),
        ({5: []}, "a label of 5"),
        ({0: [("run/a", 0.5)]}, "expected: .*video, score, boxes"),
        ({0: [("run/a", float("nan"), np.array([BOX]))]}, "score is nan"),
        ({0: [("run/a", 0.5, np.zeros((0, 5)))]}, "no rows of 5 or 6"),
    ):
        with pytest.raises(TalError, match=message):
            _parsed(pickle.dumps(wrong))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CSV.replace("score", "points"), "no column for score"),
        (CSV.split("\n", 1)[1], "no column for video"),
        (CSV + "run/a,1,run", "row 4 has 3 cells"),
        (CSV.replace("0.25", "nan"), "score is NaN"),
        (CSV.replace("0.25", ""), "row 3: score is ''"),
        (CSV.replace("8.5", "inf"), "box is NaN"),
        (CSV.replace("/b,2", "/b,2.5"), "frame of 2.5"),
        (CSV.replace("/b,2", "/b,1e9"), "frame of 1e.09"),
        (
            '{"videos": {"a": [{"label": "run", "score": 1, "boxes": [[1e9,2,3,4,5]]}]}}',
            "frame numbers that no video has",
        ),
        ('{"videos": {"a": {"tubes": []}}}', "annotations, not predictions"),
        ('{"results": {}}', "keys results"),
        ("[1]", "a list"),
        ('{"videos": {"a": [{"label": "run", "boxes": []}]}}', "tube 0"),
        ('{"videos": {"a": [{"label": "run", "score": null, "boxes": [[1,2,3,4,5]]}]}}', "score is None"),
        ('{"videos": {"a": [{"label": "run", "score": 1, "boxes": [[1,2,3,4,NaN]]}]}}', "NaN"),
        ('{"videos": {"a": [', "truncated"),
    ],
)
def test_predictions_that_are_refused(content, message):
    with pytest.raises(AnnotationError, match=message):
        _parsed(content.encode())


def test_a_check_counts_tubes_as_instances():
    found = check_annotations(parse(JSON, source="x"), train_subsets=["train1", "train2"])
    assert [finding.message for finding in found] == ["class 'walk' has no instance at all"]
