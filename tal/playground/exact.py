"""Chance and trigonometry that give the same bits on every machine.

`random.Random.random()` keeps its stream between Python versions (its other methods and NumPy's generators need not),
and addition, multiplication and division are exact to the bit by IEEE 754, which a C library's `sin` is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")

_RADIANS_PER_DEGREE = 0.017453292519943295


class Dice:
    """A stream of chance that depends on its names only.

    Args:
        names: What the stream is for; other names give an independent stream.
    """

    def __init__(self, *names: object) -> None:
        self._names = names
        self._random = Random("/".join(str(name) for name in names)).random

    def child(self, *names: object) -> Dice:
        """An independent stream for a part of what this one is for."""
        return Dice(*self._names, *names)

    def between(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * self._random()

    def whole(self, low: int, high: int) -> int:
        """A whole number from low to high, both included."""
        return low + int((high - low + 1) * self._random())

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[int(len(items) * self._random())]

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """All items in a random order."""
        rest = list(items)
        return [rest.pop(int(len(rest) * self._random())) for _ in items]


def sin_deg(degrees: float) -> float:
    """Sine of an angle in degrees, within 1e-9, from additions and multiplications only."""
    turned = degrees % 360.0
    if turned > 180.0:
        return -sin_deg(turned - 180.0)
    x = (turned if turned <= 90.0 else 180.0 - turned) * _RADIANS_PER_DEGREE
    square = x * x
    # Taylor's series up to x^13 on [0, pi/2]
    series = 1.0 - square / 156.0
    for divisor in (110.0, 72.0, 42.0, 20.0, 6.0):
        series = 1.0 - square / divisor * series
    return x * series


def cos_deg(degrees: float) -> float:
    """Cosine of an angle in degrees, within 1e-9."""
    return sin_deg(degrees + 90.0)


def smooth(fraction: float) -> float:
    """0 to 1 with rest at both ends, for a fraction in [0, 1] (outside it is clipped)."""
    if fraction <= 0.0:
        return 0.0
    return 1.0 if fraction >= 1.0 else fraction * fraction * (3.0 - 2.0 * fraction)
