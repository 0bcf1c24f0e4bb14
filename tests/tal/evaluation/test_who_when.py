"""tal evaluate e2tad on files made here: ids, colours of headers, several videos, and what is refused."""

import pytest

import tal
from tal.annotations.who_when import parse, write_events
from tal.errors import AnnotationError, ConfigError, TalError

LABELS = "frame,5_blue,6_red\n0,1,2\n40,1,3\n100,2,3\n"
FOUND = "frame,5,6\n3,1,2\n38,1,1\n300,2,3\n"


def _write(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text)
    return folder


def test_one_video(tmp_path):
    files = _write(tmp_path, a_action_noisy=LABELS, a_out=FOUND)
    result = tal.evaluate("e2tad", files / "a_action_noisy.csv", files / "a_out.csv")
    assert result.per_class["a"] == {
        "accuracy": pytest.approx(1.5 / 3),
        "row_scores": 1.5,
        "true_positives": 2,
        "false_positives": 1,
        "false_negatives": 1,
        "ground_truth": 3,
    }
    assert result.metrics == {
        "accuracy": pytest.approx(0.5),
        "pooled-accuracy": pytest.approx(0.5),
        "matched": pytest.approx(2 / 3),
        "row-score": pytest.approx(0.75),
    }
    assert len(result.inputs) == 2
    exact = tal.evaluate("e2tad", files / "a_action_noisy.csv", files / "a_out.csv", tolerance=0)
    assert exact.counts["true_positives"] == 0


def test_several_videos_and_one_without_submission(tmp_path):
    labels = _write(tmp_path / "labels", a_action_noisy=LABELS, b_action_noisy=LABELS, a_b=LABELS)
    found = _write(tmp_path / "found", a_out=LABELS, a_b_out=LABELS, z_out=LABELS)
    result = tal.evaluate("e2tad", labels, found, suffix="_out")
    assert result.missing == ("b",)
    assert any("z_out.csv" in warning for warning in result.warnings)
    assert result.metrics["accuracy"] == pytest.approx(2 / 3)
    assert result.metrics["pooled-accuracy"] == pytest.approx(6 / (6 + 0.5 * 3))
    with pytest.raises(AnnotationError, match="several files for video 'a'"):
        tal.evaluate("e2tad", labels, found)


def test_a_lacking_column_is_told_and_wrong(tmp_path):
    files = _write(tmp_path, a=LABELS, found="frame,6\n0,2\n40,3\n100,3\n")
    result = tal.evaluate("e2tad", files / "a.csv", files / "found.csv")
    assert result.metrics["accuracy"] == pytest.approx(0.5)
    assert any("no column for balls 5" in warning for warning in result.warnings)


def test_rows_that_end_early_come_back(tmp_path):
    events = parse(b"frame,5,6\n0,1\n7,1,2,9\n", "x")
    assert events.present.tolist() == [[True, False], [True, True]]
    write_events(tmp_path / "x.csv", events)
    again = parse((tmp_path / "x.csv").read_bytes(), "x")
    assert again.present.tolist() == events.present.tolist()
    assert again.holder.tolist() == events.holder.tolist()


@pytest.mark.parametrize(
    ("labels", "found", "message"),
    [
        (LABELS, "", "empty"),
        (LABELS, "frame,5,6\n", "no events"),
        (LABELS, "time,5,6\n0,1,2\n", "no column frame"),
        (LABELS, "frame,5,6\nx,1,2\n", "line 2: frame is 'x'"),
        (LABELS, "frame,5,6\n1.5,1,2\n", "whole number"),
        (LABELS, "frame,5,5_red\n1,1,2\n", "two columns for 5"),
        (LABELS, "frame,7,8\n1,1,2\n", "none of the balls"),
        (LABELS, '{"a": 1}', "JSON"),
        (LABELS, "Frame,Class,ID,X,Y,Width,Height\n0,1,5,0.6,0.3,0.02,0.04\n", "boxes, not events"),
        ("frame,5\n", LABELS, "no events of balls"),
        ("frame\n0\n", LABELS, "no events of balls"),
    ],
)
def test_what_is_refused(tmp_path, labels, found, message):
    files = _write(tmp_path, a=labels, found=found)
    with pytest.raises(TalError, match=message):
        tal.evaluate("e2tad", files / "a.csv", files / "found.csv")


def test_folders_that_do_not_fit(tmp_path):
    labels = _write(tmp_path / "labels", a=LABELS, b=LABELS)
    other = _write(tmp_path / "other", z=FOUND)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AnnotationError, match="one file for 2 videos"):
        tal.evaluate("e2tad", labels, other / "z.csv")
    with pytest.raises(AnnotationError, match="no file of any of 2 videos"):
        tal.evaluate("e2tad", labels, other)
    with pytest.raises(AnnotationError, match="no CSV in this folder"):
        tal.evaluate("e2tad", tmp_path / "empty", other)
    _write(labels, a_action_noisy=LABELS)
    with pytest.raises(AnnotationError, match="two files of labels for 'a'"):
        tal.evaluate("e2tad", labels, other)
    with pytest.raises(ConfigError, match="tolerance"):
        tal.evaluate("e2tad", labels, other, tolerance=-1)
