"""Ground truth and predictions of a video along its time, as SVG: the whole video, or the surroundings of one error."""

import math
from collections.abc import Callable, Iterable, Sequence

from tal.diagnosis.cases import Case, CaseVideo, Span
from tal.report.diagnosis_svg import box, line, svg, tag, text, words
from tal.report.diagnosis_words import ERROR_NAMES, seconds

_GUTTER = 150
_BAR = 9
_ROWS = 3
_LANES_AROUND = 4
_NAME_LETTERS = 22


def whole(video: CaseVideo, marks: Iterable[tuple[str, Case]], *, width: float = 1120) -> str:
    """The timeline of a video; each of `marks` (an anchor, its case) is ringed and links to the anchor."""
    end = max(video.duration_s, 1e-6)
    spans = [span for span in (*video.truth, *video.predictions) if _drawable(span)]
    lanes = sorted({span.label for span in spans})
    return _timeline(video, lanes, 0.0, end, {case.span: anchor for anchor, case in marks}, width, f"{video.video}")


def around(video: CaseVideo, case: Case, anchor: str, *, width: float = 520) -> str:
    """What stands around one error: its class, that of the nearest instance, and others that are there."""
    if not _drawable(case.span):
        return ""
    spans = [case.span, *([case.nearest] if case.nearest and _drawable(case.nearest) else [])]
    begin, end = min(span.start_s for span in spans), max(span.end_s for span in spans)
    margin = max((end - begin) * 0.6, 0.02 * video.duration_s if end == begin else 0.0, 1.0)
    begin, end = begin - margin, end + margin
    inside = [each for each in (*video.truth, *video.predictions) if each.end_s >= begin and each.start_s <= end]
    lanes = list(dict.fromkeys([span.label for span in spans] + [each.label for each in inside]))[:_LANES_AROUND]
    label = f"{ERROR_NAMES[case.kind]} in {video.video}"
    return _timeline(video, lanes, begin, end, {case.span: anchor}, width, label)


def _timeline(
    video: CaseVideo,
    lanes: Sequence[str],
    begin: float,
    end: float,
    marks: dict[Span, str],
    width: float,
    label: str,
) -> str:
    room = width - _GUTTER - 8

    def at(time: float) -> float:
        return _GUTTER + room * (min(max(time, begin), end) - begin) / (end - begin)

    parts: list[str] = []
    y = 20.0
    for name in lanes:
        parts.append(line(0, y - 2, width, y - 2, "grid"))
        shown, height = _lane(video, name, (begin, end), at, y, marks)
        short = name if len(name) <= _NAME_LETTERS else name[: _NAME_LETTERS - 1] + "…"
        parts.append(tag("g", tag("title", text(name)), words(_GUTTER - 8, y + 9, short, "small", "end")))
        parts += shown
        y += height
    ruler = [
        part
        for tick in _times(begin, end, room)
        for part in (line(at(tick), 14, at(tick), y, "grid"), words(at(tick), 10, _clock(tick), "soft small", "middle"))
    ]
    return svg(width, y + 2, f"Timeline: {label}", *ruler, *parts, class_="plot timeline")


def _lane(
    video: CaseVideo,
    name: str,
    window: tuple[float, float],
    at: Callable[[float], float],
    y: float,
    marks: dict[Span, str],
) -> tuple[list[str], float]:
    """(the bars of one class, the height that they need): ground truth above, predictions in rows below."""
    bars = [_bar(span, at, y + 2, "truth", marks) for span in _within(video.truth, name, window)]
    ends = [-math.inf] * _ROWS
    rows = 0
    for span in sorted(_within(video.predictions, name, window), key=lambda each: each.start_s):
        row = next((row for row, last in enumerate(ends) if last <= span.start_s), ends.index(min(ends)))
        ends[row] = max(ends[row], span.end_s)
        rows = max(rows, row + 1)
        bars.append(_bar(span, at, y + 2 + (row + 1) * (_BAR + 2), "prediction", marks))
    return bars, (1 + max(rows, 1)) * (_BAR + 2) + 6


def _within(spans: Iterable[Span], name: str, window: tuple[float, float]) -> list[Span]:
    begin, end = window
    return [
        span for span in spans if span.label == name and _drawable(span) and span.end_s >= begin and span.start_s <= end
    ]


def _bar(span: Span, at: Callable[[float], float], y: float, class_: str, marks: dict[Span, str]) -> str:
    x = at(span.start_s)
    width = max(at(span.end_s) - x, 2.0)
    score = "" if span.score is None else f", score {span.score:.3g}"
    kind = ERROR_NAMES.get(span.kind, span.kind)
    hint = f"{span.label}: {kind}, {seconds(span.start_s)} to {seconds(span.end_s)}{score}"
    bar = box(x, y, width, float(_BAR), f"{class_} k-{span.kind}", hint, rx=2)
    if span not in marks:
        return bar
    ring = box(x - 3, y - 3, width + 6, _BAR + 6.0, "ring", hint, rx=4)
    return tag("a", bar, ring, href=f"#{marks[span]}")


def _drawable(span: Span) -> bool:
    return math.isfinite(span.start_s) and math.isfinite(span.end_s) and span.end_s >= span.start_s


def _times(begin: float, end: float, room: float) -> list[float]:
    """Round times of a ruler, some 90 units apart."""
    least = (end - begin) * 90 / room
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((each for each in steps if each >= least), 3600.0 * math.ceil(least / 3600))
    first = math.ceil(max(begin, 0.0) / step)
    return [step * number for number in range(first, math.floor(end / step) + 1)]


def _clock(time: float) -> str:
    minutes, rest = divmod(time, 60)
    return f"{int(minutes)}:{f'{rest:04.1f}'.removesuffix('.0')}"
