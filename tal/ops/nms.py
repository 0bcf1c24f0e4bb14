"""Non-maximum suppression of segments: hard, soft (Gaussian, linear), and segment voting. NumPy in, NumPy out.

The first call of a process loads compiled kernels (about a second; a few seconds once per installation).
"""

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import ConfigError
from tal.ops.nms_kernels import EPS, kernels
from tal.segments import Segments

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ALL = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class NmsConfig:
    """How overlapping candidates of one video become detections.

    Args:
        method: "gaussian" and "linear" lower the scores of what overlaps a better segment, "hard" removes it, "none"
            keeps the `max_segments` best.
        sigma: Gaussian: scores decay by exp(-tIoU^2 / sigma).
        near_tiou: Gaussian: only what overlaps the better segment by more than this decays. The first number holds for
            a segment of no length, the second for one as long as the video, and between them in proportion (BMN);
            null: everything that overlaps.
        tiou: Hard: what overlaps by more is removed. Linear: what overlaps by as much decays by 1 - tIoU.
        min_score: Segments below are dropped, also once decayed; of each class the best one stays.
        max_segments: Kept per video (and at most per class).
        per_class: Classes do not suppress each other.
        voting_tiou: Each kept segment becomes the mean of all that overlap it by this or more; only where classes
            suppress each other, unless `class_voting`. 0 for no voting.
        class_voting: Where classes do not suppress each other, the segments of each vote among themselves. Ours.
        voting_weight: Of each in that mean: "score_tiou" is score times tIoU, "score" its score alone, as TriDet's
            code has it.
    """

    method: Literal["gaussian", "linear", "hard", "none"] = "gaussian"
    sigma: float = 0.5
    near_tiou: tuple[float, float] | None = None
    tiou: float = 0.1
    min_score: float = 0.001
    max_segments: int = 200
    per_class: bool = True
    voting_tiou: float = 0.7
    class_voting: bool = False
    voting_weight: Literal["score_tiou", "score"] = "score_tiou"

    def __post_init__(self) -> None:
        if self.method not in ("gaussian", "linear", "hard", "none"):
            raise ConfigError(f"nms.method of {self.method!r}", expected='"gaussian", "linear", "hard" or "none"')
        if not self.sigma > 0:
            raise ConfigError(f"nms.sigma of {self.sigma}", expected="a positive number")
        for name in ("tiou", "min_score", "voting_tiou"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"nms.{name} of {getattr(self, name)}", expected="a number in [0, 1]")
        if self.voting_weight not in ("score_tiou", "score"):
            raise ConfigError(f"nms.voting_weight of {self.voting_weight!r}", expected='"score_tiou" or "score"')
        if self.near_tiou is not None and (self.method != "gaussian" or not all(0 <= t <= 1 for t in self.near_tiou)):
            raise ConfigError(
                f"nms.near_tiou of {self.near_tiou} with nms.method {self.method}",
                expected="two numbers in [0, 1], with the method gaussian",
            )
        if self.max_segments < 1:
            raise ConfigError(f"nms.max_segments of {self.max_segments}", expected="at least 1")


class _Sorted(NamedTuple):
    """Columns sorted by group, then start, and where they came from."""

    start: Floats
    end: Floats
    reach: Floats
    row: Ints
    bounds: Ints


def hard_nms(
    start_s: ArrayLike,
    end_s: ArrayLike,
    score: ArrayLike,
    *,
    tiou: float,
    label: ArrayLike | None = None,
    max_segments: int | None = None,
) -> Ints:
    """Rows that no better row overlaps by more than `tiou`, from the best down.

    The same rows as `torchvision.ops.nms` keeps of boxes (start, 0, end, 1).

    Args:
        start_s: (N,) likewise end_s, score. No NaN.
        label: (N,) rows of different labels do not suppress each other; None for one label.
        max_segments: At most that many per label.

    Returns:
        (M,) indices; equal scores in order of their rows.
    """
    score = np.asarray(score, np.float64)
    columns = _sort(start_s, end_s, label)
    group = np.repeat(np.arange(len(columns.bounds) - 1), np.diff(columns.bounds))
    order = np.lexsort((columns.row, -score[columns.row], group))
    most = _ALL if max_segments is None else max_segments
    taken = kernels().hard(*columns[:3], order, columns.bounds, float(tiou), most)
    return _best_first(columns.row[taken], score[columns.row[taken]])[0]


