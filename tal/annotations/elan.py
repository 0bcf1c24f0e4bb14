"""ELAN documents (.eaf), one video each (mpi.nl/tools/elan/EAF_Annotation_Format_3.0).

An annotation's label is its value, or its tier's name where that is empty. For people who make a tier per class and
write remarks into it, the format "elan-tier" always takes the tier's name. The tier is kept in `extra["tier"]`, the
value in `extra["value"]`.
A time slot without a value lies evenly spaced between its neighbours in its tier, as ELAN itself shows it. An
annotation that refers to another one has that one's time; in a tier of linguistic type "tal-score", as the writer makes
them, it is that one's score.
"""

import mimetypes
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape, quoteattr

from tal.annotations.build import RawVideo, build
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations
from tal.annotations.showing import NO_LABEL, Shown, one_line, plain, shown
from tal.atomic import write_text
from tal.errors import AnnotationError
from tal.segments import Segments

Span = tuple[float, float]

_SEGMENT_TYPE, _SCORE_TYPE = "default-lt", "tal-score"
_VIDEO_PROPERTY = "tal:video"


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
    scores = _scores(tiers, source)
    raw = RawVideo(path=media or None, extra={"tier": [], "value": []}, score=[] if scores else None)
    for tier in tiers:
        if _is_scores(tier):
            continue
        name = tier.get("TIER_ID", "")
        for annotation in tier.iterfind("ANNOTATION/*"):
            start_s, end_s = _span(annotation, spans, root, source)
            value = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            raw.add(start_s + origin_s, end_s + origin_s, name if format_name == "elan-tier" else value or name)
            raw.extra["tier"].append(name)
            raw.extra["value"].append(value)
            if raw.score is not None:
                raw.score.append(scores.get(annotation.get("ANNOTATION_ID", ""), 1.0))
    video = root.findtext(f"HEADER/PROPERTY[@NAME='{_VIDEO_PROPERTY}']") or (
        video_id(Path(media).name) if media else Path(source).stem
    )
    return build({video: raw}, source=source, reader=format_name, classes=classes)


def _is_scores(tier: ElementTree.Element) -> bool:
    return tier.get("LINGUISTIC_TYPE_REF") == _SCORE_TYPE


def _scores(tiers: Sequence[ElementTree.Element], source: str) -> dict[str, float]:
    """Annotation id -> the score that refers to it, of the tiers that hold scores."""
    found = {}
    for tier in filter(_is_scores, tiers):
        for each in tier.iterfind("ANNOTATION/REF_ANNOTATION"):
            value = each.findtext("ANNOTATION_VALUE") or ""
            try:
                found[each.get("ANNOTATION_REF", "")] = float(value)
            except ValueError:
                raise AnnotationError(f"{source}: a score of {value!r}", expected="a number") from None
    return found


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


def write(path: Path | str, video: str, segments: Segments, *, media: str | None = None, scores: bool = True) -> int:
    """Write one video's segments as an ELAN document that ELAN 6 opens: tiers per class, the label as the value.

    Annotations of one tier may not overlap in ELAN: overlapping segments of class "run" go to further tiers, "run (2)",
    ... Each tier has a tier of scores below it (a symbolic association, linguistic type "tal-score"). Segments without
    a label are named "segment". `parse` reads the same video, labels, scores and times, in whole milliseconds.

    Args:
        path: The file.
        video: The id; kept in a property of the document.
        segments: Of that video.
        media: URL of the video; by default its id with ".mp4", beside the document.
        scores: Write the tiers of scores.

    Returns:
        The number of segments written: those that cannot be shown are left out, see `showing.shown`.
    """
    return _Document().write(Path(path), video, segments, media or quote(f"./{plain(video)}.mp4"), scores)


