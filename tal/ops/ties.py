"""The order in which reference evaluators that call NumPy's default sort leave equal scores."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def numpy_order(values: ArrayLike) -> NDArray[np.int64]:
    """(N,) indices that sort the values, of equal ones in the order of NumPy's own quicksort (introsort).

    `np.argsort` is not stable by default, and leaves equal values in another order on processors whose vector
    instructions it uses (AVX2, AVX-512). Numbers that were published, or computed by NumPy before 1.25, mostly stand on
    the portable algorithm. NumPy has no vector code for its long doubles, so that these give that order everywhere.

    Args:
        values: (N,) without NaN.
    """
    return np.argsort(np.asarray(values, np.longdouble))
