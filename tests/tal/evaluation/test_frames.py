"""Per-frame mAP from every kind of file; which frames count; what is refused."""

import json

import numpy as np
import pytest

import tal
from tal.errors import AnnotationError, ConfigError
from tal.segments import Segments

CSV = "id,script,actions,length\nv1,a,c000 0.0 4.0;c001 2.0 8.0,10\nv2,b,,4\n"


@pytest.fixture
def charades(tmp_path):
    path = tmp_path / "Charades_v1_test.csv"
    path.write_text(CSV)
    return path


@pytest.fixture
def annotations(tmp_path):
    """Two videos of 10 s and 4 s; class 0 in [0, 4], class 1 in [2, 8] of the first."""
    path = tmp_path / "charades.json"
    actions = [[0, 0.0, 4.0], [1, 2.0, 8.0]]
    videos = {"v1": actions, "v2": []}
    path.write_text(
        json.dumps(
            {
                video: {"subset": "testing", "duration": 10.0 if actions else 4.0, "actions": actions}
                for video, actions in videos.items()
            }
        )
    )
    return path


def _submission(path, first=1, without=()):
    """Charades' text: at 25 times of each video, class 0 scored by falling, class 1 by rising numbers."""
    lines = [
        f"{video} {frame + first} {1 - frame / 100} {frame / 100}"
        for video in ("v1", "v2")
        for frame in range(25)
        if video not in without
    ]
    path.write_text("\n".join(lines))
    return path


def _charades_by_hand():
    """AP of both classes of `_submission`, frame by frame."""
    lengths = {"v1": 10, "v2": 4}
    frames = [(video, frame, frame / 25 * length) for video, length in lengths.items() for frame in range(25)]
    result = []
    for label, (start, end) in enumerate([(0.0, 4.0), (2.0, 8.0)]):
        ranked = sorted(frames, key=lambda row: row[1] if label == 0 else -row[1])
        right = [video == "v1" and start <= time <= end for video, _, time in ranked]
        precision = [sum(right[:rank]) / rank for rank, each in enumerate(right, 1) if each]
        result.append(sum(precision) / len(precision))
    return result


@pytest.mark.parametrize("first", [0, 1])
def test_charades_submission(charades, tmp_path, first):
    result = tal.evaluate("charades-frames", charades, _submission(tmp_path / "s.txt", first))
    expected = _charades_by_hand()
    assert [result.per_class[name]["AP"] for name in ("c000", "c001")] == pytest.approx(expected)
    assert result.metrics["mAP"] == pytest.approx(np.mean(expected))
    assert result.counts["frames"] == 50
    assert result.per_class["c000"]["ground_truth"] == 11  # 0.0, 0.4, ..., 4.0: both ends belong to the segment.


def test_frames_without_scores_rank_last(charades, tmp_path):
    result = tal.evaluate("charades-frames", charades, _submission(tmp_path / "s.txt", without=("v1",)))
    assert result.missing == ("v1",)
    assert result.counts["frames_without_scores"] == 25
    assert result.metrics["mAP"] < 0.5
    assert any("rank last" in text for text in result.warnings)


SCORES = {"v1": np.column_stack([np.linspace(1, 0, 5), np.linspace(0, 1, 5)]), "v2": np.full((2, 2), 0.3)}


def _folder(path):
    path.mkdir()
    for video, array in SCORES.items():
        np.save(path / f"{video}.npy", array)
    return path


def _npz(path):
    np.savez(path, **SCORES)
    return path


def _json(path):
    path.write_text(json.dumps({"results": {video: array.tolist() for video, array in SCORES.items()}}))
    return path


def _csv(path):
    rows = [f"{video},{frame},{row[1]},{row[0]}" for video, array in SCORES.items() for frame, row in enumerate(array)]
    path.write_text("\n".join(["video,frame,1,0", *rows]))  # columns by name, in another order
    return path