def soft_nms(
    start_s: ArrayLike,
    end_s: ArrayLike,
    score: ArrayLike,
    *,
    sigma: float = 0.5,
    linear_from_tiou: float | None = None,
    near_tiou: tuple[float, float] | None = None,
    min_score: float = 0.001,
    label: ArrayLike | None = None,
    max_segments: int | None = None,
) -> tuple[Ints, Floats]:
    """Soft suppression (Bodla et al. 2017): take the best, let what overlaps it decay, repeat.

    Lengths are taken 1e-6 longer in the tIoU, and of every label the best row is kept whatever its score, as
    ActionFormer's compiled extension does.

    Args:
        start_s: (N,) likewise end_s, score (positive). No NaN.
        sigma: Scores decay by exp(-tIoU^2 / sigma).
        linear_from_tiou: If given, scores decay instead by 1 - tIoU where tIoU is this or more.
        near_tiou: If given, (floor, per second): only what overlaps a better row by more than the floor plus so much
            per second of that row's length decays; not with `linear_from_tiou`.
        min_score: A row whose score falls below is dropped.
        label: (N,) rows of different labels do not affect each other; None for one label.
        max_segments: At most that many per label.

    Returns:
        (M,) indices by falling score, and (M,) decayed scores.
    """
    columns = _sort(start_s, end_s, label)
    linear = linear_from_tiou is not None
    floor, slope = (-1.0, 0.0) if near_tiou is None else near_tiou
    with np.errstate(divide="ignore"):
        log_score = np.log(np.asarray(score, np.float64)[columns.row])
        lowest = float(np.log(min_score))
    taken, log_scores = kernels().soft(
        *columns[:3],
        log_score,
        columns.row,
        columns.bounds,
        linear,
        float(sigma if linear_from_tiou is None else linear_from_tiou),
        float(floor),
        float(slope),
        lowest,
        _ALL if max_segments is None else max_segments,
    )
    return _best_first(columns.row[taken], np.exp(log_scores))


def vote(
    start_s: ArrayLike,
    end_s: ArrayLike,
    score: ArrayLike,
    *,
    kept: ArrayLike,
    tiou: float,
    weight: Literal["score_tiou", "score"] = "score_tiou",
) -> tuple[Floats, Floats]:
    """Ends refined by all rows that overlap by `tiou` or more: their weighted mean.

    Args:
        start_s: (N,) likewise end_s, score: all rows before suppression.
        kept: (M,) indices of the rows to refine.
        tiou: Positive.
        weight: Of each row: score times tIoU, or its score alone.

    Returns:
        (M,) starts and ends.
    """
    columns = _sort(start_s, end_s, None)
    place = np.empty(len(columns.row), np.int64)
    place[columns.row] = np.arange(len(columns.row))
    scores = np.asarray(score, np.float64)[columns.row]
    rows = place[np.asarray(kept, np.int64)]
    return kernels().vote(*columns[:3], scores, rows, float(tiou), weight == "score_tiou")


def suppress(candidates: Segments, config: NmsConfig) -> Segments:
    """One video's detections from its candidates, by falling score; extra columns go along."""
    if config.method == "none" or not len(candidates):
        return candidates.by_score()[: config.max_segments]
    label = candidates.label if config.per_class else None
    columns = (candidates.start_s, candidates.end_s, candidates.score)
    if config.method == "hard":
        above = np.flatnonzero(candidates.score > config.min_score)
        label = None if label is None else label[above]
        picked = hard_nms(*(each[above] for each in columns), tiou=config.tiou, label=label)
        rows, scores = above[picked], candidates.score[above[picked]]
    else:
        rows, scores = soft_nms(
            *columns,
            sigma=config.sigma,
            linear_from_tiou=config.tiou if config.method == "linear" else None,
            near_tiou=_near(candidates, config),
            min_score=config.min_score,
            label=label,
            max_segments=config.max_segments,
        )
    rows, scores = rows[: config.max_segments], scores[: config.max_segments]
    kept = replace(candidates[rows], score=scores)
    if config.voting_tiou == 0 or (config.per_class and not config.class_voting):
        return kept
    start_s, end_s = kept.start_s.copy(), kept.end_s.copy()
    group = candidates.label if config.per_class else np.zeros(len(candidates), np.int64)
    for each in np.unique(group[rows]):
        voters, refined = np.flatnonzero(group == each), np.flatnonzero(group[rows] == each)
        start_s[refined], end_s[refined] = vote(
            *(column[voters] for column in columns),
            kept=np.searchsorted(voters, rows[refined]),
            tiou=config.voting_tiou,
            weight=config.voting_weight,
        )
    return replace(kept, start_s=start_s, end_s=end_s)


def _near(candidates: Segments, config: NmsConfig) -> tuple[float, float] | None:
    """`near_tiou` per second; candidates say how long their video is, else it ends where the last of them does."""
    if config.near_tiou is None:
        return None
    low, high = config.near_tiou
    duration_s = float(candidates.extra.get("duration_s", candidates.end_s).max())
    return low, (high - low) / max(duration_s, EPS)


def _sort(start_s: ArrayLike, end_s: ArrayLike, label: ArrayLike | None) -> _Sorted:
    start, end = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    if label is None:
        row = np.argsort(start, kind="stable")
        bounds = np.array([0, len(start)])
    else:
        labels = np.asarray(label, np.int64)
        row = np.lexsort((start, labels))
        changes = np.flatnonzero(np.diff(labels[row])) + 1
        bounds = np.concatenate([[0], changes, [len(start)]])
    reach = end[row]
    for low, high in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        np.maximum.accumulate(reach[low:high], out=reach[low:high])
    return _Sorted(start[row], end[row], reach, row.astype(np.int64), bounds.astype(np.int64))


def _best_first(rows: Ints, scores: Floats) -> tuple[Ints, Floats]:
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]
