"""Files with sentences and the moments that answer them: every published form gives the same records."""

import json
from pathlib import Path

import pytest

from tal.annotations import (
    activitynet,
    activitynet_captions,
    charades_sta,
    qvhighlights,
    read_annotations,
    tacos,
    ual_bench,
)
from tal.annotations.records import Annotations, Moment, VideoRecord
from tal.errors import AnnotationError

CASES = Path(__file__).parents[3] / "../shared/cases/moments"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")


def _write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def _lines(path, rows):
    return _write(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _moments(annotations):
    rows = [(video, each) for video, record in annotations.videos.items() for each in record.moments]
    return [(video, each.text, each.spans_s) for video, each in sorted(rows, key=lambda row: row[1].place)]


QVH = {"qid": 7, "query": "a dog runs", "vid": "a_0.0_150.0", "duration": 150, "relevant_windows": [[2, 6], [20, 22]]}
HIGHLIGHTS = {"relevant_clip_ids": [1, 2, 10], "saliency_scores": [[4, 3, 2], [0, 1, 2], [3, 3, 3]]}


def test_qvhighlights(tmp_path):
    rows = [QVH | HIGHLIGHTS, QVH | {"qid": "x_1", "vid": "b", "query": "rain\u2028falls", "duration": 9.5}]
    annotations = read_annotations(_lines(tmp_path / "a.jsonl", rows))
    assert annotations.format == "qvhighlights"
    assert annotations.videos["a_0.0_150.0"].duration_s == 150
    moment = annotations.videos["a_0.0_150.0"].moments[0]
    assert moment.spans_s == ((2, 6), (20, 22))
    assert (moment.qid, moment.clips, moment.saliency[0]) == ("7", (1, 2, 10), (4, 3, 2))
    assert annotations.videos["b"].moments[0].qid == "x_1"
    assert read_annotations(_lines(tmp_path / "one.jsonl", rows[:1])).format == "qvhighlights"


def test_charades_sta(tmp_path):
    text = "B 0.5 3.1##a dog runs.\nA 1 30.4##he said ## twice.\nB 2.0 9.9##a dog sits.\n"
    annotations = read_annotations(_write(tmp_path / "a.txt", text))
    assert annotations.format == "charades-sta"
    assert _moments(annotations) == [
        ("B", "a dog runs.", ((0.5, 3.1),)),
        ("A", "he said ## twice.", ((1, 30.4),)),
        ("B", "a dog sits.", ((2, 9.9),)),
    ]


def test_tacos_frames_become_seconds_by_the_rows_rate(tmp_path):
    data = {
        "s1.avi": {"timestamps": [[147, 294], [0, 15]], "sentences": ["cut", "stir"], "fps": 29.4, "num_frames": 588},
        "s2.avi": {"timestamps": [[50, 100]], "sentences": ["cut"], "fps": 25, "num_frames": 100},
    }
    annotations = read_annotations(_write(tmp_path / "a.json", data))
    assert annotations.format == "tacos"
    assert annotations.videos["s1"].duration_s == pytest.approx(20)
    assert annotations.videos["s1"].moments[0].spans_s[0] == pytest.approx((5, 10))
    assert annotations.videos["s2"].moments[0].spans_s == ((2, 4),)
    data["s2.avi"]["fps"] = 0
    with pytest.raises(AnnotationError, match="fps is 0"):
        read_annotations(_write(tmp_path / "b.json", data))


def test_activitynet_captions(tmp_path):
    data = {"v_x": {"duration": 55.15, "timestamps": [[0, 4.14], [33, 60]], "sentences": ["Two men.", " One sits."]}}
    annotations = read_annotations(_write(tmp_path / "a.json", data))
    assert annotations.format == "activitynet-captions"
    assert annotations.videos["v_x"].duration_s == 55.15
    assert _moments(annotations) == [("v_x", "Two men.", ((0, 4.14),)), ("v_x", " One sits.", ((33, 60),))]
    data["v_x"]["sentences"].append("A third.")
    with pytest.raises(AnnotationError, match="2 timestamps and 3 sentences"):
        read_annotations(_write(tmp_path / "b.json", data))


@pytest.mark.parametrize("time", ["0105:0125", "0105-0125"])
def test_the_four_forms_of_ual_bench(tmp_path, time):
    times = {"start_time": 2.5, "end_time": 3.75}
    forms = {
        "uag-oops": ({"A fail (May 2017)0": times | {"description": "a man falls"}}, "A fail (May 2017)0", (2.5, 3.75)),
        "uag-ssbd": ([["v_1", {"id": "b_02", "time": time, "description": "a person spins"}]], "v_1", (65, 85)),
        "uag-funqa": ([times | {"visual_input": "H_1.mp4", "instruction": "Find the joke."}], "H_1", (2.5, 3.75)),
        "": ([times | {"video_id": "3MSZA", "description": "a light"}], "3MSZA", (2.5, 3.75)),
    }
    for subset, (data, video, span) in forms.items():
        annotations = read_annotations(_write(tmp_path / "a.json", data))
        assert annotations.format == "ual-bench"
        assert (annotations.videos[video].subset, annotations.videos[video].moments[0].spans_s) == (subset, (span,))


def test_a_released_prediction_file_of_ual_bench_holds_the_annotations_too(tmp_path):
    behaviour = {"id": "b_02", "time": "0058-0104", "category": "spinning"}
    data = {"v_1_b_02": {"video_path": "/x/v_1.mp4", "behavior": behaviour, "pred_start": None, "pred_end": None}}
    annotations = read_annotations(_write(tmp_path / "a.json", data))
    assert annotations.videos["v_1"].moments[0] == Moment(text="", spans_s=((58, 64),), qid="v_1_b_02", place=0)


def _annotations():
    moments = {
        "a": (
            Moment(text="a dog runs", spans_s=((0.1 + 0.2, 7.0),), qid="12", place=1),
            Moment(text="a dog sits", spans_s=((8.0, 9.5),), qid="x", place=2),
        ),
        "b": (Moment(text="rain", spans_s=((0.0, 1.0),), qid="3", place=0),),
    }
    videos = {
        video: VideoRecord(video=video, duration_s=10.0, fps=29.4, moments=each) for video, each in moments.items()
    }
    return Annotations(classes=(), videos=videos)


@pytest.mark.parametrize("module", [qvhighlights, charades_sta, tacos, activitynet_captions, ual_bench, activitynet])
def test_what_is_written_is_read_again(tmp_path, module):
    written = _annotations()
    module.write(tmp_path / "a", written)
    found = read_annotations(tmp_path / "a")
    assert found.format.replace("-", "_").startswith(module.__name__.rsplit(".", 1)[-1])
    order = sorted if module in (tacos, activitynet_captions) else list  # Those files go video by video.
    told, expected = order(_moments(found)), order(_moments(written))
    assert [row[:2] for row in told] == [row[:2] for row in expected]
    for row, other in zip(told, expected, strict=True):
        assert row[2][0] == pytest.approx(other[2][0], rel=1e-12)
    if module in (qvhighlights, activitynet):
        assert found.videos["a"].moments == written.videos["a"].moments
        assert found.videos["b"].duration_s == 10.0


def test_highlights_are_written_too(tmp_path):
    annotations = read_annotations(_lines(tmp_path / "a.jsonl", [QVH | HIGHLIGHTS]))
    for module in (qvhighlights, activitynet):
        module.write(tmp_path / "b", annotations)
        assert read_annotations(tmp_path / "b").videos["a_0.0_150.0"].moments == annotations.videos[QVH["vid"]].moments
    assert json.loads((tmp_path / "a.jsonl").read_text()) == QVH | HIGHLIGHTS
    qvhighlights.write(tmp_path / "c.jsonl", annotations)
    assert json.loads((tmp_path / "c.jsonl").read_text())["qid"] == 7  # A number again, as evaluators compare it.


def test_what_a_form_cannot_hold_is_refused(tmp_path):
    record = VideoRecord(video="a b", moments=(Moment(text="x", spans_s=((0.0, 1.0),)),))
    with pytest.raises(AnnotationError, match="not to be written"):
        charades_sta.write(tmp_path / "a", Annotations(classes=(), videos={"a b": record}))
    with pytest.raises(AnnotationError, match="no frame rate"):
        tacos.write(tmp_path / "a", Annotations(classes=(), videos={"a b": record}))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([QVH, {"query": "x", "vid": "v"}], r"line 2 is"),
        ([QVH, QVH], "qid 7 again, first on line 1"),
        ([QVH, QVH | {"qid": 8, "duration": 30}], "lasts 30 s, and 150 s"),
        ([QVH | {"relevant_windows": [[1]]}], "no numbers"),
        ([QVH | {"relevant_clip_ids": [1]}], "1 relevant_clip_ids and 0 saliency_scores"),
        ([QVH | {"pred_relevant_windows": []}], "predictions, not annotations"),
        ([{"qid": 1, "query": "x", "vid": "v", "duration": 150}], "queries without answers"),
        ('{"qid": 7}\n{"qid": 8, "que', "line 2 of 2 is not valid JSON(.|\n)*truncated"),
        ("A 1 2##x\nB 1\n", "line 2 is 'B 1'"),
        ("A 1 x##x\n", "a time of 'x'"),
        ([["v_1", {"id": "b", "time": "0105 0125"}]], "a time of '0105 0125'"),
        ([{"video_id": "a", "start_time": None, "end_time": 2}], "start or end is missing"),
        ([{"video_id": "a", "start_time": 1, "end_time": 2}, "b"], "1 of 2 entries are no queries"),
        ({"a": {"timestamps": [[1]], "sentences": ["x"], "duration": 3}}, "a timestamp of"),
    ],
)
def test_unusable_files_are_refused(tmp_path, content, told):
    lines = isinstance(content, list) and isinstance(content[0], dict) and "query" in content[0]
    path = _lines(tmp_path / "a", content) if lines else _write(tmp_path / "a", content)
    with pytest.raises(AnnotationError, match=told):
        read_annotations(path)


@needs_cases
def test_published_files():
    annotations = read_annotations(CASES / "charades_sta_test.txt")
    assert (len(annotations), len(_moments(annotations))) == (1334, 3720)
    annotations = read_annotations(CASES / "qvhighlights_val.jsonl")
    assert len(_moments(annotations)) == 1550
    found = [
        sum(
            any(above < end - start <= most for start, end in each.spans_s)
            for record in annotations.videos.values()
            for each in record.moments
        )
        for above, most in ((0, 10), (10, 30), (30, 150))
    ]
    assert found == [429, 957, 574]
