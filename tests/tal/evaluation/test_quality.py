"""Quality: dimensions and their sum, what is missing, and what is undefined."""

import math

import pytest

from tal.annotations import Annotations, VideoRecord
from tal.errors import AnnotationError
from tal.evaluation import evaluate

MOS = """filename,model,subject,completeness,interaction
m_run.mp4,m,10,40,30
m_jump.mp4,m,20,30,30
n_run.mp4,n,30,10,60
n_jump.mp4,n,40,20,90
"""
SCORES = {"m_run": 1.0, "m_jump": 2.0, "n_run": 3.0, "n_jump": 4.0}


@pytest.fixture
def mos(tmp_path):
    path = tmp_path / "MOS.csv"
    path.write_text(MOS)
    return path


def test_one_score_against_every_dimension_and_their_sum(mos):
    result = evaluate("quality", mos, SCORES)
    assert result.metrics["subject/SRCC"] == pytest.approx(1)
    assert result.metrics["completeness/SRCC"] == pytest.approx(-0.8)
    assert result.metrics["completeness/KRCC"] == pytest.approx(-4 / 6)
    assert result.metrics["interaction/SRCC"] == pytest.approx(3 / math.sqrt(10))
    assert result.metrics["SRCC"] == pytest.approx(3 / math.sqrt(10))  # The sums are 80, 80, 100, 150.
    assert list(result.per_class) == ["subject", "completeness", "interaction"]
    assert result.counts["dimensions"] == 3


def test_dimensions_by_name(mos, tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("video,completeness,subject\nm_run,4,1\nm_jump,3,2\nn_run,1,9\nn_jump,2,3\n")
    result = evaluate("quality", mos, path)
    assert set(result.per_class) == {"subject", "completeness"}
    assert result.metrics["completeness/SRCC"] == pytest.approx(1)
    only = evaluate("quality", mos, path, dimensions=("subject",))
    assert only.metrics["SRCC"] == pytest.approx(0.8)
    assert not only.per_class
    with pytest.raises(AnnotationError, match="its numbers are called completeness, subject"):
        evaluate("quality", mos, path, dimensions=("interaction",))
    with pytest.raises(AnnotationError, match="no ratings called 'beauty'"):
        evaluate("quality", mos, path, dimensions=("beauty",))


def test_metrics_of_one_dimension():
    truth = {"a": 0.0, "b": 50.0, "c": 100.0, "d": 75.0}
    result = evaluate("quality", truth, {"a": 10.0, "b": 50.0, "c": 80.0, "d": 90.0})
    assert result.metrics["SRCC"] == pytest.approx(0.8)
    assert result.metrics["R-l2"] == pytest.approx((0.1**2 + 0.2**2 + 0.15**2) / 4)
    assert result.metrics["RMSE"] == pytest.approx(math.sqrt((100 + 400 + 225) / 4))
    assert result.metrics["PLCC-logistic"] >= result.metrics["PLCC"]


def test_missing_videos_are_refused_or_dropped(mos):
    part = {video: SCORES[video] for video in ("m_run", "n_run", "n_jump")} | {"zz": 3.0}
    with pytest.raises(AnnotationError, match="no score of 1 of 4 rated videos: 'm_jump'"):
        evaluate("quality", mos, part)
    result = evaluate("quality", mos, part, missing="drop")
    assert result.counts["missing_videos"] == 1
    assert result.counts["predictions_dropped"] == {"video not in the ground truth": 1}
    assert result.metrics["subject/SRCC"] == pytest.approx(1)


def test_constant_scores_are_undefined_and_said_to_be(mos):
    result = evaluate("quality", mos, dict.fromkeys(SCORES, 3.0))
    assert math.isnan(result.metrics["SRCC"])
    assert math.isnan(result.metrics["PLCC-logistic"])
    assert any("undefined" in text for text in result.warnings)


def test_an_empty_rating_is_no_reason_to_leave_a_dimension_out(mos):
    mos.write_text(MOS.replace("m_run.mp4,m,10,", "m_run.mp4,m,,"))
    with pytest.raises(AnnotationError, match="line 2: subject: '' is no number"):
        evaluate("quality", mos, SCORES)


def test_ratings_of_records():
    videos = {name: VideoRecord(video=name, quality=value) for name, value in (("a", 0.1), ("b", 0.9), ("c", None))}
    result = evaluate("quality", Annotations(classes=(), videos=videos), {"a": 1, "b": 2})
    assert result.metrics["SRCC"] == pytest.approx(1)
    assert result.counts["videos"] == 2


@pytest.mark.parametrize(
    ("predictions", "told"),
    [
        ({"m_run": math.nan, "m_jump": 1, "n_run": 1, "n_jump": 2}, "finite number"),
        ({"m_run": 1, "m_jump": "x", "n_run": 1, "n_jump": 2}, "no number"),
        ({"x": 1}, "none of its 1 ids"),
        ({}, "no ratings"),
    ],
)
def test_unusable_predictions_are_refused(mos, predictions, told):
    with pytest.raises(AnnotationError, match=told):
        evaluate("quality", mos, predictions)
