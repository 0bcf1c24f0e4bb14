"""Segmentation of acting objects: masks of objects that take part in an action, and of objects that do not.

The metrics of ActionVOS (ut-vision/ActionVOS, actionvos_metrics.py). Every object in every annotated frame is one
sample; of negative objects the ground truth holds the true mask, and the prediction should be empty.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MaskScores:
    """What ActionVOS reports; a mean over no samples is NaN.

    Args:
        positive_miou, negative_miou: Mean IoU over samples with a union; lower is better for negatives.
        positive_ciou, negative_ciou: Sum of intersections over sum of unions.
        giou: Mean over all samples of the IoU, with 1 for what is rightly empty and 0 for false alarms.
        accuracy: (TP + TN) / all.
        tp, tn, fp, fn: Samples by outcome.
    """

    positive_miou: float
    negative_miou: float
    positive_ciou: float
    negative_ciou: float
    giou: float
    accuracy: float
    tp: int
    tn: int
    fp: int
    fn: int

    def named(self) -> dict[str, float]:
        """ActionVOS's name -> value, samples by outcome left out."""
        return {
            "p-mIoU": self.positive_miou,
            "n-mIoU": self.negative_miou,
            "p-cIoU": self.positive_ciou,
            "n-cIoU": self.negative_ciou,
            "gIoU": self.giou,
            "Acc": self.accuracy,
        }


def mask_scores(areas: ArrayLike, positive: ArrayLike) -> MaskScores:
    """Scores of N samples.

    Args:
        areas: (N, 3) pixels that prediction and ground truth share, of the prediction, and of the ground truth, as
            `overlap_areas` gives them.
        positive: (N,) whether the object takes part in the action.
    """
    shared, p, g = np.asarray(areas, np.float64).reshape(-1, 3).T
    acts = np.asarray(positive, bool)
    union = p + g - shared
    some = union > 0
    iou = np.divide(shared, union, out=np.zeros_like(union), where=some)

    rightly_empty = ~some | (~acts & (p == 0))
    found = some & acts & (g > 0) & (p > 0)
    missed = some & acts & (g > 0) & (p == 0)
    false_alarm = some & (p > 0) & ((g == 0) | ~acts)
    giou = np.where(rightly_empty, 1.0, np.where(found, iou, 0.0))
    return MaskScores(
        positive_miou=_mean(iou[some & acts]),
        negative_miou=_mean(iou[some & ~acts]),
        positive_ciou=_ratio(shared[some & acts], union[some & acts]),
        negative_ciou=_ratio(shared[some & ~acts], union[some & ~acts]),
        giou=_mean(giou),
        accuracy=_mean((rightly_empty | found).astype(np.float64)),
        tp=int(found.sum()),
        tn=int(rightly_empty.sum()),
        fp=int(false_alarm.sum()),
        fn=int(missed.sum()),
    )


def overlap_areas(predicted: NDArray[np.integer], truth: NDArray[np.integer], objects: ArrayLike) -> NDArray[np.int64]:
    """(O, 3) intersection, predicted and true area in pixels of each object in one frame.

    Args:
        predicted, truth: Index maps of one shape (H, W), values from 0 to 255; 0 is background.
        objects: (O,) indices.
    """
    chosen = np.asarray(objects, np.int64)
    p, g = predicted.ravel(), truth.ravel()
    areas = (np.bincount(p[p == g], minlength=256), np.bincount(p, minlength=256), np.bincount(g, minlength=256))
    return np.stack([each[chosen] for each in areas], 1)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _ratio(above: Floats, below: Floats) -> float:
    return float(above.sum() / below.sum()) if below.sum() else float("nan")
