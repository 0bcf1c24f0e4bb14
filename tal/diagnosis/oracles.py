"""What if one thing were perfect: the mAP that would be gained by mending that, all else as it is.

Each oracle starts from what every prediction is at the threshold (`tal.diagnosis.errors`) and changes one thing. A
mended prediction claims the instance it is nearest to; of all who claim an instance (those that took it included) the
first in the order of judging is right, and the others leave the list: what is mended never becomes a duplicate, as in
TIDE (Bolya et al., ECCV 2020, section 2.2). So nothing that is mended ever costs AP.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tal.diagnosis.area import Floats, Ints, average_precision
from tal.diagnosis.errors import Judged, Kind

Bools = NDArray[np.bool_]


def perfect_boundaries(judged: Judged) -> Floats:
    """(M, K) AP if localization errors had the boundaries of their instance. Labels, scores, all others stay."""
    return _each(judged, lambda row: _mended(judged, row, Kind.LOCALIZATION))


def perfect_labels(judged: Judged) -> Floats:
    """(M, K) AP if wrong labels were those of their instance, at their scores. Boundaries and all others stay."""
    return _each(judged, lambda row: _mended(judged, row, Kind.WRONG_LABEL))


def perfect_ranking(judged: Judged) -> Floats:
    """(M, K) AP if within each class all that is right stood before all that is wrong: recall.

    Removing every false positive gives the same.
    """
    return _each(judged, lambda row: _found(judged, row) / _positive(judged.instances))


def no_duplicates(judged: Judged) -> Floats:
    """(M, K) AP without the double detections."""
    return judged.precision_of(judged.kind != Kind.DOUBLE)


def no_background(judged: Judged) -> Floats:
    """(M, K) AP without the predictions that overlap nothing."""
    return judged.precision_of(judged.kind != Kind.BACKGROUND)


def no_misses(judged: Judged) -> Floats:
    """(M, K) AP if the missed instances did not have to be found.

    Missed is an instance that no prediction takes and that no localization error or wrong label is nearest to: those
    would be found with perfect boundaries or labels. As in TIDE, missed instances leave the ground truth. A class of
    which all instances are missed has AP 1.
    """

    def one(row: int) -> Floats:
        left = judged.instances - np.bincount(judged.truth.label[missed(judged, row)], minlength=judged.class_count)
        value = average_precision(judged.predictions.label, judged.kind[row] == Kind.TRUE, left)
        return np.where((left == 0) & (judged.instances > 0), 1.0, value)

    return _each(judged, one)


def missed(judged: Judged, row: int) -> Bools:
    """(G,) whether an instance is neither taken at threshold `row` nor what a localization or label error is near."""
    away = np.ones(len(judged.truth), bool)
    away[judged.taken[row][judged.taken[row] >= 0]] = False
    for kind in (Kind.LOCALIZATION, Kind.WRONG_LABEL):
        away[judged.nearest[judged.kind[row] == kind]] = False
    return away


ORACLES: dict[str, Callable[[Judged], Floats]] = {
    "perfect_boundaries": perfect_boundaries,
    "perfect_labels": perfect_labels,
    "perfect_ranking": perfect_ranking,
    "no_duplicates": no_duplicates,
    "no_background": no_background,
    "no_misses": no_misses,
}


def _mended(judged: Judged, row: int, kind: Kind) -> Floats:
    """(K,) AP if the predictions of one kind found their instances."""
    mended = judged.kind[row] == kind
    claim = np.where(mended, judged.nearest, judged.taken[row])
    label = np.where(mended, judged.truth.label[judged.nearest], judged.predictions.label)
    score = judged.predictions.score
    order = np.arange(len(label)) if kind != Kind.WRONG_LABEL or score is None else np.lexsort((-score, label))
    claim, label = claim[order], label[order]
    right = _first_claims(claim)
    kept = right | (claim < 0)
    return average_precision(label[kept], right[kept], judged.instances)


def _first_claims(claim: Ints) -> Bools:
    """(N,) whether a claim on an instance is the first on it; False for -1."""
    first = np.zeros(len(claim), bool)
    claimants = np.flatnonzero(claim >= 0)
    first[claimants[np.unique(claim[claimants], return_index=True)[1]]] = True
    return first


def _found(judged: Judged, row: int) -> Ints:
    """(K,) instances that are taken."""
    took = judged.taken[row]
    return np.bincount(judged.truth.label[took[took >= 0]], minlength=judged.class_count)


def _positive(instances: Ints) -> Floats:
    return np.where(instances > 0, instances, np.nan)


def _each(judged: Judged, one: Callable[[int], Floats]) -> Floats:
    return np.array([one(row) for row in range(len(judged.tious))]).reshape(len(judged.tious), judged.class_count)
