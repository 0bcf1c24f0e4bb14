"""ELAN documents (.eaf), one video each (mpi.nl/tools/elan/EAF_Annotation_Format_3.0).

An annotation's label is its value, or its tier's name where that is empty. For people who make a tier per class and
write remarks into it, the format "elan-tier" always takes the tier's name. The tier is kept in `extra["tier"]`, the
value in `extra["value"]`.
A time slot without a value lies evenly spaced between its neighbours in its tier, as ELAN itself shows it. An
annotation that refers to another one has that one's time.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import quoteattr

import numpy as np

from tal.annotations.build import RawVideo, build
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations
from tal.atomic import write_text
from tal.errors import AnnotationError
from tal.segments import Segments

Span = tuple[float, float]


def parse(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """One record from an ELAN document; labels are the annotations' values.

    Raises:
        AnnotationError: not well-formed, not ELAN, with entity declarations, or times in units other than milliseconds.
    """
    return _parse(text, source, "elan", classes)


def parse_tiers(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """As `parse`, but labels are the names of the tiers."""
    return _parse(text, source, "elan-tier", classes)


def _parse(text: str, source: str, format_name: str, classes: Sequence[str] | None) -> Annotations:
    root = _document(text, source)
    header = root.find("HEADER")
    units = "milliseconds" if header is None else header.get("TIME_UNITS", "milliseconds")
    if units != "milliseconds":
        raise AnnotationError(f"{source}: times in {units}", expected="milliseconds, which ELAN writes by default")
    media, origin_s = _media(root, source)
    tiers = root.findall("TIER")
    times = _slot_times(root, tiers, source)
    spans = _alignable_spans(tiers, times)
    raw = RawVideo(path=media or None, extra={"tier": [], "value": []})
    for tier in tiers:
        name = tier.get("TIER_ID", "")
        for annotation in tier.iterfind("ANNOTATION/*"):
            start_s, end_s = _span(annotation, spans, root, source)
            value = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            raw.add(start_s + origin_s, end_s + origin_s, name if format_name == "elan-tier" else value or name)
            raw.extra["tier"].append(name)
            raw.extra["value"].append(value)
    video = video_id(Path(media).name) if media else Path(source).stem
    return build({video: raw}, source=source, reader=format_name, classes=classes)


def _document(text: str, source: str) -> ElementTree.Element:
    if re.search(r"<!\s*(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise AnnotationError(
            f"{source}: XML with a document type or entities",
            expected="a plain ELAN document, which has neither",
            cause="a file made to expand without end, or not ELAN's",
        )
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        raise AnnotationError(f"{source}: not well-formed XML: {error}", cause="the file is truncated") from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(f"{source}: XML of {root.tag}", expected="an ELAN document (ANNOTATION_DOCUMENT)")
    return root


def _media(root: ElementTree.Element, source: str) -> tuple[str, float]:
    """(path of the first video that the header names, seconds to add for its time origin)."""
    descriptors = root.findall("HEADER/MEDIA_DESCRIPTOR")
    videos = [each for each in descriptors if each.get("MIME_TYPE", "").startswith("video")] or descriptors
    if not videos:
        return "", 0.0
    url = videos[0].get("RELATIVE_MEDIA_URL") or videos[0].get("MEDIA_URL") or ""
    origin = videos[0].get("TIME_ORIGIN") or "0"
    return unquote(url.removeprefix("file://")), _milliseconds(origin, source)


def _milliseconds(text: str, source: str) -> float:
    try:
        return float(text) / 1000
    except ValueError:
        raise AnnotationError(f"{source}: a time of {text!r}", expected="milliseconds") from None


def _slot_times(root: ElementTree.Element, tiers: Sequence[ElementTree.Element], source: str) -> dict[str, float]:
    """Slot id -> seconds; slots without a value are spaced evenly along their tier's chain of annotations."""
    slots = {slot.get("TIME_SLOT_ID", ""): slot.get("TIME_VALUE") for slot in root.iterfind("TIME_ORDER/TIME_SLOT")}
    times = {name: _milliseconds(value, source) for name, value in slots.items() if value is not None}
    for tier in tiers:
        pairs = [
            (each.get("TIME_SLOT_REF1", ""), each.get("TIME_SLOT_REF2", ""))
            for each in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION")
        ]
        following = dict(pairs)
        for first, _ in pairs:
            chain = [first]
            while first in times and chain[-1] in following and len(chain) <= len(pairs):
                chain.append(following[chain[-1]])
                if chain[-1] in times:
                    break
            if len(chain) > 2 and chain[-1] in times:
                step = (times[chain[-1]] - times[chain[0]]) / (len(chain) - 1)
                times |= {slot: times[chain[0]] + step * position for position, slot in enumerate(chain[1:-1], 1)}
    return times


