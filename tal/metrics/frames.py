"""Per-frame mAP: each class ranks all frames of all videos. Arrays in, numbers out.

Average precision is that of a ranking, without an envelope: the mean over the frames that show the class of the
precision at their rank. Charades' own evaluator (Charades_v1_localize.m) and the APMeter of the per-frame methods
(piergiaj/super-events-cvpr18, apmeter.py; kept in PDAN and MS-TCT) agree on that, and differ in which frames are
looked at and whether a segment's own ends belong to it.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal.metrics.precision import ranking_ap
from tal.segments import Segments

Floats = NDArray[np.float64]
Ends = Literal["closed", "open"]


def row_times(rows: int, *, duration_s: float | None = None, rate: float | None = None) -> Floats:
    """(T,) seconds of the rows of a score array: at a rate, or sharing the duration equally, the first at 0.

    Args:
        rows: T.
        duration_s: Of the video; used without a rate.
        rate: Rows per second.
    """
    per_second = rate if rate is not None else rows / duration_s if duration_s else 1.0
    return np.arange(rows) / per_second


def point_times(points: int, duration_s: float) -> Floats:
    """(P,) equally spaced seconds: j / P of the duration, the first at 0 (Charades_v1_localize.m, with P = 25)."""
    return np.arange(points) / points * duration_s


def frame_labels(times_s: Floats, truth: Segments, *, class_count: int, ends: Ends) -> NDArray[np.bool_]:
    """(T, K) whether each class is shown at each time.

    Args:
        times_s: (T,) seconds.
        truth: Instances; those of label -1 show nothing.
        class_count: K.
        ends: "closed" counts a segment's own ends as inside, "open" does not.
    """
    shown = np.zeros((len(times_s), class_count), bool)
    row, instance = np.nonzero(_inside(times_s, truth, ends) & (truth.label >= 0))
    shown[row, truth.label[instance]] = True
    return shown


def segment_scores(times_s: Floats, detections: Segments, *, class_count: int, ends: Ends) -> Floats:
    """(T, K) the highest score of the detections of each class at each time; -inf where there is none.

    Args:
        times_s: (T,) seconds.
        detections: With scores; those of label -1 count for no class.
        class_count: K.
        ends: As for `frame_labels`.
    """
    scores = np.full((len(times_s), class_count), -np.inf)
    row, detection = np.nonzero(_inside(times_s, detections, ends) & (detections.label >= 0))
    np.maximum.at(scores, (row, detections.label[detection]), detections.score[detection])
    return scores


def _inside(times_s: Floats, rows: Segments, ends: Ends) -> NDArray[np.bool_]:
    """(T, N) whether each time lies in each segment."""
    time = times_s[:, None]
    if ends == "closed":
        return (rows.start_s <= time) & (time <= rows.end_s)
    return (rows.start_s < time) & (time < rows.end_s)


def frame_average_precision(
    scores: NDArray[np.floating], labels: NDArray[np.bool_], *, ties: Literal["order", "together"] = "order"
) -> Floats:
    """(K,) AP of each class over N frames; NaN for classes that no frame shows.

    Args:
        scores: (N, K), frames of all videos; -inf ranks last.
        labels: (N, K) whether the frame shows the class.
        ties: Equal scores in the order of the rows, or as one step (scikit-learn).
    """
    return np.array([ranking_ap(scores[:, k], labels[:, k], ties=ties) for k in range(labels.shape[1])], np.float64)