class _Document:
    """An ELAN document while it is written."""

    def __init__(self) -> None:
        self.slots: list[tuple[int, str]] = []  # (milliseconds, id)
        self.tiers: dict[str, str] = {}
        self.count = 0

    def write(self, path: Path, video: str, segments: Segments, media: str, scores: bool) -> int:
        by_name: dict[str, list[Shown]] = {}
        for each in shown(segments):
            by_name.setdefault(plain(each.name).strip() or NO_LABEL, []).append(each)
        for name, rows in by_name.items():
            for lane in _lanes(rows):
                self._add_tier(name, lane, scores)
        write_text(path, "\n".join(self._lines(video, media, scores)) + "\n")
        return sum(map(len, by_name.values()))

    def _add_tier(self, name: str, rows: Sequence[Shown], scores: bool) -> None:
        tier, values, below = self._free_name(one_line(name)), [], []
        for each in rows:
            annotation = self._id()
            first, last = f"{annotation}s", f"{annotation}e"
            self.slots += [(each.start_ms, first), (each.end_ms, last)]
            values.append(
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{annotation}" TIME_SLOT_REF1="{first}" '
                f'TIME_SLOT_REF2="{last}"><ANNOTATION_VALUE>{escape(name)}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
            below.append(
                f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{annotation}r" ANNOTATION_REF="{annotation}">'
                f"<ANNOTATION_VALUE>{each.score!r}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
            )
        self.tiers[tier] = _tier(tier, _SEGMENT_TYPE, values)
        if scores:
            score_tier = self._free_name(f"{tier} score")
            self.tiers[score_tier] = _tier(score_tier, _SCORE_TYPE, below, parent=tier)

    def _id(self) -> str:
        self.count += 1
        return f"a{self.count}"

    def _free_name(self, name: str) -> str:
        names = chain([name], (f"{name} ({number})" for number in count(2)))
        return next(each for each in names if each not in self.tiers)

    def _lines(self, video: str, media: str, scores: bool) -> Iterator[str]:
        url = quoteattr(plain(media))
        kind = mimetypes.guess_type(media)[0] or "unknown"
        plain_type = 'GRAPHIC_REFERENCES="false"'
        yield '<?xml version="1.0" encoding="UTF-8"?>'
        yield (
            '<ANNOTATION_DOCUMENT AUTHOR="tal" DATE="1970-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0" '
            'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
            'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">'
        )
        yield '<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">'
        yield f'<MEDIA_DESCRIPTOR MEDIA_URL={url} MIME_TYPE="{kind}" RELATIVE_MEDIA_URL={url}/>'
        yield f'<PROPERTY NAME="{_VIDEO_PROPERTY}">{escape(plain(video))}</PROPERTY>'
        yield f'<PROPERTY NAME="lastUsedAnnotationId">{self.count}</PROPERTY>'
        yield "</HEADER>"
        yield "<TIME_ORDER>"
        for milliseconds, slot in sorted(self.slots):
            yield f'<TIME_SLOT TIME_SLOT_ID="{slot}" TIME_VALUE="{milliseconds}"/>'
        yield "</TIME_ORDER>"
        yield from self.tiers.values()
        yield f'<LINGUISTIC_TYPE {plain_type} LINGUISTIC_TYPE_ID="{_SEGMENT_TYPE}" TIME_ALIGNABLE="true"/>'
        if scores:
            link = 'CONSTRAINTS="Symbolic_Association"'
            yield f'<LINGUISTIC_TYPE {link} {plain_type} LINGUISTIC_TYPE_ID="{_SCORE_TYPE}" TIME_ALIGNABLE="false"/>'
            about = "1-1 association with a parent annotation"
            yield f'<CONSTRAINT DESCRIPTION="{about}" STEREOTYPE="Symbolic_Association"/>'
        yield "</ANNOTATION_DOCUMENT>"


def _tier(name: str, kind: str, annotations: Sequence[str], *, parent: str | None = None) -> str:
    above = "" if parent is None else f" PARENT_REF={quoteattr(parent)}"
    body = "\n".join(annotations)
    return f'<TIER LINGUISTIC_TYPE_REF="{kind}"{above} TIER_ID={quoteattr(name)}>\n{body}\n</TIER>'


def _lanes(rows: Sequence[Shown]) -> list[list[Shown]]:
    """The segments, which come in order of start, in as few groups without overlaps as there can be."""
    lanes: list[list[Shown]] = []
    busy: list[tuple[int, int]] = []  # (until when, lane)
    free: list[int] = []
    for each in rows:
        while busy and busy[0][0] <= each.start_ms:
            heappush(free, heappop(busy)[1])
        if not free:
            free.append(len(lanes))
            lanes.append([])
        lane = heappop(free)
        lanes[lane].append(each)
        heappush(busy, (each.end_ms, lane))
    return lanes
