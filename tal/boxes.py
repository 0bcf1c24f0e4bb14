"""Boxes on keyframes and tubes: the spatial sibling of segments."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tube:
    """One actor's box over time.

    Args:
        actor: Who; unique within the video.
        label: The action's class name; "" for the actor's whole track.
        times_s: (N,) seconds, increasing.
        boxes: (N, 4) left, top, right, bottom as fractions of the frame's width and height.

    Raises:
        TalError: times and boxes of different lengths, or times that do not increase.
    """

    actor: str
    label: str = ""
    times_s: Floats
    boxes: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "times_s", np.asarray(self.times_s, np.float64).reshape(-1))
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float64).reshape(-1, 4))
        if len(self.times_s) != len(self.boxes):
            raise TalError(f"tube of {len(self.times_s)} times and {len(self.boxes)} boxes")
        if np.any(np.diff(self.times_s) <= 0):
            raise TalError(f"tube of actor {self.actor!r}: times do not increase")

    def __len__(self) -> int:
        return len(self.times_s)
