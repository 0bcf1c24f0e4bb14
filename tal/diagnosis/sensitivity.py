"""How the performance depends on what the instances are like: normalised mAP and misses per bucket.

AP depends on the number of instances; AP_N (DETAD, section 4.2; Hoiem et al., ECCV 2012) takes precision as if every
class had N instances, N being the mean over classes: R N / (R N + F) with recall R after F false positives.
"""

import numpy as np
from numpy.typing import NDArray

from tal.diagnosis.area import Floats, average_precision, mean_over_classes, precision_at
from tal.diagnosis.errors import Judged, Kind

LEAST_PRECISION = 0.05
"""What is found only where normalised precision is at most this counts as not found, as in DETAD's false negatives."""


def normalised_precision(judged: Judged) -> Floats:
    """(M, K) AP_N of all instances."""
    return judged.precision_of(np.ones(len(judged.rank), bool), normal=judged.normal)


def normalised_precision_within(judged: Judged, instances: NDArray[np.bool_]) -> Floats:
    """(M, K) AP_N of some instances; NaN for classes that have none of them.

    Predictions that take another instance at any of the thresholds leave the list, as in DETAD
    (src/sensitivity_analysis.py, `compute_average_mAP_N_for_characteristic`); all other false positives stay.

    Args:
        judged: All predictions.
        instances: (G,) which.
    """
    elsewhere = ((judged.taken >= 0) & ~instances[judged.taken]).any(axis=0)
    label = judged.predictions.label[~elsewhere]
    count = np.bincount(judged.truth.label[instances], minlength=judged.class_count)
    rows = [
        average_precision(label, kind[~elsewhere] == Kind.TRUE, count, normal=judged.normal) for kind in judged.kind
    ]
    return np.array(rows).reshape(len(judged.tious), judged.class_count)


def normalised_mean(values: Floats) -> float:
    """Mean over classes of (M, K), then over thresholds; NaN if no class has instances."""
    return float(mean_over_classes(values).mean())


def not_found(judged: Judged, *, least_precision: float = LEAST_PRECISION) -> NDArray[np.bool_]:
    """(M, G) whether no prediction takes an instance where the normalised precision of its class is high enough.

    Args:
        judged: All predictions.
        least_precision: A prediction at whose rank normalised precision is at most this finds nothing.
    """
    label = judged.predictions.label
    missed = np.ones((len(judged.tious), len(judged.truth)), bool)
    first = np.searchsorted(label, label, "left")
    for row, took in enumerate(judged.taken):
        so_far = np.concatenate([[0], np.cumsum(took >= 0)])
        found = so_far[1:] - so_far[first]
        precision = precision_at(found, judged.rank + 1, judged.instances[label], judged.normal)
        missed[row, took[(took >= 0) & (precision > least_precision)]] = False
    return missed
