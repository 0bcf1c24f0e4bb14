"""Planning: horizons apart, windows as published, and plans that are missing or of the wrong length."""

import io
import json

import numpy as np
import pytest

from tal.errors import AnnotationError, ConfigError
from tal.evaluation import evaluate

TRUTH = {"a": [1, 2, 3], "b": [4, 5, 6], "c": [1, 2, 3, 4]}


def test_horizons_apart():
    plans = {"a": [1, 3, 2], "b": [4, 5, 6], "c": [1, 2, 3, 3]}
    result = evaluate("planning", TRUTH, plans)
    assert result.metrics == pytest.approx(
        {"SR@3": 0.5, "mAcc@3": 4 / 6, "mIoU@3": 1.0, "SR@4": 0.0, "mAcc@4": 3 / 4, "mIoU@4": 3 / 4}
    )
    assert result.per_class["T=3, action 2"] == {"accuracy": 0.5, "ground_truth": 2}
    one = evaluate("planning", TRUTH, plans, horizon=(3,))
    assert one.metrics["SR"] == one.metrics["SR@3"] == 0.5
    assert one.counts["ground_truth_excluded"] == {"another horizon": 1}
    assert "horizon 5" in evaluate("planning", TRUTH, plans, horizon=(3, 5)).warnings[0]
    with pytest.raises(AnnotationError, match=r"no window of horizon 7(.|\n)*3, 4"):
        evaluate("planning", TRUTH, plans, horizon=(7,))


def test_missing_and_ill_fitting_plans_are_wrong_everywhere():
    result = evaluate("planning", {"a": [1, 2], "b": [1, 2], "c": [1, 2]}, {"a": [1, 2], "b": [1, 2, 2], "zz": [1, 2]})
    assert result.metrics == pytest.approx(
        {"SR": 1 / 3, "mAcc": 1 / 3, "mIoU": 1 / 3, "SR@2": 1 / 3, "mAcc@2": 1 / 3, "mIoU@2": 1 / 3}
    )
    assert result.missing == ("c",)
    assert result.counts["predictions_dropped"] == {
        "wrong number of actions": 1,
        "video not in the ground truth": 1,
    }


def test_by_order_and_as_npz(tmp_path):
    truth = [["crack egg", "whisk"], ["whisk", "fry"]]
    assert evaluate("planning", truth, [["crack egg", "whisk"], ["fry", "whisk"]]).metrics["mAcc"] == 0.5
    with pytest.raises(AnnotationError, match="1 plans without ids for 2 windows"):
        evaluate("planning", truth, [["crack egg", "whisk"]])
    buffer = io.BytesIO()
    np.savez(buffer, plans=np.array([[1, 2, 3], [4, 4, 6]]), ids=np.array(["a", "b"]))
    path = tmp_path / "p.npz"
    path.write_bytes(buffer.getvalue())
    assert evaluate("planning", TRUTH, path, horizon=(3,)).metrics["mAcc"] == pytest.approx(5 / 6)


def test_windows_as_published(tmp_path):
    ranges = [[[8, 26, 9], [32, 40, 0]], [[8, 26, 9], [44, 48, 1]], [[32, 40, 0], [44, 48, 1]]]
    windows = [
        {"id": {"feature": "/data/tire_0001.npy", "legal_range": each, "task_id": 0}, "instruction_len": 0}
        for each in ranges
    ]
    path = tmp_path / "test30_2.json"
    path.write_text(json.dumps(windows))
    plans = {"tire_0001@8": [9, 0], "tire_0001@8#2": [9, 0], "tire_0001@32": [0, 1]}
    result = evaluate("planning", path, plans)
    assert result.counts["predictions_evaluated"] == 3
    assert result.metrics["SR"] == pytest.approx(2 / 3)
    assert evaluate("planning", path, path).metrics["SR"] == 1


def test_the_other_miou_is_reported_where_asked_for():
    truth, plans = [[1, 2], [3, 4]], [[2, 1], [4, 9]]
    assert "mIoU-batch" not in evaluate("planning", truth, plans).metrics
    result = evaluate("planning", truth, plans, variant="mtid-miou1")
    assert result.metrics["mIoU-batch"] == pytest.approx(3 / 5)
    assert result.metrics["mIoU"] == pytest.approx((1 + 1 / 3) / 2)
    assert evaluate("planning", truth, plans, batch=1).metrics["mIoU-batch"] == pytest.approx((1 + 1 / 3) / 2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"a": []}', "a plan of"),
        ('{"a": 3}', "no plan"),
        ('{"a": [1, null]}', "a plan of"),
        ('{"a": [1, -1]}', "a plan of"),
        ('{"a": [1.5, 2]}', "a plan of"),
        ('[{"id": "a", "actions": [1]}, {"actions": [2]}]', "has no id, others have"),
        ('[{"id": {"feature": "x.npy", "legal_range": [[1, 2]]}}]', "legal_range"),
        ('{"zz": [1, 2, 3]}', "none of its 1 ids"),
        ('{"a": [1, 2', "truncated"),
    ],
)
def test_unusable_predictions_are_refused(tmp_path, content, told):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=told):
        evaluate("planning", TRUTH, path)


def test_unusable_truth_and_options_are_refused():
    with pytest.raises(ConfigError, match="from 1"):
        evaluate("planning", TRUTH, TRUTH, horizon=(0,))
    with pytest.raises(ConfigError, match="batch"):
        evaluate("planning", TRUTH, TRUTH, batch=0)
    with pytest.raises(AnnotationError, match="no plans"):
        evaluate("planning", {}, TRUTH)


def test_names_against_numbers_are_told():
    with pytest.raises(AnnotationError, match="none of its 2 actions"):
        evaluate("planning", {"w": ["open", "pour"]}, {"w": ["3", "4"]})
