"""Procedure planning: predicted sequences of T actions against the true ones. Arrays in, numbers out.

The metrics of MCG-NJU/PDPP and WiserZhou/MTID, utils/accuracy.py.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def success(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.bool_]:
    """(N,) whether all T actions are right and in place; the mean is SR. Both (N, T)."""
    return (_ints(predicted) == _ints(truth)).all(1)


def step_accuracy(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(T,) share of plans that have the right action at each place; the mean is mAcc. Both (N, T)."""
    return np.asarray((_ints(predicted) == _ints(truth)).mean(0), np.float64)


def set_iou(predicted: ArrayLike, truth: ArrayLike) -> Floats:
    """(N,) intersection over union of the sets of actions of each plan; the mean is mIoU ("MIoU2" in MTID's code).

    Both (N, T). Order does not count, an action that occurs twice counts once. Negative actions of `predicted` stand
    for none.
    """
    p, g = _ints(predicted), _ints(truth)
    first_p, first_g = _first_of_each(p) & (p >= 0), _first_of_each(g)
    common = ((p[:, :, None] == g[:, None, :]).any(2) & first_p).sum(1)
    return np.asarray(common / (first_p.sum(1) + first_g.sum(1) - common), np.float64)


def batch_iou(predicted: ArrayLike, truth: ArrayLike, *, batch: int) -> float:
    """mIoU as "MIoU1" of the same code has it: sets over whole batches of plans, the batches averaged by their size.

    It depends on the batch size and the order of the plans, and nears 1 as batches grow: only for comparison with
    tables that print it.
    """
    p, g = _ints(predicted), _ints(truth)
    total = 0.0
    for start in range(0, len(g), batch):
        ours, theirs = np.unique(p[start : start + batch]), np.unique(g[start : start + batch])
        ours = ours[ours >= 0]
        common = len(np.intersect1d(ours, theirs))
        total += common / (len(ours) + len(theirs) - common) * len(g[start : start + batch])
    return total / len(g) if len(g) else float("nan")


def _first_of_each(rows: Ints) -> NDArray[np.bool_]:
    """(N, T) whether a value has not stood in its row before."""
    same = rows[:, :, None] == rows[:, None, :]
    earlier = np.tri(rows.shape[1], k=-1, dtype=bool)
    return ~(same & earlier).any(2)


def _ints(values: ArrayLike) -> Ints:
    return np.asarray(values, np.int64)
