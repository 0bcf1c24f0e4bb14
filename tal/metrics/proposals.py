"""Temporal proposals: average recall against the average number of proposals. Arrays in, numbers out.

Proposals are ranked within their video, the earlier row first of equal scores. An instance is found by a proposal that
overlaps it by at least the threshold; classes do not matter, and a proposal may find several instances.

Two public rules say how many proposals of each video are looked at. `recall_curve` is the ActivityNet toolkit's
(activitynet/ActivityNet, Evaluation/eval_proposal.py); `shared_recall_curve` that of the THUMOS14 proposal papers
(DAPs, TURN, BSN, RTD-Net; also xlliu7/TadTR, datasets/tad_eval.py). Both take the same share of every video, so that a
video with more proposals contributes more.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.metrics.detection import Rows, overlaps

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_INSTANCES_AT_ONCE = 20_000


@dataclass(frozen=True, kw_only=True, eq=False)
class RecallCurve:
    """Recall against the average number of proposals.

    Args:
        number: (P,) average number of proposals per video, increasing.
        recall: (M, P) share of the instances that are found, per threshold.
    """

    number: Floats
    recall: Floats

    @property
    def average_recall(self) -> Floats:
        """(P,) mean over the thresholds."""
        return self.recall.mean(axis=0)

    @property
    def area(self) -> float:
        """Area under average recall (trapezoids from the first point on), as a fraction of the largest number."""
        return float(np.trapezoid(self.average_recall, self.number) / self.number[-1])

    def at(self, number: float) -> float:
        """Average recall at a number of proposals, linear between points; NaN outside the curve."""
        return float(np.interp(number, self.number, self.average_recall, left=np.nan, right=np.nan))


def recall_curve(truth: Rows, proposals: Rows, tious: ArrayLike, *, limit: int = 100) -> RecallCurve:
    """The ActivityNet toolkit's curve, at 1 to `limit` proposals per video on average.

    The videos are those with ground truth. Of each, int(n x limit x videos / all proposals) proposals are kept, and of
    these int(kept x share) looked at, the shares being those with which the average over the videos is 1, 2, ...,
    `limit`; both round down video by video, and neither exceeds what a video has. Proposals on other videos only count
    among "all proposals".

    Args:
        truth: G instances.
        proposals: N, with scores.
        tious: (M,) thresholds.
        limit: Largest average number of proposals per video, and number of points. The toolkit has 100; a larger one
            is what sming256/OpenTAD (opentad/evaluations/recall.py) makes of it.
    """
    videos, counts = _videos_and_counts(truth.video_idx, proposals)
    ratio = limit * float(len(videos)) / len(proposals) if len(proposals) else 0.0
    kept = np.minimum((counts * ratio).astype(np.int64), counts)
    total = int(kept.sum())
    points = np.arange(1, limit + 1)
    if not total:
        return RecallCurve(number=points.astype(np.float64), recall=np.zeros((len(np.atleast_1d(tious)), limit)))
    shares = points / float(limit) * (limit * float(len(videos)) / total)
    looked_at = np.minimum((kept[:, None] * shares).astype(np.int64), kept[:, None])
    recall = _recall(truth, proposals, tious, np.searchsorted(videos, truth.video_idx), looked_at)
    return RecallCurve(number=shares * (float(total) / len(videos)), recall=recall)


def shared_recall_curve(truth: Rows, proposals: Rows, tious: ArrayLike, *, points: int = 200) -> RecallCurve:
    """The THUMOS14 papers' curve: of every video the first 1/points, 2/points, ... of its proposals.

    The videos are those with proposals: ground truth on others does not count (the caller has to tell).

    Args:
        truth: G instances.
        proposals: N, with scores; at least one.
        tious: (M,) thresholds.
        points: Number of shares.
    """
    videos, counts = _videos_and_counts(proposals.video_idx, proposals)
    shares = np.arange(1, points + 1) / float(points)
    truth = truth[np.isin(truth.video_idx, videos)]
    looked_at = (counts[:, None] * shares).astype(np.int64)
    recall = _recall(truth, proposals, tious, np.searchsorted(videos, truth.video_idx), looked_at)
    return RecallCurve(number=shares * (float(len(proposals)) / len(videos)), recall=recall)


def _videos_and_counts(video_idx: Ints, proposals: Rows) -> tuple[Ints, Ints]:
    """(the videos in ascending order, number of proposals of each)."""
    videos = np.unique(video_idx)
    counts = np.bincount(proposals.video_idx, minlength=int(videos.max(initial=-1)) + 1)
    return videos, counts[videos]


def _recall(truth: Rows, proposals: Rows, tious: ArrayLike, video: Ints, looked_at: Ints) -> Floats:
    """(M, P) share of instances that the first `looked_at[video]` (V, P) proposals of each video find."""
    thresholds = np.atleast_1d(np.asarray(tious, np.float64))
    first = first_ranks(truth, proposals, thresholds)
    found = np.zeros((len(thresholds), looked_at.shape[1]))
    for start in range(0, len(truth), _INSTANCES_AT_ONCE):
        part = slice(start, start + _INSTANCES_AT_ONCE)
        allowed = looked_at[video[part]]
        for row, ranks in enumerate(first[:, part]):
            found[row] += (ranks[:, None] < allowed).sum(axis=0)
    return found / len(truth) if len(truth) else np.full(found.shape, np.nan)


def first_ranks(truth: Rows, proposals: Rows, tious: ArrayLike) -> Ints:
    """(M, G) rank in its video, from 0, of the best-scored proposal that finds each instance; a huge one for none."""
    one_class = [replace(rows, label=np.zeros(len(rows), np.int64)) for rows in (truth, proposals)]
    pairs = overlaps(one_class[0], one_class[1], tious, class_count=1)
    first = np.full((len(pairs.tious), len(truth)), np.iinfo(np.int64).max)
    rank = pairs.group_rank[pairs.pair_prediction]
    for row, threshold in enumerate(pairs.tious):
        hit = (pairs.pair_tiou >= threshold) & np.isfinite(pairs.pair_tiou)
        np.minimum.at(first[row], pairs.pair_truth[hit], rank[hit])
    return first
