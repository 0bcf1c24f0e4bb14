"""Highlight detection: how well clips of a video are ranked for a query. Arrays in, numbers out.

The definition is that of jayleicn/moment_detr, standalone_eval/eval.py and utils.py (QVHighlights). A query's clips are
relevant for an annotator who gave them at least a level's score. Average precision: each distinct score is a point of
the precision-recall curve; precision is replaced by its maximum over the points of at least the same recall, and
averaged over the points that add recall. Without relevant clips it is 0, with relevant ones only it is 1.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Counts = NDArray[np.int32]
Bools = NDArray[np.bool_]


def average_precision(score: Floats, relevant: Bools, clip_count: Ints) -> Floats:
    """(..., Q) AP of each query.

    Args:
        score: (Q, C) predicted saliency; what lies beyond a query's clips is not read.
        relevant: (..., Q, C) whether the clip is relevant, for any number of annotators and levels.
        clip_count: (Q,) clips of each query, at most C.
    """
    exists = np.arange(score.shape[1]) < clip_count[:, None]
    order = np.argsort(np.where(exists, -score, np.inf), axis=1, kind="stable")
    ranked = np.take_along_axis(score, order, axis=1)
    is_point = np.ones_like(exists)
    is_point[:, :-1] = ranked[:, :-1] != ranked[:, 1:]
    is_point[np.arange(len(score)), np.maximum(clip_count - 1, 0)] = True
    is_point &= exists
    right = np.take_along_axis(relevant & exists, np.broadcast_to(order, relevant.shape), axis=-1)
    found: Counts = np.cumsum(right, axis=-1, dtype=np.int32)
    precision = np.where(is_point, found / np.arange(1, score.shape[1] + 1), 0)
    highest_from_here = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    adds = is_point & (found > _at_previous_point(found, is_point))
    total = np.where(adds, highest_from_here, 0).sum(axis=-1) / np.maximum(adds.sum(axis=-1), 1)
    result: Floats = np.where((found[..., -1] == clip_count) & (clip_count > 0), 1.0, total)
    return result


def _at_previous_point(found: Counts, is_point: Bools) -> Counts:
    """(..., Q, C) relevant clips up to the point before each place; 0 before the first one."""
    before = np.zeros_like(found)
    before[..., 1:] = np.maximum.accumulate(found * is_point, axis=-1)[..., :-1]
    return before


def hit_at_one(best_clip: Ints, relevant: Bools, clip_count: Ints) -> Floats:
    """(..., Q) 1 where the clip of the highest score is relevant, else 0; 0 where it lies beyond the query's clips.

    Args:
        best_clip: (Q,) number of the clip that the predictions score highest, the first of equal ones.
        relevant: (..., Q, C).
        clip_count: (Q,).
    """
    inside = best_clip < clip_count
    chosen = np.minimum(best_clip, max(relevant.shape[-1] - 1, 0))
    result: Floats = (relevant[..., np.arange(len(best_clip)), chosen] & inside).astype(np.float64)
    return result
