"""Labels of whole videos: the lists and tables that recognition benchmarks publish.

Read are rows with `video` and `label` (JSON, JSON lines, CSV; several rows or a list give several labels), Kinetics'
CSV, Something-Something's and Diving48's JSON, lists of `path label ...` as mmaction2, SlowFast and UCF101 have them,
and annotations of segments (ActivityNet JSON, Charades CSV), whose labels become those of the video.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.annotations import activitynet, files
from tal.annotations.csv import video_id
from tal.annotations.reading import parse_annotations
from tal.annotations.records import Annotations
from tal.annotations.rows import VALUE, Row, parse_rows
from tal.annotations.subsets import in_subset
from tal.errors import AnnotationError

_LABEL_NAMES = ("labels", "label", "template", "class", "class_name", "action", "activity", VALUE)
_CLASS_NUMBER = re.compile(r"c?(\d+)")


def parse_labels(content: bytes, path: Path | str, *, subset: str | None = None) -> dict[str, tuple[str, ...]]:
    """Video -> its labels, in the file's order; numbers of classes stay their text.

    Args:
        content: The file's content.
        path: Named in messages; an `.txt` is a list.
        subset: The split, in any case, where the file has several.

    Raises:
        AnnotationError: not readable, an entry without label, or several splits and none chosen.
    """
    if _holds_segments(content, path):
        return labels_of(parse_annotations(content, path), subset)
    if not files.looks_like_json(content) and _is_list(files.to_text(content, path)):
        return _from_list(files.to_text(content, path), str(path))
    rows = parse_rows(content, path)
    wanted = _split(rows, subset, str(path))
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        if not row.id:
            raise AnnotationError(f"{row.where} names no video", expected="an id in every entry")
        if wanted is None or str(row.first(("subset", "split")) or "").lower() == wanted:
            found.setdefault(row.id, {}).update(dict.fromkeys(_labels(row)))
    return {video: tuple(labels) for video, labels in found.items()}


def labels_of(annotations: Annotations, subset: str | None = None) -> dict[str, tuple[str, ...]]:
    """Video -> the labels of its segments, each once, in order."""
    return {
        video: tuple(dict.fromkeys(name for name in record.instances.names if name))
        for video, record in in_subset(annotations, subset).items()
    }


def parse_classes(content: bytes, path: Path | str) -> tuple[tuple[str, ...], dict[str, int]]:
    """(class names in the order of the scores, every way to name a class -> its index) of a file that lists them.

    Read are JSON (a list, or {name: index} as Something-Something has it) and text of one class per line, numbered
    from 0 or 1 or not; Charades' `c000 Holding some clothes` too.

    Raises:
        AnnotationError: not readable as that, or a name that stands twice.
    """
    if files.looks_like_json(content):
        data = files.to_json(content, path)
        try:
            names = sorted(data, key=lambda name: int(data[name])) if isinstance(data, dict) else list(map(str, data))
        except (TypeError, ValueError):
            raise AnnotationError(f"{path}: no list of classes", expected="[name, ...] or {name: index}") from None
        numbers = [int(data[name]) for name in names] if isinstance(data, dict) else list(range(len(names)))
        if numbers != list(range(len(names))):
            raise AnnotationError(f"{path}: indices of classes have gaps", expected=f"0 to {len(names) - 1}")
        tokens: list[str] = []
    else:
        lines = [line.strip() for line in files.to_text(content, path).splitlines() if line.strip()]
        tokens, names = _numbered(lines)
    index = {name: position for position, name in enumerate(names)}
    if len(index) < len(names):
        raise AnnotationError(f"{path}: a class name stands twice", expected="every class once")
    if not tokens or not tokens[0].isdigit():
        tokens += map(str, range(len(names)))  # Without numbers of its own, or with Charades', a class has its place.
    return tuple(names), {token: position % len(names) for position, token in enumerate(tokens)} | index


def _numbered(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """(the numbers that stand before the names, the names); no numbers where the lines are not numbered."""
    split = [re.split(r"[\s,;]+", line, maxsplit=1) for line in lines]
    matches = [_CLASS_NUMBER.fullmatch(parts[0]) for parts in split]
    numbers = [int(match[1]) for match in matches if match]
    counted = (list(range(len(lines))), list(range(1, len(lines) + 1)))
    if numbers in counted and all(len(parts) == 2 for parts in split):
        return [parts[0] for parts in split], [parts[1] for parts in split]
    return [], list(lines)


def _holds_segments(content: bytes, path: Path | str) -> bool:
    if not files.looks_like_json(content):
        header = files.to_text(content, path).splitlines()[0].lower().split(",")
        return {"id", "actions"} <= {cell.strip().strip('"') for cell in header}
    return not files.looks_like_json_lines(content) and activitynet.looks_like(files.to_json(content, path))


def _is_list(text: str) -> bool:
    """Whether the first line is an entry and no header: a path, or something followed by a number."""
    first = re.split(r"[\s,]+", text.splitlines()[0].strip())
    return "/" in first[0] or video_id(first[0]) != first[0] or (len(first) > 1 and first[-1].isdigit())


def _from_list(text: str, source: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        tokens = re.split(r"[\s,]+", line.strip())
        if tokens == [""]:
            continue
        path, labels = tokens[0], tokens[1:]
        video = video_id(path)
        if video == path and len(labels) > 1:
            labels = labels[1:]  # A folder of frames, whose number of frames comes first.
        if not labels and "/" in path:
            labels = [path.replace("\\", "/").split("/")[-2]]  # UCF101 and HMDB51: the folder is the class.
        if not labels:
            raise AnnotationError(f"{source}: line {number} has no label: {line!r:.80}", expected="path label ...")
        if video in found:
            raise AnnotationError(f"{source}: line {number}: {video!r} stands twice", todo="remove one of the two")
        found[video] = tuple(dict.fromkeys(labels))
    return found


def _labels(row: Row) -> list[str]:
    """The labels of one row; none where the cell is an empty list."""
    value: Any = row.needed(_LABEL_NAMES)
    if isinstance(row.cells.get("template"), str):
        value = row.cells["template"].replace("[", "").replace("]", "")  # Something-Something: the class, as listed.
    if isinstance(row.cells.get("labels"), str):
        value = [each.strip() for each in row.cells["labels"].split(";") if each.strip()]
    values = value if isinstance(value, list) else [value]
    if any(not isinstance(each, str | int) for each in values):
        raise AnnotationError(f"{row.where}: a label of {value!r:.80}", expected="a class name or number, or a list")
    return [str(each) for each in values]


def _split(rows: Sequence[Row], subset: str | None, source: str) -> str | None:
    """The split to keep, in lower case; None for all."""
    names: Mapping[str, None] = dict.fromkeys(str(row.first(("subset", "split")) or "").lower() for row in rows)
    if (subset is None and len(names) > 1) or (subset is not None and subset.lower() not in names):
        raise AnnotationError(
            f"{source}: {'several subsets and none chosen' if subset is None else f'no entry of subset {subset!r}'}",
            expected="one of " + ", ".join(name or "(none)" for name in sorted(names)),
            todo="choose it with --subset",
        )
    return None if subset is None else subset.lower()