def _alignable_spans(tiers: Sequence[ElementTree.Element], times: Mapping[str, float]) -> dict[str, Span]:
    """Annotation id -> (start, end); NaN where a slot has no time at all, which is counted as a fault later."""
    nan = float("nan")
    return {
        each.get("ANNOTATION_ID", ""): (
            times.get(each.get("TIME_SLOT_REF1", ""), nan),
            times.get(each.get("TIME_SLOT_REF2", ""), nan),
        )
        for tier in tiers
        for each in tier.iterfind("ANNOTATION/ALIGNABLE_ANNOTATION")
    }


def _span(annotation: ElementTree.Element, spans: Mapping[str, Span], root: ElementTree.Element, source: str) -> Span:
    name, parents = annotation.get("ANNOTATION_ID", ""), None
    for _ in range(100):
        if name in spans:
            return spans[name]
        if parents is None:
            refs = root.iterfind("TIER/ANNOTATION/REF_ANNOTATION")
            parents = {each.get("ANNOTATION_ID", ""): each.get("ANNOTATION_REF", "") for each in refs}
        if name not in parents:
            break
        name = parents[name]
    raise AnnotationError(f"{source}: annotation {annotation.get('ANNOTATION_ID')!r} refers to none that has a time")


def write(path: Path | str, video: str, segments: Segments, *, media: str | None = None) -> None:
    """Write one video's segments as an ELAN document: a tier per class, the score as the annotation's value.

    Segments without a label are in the tier "segment".
    """
    slots, tiers, count = [], [], 0
    names = np.array([name or "segment" for name in segments.names], object)
    for name in dict.fromkeys([*segments.classes, "segment"]):
        rows = segments[names == name]
        annotations = []
        for start_s, end_s, score in zip(rows.start_s, rows.end_s, rows.score, strict=True):
            first, last = 2 * count + 1, 2 * count + 2
            for slot, time_s in ((first, start_s), (last, end_s)):
                value = max(0, round(1000 * float(time_s)))
                slots.append(f'<TIME_SLOT TIME_SLOT_ID="ts{slot}" TIME_VALUE="{value}"/>')
            count += 1
            annotations.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{count}" TIME_SLOT_REF1="ts{first}" '
                f'TIME_SLOT_REF2="ts{last}"><ANNOTATION_VALUE>{score:.3f}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        if annotations:
            body = "\n".join(annotations)
            tiers.append(f'<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID={quoteattr(name)}>\n{body}\n</TIER>')
    url = quoteattr(media or f"{video}.mp4")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<ANNOTATION_DOCUMENT AUTHOR="tal" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">',
        '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">',
        f'<MEDIA_DESCRIPTOR MEDIA_URL={url} MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL={url}/>',
        "</HEADER>",
        "<TIME_ORDER>",
        *slots,
        "</TIME_ORDER>",
        *tiers,
        '<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>',
        "</ANNOTATION_DOCUMENT>",
    ]
    write_text(Path(path), "\n".join(lines) + "\n")
