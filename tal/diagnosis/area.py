"""Average precision of classes whose predictions are already judged."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def average_precision(label: Ints, right: NDArray[np.bool_], instances: Ints, *, normal: float | None = None) -> Floats:
    """(K,) interpolated average precision per class; NaN for classes without instances.

    The same area as `tal.metrics.detection.average_precision` measures. Precision is highest at hits, so they suffice.

    Args:
        label: (N,) classes of the predictions, ascending; within a class in the order of judging.
        right: (N,) whether each takes an instance.
        instances: (K,) instances of each class.
        normal: Normalised precision, AP_N of DETAD: as if every class had so many instances; None: as they are.
    """
    hits = np.flatnonzero(right)
    of = label[hits]
    nth = 1 + np.arange(len(hits)) - np.searchsorted(of, of, "left")
    rank = 1 + hits - np.searchsorted(label, of, "left")
    precision = precision_at(nth, rank, instances[of], normal)
    result = np.where(instances > 0, 0.0, np.nan)
    bounds = np.searchsorted(of, np.arange(len(instances) + 1))
    for each in np.unique(of):
        curve = precision[bounds[each] : bounds[each + 1]]
        result[each] = np.maximum.accumulate(curve[::-1]).sum() / instances[each]
    return result


def precision_at(found: Ints, rank: Ints, instances: Ints, normal: float | None = None) -> Floats:
    """(N,) precision after `rank` predictions of which `found` are right.

    Args:
        found: (N,) right ones so far.
        rank: (N,) predictions so far, from 1.
        instances: (N,) instances of the class.
        normal: With R the recall and F the false ones so far, R * normal / (R * normal + F); None: found / rank.
    """
    if normal is None:
        return found / rank
    with np.errstate(invalid="ignore"):
        expected = found / instances * normal
        return np.where(found > 0, expected / (expected + rank - found), 0.0)


def mean_over_classes(values: Floats) -> Floats:
    """Mean over the last axis of the classes that have instances: those that are not NaN."""
    scored = ~np.isnan(values)
    count = scored.sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(scored, values, 0.0).sum(axis=-1) / count)
