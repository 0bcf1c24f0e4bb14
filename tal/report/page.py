"""One self-contained html page: template, style, script and data in one file that needs no network."""

import base64
import hashlib
import html
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from tal.atomic import write_text
from tal.metrics.matching import MATCH_TIOU
from tal.report.data import Report, ReportVideo
from tal.report.judge import Outcome, judge
from tal.segments import Segments

_SCRIPTS = ("common.js", "timeline.js", "lists.js", "page.js")


def render(report: Report) -> str:
    """The page as html. Text from outside is data or escaped: it never becomes markup, a style or a script."""
    style = _resource("page.css")
    script = "(() => {\n'use strict';\n" + "\n".join(_resource(name) for name in _SCRIPTS) + "})();"
    # Only the script and the style of this page run, whatever a label or file name may hold.
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "media-src 'self' file: data: blob:; base-uri 'none'; form-action 'none'"
    )
    return Template(_resource("page.html")).substitute(
        policy=html.escape(policy),
        title=html.escape(_printable(report.title)),
        style=style,
        script=script,
        data=embedded_json(page_data(report)),
    )


def write_report(path: Path, report: Report) -> None:
    """Write the page; a page is there whole or not at all."""
    write_text(path, render(report))


def embedded_json(value: Any) -> str:
    """JSON that is safe inside a script element: no `<`, `>`, `&` and nothing but ASCII in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def page_data(report: Report) -> dict[str, Any]:
    """The report as the page's script reads it; a label is an index into one class list."""
    names = {
        name for video in report.videos for part in (video.truth, video.predictions) if part for name in part.names
    }
    classes = sorted(names | set(report.per_class))
    index = {name: position for position, name in enumerate(classes)}
    columns = list(dict.fromkeys(column for row in report.per_class.values() for column in row))
    instances = _instances(report.videos)
    return {
        "title": report.title,
        "subtitle": report.subtitle,
        "facts": list(report.facts.items()),
        "classes": classes,
        "tiou": MATCH_TIOU,
        "threshold": round(report.threshold, 4),
        "metrics": [[name, _number(value)] for name, value in report.metrics.items()],
        "columns": columns,
        "perClass": [
            [index[name], instances.get(name, 0), [_number(row.get(column)) for column in columns]]
            for name, row in report.per_class.items()
        ],
        "misses": [
            {
                "kind": miss.kind,
                "video": miss.video_idx,
                "start": round(miss.start_s, 3),
                "end": round(miss.end_s, 3),
                "name": miss.name,
                "score": _number(miss.score),
                "detail": miss.detail,
                "thumbnail": miss.thumbnail,
            }
            for miss in report.misses
        ],
        "videos": [_video_data(video, index) for video in report.videos],
    }


def _video_data(video: ReportVideo, index: Mapping[str, int]) -> dict[str, Any]:
    predictions, truth = drawable(video.predictions), None if video.truth is None else drawable(video.truth)
    outcome, best = np.full(len(predictions), Outcome.UNKNOWN, np.int64), np.zeros(len(predictions))
    found = np.full(0 if truth is None else len(truth), -1.0)
    if truth is not None:
        verdict = judge(predictions, truth)
        outcome, best, found = verdict.outcome, verdict.best_tiou, verdict.found_score
    return {
        "id": video.video,
        "duration": round(video.duration_s, 3),
        "src": video.media.src if video.media else "",
        "offset": round(video.media.offset_s, 6) if video.media else 0,
        "note": video.note,
        "strip": [[round(time_s, 3), picture] for time_s, picture in video.strip],
        "truth": None if truth is None else _rows(truth, index, found),
        "pred": _rows(predictions, index, predictions.score, outcome, best),
    }


def _rows(segments: Segments, index: Mapping[str, int], *columns: np.ndarray[Any, Any]) -> list[list[float]]:
    """[start, end, class, ...] per segment, by start."""
    label = [index[name] for name in segments.names]
    values = [segments.start_s.round(3), segments.end_s.round(3), label, *(np.round(column, 4) for column in columns)]
    order = np.argsort(segments.start_s, kind="stable")
    return [list(row) for row in zip(*(np.asarray(column)[order].tolist() for column in values), strict=True)]


def drawable(segments: Segments) -> Segments:
    """Segments that can be drawn: finite times in order, a finite score. Published ground truth holds others."""
    finite = np.isfinite(segments.start_s) & np.isfinite(segments.end_s) & np.isfinite(segments.score)
    return segments[finite & (segments.end_s >= segments.start_s)]


def _instances(videos: Sequence[ReportVideo]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in (name for video in videos if video.truth is not None for name in video.truth.names):
        counts[name] = counts.get(name, 0) + 1
    return counts


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), 4)


def _printable(text: str) -> str:
    """File names may hold bytes that are no text."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (files("tal.report") / name).read_text("utf-8")