@pytest.mark.parametrize(
    ("write", "name"), [(_folder, "scores"), (_npz, "s.npz"), (_json, "s.json"), (_csv, "s.csv"), (None, "")]
)
def test_every_kind_of_file_gives_the_same(annotations, tmp_path, write, name):
    """Rows of v1 are at 0, 2, 4, 6, 8 s: class 0 is shown at 2 s alone, class 1 at 4 and 6 s (ends do not count)."""
    found = SCORES if write is None else write(tmp_path / name)
    result = tal.evaluate("multithumos-frames", annotations, found)
    assert result.counts["ground_truth"] == 3
    assert result.per_class["0"]["AP"] == pytest.approx(1 / 2)
    assert result.per_class["1"]["AP"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert len(result.inputs) == (1 if write is None else 2)


def test_classes_of_which_no_frame_is_shown(annotations):
    arrays = {video: np.column_stack([array, array[:, :1]]) for video, array in SCORES.items()}
    shown = tal.evaluate("frames", annotations, arrays, ends="open").metrics["mAP"]
    counted = tal.evaluate("frames", annotations, arrays, ends="open", empty_classes="zero").metrics["mAP"]
    assert counted == pytest.approx(shown * 2 / 3)


def test_rows_are_strided_as_ms_tct_does(annotations):
    """Of 60 rows every second from the second on, at most 25; videos with fewer rows do not count."""
    rng = np.random.default_rng(0)
    arrays = {"v1": rng.random((60, 2)), "v2": rng.random((20, 2))}
    result = tal.evaluate("charades-frames", annotations, arrays, variant="ms-tct")
    rows = list(range(1, 60, 2))[:25]
    assert result.counts["frames"] == 25
    assert result.counts["predictions_dropped"] == {"row at no time that is looked at": 35 + 20}
    times = [row / 6 for row in rows]
    assert result.per_class["1"]["ground_truth"] == sum(2 < time < 8 for time in times)
    assert any("do not count: 'v2'" in text for text in result.warnings)


def test_segments_score_the_frames_they_cover(annotations):
    found = {
        "v1": Segments.from_names([0, 3, 2], [4, 5, 8], ["0", "0", "1"], classes=("0", "1"), score=[0.5, 0.9, 0.7]),
        "v2": Segments.from_names([0], [4], ["0"], classes=("0", "1"), score=[0.6]),
    }
    result = tal.evaluate("frames", annotations, found, rate=1)
    # Class 0: 3, 4, 5 s of v1 score 0.9 (of which 3 and 4 are right), all of v2 0.6, then 0, 1, 2 s of v1.
    assert result.per_class["0"]["AP"] == pytest.approx((1 + 1 + 3 / 8 + 4 / 9 + 5 / 10) / 5)
    assert result.per_class["1"]["AP"] == 1.0
    with pytest.raises(AnnotationError, match="no rate"):
        tal.evaluate("frames", annotations, found)
    assert tal.evaluate("frames", annotations, found, sampling="times").counts["frames"] == 50


def test_segments_as_a_table(annotations, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("video,start,end,label,score\nv1,2,8,1,0.9\n")
    assert tal.evaluate("frames", annotations, path, rate=1).per_class["1"]["AP"] == 1.0


def test_columns_named_in_a_file(annotations, tmp_path):
    names = tmp_path / "columns.txt"
    names.write_text("1\n0\n")
    swapped = {video: array[:, ::-1] for video, array in SCORES.items()}
    straight = tal.evaluate("frames", annotations, SCORES).metrics
    assert tal.evaluate("frames", annotations, swapped, columns=names).metrics == straight
    names.write_text("1\n2\n")
    with pytest.raises(AnnotationError, match="no column for 1 classes: '0'"):
        tal.evaluate("frames", annotations, swapped, columns=names)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("s.json", json.dumps({"results": {"v1": [[0.1, 0.2], [0.3]]}}), "equally many"),
        ("s.json", json.dumps({"results": {"v1": [[0.1, 10**400]]}}), "equally many"),
        ("s.json", json.dumps({"results": {"v2": [[0.1, 0.2]]}}), "none of the 1 frames that are judged shows a class"),
        ("s.json", json.dumps({"results": {"zz": [[0.1, 0.2]]}}), "none of its 1 videos"),
        ("s.json", json.dumps({"results": {"v1": [[0.1, 0.2, 0.3, 0.4], [0.1, float("nan"), 0, 0]]}}), "NaN"),
        ("s.json", json.dumps({"results": {"v1": [[0.1]], "v2": [[0.1, 0.2]]}}), "different numbers of columns"),
        ("s.json", json.dumps({"database": {"v1": {"annotations": []}}}), "annotations, not predictions"),
        ("s.json", '{"results": {"v1": [[0.1', "truncated"),
        ("s.txt", "v1 1 0.1 0.2\nv1 2 0.1", "line 2 has 1 scores"),
        ("s.txt", "v1 one 0.1 0.2", "frame 'one'"),
        ("s.txt", "v1", "no scores"),
        ("s.txt", "v1 -1 0.1 0.2", "a frame numbered -1"),
        ("s.csv", "video,time,0,1\nv1,0,0.1,0.2", "video, frame"),
        ("s.csv", "", "empty"),
    ],
)
def test_unusable_scores_are_refused(annotations, tmp_path, name, content, told):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(AnnotationError, match=told):
        tal.evaluate("frames", annotations, path)


def test_other_unusable_input_is_refused(annotations, tmp_path):
    with pytest.raises(AnnotationError, match="no npy file"):
        tal.evaluate("frames", annotations, tmp_path)
    wide = {video: array[:, :1] for video, array in SCORES.items()}
    with pytest.raises(AnnotationError, match="1 columns of scores for 2 classes"):
        tal.evaluate("frames", annotations, wide)
    np.save(tmp_path / "v1.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(AnnotationError, match=r"no array of numbers"):
        tal.evaluate("frames", annotations, tmp_path)
    with pytest.raises(AnnotationError, match="the scores of one video"):
        tal.evaluate("frames", annotations, tmp_path / "v1.npy")
    with pytest.raises(ConfigError, match="rate"):
        tal.evaluate("frames", annotations, SCORES, rate=0)
    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"v1": {"subset": "testing", "duration": 1, "actions": []}}))
    with pytest.raises(AnnotationError, match="no ground truth"):
        tal.evaluate("frames", empty, SCORES)


def test_scores_on_other_videos_are_counted(annotations):
    result = tal.evaluate("frames", annotations, SCORES | {"zz": np.ones((3, 2))})
    assert result.counts["predictions_dropped"] == {"video not in the split": 3}
    assert result.metrics == tal.evaluate("frames", annotations, SCORES).metrics


def test_predictions_on_no_video_of_the_split_are_refused(charades, tmp_path):
    path = tmp_path / "s.txt"
    path.write_text("zz 1 0.1 0.2")
    with pytest.raises(AnnotationError, match="none of its 1 videos is in subset"):
        tal.evaluate("charades-frames", charades, path)
    with pytest.raises(AnnotationError, match="no video has more than 25 rows"):
        tal.evaluate("charades-frames", charades, SCORES, variant="ms-tct")
