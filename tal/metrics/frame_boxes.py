"""Frame mAP: average precision of boxes on keyframes, as PASCAL VOC and AVA count it. Arrays in, numbers out.

The definition is that of the AVA evaluator (activitynet/ActivityNet, Evaluation/ava/per_image_evaluation.py, metrics.py
and Evaluation/get_ava_performance.py). A detection looks only at the ground truth of its keyframe and class that it
overlaps most: it is right if that overlap reaches the threshold and no earlier detection of the keyframe took the same
box; it never goes on to its second-best. Per class, detections of all keyframes are ranked by score, and AP is the area
under the precision-recall curve's envelope.

Ties decide more than one would think, since scores are mostly written with four decimals. Equal scores are ranked as
the evaluator's call of `np.argsort` leaves them with NumPy's portable algorithm (`tal.ops.ties`), which for up to 16
rows is: the later row first. Of equal overlaps the earlier ground truth is taken.
"""

from dataclasses import dataclass
from heapq import heappush, heapreplace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.boxes import box_iou
from tal.metrics.precision import interpolated_ap
from tal.ops.ties import numpy_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_PAIRS_AT_ONCE = 500_000
_STABLE_UP_TO = 16
"""NumPy's quicksort sorts so few values by insertion, which is stable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoxRows:
    """Boxes of many keyframes as columns of equal length N.

    Args:
        frame_idx: (N,) from 0, any number per keyframe.
        label: (N,) class index from 0.
        boxes: (N, 4) left, top, right, bottom, in any one unit.
        score: (N,); None for ground truth.
    """

    frame_idx: Ints
    label: Ints
    boxes: Floats
    score: Floats | None = None

    def __len__(self) -> int:
        return len(self.frame_idx)

    def __getitem__(self, rows: Mask | Ints) -> "BoxRows":
        """The chosen rows."""
        return BoxRows(
            frame_idx=self.frame_idx[rows],
            label=self.label[rows],
            boxes=self.boxes[rows],
            score=None if self.score is None else self.score[rows],
        )


def average_precision(
    truth: BoxRows,
    detections: BoxRows,
    ious: ArrayLike,
    *,
    class_count: int,
    ties: Literal["numpy", "lowest", "highest"] = "numpy",
) -> Floats:
    """(M, K) AP per threshold and class; NaN for classes without ground truth, 0 for those without detections.

    Args:
        truth: Ground truth.
        detections: In the order in which those of a keyframe are judged, see `official_order` and `score_order`.
            Empty and reversed boxes are left out by the official evaluator: see `has_area`.
        ious: (M,) thresholds.
        class_count: K; labels are below it.
        ties: Equal scores of a class are ranked as the official evaluator does, or so that AP is lowest or highest:
            what is right last or first. How many of them are right does not depend on their order.
    """
    thresholds = np.atleast_1d(np.asarray(ious, np.float64))
    score = _score(detections)
    taken, overlap = best_overlaps(truth, detections)
    right = np.array([first_takers(taken, overlap >= threshold) for threshold in thresholds])
    counts = np.bincount(truth.label, minlength=class_count)
    by_label = np.argsort(detections.label, kind="stable")
    bounds = np.searchsorted(detections.label[by_label], np.arange(class_count + 1))
    result = np.full((len(thresholds), class_count), np.nan)
    for label in np.flatnonzero(counts):
        rows = by_label[bounds[label] : bounds[label + 1]]
        ranked = rows[numpy_order(score[rows])[::-1]]
        found = right[:, ranked]
        if ties != "numpy":
            tie = np.cumsum(np.diff(score[ranked], prepend=np.nan) != 0)
            within = found if ties == "lowest" else ~found
            found = np.array([row[np.lexsort((key, tie))] for row, key in zip(found, within, strict=True)])
        result[:, label] = interpolated_ap(found, np.full(len(thresholds), counts[label]))
    return result


def tied(rows: BoxRows) -> int:
    """How many rows share their score with another of their class."""
    order = np.lexsort((_score(rows), rows.label))
    same = (np.diff(rows.label[order], append=-1) == 0) & (np.diff(_score(rows)[order], append=np.inf) == 0)
    return int((same | np.roll(same, 1)).sum())


def has_area(boxes: Floats) -> Mask:
    """(N,) boxes whose right is beyond their left and whose bottom is below their top."""
    return (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])


def best_overlaps(truth: BoxRows, detections: BoxRows) -> tuple[Ints, Floats]:
    """((N,) row of the ground truth that each detection overlaps most, -1 if its keyframe has none of its class;
    (N,) that overlap, 0 if none).

    Time and memory are linear in the rows, times the boxes of one class on one keyframe.
    """
    classes = 1 + max((int(rows.label.max()) for rows in (truth, detections) if len(rows)), default=0)
    truth_key = truth.frame_idx * classes + truth.label
    key = detections.frame_idx * classes + detections.label
    by_key = np.argsort(truth_key, kind="stable")
    ordered_key = truth_key[by_key]
    first = np.searchsorted(ordered_key, key, "left")
    count = np.searchsorted(ordered_key, key, "right") - first
    best, overlap = np.full(len(key), -1), np.zeros(len(key))
    candidates = np.flatnonzero(count)
    ends = np.cumsum(count[candidates])
    chunks = np.searchsorted(ends, np.arange(_PAIRS_AT_ONCE, ends[-1] if len(ends) else 0, _PAIRS_AT_ONCE))
    for rows in np.split(candidates, chunks):
        if len(rows):
            of_row = np.repeat(np.arange(len(rows)), count[rows])
            starts = np.cumsum(count[rows]) - count[rows]
            position = np.arange(len(of_row)) + np.repeat(first[rows] - starts, count[rows])
            value = box_iou(detections.boxes[rows[of_row]], truth.boxes[by_key[position]], pairwise=False)
            overlap[rows] = np.maximum.reduceat(value, starts)
            highest = np.flatnonzero(value == overlap[rows][of_row])
            winner = highest[np.diff(of_row[highest], prepend=-1) != 0]
            best[rows] = by_key[position[winner]]
    return best, overlap


def first_takers(taken: Ints, reached: Mask) -> Mask:
    """(N,) whether each detection is the first that takes its ground truth.

    Args:
        taken: (N,) row of ground truth, -1 for none.
        reached: (N,) whether the overlap with it is large enough.
    """
    rows = np.flatnonzero(reached & (taken >= 0))
    right = np.zeros(len(taken), bool)
    right[rows[np.unique(taken[rows], return_index=True)[1]]] = True
    return right


def score_order(rows: BoxRows) -> Ints:
    """(N,) row numbers: keyframes by their first row, in each the scores descending, of equal ones the earlier row."""
    return np.lexsort((-_score(rows), _appearance(rows.frame_idx)))


def class_order(rows: BoxRows) -> Ints:
    """(N,) row numbers: keyframes by their first row, in each class by class, in each the scores descending.

    Equal scores of a class on one keyframe come as `np.argsort(scores)[::-1]` leaves them, which the TensorFlow object
    detection API calls before it matches (`sort_by_field` in np_box_list_ops.py): up to 16 rows, the later first.
    """
    position, score, appearance = np.arange(len(rows)), _score(rows), _appearance(rows.frame_idx)
    order = np.lexsort((-position, -score, rows.label, appearance))
    group = np.cumsum((np.diff(appearance[order], prepend=-1) != 0) | (np.diff(rows.label[order], prepend=-1) != 0))
    many = np.bincount(group, minlength=1)[group] > _STABLE_UP_TO
    tied = (np.diff(group, append=-1) == 0) & (np.diff(score[order], append=np.inf) == 0)
    for number in np.unique(group[many & tied]):
        start, stop = np.searchsorted(group, [number, number + 1])
        members = np.sort(order[start:stop])
        order[start:stop] = members[numpy_order(score[members])[::-1]]
    return order


def file_order(rows: BoxRows) -> Ints:
    """(N,) row numbers: keyframes by their first row, in each the rows as they come."""
    return np.argsort(_appearance(rows.frame_idx), kind="stable")


def official_order(rows: BoxRows, *, limit: int = 0, contested: Mask | None = None) -> Ints:
    """Row numbers of what the official script keeps of a file, in the order in which it judges them.

    `read_csv` of get_ava_performance.py keeps the rows of a keyframe in a heap of `limit` and sorts what is left by
    score; equal scores stay as they lie in the heap. Which of them are cut off follows from the order of the tuple
    (score, class, top, left, bottom, right), so that it needs no heap; where they lie in it does.

    Args:
        rows: In the file's order; ground truth, without scores, counts as 1.
        limit: Most rows of a keyframe; 0 for no limit.
        contested: (N,) rows among which the order of equal scores can matter; None for all.
    """
    order = score_order(rows)
    if limit:
        order = order[_within(rows, limit)[order]]
    frames = _frames_with_ties(rows[order], None if contested is None else contested[order])
    if len(frames):
        concerned = np.zeros(int(rows.frame_idx.max()) + 1, bool)
        concerned[frames] = True
        members = np.flatnonzero(concerned[rows.frame_idx])
        members = members[np.argsort(_appearance(rows.frame_idx)[members], kind="stable")]
        groups = np.split(members, np.flatnonzero(np.diff(rows.frame_idx[members])) + 1)
        settled = [group[_heap_order(rows[group], limit)] for group in groups]
        order[concerned[rows.frame_idx[order]]] = np.concatenate(settled)
    return order


def _frames_with_ties(ordered: BoxRows, contested: Mask | None) -> Ints:
    """Keyframes with two contested rows of one class and score; the rows come by keyframe and score."""
    run = np.cumsum((np.diff(ordered.frame_idx, prepend=-1) != 0) | (np.diff(_score(ordered), prepend=np.nan) != 0))
    rows = np.arange(len(ordered)) if contested is None else np.flatnonzero(contested)
    rows = rows[np.bincount(run[rows], minlength=len(ordered) + 1)[run[rows]] > 1]
    key = run[rows] * (int(ordered.label.max(initial=0)) + 1) + ordered.label[rows]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    return np.unique(ordered.frame_idx[rows[count[inverse] > 1]])


def _within(rows: BoxRows, limit: int) -> Mask:
    """(N,) the rows that a heap of `limit` rows per keyframe ends with.

    A row enters once it is among the first `limit` of those that score at least as much as the last that is kept, and
    higher ones that come later push out the smallest tuples of that lowest score.
    """
    score = _score(rows)
    kept = np.bincount(rows.frame_idx, minlength=1)[rows.frame_idx] <= limit
    members = np.flatnonzero(~kept)
    members = members[np.lexsort((-score[members], rows.frame_idx[members]))]
    last = members[_rank_in_run(rows.frame_idx[members]) == limit - 1]
    lowest = np.zeros(int(rows.frame_idx.max(initial=0)) + 1)
    lowest[rows.frame_idx[last]] = score[last]
    kept[members] = score[members] >= lowest[rows.frame_idx[members]]
    entered = np.flatnonzero(kept & (np.bincount(rows.frame_idx[kept], minlength=1)[rows.frame_idx] > limit))
    kept[entered] = False
    entered = entered[np.argsort(rows.frame_idx[entered], kind="stable")]
    early = _rank_in_run(rows.frame_idx[entered]) < limit
    entered = entered[early | (score[entered] > lowest[rows.frame_idx[entered]])]
    tuples = (score[entered], rows.label[entered], *rows.boxes[entered][:, [1, 0, 3, 2]].T)
    entered = entered[np.lexsort((*(-column for column in reversed(tuples)), rows.frame_idx[entered]))]
    kept[entered[_rank_in_run(rows.frame_idx[entered]) < limit]] = True
    return kept


def _rank_in_run(key: Ints) -> Ints:
    """(N,) how many rows of the same key stand before each; equal keys stand together."""
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    return np.arange(len(key)) - np.repeat(starts, np.diff(starts, append=len(key)))


def _heap_order(rows: BoxRows, limit: int) -> list[int]:
    """Row numbers as the official script orders one keyframe, by doing what it does."""
    entries = list(
        zip(_score(rows).tolist(), rows.label.tolist(), *rows.boxes[:, [1, 0, 3, 2]].T.tolist(), strict=True)
    )
    heap: list[tuple[float, ...]] = []
    for entry in entries:
        if not limit or len(heap) < limit:
            heappush(heap, entry)
        elif entry[0] > heap[0][0]:
            heapreplace(heap, entry)
    numbers: dict[tuple[float, ...], list[int]] = {}
    for number, entry in reversed(list(enumerate(entries))):
        numbers.setdefault(entry, []).append(number)
    return [numbers[entry].pop() for entry in sorted(heap, key=lambda entry: -entry[0])]


def _score(rows: BoxRows) -> Floats:
    return np.ones(len(rows)) if rows.score is None else rows.score


def _appearance(frame_idx: Ints) -> Ints:
    """(N,) the first row of each row's keyframe."""
    first = np.zeros(int(frame_idx.max()) + 1 if len(frame_idx) else 0, np.int64)
    first[frame_idx[::-1]] = np.arange(len(frame_idx))[::-1]
    return first[frame_idx]
