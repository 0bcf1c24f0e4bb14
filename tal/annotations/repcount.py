"""RepCount's CSV (SvipRepetitionCounting/TransRAC): one row per video with its count and the cycles' frames.

The header is `type,name,count,L1,L2,...`, often after a column of row numbers; L(2k-1) and L(2k) are the first and the
last frame of cycle k. The file gives no frame rate, so cycles stay in frames. Class names are written in several ways.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tal.annotations import files
from tal.annotations.rows import Row, number, parse_rows
from tal.errors import AnnotationError

ALIASES = {
    "battlerope": "battle_rope",
    "benchpressing": "bench_pressing",
    "frontraise": "front_raise",
    "jumpjacks": "jump_jack",
    "jumpingjack": "jump_jack",
    "pommelhorse": "pommel_horse",
    "pullups": "pull_up",
    "pushups": "push_up",
    "situp": "sit_up",
    "situps": "sit_up",
    "squant": "squat",
}
"""A class as the files write it -> its one name."""


@dataclass(frozen=True, kw_only=True)
class RepCountVideo:
    """One row.

    Args:
        video: The file's name without suffix.
        action: The class, by its one name; "" where the row has none.
        count: The column `count`; None where it is empty.
        cycles: (first frame, last frame) of each cycle.
    """

    video: str
    action: str
    count: int | None
    cycles: tuple[tuple[int, int], ...]


def looks_like(content: bytes) -> bool:
    """Whether the header is RepCount's."""
    if files.looks_like_json(content):
        return False
    header = {cell.strip() for cell in content[:4000].split(b"\n")[0].decode("utf-8", "replace").split(",")}
    return {"type", "name", "count", "L1", "L2"} <= header


def parse(content: bytes, path: Path | str) -> dict[str, RepCountVideo]:
    """Video -> its row.

    Raises:
        AnnotationError: not RepCount's CSV, an uneven number of boundaries, or a video that stands twice.
    """
    if not looks_like(content):
        raise AnnotationError(f"{path}: not RepCount's CSV", expected="a header with type, name, count, L1, L2, ...")
    videos: dict[str, RepCountVideo] = {}
    for row in parse_rows(content, path, ids=("name",)):
        if row.id in videos:
            raise AnnotationError(f"{row.where}: video {row.id!r} stands twice", todo="remove one of the two")
        videos[row.id] = RepCountVideo(
            video=row.id, action=_action(row.cells), count=_count(row), cycles=_cycles(row.cells, row.where)
        )
    return videos


def _action(cells: Mapping[str, str]) -> str:
    name = cells["type"].strip().lower().replace(" ", "_").replace("-", "_")
    return ALIASES.get(name.replace("_", ""), name)


def _count(row: Row) -> int | None:
    return round(number(row.cells["count"], row.where)) if row.cells["count"] else None


def _cycles(cells: Mapping[str, str], where: str) -> tuple[tuple[int, int], ...]:
    names = sorted((name for name in cells if name[:1] == "L" and name[1:].isdigit()), key=lambda name: int(name[1:]))
    frames = [round(number(cells[name], where)) for name in names if cells[name]]
    if len(frames) % 2:
        raise AnnotationError(f"{where}: {len(frames)} boundaries", expected="two for every cycle")
    return tuple(zip(frames[::2], frames[1::2], strict=True))
