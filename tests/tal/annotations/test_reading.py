"""Every published variation of annotation files gives the same records."""

import json

import numpy as np
import pytest

from tal.annotations import read_annotations
from tal.annotations.activitynet import write
from tal.annotations.records import Annotations, Moment, VideoRecord
from tal.boxes import Tube
from tal.errors import AnnotationError
from tal.segments import Segments


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _rows(annotations, video):
    rows = annotations.videos[video].instances
    return [
        (start, end, name)
        for start, end, name in zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.names, strict=True)
    ]


ANNOTATION = {"segment": [1.0, 2.5], "label": "run"}


@pytest.mark.parametrize(
    "entry",
    [
        {"subset": "Test", "duration": 9.0, "fps": 30.0, "annotations": [ANNOTATION]},
        {"subset": "test", "duration_second": 9.0, "annotations": [ANNOTATION | {"id": 3, "segment(frames)": [3, 4]}]},
        {
            "subset": "testing",
            "duration": "9.0",
            "url": "x",
            "annotations": [{"segment": ["1.0", 2.5], "label": "run"}],
        },
    ],
)
@pytest.mark.parametrize("wrapped", [True, False])
def test_variations_of_activitynet_json(tmp_path, entry, wrapped):
    data = {"v": entry, "empty": {"subset": "training", "annotations": []}}
    path = _write(tmp_path / "a.json", {"version": "1", "database": data} if wrapped else data)
    annotations = read_annotations(path)
    assert annotations.format == "activitynet"
    assert annotations.classes == ("run",)
    assert annotations.videos["v"].duration_s == 9.0
    assert annotations.videos["v"].subset == entry["subset"]
    assert _rows(annotations, "v") == [(1.0, 2.5, "run")]
    assert annotations.videos["empty"].duration_s is None
    assert len(annotations.videos["empty"].instances) == 0


def test_classes_are_ordered_by_label_id_where_ids_and_names_agree(tmp_path):
    def database(ids):
        rows = [{"segment": [0, 1], "label": name, "label_id": id_} for name, id_ in zip("cab", ids, strict=True)]
        return {"database": {"v": {"subset": "", "annotations": rows}}}

    assert read_annotations(_write(tmp_path / "a.json", database([0, 1, 2]))).classes == ("c", "a", "b")
    assert read_annotations(_write(tmp_path / "b.json", database([0, 1, 1]))).classes == ("a", "b", "c")


def test_labels_outside_a_given_class_list_are_kept_and_told(tmp_path):
    rows = [{"segment": [0, 1], "label": name} for name in ("run", "walk")] + [{"segment": [0, 1]}]
    path = _write(tmp_path / "a.json", {"database": {"v": {"annotations": rows}}})
    instances = read_annotations(path, classes=["walk"]).videos["v"].instances
    assert instances.label.tolist() == [-1, 0, -1]
    assert instances.extra["unknown_label"].tolist() == ["run", "", ""]


def test_everything_that_is_written_is_read_again(tmp_path):
    instances = Segments.from_names([1.0, 0.1 + 0.2], [2.0, 7.0], ["b", "a"], classes=["b", "a"])
    record = VideoRecord(
        video="v 1/x",
        duration_s=10.0,
        fps=15.0,
        subset="train",
        path="videos/v.mp4",
        instances=instances,
        moments=(Moment(text="someone <jumps>", spans_s=((0.5, 1.5), (2.0, 3.0))),),
        tubes=(Tube(actor="p0", label="a", times_s=[0.0, 0.5], boxes=[[0, 0, 0.5, 1], [0.1, 0, 0.6, 1]]),),
        cycles_s={1: ((0.5, 1.0), (1.0, 2.0))},
        steps=("b", "a"),
        quality=0.25,
    )
    path = tmp_path / "sub" / "a.json"
    write(path, Annotations(classes=("b", "a"), videos={"v 1/x": record}))
    back = read_annotations(path)
    again = back.videos["v 1/x"]
    for name in ("video", "duration_s", "fps", "subset", "path", "moments", "cycles_s", "steps", "quality"):
        assert getattr(again, name) == getattr(record, name), name
    assert back.classes == ("b", "a")
    assert _rows(back, "v 1/x") == [(1.0, 2.0, "b"), (0.1 + 0.2, 7.0, "a")]
    np.testing.assert_array_equal(again.tubes[0].boxes, record.tubes[0].boxes)
    assert [each.name for each in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    "header", ["video,start,end,label,subset", "Video-ID,t-start,t-end,class,Split", "file name,begin,stop,Action,set"]
)
def test_csv_with_the_columns_that_people_write(tmp_path, delimiter, header):
    lines = [header, 'clips/v 1.mp4,1.5,3,"run, fast",train', "v 1,0:01:02.5,90,walk,train", "w,,,,test"]
    if delimiter != ",":
        lines = [line.replace('"run, fast"', "run").replace(",", delimiter) for line in lines]
    annotations = read_annotations(_write(tmp_path / "a.csv", "\n".join(lines)))
    rows = _rows(annotations, "v 1" if "clips" not in annotations.videos else "")
    assert rows == [(1.5, 3.0, "run, fast" if delimiter == "," else "run"), (62.5, 90.0, "walk")]
    assert annotations.subsets == {"train": 1, "test": 1}
    assert len(annotations.videos["w"].instances) == 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_with_the_line_ends_of_every_system(tmp_path, end):
    path = tmp_path / "a.csv"
    path.write_bytes(end.join(["video,start,end,label", "v,0,1,run", ""]).encode())
    assert _rows(read_annotations(path), "v") == [(0.0, 1.0, "run")]


