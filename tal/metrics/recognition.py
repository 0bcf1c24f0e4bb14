"""Recognition of whole videos from a score per class: top-k accuracy, mean class accuracy. Arrays in, numbers out.

Multi-label mean average precision is in `tal.metrics.precision`.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


NEVER = np.iinfo(np.int64).max
"""The rank of a class that has no score."""


def label_rank(score: ArrayLike, label: ArrayLike) -> Ints:
    """(N,) place of the true class among the scores of its video, from 0: top-k is the share below k.

    Among equal scores the class with the lower index comes first; public evaluators leave that to the sort. A true
    class whose score is -inf was not predicted at all: `NEVER`.

    Args:
        score: (N, K).
        label: (N,) class indices.
    """
    scores, labels = np.asarray(score, np.float64), np.asarray(label, np.int64)
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = ((scores > own) | ((scores == own) & earlier)).sum(1)
    return np.where(np.isneginf(own[:, 0]), NEVER, rank)


def tied(score: ArrayLike, label: ArrayLike) -> NDArray[np.bool_]:
    """(N,) whether another class has the very score of the true one, so that its rank is a matter of the tie rule."""
    scores, labels = np.asarray(score, np.float64), np.asarray(label, np.int64)
    own = scores[np.arange(len(labels)), labels][:, None]
    return ((scores == own).sum(1) > 1) & np.isfinite(own[:, 0])


def class_accuracy(right: ArrayLike, label: ArrayLike, *, class_count: int) -> Floats:
    """(K,) share of each class's videos that are right; NaN of a class without videos.

    Args:
        right: (N,) whether the best class of a video is the true one.
        label: (N,) class indices.
        class_count: K.
    """
    labels = np.asarray(label, np.int64)
    count = np.bincount(labels, minlength=class_count)
    hits = np.bincount(labels, weights=np.asarray(right, np.float64), minlength=class_count)
    return np.divide(hits, count, out=np.full(class_count, np.nan), where=count > 0)


def pooled(score: ArrayLike, video_idx: ArrayLike, *, maximum: bool = False) -> Floats:
    """(N, K) mean, or maximum, of the rows of each video: clips and crops to one row per video.

    Args:
        score: (R, K).
        video_idx: (R,) video of each row, every one from 0 to N - 1 present.
        maximum: The highest instead of the mean.
    """
    scores, videos = np.asarray(score, np.float64), np.asarray(video_idx, np.int64)
    count = np.bincount(videos)
    result = np.full((len(count), scores.shape[1]), -np.inf if maximum else 0.0)
    (np.maximum if maximum else np.add).at(result, videos, scores)
    return result if maximum else result / count[:, None]
