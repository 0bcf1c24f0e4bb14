"""EPIC-KITCHENS annotation CSV (epic-kitchens/epic-kitchens-100-annotations): verb and noun classes, HH:MM:SS.ss.

Classes are named by their numbers, as the challenge's result files do: verb "5", noun "35", action "5,35".
The file gives no subset and no duration.
"""

import csv
import io
from collections.abc import Callable, Sequence

from tal.annotations.build import RawVideo, build, clock_seconds
from tal.annotations.records import Annotations
from tal.errors import AnnotationError

_NEEDED = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")


def parse_action(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records whose classes are actions "verb,noun"."""
    return _parse(text, source, "epic", classes, lambda verb, noun: f"{verb},{noun}")


def parse_verb(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records whose classes are verbs."""
    return _parse(text, source, "epic-verb", classes, lambda verb, noun: str(verb))


def parse_noun(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records whose classes are nouns."""
    return _parse(text, source, "epic-noun", classes, lambda verb, noun: str(noun))


def _parse(
    text: str, source: str, format_name: str, classes: Sequence[str] | None, name: Callable[[int, int], str]
) -> Annotations:
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in _NEEDED if column not in (reader.fieldnames or ())]
    if missing:
        raise AnnotationError(
            f"{source}: no column {', '.join(missing)}",
            expected=f"an EPIC-KITCHENS file with {', '.join(_NEEDED)}",
            cause="the test set's file, which is published without classes" if "verb_class" in missing else "",
        )
    videos: dict[str, RawVideo] = {}
    for row in reader:
        where = f"{source}: line {reader.line_num}"
        raw = videos.setdefault(row["video_id"], RawVideo(extra={"verb": [], "noun": [], "narration": []}))
        try:
            verb, noun = int(row["verb_class"]), int(row["noun_class"])
        except (TypeError, ValueError):
            given = f"verb_class {row['verb_class']!r}, noun_class {row['noun_class']!r}"
            raise AnnotationError(f"{where}: {given}", expected="two whole numbers") from None
        start_s = clock_seconds(row["start_timestamp"], where)
        raw.add(start_s, clock_seconds(row["stop_timestamp"], where), name(verb, noun))
        raw.extra["verb"].append(verb)
        raw.extra["noun"].append(noun)
        raw.extra["narration"].append(row.get("narration") or "")
    names = {label for raw in videos.values() for label in raw.names}
    order = sorted(names, key=lambda label: tuple(map(int, label.split(","))))
    return build(videos, source=source, reader=format_name, classes=classes, class_order=order)
