"""Active objects: average precision of boxes of objects in use, by themselves or with the hand that uses them.

fuqichen1998/SequentialVotingDet, model/metric.py. Detections of all images are taken from the highest score to the
lowest; each is held against the one instance of its image, of those not yet taken, whose first box it overlaps most.
AP is that of Pascal VOC 2007, with eleven points.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.boxes import box_iou
from tal.metrics.precision import eleven_point_ap

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POINTS = np.arange(0.0, 1.1, 0.1)
"""The floats of recall that the evaluator compares with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """N boxes, each with a partner or without one.

    Args:
        image_idx: (N,) any integer per image.
        box: (N, 4) left, top, right, bottom in pixels: the hand, or the object where there are no pairs.
        partner: (N, 4) the hand's object, NaN where it has none; None where there are no pairs.
        score: (N,); None for ground truth.
    """

    image_idx: Ints
    box: Floats
    partner: Floats | None = None
    score: Floats | None = None


def pair_ap(detected: Pairs, truth: Pairs, threshold: float) -> float:
    """AP at one threshold, which overlaps have to exceed; NaN without ground truth."""
    return float(eleven_point_ap(right_pairs(detected, truth, threshold), len(truth.box), points=POINTS))


def right_pairs(detected: Pairs, truth: Pairs, threshold: float) -> NDArray[np.bool_]:
    """(N,) whether each detection is right, the highest score first; equal scores in the order of the rows.

    First boxes overlap with their last pixels counted, partners as edges, as in the evaluator. A pair without a
    partner fits an instance without one.
    """
    score = np.zeros(len(detected.box)) if detected.score is None else detected.score
    order = np.argsort(-score, kind="stable")
    of_image: dict[int, list[int]] = {}
    for row, image in enumerate(truth.image_idx.tolist()):
        of_image.setdefault(image, []).append(row)
    right = np.zeros(len(order), bool)
    for rank, row in enumerate(order.tolist()):
        free = of_image.get(int(detected.image_idx[row]), [])
        if not free:
            continue
        overlap = box_iou(detected.box[row], truth.box[free], inclusive=True)[0]
        best = int(overlap.argmax())
        if overlap[best] > threshold and _partner_iou(detected, row, truth, free[best]) > threshold:
            right[rank] = True
            del free[best]
    return right


def _partner_iou(detected: Pairs, row: int, truth: Pairs, instance: int) -> float:
    if detected.partner is None or truth.partner is None:
        return 1.0
    ours, theirs = detected.partner[row], truth.partner[instance]
    without = np.isnan(ours).any(), np.isnan(theirs).any()
    if any(without):
        return float(all(without))
    return float(box_iou(ours, theirs)[0, 0])
