"""What each prediction turned out to be, and how much each kind of false positive costs.

Kinds and their order are those of DETAD (src/action_detector_diagnosis.py, `analyze_fp_error_types`). A false positive
is held against the instance of any class that it overlaps most in its video:

    tIoU >= threshold     same class: double detection      other class: wrong label
    tIoU >= 0.1           same class: localization error    other class: confusion error
    otherwise             background error

Where two instances are overlapped equally, as in THUMOS14 whose CliffDiving is annotated as Diving too, one of its own
class comes first; DETAD takes the one that comes first in the file and so may call a double detection a wrong label.
Segments without any length overlap as in `tal.metrics.detection`.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tal.diagnosis.area import Floats, Ints, average_precision, mean_over_classes
from tal.metrics.detection import Overlaps, Rows, taken, toolkit_tiou

NEAR_TIOU = 0.1
"""Below it a false positive overlaps nothing."""

BUDGETS = 10
"""False positives are looked at up to so many times G, the number of instances of a class."""

_PAIRS_AT_ONCE = 2_000_000


class Kind(IntEnum):
    """What a prediction turned out to be."""

    TRUE = 0
    DOUBLE = 1
    WRONG_LABEL = 2
    LOCALIZATION = 3
    CONFUSION = 4
    BACKGROUND = 5


NAMES = {
    Kind.TRUE: "true_positive",
    Kind.DOUBLE: "double_detection",
    Kind.WRONG_LABEL: "wrong_label",
    Kind.LOCALIZATION: "localization",
    Kind.CONFUSION: "confusion",
    Kind.BACKGROUND: "background",
}
ERRORS = tuple(Kind)[1:]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Every prediction with what it turned out to be, in the order of judging: by class, then falling score.

    Args:
        class_count: K.
        tious: (M,) thresholds.
        truth: G instances.
        predictions: N predictions in the order of judging.
        order: (N,) their rows before that.
        taken: (M, N) the instance that each takes at each threshold, -1 for none.
        nearest: (N,) the instance of any class that each overlaps most, -1 if its video has none.
        nearest_tiou: (N,) that overlap.
        kind: (M, N) values of `Kind`.
    """

    class_count: int
    tious: Floats
    truth: Rows
    predictions: Rows
    order: Ints
    taken: Ints
    nearest: Ints
    nearest_tiou: Floats
    kind: NDArray[np.int8]

    @cached_property
    def instances(self) -> Ints:
        """(K,) instances of each class."""
        return np.bincount(self.truth.label, minlength=self.class_count)

    @cached_property
    def rank(self) -> Ints:
        """(N,) position of each prediction within its class, from 0."""
        label = self.predictions.label
        return np.arange(len(label)) - np.searchsorted(label, label, "left")

    @cached_property
    def average_precision(self) -> Floats:
        """(M, K) as the predictions are."""
        return self.precision_of(np.ones(len(self.rank), bool))

    @cached_property
    def normal(self) -> float:
        """Instances per class on average over the classes that have any: N of the normalised mAP."""
        return float(self.instances.sum() / max((self.instances > 0).sum(), 1))

    def precision_of(self, kept: NDArray[np.bool_], *, normal: float | None = None) -> Floats:
        """(M, K) AP of the `kept` predictions alone, (N,) or (M, N), each being what it was among all."""
        kept = np.broadcast_to(kept, self.kind.shape)
        rows = [
            average_precision(self.predictions.label[chosen], kind[chosen] == Kind.TRUE, self.instances, normal=normal)
            for chosen, kind in zip(kept, self.kind, strict=True)
        ]
        return np.array(rows).reshape(len(self.tious), self.class_count)


def judge(truth: Rows, predictions: Rows, pairs: Overlaps) -> Judged:
    """Tell for every prediction what it turned out to be at each threshold.

    Args:
        truth: G instances.
        predictions: N predictions with scores.
        pairs: Their overlaps, of `tal.metrics.detection.overlaps`.
    """
    ordered = predictions[pairs.order]
    took = np.array([taken(pairs, threshold) for threshold in pairs.tious]).reshape(len(pairs.tious), -1)
    nearest, overlap = nearest_instances(truth, ordered)
    own = np.zeros(len(ordered), bool)
    own[nearest >= 0] = truth.label[nearest[nearest >= 0]] == ordered.label[nearest >= 0]
    return Judged(
        class_count=pairs.class_count,
        tious=pairs.tious,
        truth=truth,
        predictions=ordered,
        order=pairs.order,
        taken=took,
        nearest=nearest,
        nearest_tiou=overlap,
        kind=_kinds(took, overlap, own, pairs.tious),
    )


