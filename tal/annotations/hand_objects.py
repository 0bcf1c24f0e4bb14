"""Hands and their objects on images: {IMAGE: [{"hand": [left, top, right, bottom], "object": box or null, ...}]}.

The published files are Python pickles; this is their content as JSON. Pixels. Predictions add `score`, or `hand_score`,
`contact` and `object_score` (1 where it is left out), from which the score follows. A box of four zeros is no box.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal.annotations.rows import VALUE, number, parse_rows
from tal.errors import AnnotationError

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class HandObject:
    """One entry.

    Args:
        hand: Its box; None if the file gives none.
        object: Its box; None if the hand holds nothing.
        scores: What of `score`, `hand_score`, `contact` and `object_score` the file gives.
        where: File and place, for messages.
    """

    hand: Box | None
    object: Box | None
    scores: Mapping[str, float]
    where: str


_SCORES = ("score", "hand_score", "contact", "object_score")


def parse_hand_objects(content: bytes, path: Path | str) -> dict[str, list[HandObject]]:
    """Image -> its entries, in the file's order.

    Raises:
        AnnotationError: not readable, a box that is reversed or no four numbers, or a score that is none.
    """
    return hand_objects_of({row.id: row.cells.get(VALUE) for row in parse_rows(content, path)}, str(path))


def hand_objects_of(given: Mapping[str, Any], source: str) -> dict[str, list[HandObject]]:
    """The same of what is in memory."""
    found = {}
    for image, entries in given.items():
        if not isinstance(entries, list) or not all(isinstance(each, Mapping) for each in entries) or not image:
            raise AnnotationError(
                f"{source}: {image!r} is {entries!r:.80}",
                expected='{IMAGE: [{"hand": [left, top, right, bottom], "object": box or null}]}',
            )
        found[image] = [_entry(each, f"{source}: {image!r}, {place}") for place, each in enumerate(entries)]
    return found


def _entry(entry: Mapping[str, Any], where: str) -> HandObject:
    return HandObject(
        hand=_box(entry.get("hand"), f"{where}: hand"),
        object=_box(entry.get("object"), f"{where}: object"),
        scores={name: number(entry[name], f"{where}: {name}") for name in _SCORES if name in entry},
        where=where,
    )


def _box(value: Any, where: str) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise AnnotationError(f"{where} is {value!r:.80}", expected="[left, top, right, bottom], or null")
    left, top, right, bottom = (number(each, where) for each in value)
    if not any((left, top, right, bottom)):
        return None
    if right < left or bottom < top:
        raise AnnotationError(f"{where}: a reversed box {list(value)}", expected="left <= right and top <= bottom")
    return left, top, right, bottom
