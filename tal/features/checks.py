"""What every feature array must be before it is used or written."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError


def checked(
    array: NDArray[np.generic],
    *,
    name: str,
    width: int | None,
    nan: Literal["error", "zero"] = "error",
    first_idx: int = 0,
) -> NDArray[np.float32]:
    """The array as float32 (T, C) or (T, tokens, C), or an error that says what is wrong with it.

    Args:
        array: As read.
        name: The file or video, for messages.
        width: C that is expected; None accepts any.
        nan: What to do with NaN: refuse, or put 0.
        first_idx: Row of the video that the array begins with, for messages.

    Raises:
        FeatureError: not floating point, not 2 or 3 axes, empty, of another width, or with NaN or infinity.
    """
    if array.dtype.kind != "f":
        raise FeatureError(f"{name}: features of type {array.dtype}", expected="float16, float32 or float64")
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise FeatureError(
            f"{name}: features of shape {array.shape}", expected="(T, C), one row per snippet, neither of them 0"
        )
    if width is not None and array.shape[-1] != width:
        swapped = array.ndim == 2 and array.shape[0] == width
        raise FeatureError(
            f"{name}: features of shape {array.shape}, width {array.shape[-1]}",
            expected=f"width {width}",
            cause="the axes are (C, T)" if swapped else "features of another backbone",
            todo='describe the folder with axes="CT"' if swapped else "",
        )
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    if nan == "zero":
        single = np.where(np.isnan(single), np.float32(0), single)
    if not np.isfinite(single).all():
        bad = ~np.isfinite(single)
        rows = np.flatnonzero(bad.reshape(len(single), -1).any(axis=1))
        raise FeatureError(
            f"{name}: {int(bad.sum())} of {single.size} values are NaN or infinite, first in row {first_idx + rows[0]}",
            expected="finite numbers",
            cause="an overflow in half precision, or joints that were not detected",
            todo='extract again in float32, or say nan="zero" if missing values are meant' if nan == "error" else "",
        )
    return single