def test_epic_kitchens(tmp_path):
    header = "narration_id,video_id,start_timestamp,stop_timestamp,narration,verb,verb_class,noun,noun_class"
    rows = ["a,P01_11,00:00:00.00,00:00:01.89,take plate,take,0,plate,2", "b,P01_11,01:00:49.15,01:00:50.95,x,y,11,z,3"]
    path = _write(tmp_path / "EPIC_100_validation.csv", "\n".join([header, *rows]))
    action = read_annotations(path)
    assert _rows(action, "P01_11") == [(0.0, 1.89, "0,2"), (3649.15, 3650.95, "11,3")]
    assert action.videos["P01_11"].instances.extra["verb"].tolist() == [0, 11]
    assert read_annotations(path, format="epic-verb").classes == ("0", "11")
    assert read_annotations(path, format="epic-noun").classes == ("2", "3")


def test_charades(tmp_path):
    lines = [
        "id,subject,scene,script,actions,length",
        '46GP8,HR43,Kitchen,"A, b",c092 11.90 21.20;c147 0.00 12.60,24.83',
    ]
    annotations = read_annotations(_write(tmp_path / "Charades_v1_train.csv", "\n".join([*lines, "X,a,b,c,,9"])))
    assert _rows(annotations, "46GP8") == [(11.9, 21.2, "c092"), (0.0, 12.6, "c147")]
    assert annotations.videos["46GP8"].duration_s == 24.83
    assert len(annotations.videos["X"].instances) == 0
    data = {"v": {"subset": "training", "duration": 9.5, "actions": [[10, 0.5, 1.5], [9, 0, 1]]}}
    annotations = read_annotations(_write(tmp_path / "charades.json", data))
    assert annotations.classes == ("9", "10")
    assert _rows(annotations, "v") == [(0.5, 1.5, "10"), (0.0, 1.0, "9")]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", "", "is empty"),
        ("a.json", '{"database": {"v": {"annotations": [', "truncated"),
        ("a.json", '{"results": {"v": []}}', "predictions, not annotations"),
        ("a.json", '{"x": 1}', "unknown kind"),
        ("a.json", '{"database": {}}', "no videos"),
        (
            "a.json",
            '{"database": {"v": {"annotations": [{"segment": [1], "label": "x"}]}}}',
            "annotation 0: segment is",
        ),
        ("a.json", '{"database": {"v": {"annotations": [{"segment": ["a", 2], "label": "x"}]}}}', "time of 'a'"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        (
            "a.json",
            '{"database": {"v": {"annotations": [{"segment": [0, 1' + "0" * 400 + "]}]}}}",
            "cannot be read: Overflow",
        ),
        ("a.json", '{"database": {"v": {"annotations": [], "tubes": 5}}}', "cannot be read: TypeError"),
        ("a.json", '[{"data": {"video": "x.mp4"}, "annotations": [3]}]', "cannot be read: AttributeError"),
        ("a.csv", "one,two\n1,2\n", "no column for video"),
        ("a.csv", "video,start,end,label\nv,1,2\n", "line 2 has 3 cells"),
        ("a.csv", "video,start,end,label\nv,1,x,run\n", "line 2: a time of 'x'"),
        ("a.csv", 'video,start,end,label\nv,1,2,"run' + "x" * 200_000, "line 2 is no CSV"),
        ("a.xml", "<html></html>", "not an ELAN"),
    ],
)
def test_errors_name_what_is_wrong(tmp_path, name, content, told):
    with pytest.raises(AnnotationError, match=told):
        read_annotations(_write(tmp_path / name, content))


def test_files_that_are_never_read(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\x80\x04\x95junk")
    with pytest.raises(AnnotationError, match="pickle"):
        read_annotations(tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(b"\xff\x00\x01binary")
    with pytest.raises(AnnotationError, match="not UTF-8"):
        read_annotations(tmp_path / "b.json")
    with pytest.raises(AnnotationError, match=r"no such file(.|\n)*b\.json"):
        read_annotations(tmp_path / "missing.json")
    with pytest.raises(AnnotationError, match="is a folder"):
        read_annotations(tmp_path)
