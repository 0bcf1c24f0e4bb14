"""tal evaluate jhmdb: the official numbers on real files, what is left out is counted, and bad input is told."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

import tal
from tal.annotations import Annotations, VideoRecord
from tal.annotations.tube_results import BoxTable
from tal.errors import AnnotationError, ConfigError, TalError

CASES = Path(__file__).parents[3] / "../shared/cases/boxes"
needs_cases = pytest.mark.skipif(not CASES.exists(), reason="no shared/cases beside the checkout")
CASE = (CASES / "jhmdb_split1.annotations.json", CASES / "jhmdb_split1.frame_detections.csv")


@needs_cases
def test_official_numbers():
    result = tal.evaluate("jhmdb", *CASE, tubes=CASES / "jhmdb_split1.tube_detections.json")
    (expected,) = [
        numbers
        for name, numbers in json.loads((CASES / "expected.json").read_text()).items()
        if name.startswith("jhmdb_split1")
    ]
    for name, percent in expected.items():
        kind, threshold = name.split("@")
        found = result.metrics[f"{kind[:5]}-mAP@{float(threshold):.2f}"]
        assert found == pytest.approx(percent / 100, rel=1e-6), name
    assert result.counts["ground_truth"] == 268
    assert len(result.missing) == 25
    assert result.per_class["golf"]["ground_truth"] > 0
    alone = tal.evaluate("jhmdb", CASE[0], CASES / "jhmdb_split1.tube_detections.json", link="act")
    assert any("link=act is not applied" in warning for warning in alone.warnings)
    assert alone.metrics == {name: value for name, value in result.metrics.items() if name.startswith("video")}


@needs_cases
def test_the_variants_differ_where_their_tools_do():
    own, pascal, yowo, tuber = (
        tal.evaluate("jhmdb", *CASE, variant=name).metrics for name in (None, "pascal", "yowo", "tuber")
    )
    assert "video-mAP" not in own
    assert "video-mAP" not in pascal
    assert pascal["frame-mAP@0.50"] > own["frame-mAP@0.50"]  # The envelope lies above the straight lines.
    assert tuber["frame-mAP@0.50"] == pascal["frame-mAP@0.50"]
    assert yowo["video-mAP@0.50"] != tuber["video-mAP@0.50"]
    stable = tal.evaluate("jhmdb", *CASE, ties="stable").metrics["frame-mAP@0.50"]
    assert stable == pytest.approx(own["frame-mAP@0.50"], rel=2e-3)
    assert stable != own["frame-mAP@0.50"]


LABELS = [f"class{number}" for number in range(21)]


def _annotations(folder, videos=4, frames=20, splits=True):
    """Video v<i> shows class<i> as a box that moves by a pixel per frame."""
    boxes = [[frame, frame, 10, frame + 49, 59] for frame in range(1, frames + 1)]
    names = [f"v{row}" for row in range(videos)]
    data = {
        "labels": LABELS,
        "videos": {
            name: {"nframes": frames, "resolution": [240, 320], "tubes": [{"label": LABELS[row], "boxes": boxes}]}
            for row, name in enumerate(names)
        },
    }
    if splits:
        data["test_videos"] = [names[:2], names[2:], names[1:3]]
        data["train_videos"] = [names[2:], names[:2], [names[0], names[3]]]
    path = folder / "annotations.json"
    path.write_text(json.dumps(data))
    return path


def _boxes(path, *rows):
    """rows: (video, label, score): a right box on each of 20 frames."""
    lines = ["video,frame,label,score,x1,y1,x2,y2"]
    for video, label, score in rows:
        lines += [f"{video},{frame},{label},{score},{frame},10,{frame + 49},59" for frame in range(1, 21)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_what_is_left_out_is_counted(tmp_path):
    annotations = _annotations(tmp_path)
    found = _boxes(
        tmp_path / "x.csv", ("v0", "class0", 0.9), ("v3", "class3", 0.9), ("z", "class0", 1), ("v0", "fly", 1)
    )
    result = tal.evaluate("jhmdb", annotations, found, link="act")
    assert result.counts["predictions_dropped"] == {
        "video of another split": 20,
        "video not in the annotations": 20,
        "class not in the annotations": 20,
    }
    assert result.counts["predictions_evaluated"] == 20
    assert result.missing == ("v1",)
    assert result.metrics == pytest.approx(dict.fromkeys(result.metrics, 0.5))  # Of two classes one is found.
    assert set(result.per_class) == {"class0", "class1"}
    assert result.per_class["class0"]["video-AP"] == pytest.approx(1.0)
    assert any("19 classes have no ground truth" in warning for warning in result.warnings)
    assert not any("no tube" in warning for warning in result.warnings)
    found.write_text("".join(found.read_text().splitlines(keepends=True)[:15]))
    short = tal.evaluate("jhmdb", annotations, found, link="act")
    assert "link=act makes no tube in 1 of the videos with boxes: it leaves out those of fewer than 15" in str(
        short.warnings
    )
    assert short.counts["tubes_evaluated"] == 0


def test_the_mean_over_splits_takes_a_file_for_each(tmp_path):
    annotations = _annotations(tmp_path)
    _boxes(tmp_path / "split1.csv", ("v0", "class0", 0.9), ("v1", "class1", 0.9))
    _boxes(tmp_path / "split2.csv", ("v2", "class2", 0.9))
    template = str(tmp_path / "split{split}.csv")
    result = tal.evaluate("jhmdb", annotations, template, split=(1, 2))
    assert result.metrics["frame-mAP@0.50"] == pytest.approx(0.75)
    assert result.metrics["split1/frame-mAP@0.50"] == pytest.approx(1.0)
    assert result.metrics["split2/frame-mAP@0.50"] == pytest.approx(0.5)
    assert result.missing == ("v3 (split 2)",)
    with pytest.raises(ConfigError, match="one set of predictions for 2 splits"):
        tal.evaluate("jhmdb", annotations, tmp_path / "split1.csv", split=(1, 2))
    with pytest.raises(AnnotationError, match="lists no splits"):
        tal.evaluate("jhmdb", _annotations(tmp_path, splits=False), template, split=(1, 2))
    for wrong in ((), (0,), (4,), (1, 1)):
        with pytest.raises(ConfigError, match="split"):
            tal.evaluate("jhmdb", annotations, template, split=wrong)


def _tubelets(folder, video, score, frames=20, span=3):
    (folder / video).mkdir(parents=True)
    for start in range(1, frames - span + 2):
        row = [value for frame in range(start, start + span) for value in (frame, 10, frame + 49, 59)]
        table = np.array([[*row, score]], np.float32)
        none = np.zeros((0, 4 * span + 1), np.float32)
        content = {label + 1: table if label == 0 else none for label in range(len(LABELS))}
        (folder / video / f"{start:05d}.pkl").write_bytes(pickle.dumps(content))


def test_a_folder_of_tubelets(tmp_path):
    annotations, folder = _annotations(tmp_path), tmp_path / "moc"
    _tubelets(folder, "v0", 0.75)
    result = tal.evaluate("jhmdb", annotations, folder)
    assert result.per_class["class0"]["frame-AP@0.75"] == pytest.approx(1.0)  # Repeated boxes come last, with score 0.
    assert result.per_class["class0"]["video-AP@0.75"] == pytest.approx(1.0)
    assert result.counts["tubes_evaluated"] == 1
    assert result.missing == ("v1",)
    (folder / "v0" / "00004.pkl").unlink()
    with pytest.raises(AnnotationError, match=r"00004\.pkl"):
        tal.evaluate("jhmdb", annotations, folder)
    (folder / "v0" / "00004.pkl").write_bytes(pickle.dumps({1: np.zeros((2, 4))}))
    with pytest.raises(AnnotationError, match="no tubelets"):
        tal.evaluate("jhmdb", annotations, folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(AnnotationError, match="no folder of a video"):
        tal.evaluate("jhmdb", annotations, tmp_path / "none")


def test_predictions_in_memory_and_tubes_that_are_given_twice(tmp_path):
    annotations = _annotations(tmp_path)
    table = BoxTable(
        videos=("v0",),
        labels=("class0",),
        video_idx=np.zeros(1, np.int64),
        label_idx=np.zeros(1, np.int64),
        frame=np.array([1]),
        score=np.array([1.0]),
        boxes=np.array([[1.0, 10, 50, 59]]),
    )
    assert tal.evaluate("jhmdb", annotations, table).counts["boxes_evaluated"] == 1
    found = _boxes(tmp_path / "x.csv", ("v0", "class0", 0.9))
    with pytest.raises(ConfigError, match="boxes again"):
        tal.evaluate("jhmdb", annotations, table, tubes=found)
    with pytest.raises(AnnotationError, match="dict"):
        tal.evaluate("jhmdb", annotations, {})
    other = Annotations(classes=("run",), videos={"v0": VideoRecord(video="v0")})
    with pytest.raises(AnnotationError, match="no tubes in 1 videos"):
        tal.evaluate("jhmdb", other, table)


def _replaced(path, pattern, text):
    path.write_text(re.sub(pattern, text, path.read_text(), flags=re.MULTILINE))
    return path


@pytest.mark.parametrize(
    ("pattern", "text", "message"),
    [
        (r"^v0,1,", "v0,0,", "frames counted from 1"),
        (r"(,[0-9]+){4}$", ",0.1,0.1,0.5,0.5", "expected: pixels"),
        (r"^v0", "clip", "ids written in another way"),
        (r"^v0", "v3", "choose the split"),
        (r"class0", "fly", "none of its 1 classes"),
        (r"^v0.*\n", "", "holds no predictions"),
        (r"0\.9", "nan", "NaN"),
    ],
)
def test_predictions_that_are_refused(tmp_path, pattern, text, message):
    found = _replaced(_boxes(tmp_path / "x.csv", ("v0", "class0", 0.9)), pattern, text)
    with pytest.raises(TalError, match=message):
        tal.evaluate("jhmdb", _annotations(tmp_path), found)


def test_files_that_were_exchanged(tmp_path):
    annotations, found = _annotations(tmp_path), _boxes(tmp_path / "x.csv", ("v0", "class0", 0.9))
    with pytest.raises(AnnotationError, match="annotations, not predictions"):
        tal.evaluate("jhmdb", annotations, annotations)
    with pytest.raises(AnnotationError, match="no annotations of tubes"):
        tal.evaluate("jhmdb", found, found)
    with pytest.raises(ConfigError, match="no option"):
        tal.evaluate("jhmdb", annotations, found, subset="test")


def test_boxes_without_area_and_beyond_the_end(tmp_path):
    annotations, found = _annotations(tmp_path), _boxes(tmp_path / "x.csv", ("v0", "class0", 0.9))
    found.write_text(
        found.read_text() + "v0,21,class0,0.1,5,5,9,9\nv0,3,class0,0.1,9,9,5,5\nv0,3,class0,0.1,9,9,9,20\n"
    )
    result = tal.evaluate("jhmdb", annotations, found)
    assert any("1 detected boxes are on frames beyond" in warning for warning in result.warnings)
    assert any("1 detected boxes end before they begin" in warning for warning in result.warnings)
    with pytest.raises(AnnotationError, match="frame 21 of 20 cannot be linked"):
        tal.evaluate("jhmdb", annotations, found, link="yowo")
    assert tal.evaluate("jhmdb", annotations, found, variant="pascal").counts["predictions_dropped"] == {
        "box without area": 2
    }


def test_ucf101_24_has_one_split(tmp_path):
    annotations, found = _annotations(tmp_path), _boxes(tmp_path / "x.csv", ("v0", "class0", 0.9))
    result = tal.evaluate("ucf101-24", annotations, found, variant="yowo", iou=(0.5,))
    assert set(result.metrics) == {"frame-mAP@0.50", "video-mAP@0.50", "video-mAP"}
    assert any("21 classes in the annotations, the benchmark has 24" in warning for warning in result.warnings)
    with pytest.raises(ConfigError, match="1 to 1"):
        tal.evaluate("ucf101-24", annotations, found, split=(2,))
