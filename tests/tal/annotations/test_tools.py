"""Exports of annotation tools: ELAN, Label Studio, VIA."""

import itertools
import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from tal.annotations import Annotations, VideoRecord, elan, fiftyone, label_studio, read_annotations
from tal.boxes import Tube
from tal.errors import AnnotationError, ConfigError
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


def _columns(rows):
    return list(zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.names, rows.score.tolist(), strict=True))


def test_elan_that_is_written_is_read_again(tmp_path):
    segments = Segments.from_names(
        [3.0, 0.5, 0.75, 1.25], [4.0, 1.25, 1.0, 2.0], ["c", 'a "<b>"', 'a "<b>"', 'a "<b>"'], score=[0.5, 1 / 3, -2, 7]
    )
    assert elan.write(tmp_path / "x.eaf", "../v & w.1", segments) == 4
    annotations = read_annotations(tmp_path / "x.eaf")
    assert list(annotations.videos) == ["../v & w.1"]
    rows = annotations.videos["../v & w.1"].instances
    assert sorted(_columns(rows)) == sorted(_columns(segments))
    tiers = dict(zip(rows.start_s.tolist(), rows.extra["tier"].tolist(), strict=True))
    assert tiers == {0.5: 'a "<b>"', 0.75: 'a "<b>" (2)', 1.25: 'a "<b>"', 3.0: "c"}
    elan.write(tmp_path / "y.eaf", "v", segments, scores=False)
    assert "tal-score" not in (tmp_path / "y.eaf").read_text()
    assert read_annotations(tmp_path / "y.eaf").videos["v"].instances.score.tolist() == [1.0] * 4


