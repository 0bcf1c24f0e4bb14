"""The drawings of a diagnosis: sizes that stand for numbers, and numbers that cannot be drawn."""

import re
from xml.etree import ElementTree

import pytest

from tal.diagnosis.cases import Case, CaseVideo, Span
from tal.diagnosis.result import Bucket
from tal.report import diagnosis_plots as plots
from tal.report import diagnosis_timeline as timeline
from tal.report.diagnosis_words import bucket_range, seconds

NAN = float("nan")


def _rectangles(drawing, class_):
    root = ElementTree.fromstring(drawing)
    return [each for each in root.iter("rect") if class_ in each.get("class", "").split()]


def test_stacked_bars_fill_their_height_in_proportion():
    kinds = {"a": "first", "b": "second"}
    drawing = plots.stacked_bars(["1G", "2G"], [{"a": 0.25, "b": 0.75}, {"a": NAN, "b": NAN}], kinds, label="x < y & z")
    (low,), (high,) = _rectangles(drawing, "k-a"), _rectangles(drawing, "k-b")
    assert float(high.get("height")) == pytest.approx(3 * float(low.get("height")), rel=1e-3)
    assert float(high.get("y")) + float(high.get("height")) == pytest.approx(float(low.get("y")), abs=0.02)
    assert "none" in "".join(ElementTree.fromstring(drawing).itertext())


def test_bars_leave_out_what_is_not_known():
    drawing = plots.bars([("S", "1"), ("L", "2")], [0.4, NAN], label="x", class_="b", overall=0.3, hints=["one", "two"])
    assert len(_rectangles(drawing, "b")) == 1
    assert "nan" not in drawing


def test_a_loss_points_to_the_left():
    drawing = plots.gain_bars([("g", "up", 0.2, ""), ("g", "down", -0.1, "")], label="x")
    up, down = _rectangles(drawing, "g")
    assert float(up.get("x")) == pytest.approx(float(down.get("x")) + float(down.get("width")), abs=0.02)
    assert float(up.get("width")) == pytest.approx(2 * float(down.get("width")), abs=0.02)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_intervals_without_width_can_be_drawn(value):
    rows = [
        plots.Interval(name="a", value=value, low=value, high=value),
        plots.Interval(name="b", value=value, low=NAN, high=NAN),
    ]
    for signed in (False, True):
        drawing = plots.intervals(rows, label="x", signed=signed)
        assert len(_rectangles(drawing, "point")) == 2
        assert not re.search(r"nan|inf", drawing)


def test_ticks_are_round_and_inside():
    for low, high in ((0.0, 1.0), (-0.013, 0.021), (0.2118, 0.2119), (0.0, 0.05)):
        ticks = plots._ticks(low, high)
        assert 2 <= len(ticks) <= 7
        assert low - 1e-9 <= min(ticks) <= max(ticks) <= high + 1e-9


def _video(*predictions, truth=()):
    return CaseVideo(video="v", duration_s=100.0, truth=tuple(truth), predictions=predictions)


def _span(start, end, kind="background", label="run", score=0.5):
    return Span(start_s=start, end_s=end, label=label, kind=kind, score=score)


def test_a_timeline_places_segments_by_their_times_and_links_the_case():
    case = _span(20.0, 40.0)
    video = _video(case, _span(60.0, 100.0), truth=[_span(0.0, 10.0, "found", score=None)])
    marked = Case(kind="background", video="v", span=case, rank=1, nearest=None, tiou=0.0)
    drawing = timeline.whole(video, [("case-3", marked)])
    first, second = _rectangles(drawing, "prediction")
    assert float(second.get("width")) == pytest.approx(2 * float(first.get("width")), rel=1e-3)
    assert [link.get("href") for link in ElementTree.fromstring(drawing).iter("a")] == ["#case-3"]
    assert len(_rectangles(drawing, "truth")) == 1


def test_segments_that_cannot_be_drawn_are_left_out():
    broken = [_span(NAN, 4.0), _span(9.0, 3.0), _span(1.0, float("inf"))]
    drawing = timeline.whole(_video(*broken, _span(1.0, 2.0)), [])
    assert len(_rectangles(drawing, "prediction")) == 1
    case = Case(kind="background", video="v", span=broken[0], rank=1, nearest=None, tiou=0.0)
    assert timeline.around(_video(*broken), case, "x") == ""


def test_a_moment_without_length_has_surroundings():
    case = _span(50.0, 50.0)
    marked = Case(kind="background", video="v", span=case, rank=1, nearest=None, tiou=0.0)
    drawing = timeline.around(_video(case), marked, "video-0")
    (bar,) = _rectangles(drawing, "prediction")
    assert float(bar.get("width")) > 0


@pytest.mark.parametrize(
    ("characteristic", "low", "high", "first", "told"),
    [
        ("length", 0, 3, True, "up to 3"),
        ("length", 3, 6, False, "3 to 6"),
        ("length", 18, float("inf"), False, "over 18"),
        ("coverage", 0.02, 0.04, False, "0.02 to 0.04"),
        ("instances", 0, 1, True, "1"),
        ("instances", 1, 40, False, "2 to 40"),
        ("instances", 1, 1, True, "1"),
        ("instances", 80, float("inf"), False, "81 or more"),
    ],
)
def test_what_a_bucket_holds(characteristic, low, high, first, told):
    bucket = Bucket(name="S", low=low, high=high, instances=1, mAP_N=0.5, not_found=0.5)
    assert bucket_range(characteristic, bucket, first=first) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [(3.25, "3.2 s"), (59.97, "1:00.0"), (75.3, "1:15.3"), (3661.0, "1:01:01.0"), (-70.0, "-1:10.0"), (NAN, "?")],
)
def test_times_in_words(value, told):
    assert seconds(value) == told
