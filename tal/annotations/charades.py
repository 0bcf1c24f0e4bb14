"""Charades: the published CSV, and the JSON of per-frame methods, which MultiTHUMOS has too.

CSV: one row per video, `actions` as "c092 11.90 21.20;c147 0.00 12.60" (seconds), `length` the duration. The split is
the file, so the records have none. JSON (piergiaj/super-events-cvpr18): {VIDEO: {"subset", "duration", "actions":
[[class, start, end]]}} with classes by number.
"""

import csv
import io
from collections.abc import Sequence
from typing import Any

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.records import Annotations
from tal.errors import AnnotationError

_NEEDED = ("id", "actions")


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is of this kind."""
    entries = list(data.values())[:50] if isinstance(data, dict) else []
    return bool(entries) and all(
        isinstance(entry, dict) and isinstance(entry.get("actions"), list) for entry in entries
    )


def parse_json(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from parsed JSON; classes are named by their numbers and ordered by them.

    Raises:
        AnnotationError: not of this kind, or an entry that cannot be read.
    """
    if not looks_like(data):
        raise AnnotationError(
            f"{source}: no lists of actions per video", expected='{VIDEO: {"actions": [[class, start, end]]}}'
        )
    videos = {}
    for video, entry in data.items():
        where = f"{source}: video {video!r}"
        duration_s = None if entry.get("duration") is None else seconds(entry["duration"], where)
        raw = videos[str(video)] = RawVideo(subset=str(entry.get("subset") or ""), duration_s=duration_s)
        for row in entry["actions"]:
            if not isinstance(row, list) or len(row) != 3:
                raise AnnotationError(f"{where}: action {row!r}", expected="[class, start, end]")
            raw.add(seconds(row[1], where), seconds(row[2], where), str(row[0]))
    order = sorted({name for raw in videos.values() for name in raw.names}, key=lambda name: (len(name), name))
    return build(videos, source=source, reader="charades-json", classes=classes, class_order=order)


def parse_csv(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from the published CSV.

    Raises:
        AnnotationError: a column is missing, or an action is not "class start end".
    """
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
    if missing:
        raise AnnotationError(
            f"{source}: no column {', '.join(missing)}", expected="Charades_v1_train.csv or _test.csv"
        )
    videos = {}
    for row in reader:
        where = f"{source}: line {reader.line_num}"
        if not (row["id"] or "").strip() and not any(map(str.strip, filter(None, row.values()))):
            continue
        if row["actions"] is None:
            raise AnnotationError(f"{where} ends before the column actions", cause="the file is truncated")
        if row["id"] in videos:
            raise AnnotationError(f"{where}: video {row['id']!r} a second time", expected="every video once")
        raw = videos[row["id"]] = RawVideo(duration_s=seconds(row["length"], where) if row.get("length") else None)
        for action in filter(None, row["actions"].split(";")):
            parts = action.split()
            if len(parts) != 3:
                raise AnnotationError(f"{where}: action {action!r}", expected='"c092 11.90 21.20"')
            raw.add(seconds(parts[1], where), seconds(parts[2], where), parts[0])
    return build(videos, source=source, reader="charades", classes=classes)
