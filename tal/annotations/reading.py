"""The one door for annotation files: the format is told by the content, and every reader gives the same records."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tal.annotations import (
    activitynet,
    activitynet_captions,
    charades,
    charades_sta,
    ego4d,
    files,
    label_studio,
    pickles,
    tacos,
    tubes,
    ual_bench,
    via,
)
from tal.annotations.merging import documents_in, merged
from tal.annotations.records import Annotations
from tal.errors import AnnotationError
from tal.registry import Registry

FORMATS = Registry(
    "annotation format",
    {
        "activitynet": ("tal.annotations.activitynet:parse", "ActivityNet-style JSON: THUMOS14, HACS, FineAction, ..."),
        "csv": ("tal.annotations.csv:parse", "a table with video, start, end, label"),
        "epic": ("tal.annotations.epic:parse_action", "EPIC-KITCHENS CSV, action classes (verb,noun)"),
        "epic-verb": ("tal.annotations.epic:parse_verb", "EPIC-KITCHENS CSV, verb classes"),
        "epic-noun": ("tal.annotations.epic:parse_noun", "EPIC-KITCHENS CSV, noun classes"),
        "charades": ("tal.annotations.charades:parse_csv", 'Charades CSV, actions as "c092 11.90 21.20;..."'),
        "charades-json": ("tal.annotations.charades:parse_json", "{VIDEO: {actions: [[class, start, end]]}}"),
        "ego4d": ("tal.annotations.ego4d:parse", "Ego4D moments: moments_val.json, clip_annotations.json"),
        "elan": ("tal.annotations.elan:parse", "ELAN .eaf, labels are the annotations' values"),
        "elan-tier": ("tal.annotations.elan:parse_tiers", "ELAN .eaf, labels are the names of the tiers"),
        "label-studio": ("tal.annotations.label_studio:parse", "Label Studio JSON and JSON-MIN exports of videos"),
        "via": ("tal.annotations.via:parse", "VGG Image Annotator 3 projects: temporal segments"),
        "via-csv": ("tal.annotations.via:parse_csv", "VGG Image Annotator 3 CSV exports"),
        "qvhighlights": ("tal.annotations.qvhighlights:parse", "moments as JSON lines: QVHighlights, CG-DETR's copies"),
        "charades-sta": ("tal.annotations.charades_sta:parse", "moments as VIDEO START END##sentence"),
        "activitynet-captions": (
            "tal.annotations.activitynet_captions:parse",
            "moments as {VIDEO: {duration, timestamps, sentences}}",
        ),
        "tacos": ("tal.annotations.tacos:parse", "2D-TAN's TACoS JSON, timestamps in frames"),
        "ual-bench": ("tal.annotations.ual_bench:parse", "UAL-Bench JSON: one unusual moment per query"),
        "tubes": ("tal.annotations.tubes:parse", "action tubes as JSON: boxes in pixels on numbered frames"),
        "act-pickle": ("tal.annotations.tubes:parse_pickled", "action tubes as ACT's pickle: JHMDB, UCF101-24"),
    },
)
_JSON_READERS = {
    "ego4d": ego4d,  # Before ActivityNet's: one of its files looks like a database without its wrapper.
    "activitynet": activitynet,
    "charades-json": charades,
    "via": via,
    "label-studio": label_studio,
    "activitynet-captions": activitynet_captions,
    "tacos": tacos,
    "ual-bench": ual_bench,
    "tubes": tubes,
}
_PICKLED = "act-pickle"


def read_annotations(
    path: Path | str,
    *,
    format: str = "auto",  # noqa: A002
    classes: Sequence[str] | None = None,
) -> Annotations:
    """Read an annotation file, or a folder of ELAN documents.

    Args:
        path: The file.
        format: A name in `FORMATS`, or "auto" to tell by suffix and content. Pickles are read by their name only.
        classes: The class list to use; by default the file's own. Labels outside it become faults (label -1).

    Raises:
        AnnotationError: missing, empty, damaged, or of no known format.
    """
    if Path(path).is_dir():
        documents = documents_in(Path(path))
        return merged([read_annotations(each, format=format, classes=classes) for each in documents], path)
    content = files.read_bytes(path, pickles=format == _PICKLED)
    return parse_annotations(content, path, format=format, classes=classes)


def parse_annotations(
    content: bytes,
    path: Path | str,
    *,
    format: str = "auto",  # noqa: A002
    classes: Sequence[str] | None = None,
) -> Annotations:
    """`read_annotations` of a file's content that is at hand; `path` tells the suffix and is named in messages."""
    name = format
    if format != "auto":
        load = FORMATS.load(format)
        parsed = _parsed(content, path, format)
    else:
        name, parsed = _detected(content, Path(path))
        load = FORMATS.load(name)
    try:
        return load(parsed, source=str(path), classes=classes)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError, csv.Error) as error:
        raise AnnotationError(
            f"{path}: an entry cannot be read: {type(error).__name__}: {error}",
            expected=f"the {name} format: {FORMATS[name].about}",
            cause="a damaged file, or a variation of the format that is not known here",
        ) from error


def _parsed(content: bytes, path: Path | str, name: str) -> Any:
    if name == _PICKLED:
        return pickles.parse_pickle(content, path)
    return files.to_json(content, path) if name in _JSON_READERS else files.to_text(content, path)


def _detected(content: bytes, path: Path) -> tuple[str, Any]:
    """(format name, parsed content)."""
    if files.looks_like_json_lines(content):
        return "qvhighlights", files.to_text(content, path)
    if files.looks_like_json(content):
        data = files.to_json(content, path)
        return _json_format(data, path), data
    text = files.to_text(content, path)
    if text.lstrip().startswith("<"):
        if "<ANNOTATION_DOCUMENT" in text[:4000]:
            return "elan", text
        raise AnnotationError(f"{path}: XML, but not an ELAN document", expected=_expected())
    if "temporal_coordinates" in text[:4000] and "CSV_HEADER" in text[:4000]:
        return "via-csv", text
    if charades_sta.looks_like(text):
        return "charades-sta", text
    header = {cell.strip().strip('"').lower() for cell in text.splitlines()[0].split(",")}
    if {"id", "actions", "script"} <= header:
        return "charades", text
    return ("epic" if {"narration_id", "verb_class", "noun_class"} & header else "csv"), text


def _json_format(data: Any, path: Path) -> str:
    for name, reader in _JSON_READERS.items():
        if reader.looks_like(data):
            return name
    ranked = isinstance(data, list) and bool(data) and isinstance(data[0], list)  # Windows per query, in their order.
    if ranked or (isinstance(data, dict) and {"results", "database", "predictions"} & set(data)):
        raise AnnotationError(
            f"{path} holds predictions, not annotations",
            expected=_expected(),
            cause="the two files were exchanged",
            todo="give the annotations where annotations are asked for",
        )
    keys = f"an object with keys {', '.join(map(str, list(data)[:6]))}" if isinstance(data, dict) else "a list"
    raise AnnotationError(f"{path}: JSON of an unknown kind: {keys}", expected=_expected())


def _expected() -> str:
    return "annotations: " + ", ".join(FORMATS)
