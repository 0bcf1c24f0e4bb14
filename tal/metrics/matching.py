"""Greedy matching of one video's detections to its instances, and the score from which on F1 is highest.

The rule is that of `tal.metrics.detection`: by falling score, of equal scores the earlier row, each detection takes the
instance of its class that is still free and that it overlaps most, of equal tIoU the later one.
Pairs without any length, which the toolkit matches, have a tIoU of 0 here.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.segments import Segments, tiou

MATCH_TIOU = 0.5
"""A detection with at least this tIoU to an instance of its class is right."""


def match(predictions: Segments, truth: Segments, threshold: float = MATCH_TIOU) -> NDArray[np.int64]:
    """(N,) the instance that each detection takes, -1 for none; classes are compared by name.

    Because the highest score chooses first, what a detection takes does not depend on those of lower scores.

    Args:
        predictions: Of one video, N rows in any order.
        truth: Of the same video.
        threshold: Lowest tIoU of a match, above 0.
    """
    taken = np.full(len(predictions), -1, np.int64)
    if not len(predictions) or not len(truth):
        return taken
    overlap = class_tiou(predictions, truth)
    order = np.argsort(-predictions.score, kind="stable")
    free = np.ones(len(truth), bool)
    last = len(truth) - 1
    for row in order[(overlap[order] >= threshold).any(axis=1)]:
        choice = last - int(np.where(free, overlap[row], -1.0)[::-1].argmax())
        if free[choice] and overlap[row, choice] >= threshold:
            taken[row], free[choice] = choice, False
    return taken


def class_tiou(predictions: Segments, truth: Segments) -> NDArray[np.float64]:
    """(N, M) tIoU; 0 between different classes, which are compared by name."""
    overlap = tiou(predictions.start_s, predictions.end_s, truth.start_s, truth.end_s)
    codes = {name: code for code, name in enumerate({*predictions.names, *truth.names})}
    first, second = (np.array([codes[name] for name in each.names], np.int64) for each in (predictions, truth))
    return np.where(first[:, None] == second, overlap, 0.0)


def best_threshold(score: ArrayLike, right: ArrayLike, instances: int) -> float | None:
    """The score from which on keeping all gives the highest F1, the higher of equal ones; None if all is wrong.

    Args:
        score: (N,) of the detections.
        right: (N,) whether each takes an instance.
        instances: Number of instances.
    """
    score, right = np.asarray(score, np.float64), np.asarray(right, bool)
    if not right.any():
        return None
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + instances)
    last_of_its_score = np.append(ranked[1:] != ranked[:-1], True)
    return float(ranked[np.argmax(np.where(last_of_its_score, f1, -1.0))])
