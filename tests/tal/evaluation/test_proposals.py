"""Proposals: AR@N and AUC, what counts and what is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import tal
from tal.errors import AnnotationError, ConfigError
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from segment_rows import annotations_of

CLASSES = ("run", "walk")


def _truth(rows, fps=None):
    """rows: video -> (subset, [(start, end, name)])"""
    return annotations_of(rows, CLASSES, fps=fps)


def _proposals(rows):
    return {
        video: Segments(start_s=[row[0] for row in found], end_s=[row[1] for row in found], score=[r[2] for r in found])
        for video, found in rows.items()
    }


TRUTH = _truth(
    {"a": ("validation", [(0, 10, "run"), (20, 30, "walk")]), "b": ("validation", [(0, 10, "run"), (0, 10, "run")])}
)
FOUND = _proposals({"a": [(20, 30, 0.9), (0, 10, 0.8)], "b": [(50, 60, 0.9), (0, 10, 0.1)]})


def test_average_recall_and_area():
    result = tal.evaluate("activitynet-proposals", TRUTH, FOUND, numbers=(1, 2), limit=4)
    assert result.metrics["AR@1"] == 0.25
    assert result.metrics["AR@2"] == 1.0
    assert result.metrics["AUC"] == pytest.approx((0.625 + 1 + 1) / 4)
    assert result.metrics["Recall@0.95"] == 1.0
    assert result.counts["ground_truth"] == 4
    assert tal.evaluate("proposals", TRUTH, FOUND, duplicates="remove").counts["ground_truth"] == 3


def test_classes_do_not_matter(tmp_path):
    path = tmp_path / "p.json"
    rows = [{"segment": [0, 10], "score": 0.5, "label": "swim"}, {"segment": [20, 30], "score": 0.4}]
    path.write_text(json.dumps({"results": {"a": rows}}))
    result = tal.evaluate("activitynet-proposals", TRUTH, path)
    assert result.metrics["AR@100"] == 0.5
    assert result.counts["predictions_dropped"] == {}
    assert result.missing == ("b",)


def test_proposals_on_other_videos_count_in_the_average():
    """As in the ActivityNet toolkit: they make the share that is looked at of each video smaller."""
    many = FOUND | _proposals({"zz": [(0, 1, 0.5)] * 796})
    plain = tal.evaluate("activitynet-proposals", TRUTH, FOUND).metrics
    result = tal.evaluate("activitynet-proposals", TRUTH, many)
    assert result.metrics["AR@100"] < plain["AR@100"]
    assert any("count in the average" in text for text in result.warnings)


def test_shares_of_each_video():
    only_a = {"a": FOUND["a"]}
    result = tal.evaluate("proposals", TRUTH, only_a, rule="shares", numbers=(1, 2, 50))
    assert result.metrics["AR@1"] == 0.5
    assert result.metrics["AR@2"] == 1.0
    assert "AR@50" not in result.metrics
    assert any("AR@50 is left out" in text for text in result.warnings)
    assert any("2 instances on 1 videos without proposals do not count" in text for text in result.warnings)


def test_inclusive_frames_are_one_frame_longer():
    truth = _truth({"a": ("validation", [(0.0, 0.3, "run")])}, fps=10.0)
    found = _proposals({"a": [(0.1, 0.3, 0.9)]})
    result = tal.evaluate("proposals", truth, found, inclusive_frames=True, tiou=(0.7, 0.75))
    assert result.metrics["Recall@0.75"] == 1.0  # 3 of 4 frames
    assert tal.evaluate("proposals", truth, found, tiou=(0.7,)).metrics["Recall@0.70"] == 0.0
    with pytest.raises(AnnotationError, match="no frame rate for 2 videos"):
        tal.evaluate("proposals", TRUTH, FOUND, inclusive_frames=True)


def test_blocked_videos_are_left_out(tmp_path):
    for content in ('["b"]', '{"b": "removed"}', "b\n"):
        (tmp_path / "blocked.json").write_text(content)
        result = tal.evaluate("proposals", TRUTH, FOUND, blocked=tmp_path / "blocked.json")
        assert result.counts["ground_truth"] == 2
        assert result.counts["predictions_dropped"] == {"video excluded by the protocol": 2}
        assert str(tmp_path / "blocked.json") in result.inputs


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"numbers": (0,)}, "from 1 on"),
        ({"numbers": (500,)}, "set limit to 500"),
        ({"limit": 1}, "from 2 to"),
        ({"rule": "some"}, "average or shares"),
        ({"tiou": (50.0,)}, "thresholds"),
    ],
)
def test_settings_out_of_range(options, told):
    with pytest.raises(ConfigError, match=told):
        tal.evaluate("proposals", TRUTH, FOUND, **options)


def test_unusable_proposals_are_refused():
    with pytest.raises(AnnotationError, match="score NaN"):
        tal.evaluate("proposals", TRUTH, _proposals({"a": [(0, 1, float("nan"))]}))
    with pytest.raises(AnnotationError, match="not in subset"):
        tal.evaluate("proposals", TRUTH, _proposals({"zz": [(0, 1, 0.5)]}))
    nothing = tal.evaluate("proposals", TRUTH, {})
    assert nothing.metrics["AR@100"] == nothing.metrics["AUC"] == 0.0


def test_official_numbers(cases):
    """Computed with the ActivityNet toolkit's eval_proposal.py, ported to Python 3, on the same files."""
    folder = cases / "temporal"
    expected = {
        ("activitynet-proposals", "activitynet13", "validation"): (0.11927876045523104, 0.39085424379542023,
                                                                   0.39617441382147263, 0.38925147401617977),
        ("proposals", "thumos14", "test"): (0.028767123287671236, 0.22072662298987492, 0.6244788564621799,
                                            0.5758564621798691),
    }  # fmt: skip
    for (protocol, name, subset), (at_1, at_5, at_100, area) in expected.items():
        files = [folder / f"{name}.{kind}.json" for kind in ("annotations", "predictions")]
        found = tal.evaluate(protocol, *files, subset=subset).metrics
        assert found["AR@1"] == pytest.approx(at_1, rel=1e-12)
        assert found["AR@5"] == pytest.approx(at_5, rel=1e-12)
        assert found["AR@100"] == pytest.approx(at_100, rel=1e-12)
        assert found["AUC"] == pytest.approx(area, rel=1e-12)
    rtd = tal.evaluate("proposals", *files, subset="test", variant="bsn-thumos14", numbers=(1, 5, 10, 15)).metrics
    by_rtd_action = (0.02628787942979966, 0.20169494071347197, 0.38862814062997075, 0.517838531736953)
    np.testing.assert_allclose([rtd[f"AR@{number}"] for number in (1, 5, 10, 15)], by_rtd_action, rtol=1e-12)
