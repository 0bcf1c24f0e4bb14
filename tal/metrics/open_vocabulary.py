"""Open-vocabulary temporal detection: recall of class-agnostic proposals, and the averages of its benchmarks."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tal.metrics.detection import Overlaps, Rows

Floats = NDArray[np.float64]


def without_classes(rows: Rows) -> Rows:
    """The same rows, all of class 0."""
    return replace(rows, label=np.zeros(len(rows), np.int64))


def recall_of_best(pairs: Overlaps, count: int) -> Floats:
    """(M,) share of all instances that one of their video's best `count` predictions of their class overlaps.

    R@k of HYUNJS/STOV-TAL (libs/utils/eval_proposal.py, `compute_topk_recall_detection`): an instance counts once
    however many predictions overlap it, and a prediction may serve several.

    Args:
        pairs: From `overlaps`; of `without_classes` for class-agnostic recall.
        count: k.
    """
    admitted = (pairs.group_rank[pairs.pair_prediction] < count) & np.isfinite(pairs.pair_tiou)
    hits = [len(np.unique(pairs.pair_truth[admitted & (pairs.pair_tiou >= threshold)])) for threshold in pairs.tious]
    return np.array(hits, np.float64) / len(pairs.truth_label)


def rounded_percent(precision: Floats) -> Floats:
    """Fractions rounded to 0.1 per cent, as benedettaliberatori/T3AL (src/evaluate.py) does with the AP of each class.

    It rounds half to even on the binary value, by NumPy's rule.
    """
    return np.round(precision * 100, 1) / 100
