"""VGG Image Annotator 3, project (.json) or export (.csv): temporal segments (robots.ox.ac.uk/~vgg/software/via).

A metadata entry with two times in `z` and no region in `xy` is an instance; its label is its first attribute that has a
value (an option's text where the attribute has options; a checkbox's several options are several instances).
"""

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations
from tal.errors import AnnotationError

_logger = logging.getLogger(__name__)


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is a VIA project, of version 2 (refused by `parse`) or 3."""
    return isinstance(data, dict) and ({"metadata", "file", "attribute"} <= set(data) or "_via_img_metadata" in data)


def parse_csv(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from a CSV export, whose header is a comment; an option's number stands there instead of its text.

    Raises:
        AnnotationError: no header, or a row that cannot be read.
    """
    header = next((line for line in text.splitlines() if line.replace(" ", "").startswith("#CSV_HEADER=")), "")
    columns = [name.strip() for name in header.partition("=")[2].split(",")]
    if "temporal_coordinates" not in columns:
        raise AnnotationError(f"{source}: no temporal_coordinates in the header", expected="the CSV export of VIA 3")
    videos: dict[str, RawVideo] = {}
    skipped = 0
    for cells in csv.reader(line for line in text.splitlines() if line.strip() and not line.startswith("#")):
        row = dict(zip(columns, cells, strict=False))
        name = json.loads(row["file_list"])[0]
        raw = videos.setdefault(video_id(name.rsplit("/", 1)[-1]), RawVideo(path=name))
        times = json.loads(row["temporal_coordinates"])
        if len(times) != 2 or json.loads(row.get("spatial_coordinates") or "[]"):
            skipped += 1
            continue
        label = next((str(value) for value in json.loads(row["metadata"]).values() if value != ""), "")
        raw.add(seconds(times[0], source), seconds(times[1], source), label)
    _tell_skipped(source, skipped)
    return build(videos, source=source, reader="via-csv", classes=classes)


def _tell_skipped(source: str, skipped: int) -> None:
    if skipped:
        _logger.warning("%s: %d regions and single frames were left out: they are not segments", source, skipped)


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from parsed JSON.

    Raises:
        AnnotationError: a VIA 2 project, or an entry that cannot be read.
    """
    if not looks_like(data) or "_via_img_metadata" in data:
        raise AnnotationError(
            f"{source}: not a VIA 3 project",
            expected="the project JSON of VIA 3 (file, attribute, metadata)",
            cause="VIA 2 annotates images and has no time" if isinstance(data, dict) else "",
        )
    views = data.get("view") or {}
    names = {fid: str(entry.get("fname") or entry.get("src") or "") for fid, entry in data["file"].items()}
    videos: dict[str, RawVideo] = {}
    of_view: dict[str, str] = {}
    for view in views or names:
        fids = (views.get(view) or {}).get("fid_list") or [view]
        name = names.get(str(fids[0]), "")
        if not name:
            raise AnnotationError(f"{source}: view {view!r} names no file")
        of_view[str(view)] = video_id(name.rsplit("/", 1)[-1])
        videos.setdefault(of_view[str(view)], RawVideo(path=name))
    skipped = 0
    for key, entry in data["metadata"].items():
        times = entry.get("z") or []
        if len(times) != 2 or entry.get("xy"):
            skipped += 1
            continue
        where = f"{source}: metadata {key!r}"
        video = of_view.get(str(entry.get("vid")))
        if video is None:
            raise AnnotationError(f"{where}: of view {entry.get('vid')!r}, which the project does not have")
        for label in _labels(entry.get("av") or {}, data["attribute"]):
            videos[video].add(seconds(times[0], where), seconds(times[1], where), label)
    _tell_skipped(source, skipped)
    return build(videos, source=source, reader="via", classes=classes)


def _labels(values: Mapping[str, Any], attributes: Mapping[str, Any]) -> list[str]:
    """Class names of one entry: of the first attribute, in the project's order, that has a value."""
    for attribute_id, attribute in attributes.items():
        value = str(values.get(attribute_id, "")).strip()
        if not value:
            continue
        options = attribute.get("options") or {}
        if value in options:
            return [str(options[value])]
        parts = value.split(",")
        if len(parts) > 1 and all(part in options for part in parts):
            return [str(options[part]) for part in parts]
        return [value]
    return [""]
