"""Exports of annotation tools: ELAN, Label Studio, VIA."""

import json

import pytest

from tal.annotations import elan, label_studio, read_annotations
from tal.errors import AnnotationError
from tal.segments import Segments

EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00+01:00" FORMAT="3.0" VERSION="3.0">
  <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///my%20clip.mp4" MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL="./my%20clip.mp4"/>
  </HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="1000"/>
    <TIME_SLOT TIME_SLOT_ID="ts2"/>
    <TIME_SLOT TIME_SLOT_ID="ts3"/>
    <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="4000"/>
    <TIME_SLOT TIME_SLOT_ID="ts5" TIME_VALUE="5000"/>
    <TIME_SLOT TIME_SLOT_ID="ts6" TIME_VALUE="6500"/>
  </TIME_ORDER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="action">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
      <ANNOTATION_VALUE>run</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
      <ANNOTATION_VALUE>jump &amp; fall</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a3" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
      <ANNOTATION_VALUE>run</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="goal">
    <ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a4" TIME_SLOT_REF1="ts5" TIME_SLOT_REF2="ts6">
      <ANNOTATION_VALUE></ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
  </TIER>
  <TIER LINGUISTIC_TYPE_REF="notes" TIER_ID="notes" PARENT_REF="action">
    <ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a5" ANNOTATION_REF="a1">
      <ANNOTATION_VALUE>fast</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>
  </TIER>
