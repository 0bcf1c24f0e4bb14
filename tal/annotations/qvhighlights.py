"""QVHighlights annotations: one JSON object per line and query. Other sets of moments are published in this form too.

`{"qid", "query", "vid", "duration", "relevant_windows": [[start, end]], "relevant_clip_ids", "saliency_scores"}`, times
in seconds, clips of 2 s numbered from 0, three annotators' scores per clip; the last two are QVHighlights' own
(jayleicn/moment_detr, data/README.md).
"""

import json
import math
from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any

from tal.annotations import files
from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations, Moment
from tal.atomic import write_text
from tal.errors import AnnotationError

_EXPECTED = 'one object per line: {"qid", "query", "vid", "duration", "relevant_windows": [[start, end]]}'


def looks_like(rows: Sequence[Any]) -> bool:
    """Whether parsed lines are queries, with or without their answers."""
    return bool(rows) and all(isinstance(row, dict) and {"query", "vid"} <= set(row) for row in rows[:50])


def parse(text: str, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records with moments from the lines of a file.

    Raises:
        AnnotationError: a line is not JSON or no query, the file holds predictions or no answers, or a video has two
            durations.
    """
    rows = files.to_json_lines(text.encode(), source)
    _refuse_other_files([row for _, row in rows], source)
    videos: dict[str, RawVideo] = {}
    seen: dict[str, int] = {}
    for place, (line, row) in enumerate(rows):
        where = f"{source}: line {line}"
        if not isinstance(row, dict) or not {"query", "vid", "relevant_windows"} <= set(row):
            raise AnnotationError(f"{where} is {row!r:.80}", expected=_EXPECTED)
        raw = videos.setdefault(video_id(str(row["vid"])), RawVideo())
        _set_duration(raw, row, where)
        moment = _moment(row, place, where)
        if moment.qid and moment.qid in seen:
            raise AnnotationError(f"{where}: qid {moment.qid} again, first on line {seen[moment.qid]}")
        seen[moment.qid] = line
        raw.moments = (*raw.moments, moment)
    return build(videos, source=source, reader="qvhighlights", classes=classes)


def _refuse_other_files(rows: Sequence[Any], source: str) -> None:
    keys = set(rows[0]) if rows and isinstance(rows[0], dict) else set()
    if {"pred_relevant_windows", "pred_saliency_scores"} & keys:
        raise AnnotationError(
            f"{source} holds predictions, not annotations", expected=_EXPECTED, cause="the two files were exchanged"
        )
    if {"qid", "query"} <= keys and "relevant_windows" not in keys:
        raise AnnotationError(
            f"{source} holds queries without answers",
            expected=_EXPECTED,
            cause="the test split as first released, without ground truth",
            todo="take the validation split, or the test split with its ground truth",
        )


def _set_duration(raw: RawVideo, row: Mapping[str, Any], where: str) -> None:
    if row.get("duration") is None:
        return
    duration_s = seconds(row["duration"], where)
    if raw.duration_s is not None and abs(raw.duration_s - duration_s) > 1e-6:
        raise AnnotationError(
            f"{where}: video {row['vid']!r} lasts {duration_s:g} s, and {raw.duration_s:g} s on an earlier line",
            expected="one duration per video",
        )
    raw.duration_s = duration_s


def _moment(row: Mapping[str, Any], place: int, where: str) -> Moment:
    try:
        spans = tuple((seconds(start, where), seconds(end, where)) for start, end in row["relevant_windows"])
        clips = tuple(index(clip) for clip in row.get("relevant_clip_ids") or ())
        saliency = tuple(tuple(float(each) for each in scores) for scores in row.get("saliency_scores") or ())
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError(f"{where}: windows, clips or scores that are no numbers", expected=_EXPECTED) from None
    if not all(math.isfinite(each) for scores in saliency for each in scores):
        raise AnnotationError(f"{where}: saliency_scores hold NaN or infinity", expected="numbers from 0 to 4")
    if len(clips) != len(saliency) or len({len(scores) for scores in saliency}) > 1:
        raise AnnotationError(
            f"{where}: {len(clips)} relevant_clip_ids and {len(saliency)} saliency_scores",
            expected="the scores of the same annotators for each clip",
        )
    qid = row.get("qid")
    return Moment(
        text=str(row["query"]),
        spans_s=spans,
        qid="" if qid is None else str(qid),
        place=place,
        clips=clips,
        saliency=saliency,
    )


def write(path: Path | str, annotations: Annotations) -> None:
    """Write every moment as one line, in the order of the file that they were read from; read back the same.

    A moment without an id gets its number.
    """
    rows = [(moment.place, video, moment) for video, each in annotations.videos.items() for moment in each.moments]
    lines = []
    for number, (_, video, moment) in enumerate(sorted(rows, key=lambda row: row[0])):
        duration_s = annotations.videos[video].duration_s
        row: dict[str, Any] = {"qid": written_qid(moment.qid or str(number)), "query": moment.text}
        row |= {"duration": duration_s, "vid": video, "relevant_windows": [list(span) for span in moment.spans_s]}
        if moment.clips:
            row |= {
                "relevant_clip_ids": list(moment.clips),
                "saliency_scores": [list(each) for each in moment.saliency],
            }
        lines.append(json.dumps({key: value for key, value in row.items() if value is not None}) + "\n")
    write_text(Path(path), "".join(lines))


def written_qid(qid: str) -> int | str:
    """A number where the id is one: QVHighlights' evaluator compares ids as they stand in the two files."""
    return int(qid) if qid.isascii() and qid.isdigit() and str(int(qid)) == qid else qid
