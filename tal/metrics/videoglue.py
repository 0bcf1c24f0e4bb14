"""The VideoGLUE score: scores under several adaptations, weighted by how cheap each is.

VideoGLUE (TMLR), section on the VideoGLUE score; its code is not public. With S_i the average score under adaptation i
and C_i its cost, w_i is proportional to 1 / log10(C_i) and the score for one kind of cost is sum_i w_i S_i. The
published number is the mean over two costs: trainable parameters in millions, and GFLOPs of inference.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

GROUPS = {
    "VC-A": ("K400", "MiT"),
    "VC-M": ("SSv2", "D48"),
    "VC-ML": ("Charades",),
    "TAL": ("ANet",),
    "STAL": ("AVA", "AVA-K"),
}
"""Kinds of tasks and their datasets; an average is over the groups that an adaptation has, each the mean of its own."""


def group_mean(scores: dict[str, float]) -> float:
    """Average of one adaptation: the mean over groups of the mean over a group's datasets.

    Args:
        scores: Dataset, by its name in `GROUPS`, -> score.
    """
    means = [
        np.mean([scores[name] for name in names if name in scores])
        for names in GROUPS.values()
        if any(name in scores for name in names)
    ]
    return float(np.mean(means)) if means else float("nan")


def cost_weights(costs: ArrayLike) -> NDArray[np.float64]:
    """(A,) weights of the adaptations, which sum to 1; every cost has to be above 1 in its unit.

    Args:
        costs: (A,) millions of trainable parameters, or GFLOPs.
    """
    cheapness = 1 / np.log10(np.asarray(costs, np.float64))
    return np.asarray(cheapness / cheapness.sum(), np.float64)


def videoglue_score(scores: ArrayLike, costs: ArrayLike) -> float:
    """The score for one kind of cost: both (A,)."""
    return float(cost_weights(costs) @ np.asarray(scores, np.float64))