</ANNOTATION_DOCUMENT>
"""


def _rows(annotations, video):
    rows = annotations.videos[video].instances
    return list(zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.names, strict=True))


def _read(tmp_path, name, content):
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_annotations(path)


def test_elan(tmp_path):
    annotations = _read(tmp_path, "x.eaf", EAF)
    assert annotations.format == "elan"
    assert _rows(annotations, "my clip") == [
        (1.0, 2.0, "run"),
        (2.0, 3.0, "jump & fall"),
        (3.0, 4.0, "run"),
        (5.0, 6.5, "goal"),
        (1.0, 2.0, "fast"),
    ]
    assert annotations.videos["my clip"].instances.extra["tier"].tolist() == ["action"] * 3 + ["goal", "notes"]


def test_elan_that_is_written_is_read_again(tmp_path):
    segments = Segments.from_names([0.5, 3.0], [1.25, 4.0], ['a "<b>"', "c"], score=[0.25, 0.5])
    elan.write(tmp_path / "x.eaf", "v & w", segments)
    annotations = read_annotations(tmp_path / "x.eaf", format="elan-tier")
    rows = annotations.videos["v & w"].instances
    assert rows.start_s.tolist() == [0.5, 3.0]
    assert rows.end_s.tolist() == [1.25, 4.0]
    assert rows.names == ['a "<b>"', "c"]
    assert rows.extra["value"].tolist() == ["0.250", "0.500"]


def test_elan_has_segments_without_a_label_too(tmp_path):
    segments = Segments(start_s=[0.5, 3.0], end_s=[1.0, 4.0], label=[-1, 0], classes=("run",))
    elan.write(tmp_path / "x.eaf", "v", segments)
    rows = read_annotations(tmp_path / "x.eaf", format="elan-tier").videos["v"].instances
    assert dict(zip(rows.names, rows.start_s.tolist(), strict=True)) == {"run": 3.0, "segment": 0.5}
    elan.write(tmp_path / "none.eaf", "v", Segments.empty(("run",)))
    assert "<TIER" not in (tmp_path / "none.eaf").read_text()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb">]><ANNOTATION_DOCUMENT>&b;</ANNOTATION_DOCUMENT>',
            "entities",
        ),
        (EAF[:900], "not well-formed"),
        (EAF.replace("milliseconds", "PAL-frames"), "times in PAL-frames"),
        (EAF.replace('ANNOTATION_REF="a1"', 'ANNOTATION_REF="a9"'), "refers to none"),
        (EAF.replace('"4000"', '"four"'), "a time of 'four'"),
    ],
)
def test_elan_errors(tmp_path, text, told):
    with pytest.raises(AnnotationError, match=told):
        _read(tmp_path, "x.eaf", text)


def _task(result, **data):
    return [{"id": 1, "data": {"video": "/data/upload/1/0a1b2c3d-my%20clip.mp4", **data}, "annotations": [
        {"was_cancelled": True, "result": [{"type": "labels", "value": {"start": 0, "end": 9, "labels": ["no"]}}]},
        {"result": result},
    ]}]  # fmt: skip


def test_label_studio_in_seconds_and_frames(tmp_path):
    result = [
        {"type": "labels", "value": {"start": 1.5, "end": 2.5, "labels": ["run", "fast"], "channel": 0}},
        {"type": "timelinelabels", "value": {"ranges": [{"start": 1, "end": 25}], "timelinelabels": ["walk"]}},
    ]
    expected = [(1.5, 2.5, "run"), (1.5, 2.5, "fast"), (0.0, 1.0, "walk")]
    assert _rows(_read(tmp_path, "a.json", _task(result, fps=25)), "my clip") == expected
    minimal = [{"video": "/data/local-files/?d=set/my%20clip.mp4", "fps": 25, "id": 3, "annotator": 1,
                "label": [result[0]["value"]], "timeline": [result[1]["value"]]}]  # fmt: skip
    assert _rows(_read(tmp_path, "b.json", minimal), "my clip") == expected
    with pytest.raises(AnnotationError, match="no frame rate"):
        _read(tmp_path, "c.json", _task(result))


def test_label_studio_boxes_are_told_and_give_the_rate(tmp_path, caplog):
    result = [
        {"type": "videorectangle", "value": {"framesCount": 100, "duration": 10.0, "sequence": [], "labels": ["man"]}},
        {"type": "timelinelabels", "value": {"ranges": [{"start": 11, "end": 20}], "timelinelabels": ["walk"]}},
    ]
    assert _rows(_read(tmp_path, "a.json", _task(result)), "my clip") == [(1.0, 2.0, "walk")]
    assert "left out: 1 boxes" in caplog.text


def test_label_studio_predictions_are_written(tmp_path):
    label_studio.write(tmp_path / "p.json", {"v": Segments.from_names([0.5], [1.5], ["run"], score=[0.25])})
    (task,) = json.loads((tmp_path / "p.json").read_text())
    (result,) = task["predictions"][0]["result"]
    assert result["value"] == {"start": 0.5, "end": 1.5, "labels": ["run"]}
    assert result["score"] == 0.25


VIA = {
    "project": {"data_format_version": "3.1.1"},
    "attribute": {
        "1": {"aname": "activity", "type": 4, "options": {"0": "run", "1": "walk"}},
        "2": {"aname": "note", "type": 1, "options": {}},
    },
    "file": {"1": {"fid": "1", "fname": "a b.mp4", "type": 4}, "2": {"fid": "2", "fname": "empty.mp4"}},
    "metadata": {
        "1_x": {"vid": "1", "flg": 0, "z": [1.0, 2.5], "xy": [], "av": {"1": "1"}},
        "1_y": {"vid": "1", "flg": 0, "z": [3.0, 4.0], "xy": [], "av": {"1": "0,1"}},
        "1_z": {"vid": "1", "flg": 0, "z": [5.0, 6.0], "xy": [], "av": {"2": "free text"}},
        "1_w": {"vid": "1", "flg": 0, "z": [5.0], "xy": [2, 1, 1, 5, 5], "av": {}},
    },
    "view": {"1": {"fid_list": ["1"]}, "2": {"fid_list": ["2"]}},
}


def test_via(tmp_path, caplog):
    annotations = _read(tmp_path, "via.json", VIA)
    assert annotations.format == "via"
    assert _rows(annotations, "a b") == [
        (1.0, 2.5, "walk"),
        (3.0, 4.0, "run"),
        (3.0, 4.0, "walk"),
        (5.0, 6.0, "free text"),
    ]
    assert len(annotations.videos["empty"].instances) == 0
    assert "1 regions and single frames were left out" in caplog.text


def test_via_csv(tmp_path):
    text = """# Exported using VGG Image Annotator
# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata
"1_a","[""a b.mp4""]",0,"[1.5,2.5]","[]","{""1"":""run""}"
"1_b","[""a b.mp4""]",0,"[3]","[2,1,1,5,5]","{}"
"""
    annotations = _read(tmp_path, "via.csv", text)
    assert annotations.format == "via-csv"
    assert _rows(annotations, "a b") == [(1.5, 2.5, "run")]


def test_via_errors(tmp_path):
    with pytest.raises(AnnotationError, match="not a VIA 3"):
        _read(tmp_path, "a.json", {"_via_img_metadata": {}, "_via_settings": {}})
    with pytest.raises(AnnotationError, match="of view '9'"):
        _read(tmp_path, "b.json", VIA | {"metadata": {"k": {"vid": "9", "z": [0, 1], "xy": [], "av": {}}}})
