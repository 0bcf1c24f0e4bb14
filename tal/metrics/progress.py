"""Progress of a task, a value per frame: does it rise in the order of time? Arrays in, numbers out."""

import numpy as np
from numpy.typing import ArrayLike

from tal.metrics.quality import srcc


def value_order_correlation(values: ArrayLike, *, nearly_constant: bool = False) -> float:
    """Spearman's rank correlation between values in chronological order and their positions, in [-1, 1].

    GVL (arXiv 2411.04549); budzianowski/opengvl, opengvl/metrics/voc.py.

    Args:
        values: (T,) predicted progress of the frames, first frame first; equal values share the average of their ranks.
        nearly_constant: Call values undefined that are all close to the first one (`numpy.allclose`), as OpenGVL does,
            instead of only equal ones.

    Returns:
        NaN where it is undefined: fewer than two values, or a constant.
    """
    v = np.asarray(values, np.float64)
    if len(v) < 2 or (nearly_constant and np.allclose(v, v[0])):
        return float("nan")
    return srcc(v, np.arange(len(v)))
