"""Every branch of the table of ActionVOS, and random masks against going through it pixel by pixel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.masks import mask_scores, overlap_areas

FULL, PART, NONE = np.array([[1, 1, 0, 0]]), np.array([[1, 0, 0, 0]]), np.zeros((1, 4), int)
APART = np.array([[0, 0, 1, 1]])


def _scores(*samples):
    """samples: (prediction, truth, positive)"""
    areas = [overlap_areas(p, g, [1])[0] for p, g, _ in samples]
    return mask_scores(areas, [positive for *_, positive in samples])


NAN = math.nan


@pytest.mark.parametrize(
    ("prediction", "truth", "positive", "miou", "giou", "outcome"),
    [
        (NONE, NONE, True, NAN, 1, "tn"),
        (FULL, NONE, True, 0, 0, "fp"),
        (NONE, FULL, True, 0, 0, "fn"),
        (PART, FULL, True, 0.5, 0.5, "tp"),
        (APART, FULL, True, 0, 0, "tp"),
        (FULL, FULL, True, 1, 1, "tp"),
        (NONE, NONE, False, NAN, 1, "tn"),
        (FULL, NONE, False, 0, 0, "fp"),
        (NONE, FULL, False, 0, 1, "tn"),
        (PART, FULL, False, 0.5, 0, "fp"),
        (FULL, FULL, False, 1, 0, "fp"),
    ],
)
def test_every_branch(prediction, truth, positive, miou, giou, outcome):
    found = _scores((prediction, truth, positive))
    own, other = (found.positive_miou, found.negative_miou)[:: 1 if positive else -1]
    assert own == pytest.approx(miou, nan_ok=True)
    assert math.isnan(other)
    assert found.giou == giou
    assert {name: getattr(found, name) for name in ("tp", "tn", "fp", "fn")} == {
        name: int(name == outcome) for name in ("tp", "tn", "fp", "fn")
    }
    assert found.accuracy == (outcome in ("tp", "tn"))


MASK = st.lists(st.integers(0, 2), min_size=4, max_size=4).map(lambda row: np.array([row], np.uint8))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(MASK, MASK, st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_equal_to_the_table_pixel_by_pixel(frames):
    lists = {True: [], False: []}
    sums = {True: [0, 0], False: [0, 0]}
    giou, right, areas, acts = [], 0, [], []
    for prediction, truth, *positives in frames:
        for index, positive in enumerate(positives, 1):
            p = {at for at, value in np.ndenumerate(prediction) if value == index}
            g = {at for at, value in np.ndenumerate(truth) if value == index}
            areas.append(overlap_areas(prediction, truth, [index])[0])
            acts.append(positive)
            if not p | g:
                giou.append(1)
                right += 1
                continue
            iou = len(p & g) / len(p | g)
            lists[positive].append(iou)
            sums[positive][0] += len(p & g)
            sums[positive][1] += len(p | g)
            if positive:
                giou.append(iou if g else 0)
                right += bool(p and g)
            else:
                giou.append(0 if p else 1)
                right += not p
    found = mask_scores(areas, acts)
    for positive, miou, ciou in (
        (True, found.positive_miou, found.positive_ciou),
        (False, found.negative_miou, found.negative_ciou),
    ):
        values, (above, below) = lists[positive], sums[positive]
        assert miou == pytest.approx(sum(values) / len(values) if values else NAN, nan_ok=True)
        assert ciou == pytest.approx(above / below if below else NAN, nan_ok=True)
    assert found.giou == pytest.approx(sum(giou) / len(giou))
    assert found.accuracy == pytest.approx(right / len(giou))
    assert found.tp + found.tn + found.fp + found.fn == len(giou)