def test_elan_documents_keep_to_the_rules_of_the_format(tmp_path):
    """What EAFv3.0.xsd and ELAN itself demand: unique ids, references that lead somewhere, order, no overlaps."""
    rng = np.random.default_rng(0)
    start_s = rng.uniform(-3, 60, 300)
    names = rng.choice(["run", "run (2)", "run score", "\x00\ud800", "x\n--> y"], 300).tolist()
    segments = Segments.from_names(start_s, start_s + rng.exponential(8, 300) - 0.5, names, score=rng.normal(size=300))
    written = elan.write(tmp_path / "x.eaf", "v\x07" + "w" * 200, segments)
    document = ElementTree.parse(tmp_path / "x.eaf").getroot()
    parts = ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE", "CONSTRAINT"]
    assert list(dict.fromkeys(each.tag for each in document)) == parts
    slots = {each.get("TIME_SLOT_ID"): int(each.get("TIME_VALUE")) for each in document.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(slots.values())
    assert min(slots.values()) >= 0
    tiers = {each.get("TIER_ID"): each for each in document.iter("TIER")}
    assert len(tiers) == len(document.findall("TIER"))
    ids = [each.get("ANNOTATION_ID") for each in document.iterfind("TIER/ANNOTATION/*")]
    assert len(set(ids)) == len(ids) == 2 * written
    types = {each.get("LINGUISTIC_TYPE_ID"): each for each in document.iter("LINGUISTIC_TYPE")}
    count = 0
    for tier in tiers.values():
        spans = [
            (slots[each.get("TIME_SLOT_REF1")], slots[each.get("TIME_SLOT_REF2")])
            for each in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        assert all(start < end for start, end in spans)
        assert all(before[1] <= after[0] for before, after in itertools.pairwise(sorted(spans)))
        assert (types[tier.get("LINGUISTIC_TYPE_REF")].get("CONSTRAINTS") is None) == (tier.get("PARENT_REF") is None)
        if tier.get("PARENT_REF") is not None:
            above = {each.get("ANNOTATION_ID") for each in tiers[tier.get("PARENT_REF")].iter("ALIGNABLE_ANNOTATION")}
            assert {each.get("ANNOTATION_REF") for each in tier.iter("REF_ANNOTATION")} == above
        count += len(spans)
    assert count == written < 300


def test_elan_has_segments_without_a_label_too(tmp_path):
    segments = Segments(start_s=[0.5, 3.0], end_s=[1.0, 4.0], label=[-1, 0], classes=("run",))
    elan.write(tmp_path / "x.eaf", "v", segments)
    rows = read_annotations(tmp_path / "x.eaf", format="elan-tier").videos["v"].instances
    assert dict(zip(rows.names, rows.start_s.tolist(), strict=True)) == {"run": 3.0, "segment": 0.5}
    assert elan.write(tmp_path / "none.eaf", "v", Segments.empty(("run",))) == 0
    assert "<TIER" not in (tmp_path / "none.eaf").read_text()


def test_elan_score_that_is_none(tmp_path):
    elan.write(tmp_path / "x.eaf", "v", Segments.from_names([0.0], [1.0], ["run"], score=[0.25]))
    text = (tmp_path / "x.eaf").read_text().replace(">0.25<", ">high<")
    with pytest.raises(AnnotationError, match="a score of 'high'"):
        _read(tmp_path, "x.eaf", text)


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


def test_label_studio_boxes_become_tubes(tmp_path, caplog):
    def keyframe(frame, left, **further):
        return {"frame": frame, "x": left, "y": 20, "width": 30, "height": 40, **further}

    sequence = [
        keyframe(21, 30, enabled=False, rotation=5),
        keyframe(1, 10, enabled=True),
        keyframe(31, 40, enabled=True),
    ]
    value = {"framesCount": 100, "duration": 10.0, "sequence": sequence, "labels": ["man", "runs"]}
    result = [
        {"id": "abc", "type": "videorectangle", "value": value},
        {"type": "timelinelabels", "value": {"ranges": [{"start": 11, "end": 20}], "timelinelabels": ["walk"]}},
        {"type": "choices", "value": {"choices": ["indoors"]}},
    ]
    annotations = _read(tmp_path, "a.json", _task(result))
    assert _rows(annotations, "my clip") == [(1.0, 2.0, "walk")]
    tubes = annotations.videos["my clip"].tubes
    assert [(tube.actor, tube.label, tube.times_s.tolist()) for tube in tubes] == [
        ("abc", "man", [0.0, 2.0]),
        ("abc", "runs", [0.0, 2.0]),
        ("abc", "man", [3.0]),
        ("abc", "runs", [3.0]),
    ]
    np.testing.assert_allclose(tubes[0].boxes, [[0.1, 0.2, 0.4, 0.6], [0.3, 0.2, 0.6, 0.6]])
    assert "left out: 1 rotations of boxes, 1 not segments or boxes" in caplog.text
    timed = value | {"duration": None, "sequence": [keyframe(50, 10, time=2.0)]}
    minimal = [{"video": "v.mp4", "box": [timed]}]
    (tube,) = _read(tmp_path, "b.json", minimal).videos["v"].tubes[:1]
    assert (tube.actor, tube.times_s.tolist()) == ("box 1", [49 / 25])
    with pytest.raises(AnnotationError, match="no frame rate"):
        _read(tmp_path, "c.json", [{"video": "v.mp4", "box": [timed | {"sequence": [keyframe(50, 10)]}]}])


def _labelled(**record):
    tube = Tube(
        actor="p",
        label="run & jump",
        times_s=[0.0, 0.01, 0.4, 1.0],
        boxes=[[0.1, 0.2, 0.4, 0.6], [0, 0, 1, 1], [0.2, 0.2, 0.5, 0.6], [-0.5, 0.2, 0.5, 1.5]],
    )
    rows = Segments.from_names(
        [0.48, -1.0, np.nan, 2.0, 5.0, -9.0],
        [1.52, 0.2, 1.0, 2.0, 4.0, -8.0],
        ['a "<b>"', "c", "c", "c", "c", "c"],
        score=[0.25, np.nan, 1, 0.5, 1, 1],
    )
    record = VideoRecord(video="../a?b#1", instances=rows, tubes=(tube,), **record)
    return Annotations(classes=rows.classes, videos={"../a?b#1": record})


def test_label_studio_tasks_are_written_and_read_again(tmp_path):
    assert label_studio.write(tmp_path / "p.json", _labelled(fps=12.5, duration_s=8.0), scores=False) == 4
    annotations = read_annotations(tmp_path / "p.json")
    expected = [(0.48, 1.52, 'a "<b>"'), (0.0, 0.16, "c"), (2.0, 2.08, "c")]
    found = _rows(annotations, "../a?b#1")
    assert [row[2] for row in found] == [row[2] for row in expected]
    np.testing.assert_allclose([row[:2] for row in found], [row[:2] for row in expected])
    (tube,) = annotations.videos["../a?b#1"].tubes
    assert tube.label == "run & jump"
    np.testing.assert_allclose(tube.times_s, [0.0, 0.4, 0.96], atol=1e-9)  # 12.5 frames per second
    np.testing.assert_allclose(tube.boxes, [[0.1, 0.2, 0.4, 0.6], [0.2, 0.2, 0.5, 0.6], [0, 0.2, 0.5, 1]], atol=1e-9)


def test_label_studio_predictions_and_interface(tmp_path):
    label_studio.write(tmp_path / "p.json", _labelled(), fps=10, media={"../a?b#1": "https://host/x.mp4"})
    (task,) = json.loads((tmp_path / "p.json").read_text())
    assert task["data"] == {"video": "https://host/x.mp4", "tal_video": "../a?b#1", "fps": 10}
    results = task["predictions"][0]["result"]
    assert results[0]["value"] == {"ranges": [{"start": 6, "end": 15}], "timelinelabels": ['a "<b>"']}
    assert [result.get("score") for result in results] == [0.25, None, 0.5, None]
    assert results[3]["value"]["framesCount"] == 11
    assert [each["enabled"] for each in results[3]["value"]["sequence"]] == [True, True, False]
    interface = ElementTree.parse(tmp_path / "p.config.xml").getroot()
    controls = {each.get("name"): each for each in interface}
    assert {result["from_name"] for result in results} <= set(controls)
    assert {each.get("toName") for each in controls.values()} - {None} == {result["to_name"] for result in results}
    assert {label.get("value") for label in controls["timelineLabels"]} == {'a "<b>"', "c"}
    assert {label.get("value") for label in controls["boxLabels"]} == {"run & jump"}
    with pytest.raises(ConfigError, match="fps nan"):
        label_studio.write(tmp_path / "q.json", _labelled(), fps=float("nan"))


def test_fiftyone(tmp_path):
    rows = Segments(
        start_s=[-1.0, np.nan, 2.0, 3.0, 1.0],
        end_s=[0.5, 1.0, 2.0, 2.5, np.inf],
        label=[-1, 0, 1, 0, 0],
        score=[0.5, 1, np.nan, 1, 1],
        classes=("run", "walk"),
    )
    assert (
        fiftyone.write(tmp_path / "labels.json", {"v.1": rows, "w": Segments.empty()}, media={"v.1": "/m/v.1.mkv"}) == 2
    )
    written = json.loads((tmp_path / "labels.json").read_text())
    assert written["labels"]["w"] == []
    names = written["classes"]
    assert [
        (names[each["label"]], each["timestamps"], each.get("confidence")) for each in written["labels"]["v.1"]
    ] == [
        ("segment", [0.0, 0.5], 0.5),
        ("walk", [2.0, 2.0], None),
    ]
    assert json.loads((tmp_path / "data.json").read_text()) == {"v.1.mkv": "/m/v.1.mkv"}
    fiftyone.write(tmp_path / "b" / "labels.json", {"v.1": rows}, scores=False)
    assert not (tmp_path / "b" / "data.json").exists()
    assert "confidence" not in (tmp_path / "b" / "labels.json").read_text()


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
