"""Which frame answers for a time."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

TIE_S = 1e-6
"""Distances that differ by less are equal: of two frames as near the earlier one is taken."""


def nearest_idx(times_s: NDArray[np.float64], wanted_s: ArrayLike) -> NDArray[np.int64]:
    """(M,) position of the frame nearest to each wanted time, the earlier one of two.

    Args:
        times_s: (N,) sorted frame times, at least one.
        wanted_s: (M,) in any order.
    """
    wanted = np.asarray(wanted_s, np.float64)
    later = np.searchsorted(times_s, wanted).clip(min(1, len(times_s) - 1), len(times_s) - 1)
    earlier = np.maximum(later - 1, 0)
    return np.where(wanted - times_s[earlier] <= times_s[later] - wanted + TIE_S, earlier, later)
