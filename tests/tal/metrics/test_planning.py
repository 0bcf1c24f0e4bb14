"""Planning metrics against sets and loops, one plan at a time."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.planning import batch_iou, set_iou, step_accuracy, success

PLANS = st.integers(1, 5).flatmap(
    lambda horizon: st.lists(
        st.tuples(*(st.lists(st.integers(0, 3), min_size=horizon, max_size=horizon) for _ in range(2))),
        min_size=1,
        max_size=8,
    )
)


@settings(max_examples=50, deadline=None)
@given(PLANS, st.integers(1, 4))
def test_equal_to_sets(pairs, batch):
    predicted, truth = map(list, zip(*pairs, strict=True))
    assert success(predicted, truth).tolist() == [p == g for p, g in pairs]
    for place, value in enumerate(step_accuracy(predicted, truth)):
        assert value == pytest.approx(sum(p[place] == g[place] for p, g in pairs) / len(pairs))
    assert set_iou(predicted, truth).tolist() == pytest.approx([len({*p} & {*g}) / len({*p} | {*g}) for p, g in pairs])
    slow = 0.0
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        ours, theirs = {each for p, _ in part for each in p}, {each for _, g in part for each in g}
        slow += len(ours & theirs) / len(ours | theirs) * len(part)
    assert batch_iou(predicted, truth, batch=batch) == pytest.approx(slow / len(pairs))


def test_order_matters_to_accuracy_alone():
    assert not success([[1, 2, 3]], [[1, 3, 2]])[0]
    assert step_accuracy([[1, 2, 3]], [[1, 3, 2]]).mean() == pytest.approx(1 / 3)
    assert set_iou([[1, 2, 3]], [[1, 3, 2]])[0] == 1


def test_no_plan_is_wrong_everywhere():
    assert not success([[-1, -1]], [[0, 1]])[0]
    assert set_iou([[-1, -1], [-1, 1]], [[0, 1], [0, 1]]).tolist() == [0, 0.5]
    assert batch_iou([[-1, -1]], [[0, 1]], batch=8) == 0
    assert math.isnan(batch_iou([], [], batch=8))
