"""AVA's files: both layouts, every way of writing a keyframe, and what is refused."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.annotations import ava
from tal.boxes import KeyframeBoxes
from tal.errors import AnnotationError

TRUTH = """\
film one,0902,0.1,0.2,0.5,0.6,12,3
film one,902.000000,0.1,0.2,0.5,0.6,80,3
b,0903
film one,903,0.0,0.0,1,1,12,4
"""
FOUND = "a,0902,0.1,0.2,0.5,0.6,12,0.25\na,902,0.1,0.2,0.5,0.6,80,1e-3\na,904.5,0,0,1,1,12,1\n"


def _boxes(text, **options):
    return ava.parse_boxes(text.encode(), "gt.csv", **options)


def _detections(text):
    return ava.parse_detections(text.encode(), "det.csv")


def test_ground_truth():
    boxes = _boxes(TRUTH)
    assert boxes.videos == ("film one", "b")
    assert boxes.frame_idx.tolist() == [0, 0, 2]
    assert boxes.frame_time_s.tolist() == [902, 903, 903]
    assert boxes.frame_video_idx.tolist() == [0, 1, 0]
    assert boxes.class_id.tolist() == [12, 80, 12]
    assert boxes.actor.tolist() == [3, 3, 4]
    assert boxes.score is None
    assert boxes.boxes[0].tolist() == [0.1, 0.2, 0.5, 0.6]


def test_ground_truth_without_persons_and_detections():
    assert _boxes("a,902,0,0,1,1,7\n").actor is None
    assert _boxes("a,902,0,0,1,1,7\na,902,0,0,1,1,8,0\n").actor is None
    found = _detections(FOUND)
    assert found.score.tolist() == [0.25, 0.001, 1.0]
    assert found.frame_idx.tolist() == [0, 0, 1]
    assert found.frame_time_s.tolist() == [902, 904.5]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("a,", '"a",'),
        lambda text: text.replace(",1,1,", ", 1.0 ,1,"),
        lambda text: text + "a,904.5,,,,,,\n",
    ],
)
def test_ways_of_writing_the_same(change):
    plain, other = _detections(FOUND), _detections(change(FOUND))
    assert other.videos == plain.videos
    for name in ("frame_idx", "frame_time_s", "class_id", "boxes", "score"):
        np.testing.assert_array_equal(getattr(other, name), getattr(plain, name))


def test_ids_in_other_letters_and_of_any_length():
    names = ("фильм", "x" * 200, 'with "quotes", and comma')
    boxes = KeyframeBoxes.from_rows(names, [1, 2, 3], np.tile([0, 0, 1, 1.0], (3, 1)), [1, 2, 3], score=[0.5, 0.25, 1])
    assert ava.parse_detections(_written(boxes), "p").videos == names
    wide = "a,902,0,0,1,1,7,0.5\n".encode("utf-16")
    assert len(ava.parse_detections(wide, "p")) == 1


def _written(boxes):
    with tempfile.TemporaryDirectory() as folder:
        ava.write_ava(Path(folder, "boxes.csv"), boxes)
        return Path(folder, "boxes.csv").read_bytes()


_NUMBER = st.floats(-2, 2000, allow_nan=False)
_ROW = st.tuples(st.sampled_from(["a", "b", "c,d"]), st.sampled_from([902, 903.5, 1 / 3]), _NUMBER, st.integers(1, 99))


@settings(max_examples=40, deadline=None)
@given(st.lists(_ROW, max_size=12), st.sampled_from(["score", "actor", None]), st.lists(st.booleans(), max_size=12))
def test_reading_what_was_written_gives_the_same(rows, last, kept):
    video, time_s, number, class_id = zip(*rows, strict=True) if rows else ((), (), (), ())
    columns = np.array([number] * 4, float).T.reshape(-1, 4)
    further = {"score": np.array(number) / 4096} if last == "score" else {}
    further |= {"actor": np.arange(len(rows))} if last == "actor" else {}
    boxes = KeyframeBoxes.from_rows(video, time_s, columns, class_id, **further)
    mask = np.resize([*kept, True], len(rows)).astype(bool)  # Rows taken out leave keyframes that hold nothing.
    boxes = KeyframeBoxes(
        videos=boxes.videos,
        frame_video_idx=boxes.frame_video_idx,
        frame_time_s=boxes.frame_time_s,
        frame_idx=boxes.frame_idx[mask],
        class_id=boxes.class_id[mask],
        boxes=boxes.boxes[mask],
        score=None if boxes.score is None else boxes.score[mask],
        actor=None if boxes.actor is None else boxes.actor[mask],
    )
    again, unread = ava._parsed(_written(boxes), "boxes.csv", "")
    assert len(again) == len(boxes)
    keys, others = (
        [(each.videos[video], time) for video, time in zip(each.frame_video_idx, each.frame_time_s, strict=True)]
        for each in (boxes, again)
    )
    assert sorted(others) == sorted(keys)
    assert [others[frame] for frame in again.frame_idx] == [keys[frame] for frame in boxes.frame_idx]
    for name in ("class_id", "boxes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(boxes, name))
    if last:
        np.testing.assert_array_equal(unread, getattr(boxes, last))
    else:
        assert np.isnan(unread).all()


def test_chunks_change_nothing(monkeypatch):
    text = "".join(f"v{row // 7},{902 + row // 3},0.{row},0.1,0.9,1,{row % 5 + 1},0.{row}\n" for row in range(60))
    whole = _detections(text)
    for size in (1, 50, 700):
        monkeypatch.setattr(ava, "_CHUNK_BYTES", size)
        parts = _detections(text)
        assert parts.videos == whole.videos
        for name in ("frame_idx", "frame_time_s", "frame_video_idx", "class_id", "boxes", "score"):
            np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("video_id,timestamp,x1,y1,x2,y2,action,score\n" + FOUND, "line 1 is .* a header"),
        (FOUND + "a,905,0,0,1\n", "line 4 has 5 columns"),
        (FOUND + "a,905,0,0,1,1,2,0.5,0.6\n", "line 4 has 9 columns"),
        (FOUND + "a,905,0,0,one,1,2,0.5\n", "line 4: right is 'one'"),
        (FOUND + "a,905,0,0,1,1,2,nan\n", "line 4: last column is 'nan'(.|\n)*diverged"),
        (FOUND + "a,905,0,0,1,1,2,\n", "line 4: last column is ''"),
        (FOUND + "a,soon,0,0,1,1,2,0.5\n", "line 4: time is 'soon'"),
        (FOUND + "a,905,0,0,1,1,2.5,0.5\n", "line 4: action '2.5'"),
        (FOUND + "a,905,0,0,1,1,run,0.5\n", "line 4: action is 'run'"),
        (FOUND + ",905,0,0,1,1,2,0.5\n", "line 4 names no video"),
        (FOUND + "a,905,0,0,inf,1,2,0.5\n", "line 4: right is 'inf'"),
        (FOUND + "a,905,0,0,1,1,2\n", "1 of 4 rows have 7 columns(.|\n)*two formats"),
        ("a,902,0,0,1,1,7\n", "1 of 1 rows have 7 columns(.|\n)*ground truth given as detections"),
        (TRUTH, "all 3 scores are whole numbers, up to 4(.|\n)*ground truth given as detections"),
        ('{"results": {}}', "is JSON"),
        ("video,start,end,label,score\na,0,1,run,0.5\n", "header"),
        ("a,0,1,run,0.5\n", "line 1 has 5 columns"),
        ('item {\n  name: "a"\n}\n', "line 1 has 1 columns"),
    ],
)
def test_unusable_detections_are_refused(text, told):
    with pytest.raises(AnnotationError, match=told):
        _detections(text)


def test_the_line_is_named_beyond_the_first_chunk(monkeypatch):
    monkeypatch.setattr(ava, "_CHUNK_BYTES", 40)
    text = FOUND * 20 + "a,905,0,0,x,1,2,0.5\n" + FOUND
    with pytest.raises(AnnotationError, match="line 61: right is 'x'"):
        _detections(text)


def test_detections_as_ground_truth_are_refused():
    with pytest.raises(AnnotationError, match=r"0\.25, which is no person(.|\n)*exchanged"):
        _boxes(FOUND)


def test_files_that_are_no_text(tmp_path):
    (tmp_path / "p.pkl").write_bytes(b"\x80\x04]\x94.")
    with pytest.raises(AnnotationError, match="pickle"):
        ava.read_detections(tmp_path / "p.pkl")
    (tmp_path / "empty.csv").write_text("\n")
    with pytest.raises(AnnotationError, match="is empty"):
        ava.read_boxes(tmp_path / "empty.csv")
    with pytest.raises(AnnotationError, match="not UTF-8"):
        ava.parse_detections(FOUND.encode() + b"\xff\xff", "p")


def test_lists_of_keyframes():
    listed = ava.parse_keyframes(b"a,0902\na,903\nb,902\n", "excluded.csv")
    assert len(listed) == 0
    assert listed.videos == ("a", "b")
    assert listed.frame_time_s.tolist() == [902, 903, 902]
    with pytest.raises(AnnotationError, match="3 rows with boxes"):
        ava.parse_keyframes(FOUND.encode(), "excluded.csv")
    assert ava.parse_times(b"0902\n903\n\n", "included.txt").tolist() == [902, 903]
    with pytest.raises(AnnotationError, match="line 2: time is 'b,902'"):
        ava.parse_times(b"902\nb,902\n", "included.txt")


def test_both_layouts_of_label_maps(tmp_path):
    item = 'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\nitem {\n  name: "run: fast"\n  id: 10\n}\n'
    label = 'label {\n  name: "crawl"\n  label_id: 2\n  label_type: PERSON_MOVEMENT\n}\nlabel {name: "a" label_id: 3}'
    assert ava.parse_label_map(item.encode(), "l") == {1: "bend/bow (at the waist)", 10: "run: fast"}
    assert ava.parse_label_map(label.encode(), "l") == {2: "crawl", 3: "a"}
    ava.write_label_map(tmp_path / "l.pbtxt", {1: "bend/bow (at the waist)", 10: "run: fast"})
    assert (tmp_path / "l.pbtxt").read_text() == item
    with pytest.raises(AnnotationError, match="cannot stand"):
        ava.write_label_map(tmp_path / "l.pbtxt", {1: 'so "called"'})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,902\n", "no entries"),
        ('item { name: "a" }', "line 1: an entry with name 'a' and number ''"),
        ('\nitem { name: "a" id: 0 }', "line 2: .*number '0'"),
        ("item { id: 3 }", "name ''"),
        ('item { name: "a" id: 1 }\nitem { name: "a" id: 2 }', "line 2: 'a' or its number 2 a second time"),
        ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }', "second time"),
    ],
)
def test_unusable_label_maps_are_refused(text, told):
    with pytest.raises(AnnotationError, match=told):
        ava.parse_label_map(text.encode(), "l.pbtxt")
