"""What players and annotation tools show of segments: whole milliseconds from 0, text without control characters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.segments import Segments

Mask = NDArray[np.bool_]

NO_LABEL = "segment"
"""What a segment without a class is called where a name is needed."""

_LONGEST_MS = 2**32 - 1  # ELAN's times are unsigned 32-bit integers
_NOT_PLAIN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One segment as a tool shows it: `start_ms` is below `end_ms`, `name` is "" for a segment without a class."""

    start_ms: int
    end_ms: int
    name: str
    score: float


def has_place(segments: Segments) -> Mask:
    """(N,) which segments have a place in a video: times that are numbers, in order, and an end from 0 to 49 days."""
    return (segments.end_s >= segments.start_s) & (segments.end_s >= 0) & (segments.end_s <= _LONGEST_MS / 1000)


def shown(segments: Segments) -> Iterator[Shown]:
    """The segments that can be shown, in order of start and end.

    Starts before 0 are clipped. Segments without a place are left out, and those of which no millisecond is left: a
    caller that counts knows how many.
    """
    placed = segments[has_place(segments)]
    start_ms, end_ms = np.round(1000 * placed.start_s.clip(0)), np.round(1000 * placed.end_s)
    names = placed.names
    for row in np.lexsort((end_ms, start_ms)).tolist():
        if start_ms[row] < end_ms[row]:
            times = {"start_ms": int(start_ms[row]), "end_ms": int(end_ms[row])}
            yield Shown(**times, name=names[row], score=float(placed.score[row]))


def plain(text: str) -> str:
    """Text that every file can hold: control characters, but for tabs and line ends, and code points that are no
    characters become U+FFFD."""
    return _NOT_PLAIN.sub(_REPLACEMENT, text)


def one_line(text: str) -> str:
    """`plain` text in one line, single blanks between its words."""
    return plain(" ".join(text.split()))