def _kinds(took: Ints, overlap: Floats, own: NDArray[np.bool_], tious: Floats) -> NDArray[np.int8]:
    right = overlap >= tious[:, None]
    near = np.broadcast_to(overlap >= NEAR_TIOU, right.shape)
    kinds = np.select(
        [took >= 0, right & own, right & ~own, near & own, near & ~own],
        [Kind.TRUE, Kind.DOUBLE, Kind.WRONG_LABEL, Kind.LOCALIZATION, Kind.CONFUSION],
        Kind.BACKGROUND,
    )
    return kinds.astype(np.int8)


def nearest_instances(truth: Rows, predictions: Rows) -> tuple[Ints, Floats]:
    """((N,) instance of any class that each prediction overlaps most, -1 if its video has none; (N,) that tIoU).

    Of equal overlaps one of the prediction's class comes first, then the earlier row. Memory is bounded.
    """
    by_video = np.argsort(truth.video_idx, kind="stable")
    videos = truth.video_idx[by_video]
    first = np.searchsorted(videos, predictions.video_idx, "left")
    count = np.searchsorted(videos, predictions.video_idx, "right") - first
    nearest, overlap = np.full(len(predictions), -1), np.zeros(len(predictions))
    candidates = np.flatnonzero(count)
    ends = np.cumsum(count[candidates])
    chunks = np.searchsorted(ends, np.arange(_PAIRS_AT_ONCE, ends[-1] if len(ends) else 0, _PAIRS_AT_ONCE))
    for rows in np.split(candidates, chunks):
        if not len(rows):
            continue
        starts = np.cumsum(count[rows]) - count[rows]
        prediction = np.repeat(rows, count[rows])
        instance = by_video[np.arange(len(prediction)) + np.repeat(first[rows] - starts, count[rows])]
        value = toolkit_tiou(predictions[prediction], truth[instance])
        highest = np.maximum.reduceat(value, starts)
        best = value == np.repeat(highest, count[rows])
        own = best & (truth.label[instance] == predictions.label[prediction])
        best &= own | ~np.repeat(np.logical_or.reduceat(own, starts), count[rows])
        chosen = np.flatnonzero(best)
        chosen = chosen[np.diff(prediction[chosen], prepend=-1) != 0]
        nearest[rows], overlap[rows] = instance[chosen], highest
    return nearest, overlap


def profile(judged: Judged, budgets: int = BUDGETS) -> Ints:
    """(M, budgets, 6) how many predictions of each kind stand at ranks (b - 1) G to b G of their classes.

    G is the number of instances of the class, as in DETAD's false positive profile.
    """
    label = judged.predictions.label
    budget = judged.rank // np.maximum(judged.instances[label], 1)
    within = (budget < budgets) & (judged.instances[label] > 0)
    size = budgets * len(Kind)
    counts = [np.bincount(budget[within] * len(Kind) + kind[within], minlength=size) for kind in judged.kind]
    return np.array(counts).reshape(len(judged.tious), budgets, len(Kind))


def within_budget(judged: Judged, budgets: int = BUDGETS) -> NDArray[np.bool_]:
    """(N,) whether a prediction is among the first `budgets` x G of its class."""
    return judged.rank < budgets * judged.instances[judged.predictions.label]


def removal_gains(judged: Judged) -> dict[Kind, Floats]:
    """Kind -> (M, K) AP gained if the false positives of that kind were not there."""
    return {kind: judged.precision_of(judged.kind != kind) - judged.average_precision for kind in ERRORS}


def normalised_removal_gains(judged: Judged, budgets: int = BUDGETS) -> dict[Kind, float]:
    """Kind -> normalised mAP gained, among the first `budgets` x G predictions of each class: DETAD's figure."""
    first = within_budget(judged, budgets)
    before = mean_over_classes(judged.precision_of(first, normal=judged.normal)).mean()
    after = {kind: judged.precision_of(first & (judged.kind != kind), normal=judged.normal) for kind in ERRORS}
    return {kind: float(mean_over_classes(values).mean() - before) for kind, values in after.items()}
