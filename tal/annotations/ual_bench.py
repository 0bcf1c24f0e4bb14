"""UAL-Bench (Hasnat79/UAL_Bench, data/): unusual moments, one per query, in the four forms of its subsets.

- UAG-OOPS: `{VIDEO: {"start_time", "end_time", "description"}}`,
- UAG-SSBD: `[[VIDEO, {"id", "time": "0018:0024", "description"}]]`, times as MMSS whatever the benchmark's page says,
- UAG-FunQA: `[{"visual_input": "VIDEO.mp4", "instruction", "start_time", "end_time"}]`,
- Charades-STA: `[{"video_id", "start_time", "end_time", "description"}]`.

Files with predictions repeat the ground truth beside `pred_start` and `pred_end`, as an object (as released) or a list
(as the benchmark's script reads them); either is read as annotations too.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from tal.annotations.build import RawVideo, build, clock_seconds, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations, Moment
from tal.atomic import write_text
from tal.errors import AnnotationError

_CLOCK = re.compile(r"(\d{2})(\d{2})[:-](\d{2})(\d{2})")
_EXPECTED = "UAL-Bench's own JSON: queries with start_time and end_time, or SSBD's behaviours with time"


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is one of the forms."""
    rows = list(entries(data))[:50]
    return bool(rows) and all(_is_query(row) for _, row in rows)


def entries(data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, row) of each query: the key is the object's or the pair's, "" where the form has none; nothing else."""
    if isinstance(data, dict):
        yield from ((str(key), row) for key, row in data.items() if isinstance(row, dict))
    elif isinstance(data, list):
        for row in data:
            if isinstance(row, dict):
                yield "", row
            elif isinstance(row, list) and len(row) == 2 and isinstance(row[1], dict):
                yield str(row[0]), row[1]


def _is_query(row: Mapping[str, Any]) -> bool:
    return {"start_time", "end_time"} <= set(row) or _behaviour(row) is not None


def _behaviour(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """SSBD's part of a row: the row itself, or what prediction files put under either spelling."""
    for part in (row, row.get("behaviour"), row.get("behavior")):
        if isinstance(part, dict) and "time" in part and "id" in part:
            return part
    return None


def identity(key: str, row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """(subset, video, query id, text) of a row; subset and id are "" in the plain list, whose videos may recur."""
    behaviour = _behaviour(row)
    named = next((str(row[name]) for name in ("visual_input", "video_id", "video_path") if row.get(name)), key)
    video = video_id(PurePosixPath(named.replace("\\", "/")).name if "video_path" in row else named)
    if behaviour is not None:
        id_ = str(behaviour["id"])
        video = video.removesuffix(f"_{id_}")
        return "uag-ssbd", video, f"{video}_{id_}", str(behaviour.get("description", ""))
    if "visual_input" in row:
        return "uag-funqa", video, video, str(row.get("instruction", ""))
    text = str(row.get("description", ""))
    return ("uag-oops", key, key, text) if key else ("", video, "", text)


def span(row: Mapping[str, Any], where: str) -> tuple[float, float]:
    """(start, end) of the ground truth, seconds.

    Raises:
        AnnotationError: a time that is none.
    """
    behaviour = _behaviour(row)
    if behaviour is None:
        return seconds(row.get("start_time"), where), seconds(row.get("end_time"), where)
    found = _CLOCK.fullmatch(str(behaviour["time"]).strip())
    if found is None:
        raise AnnotationError(f"{where}: a time of {behaviour['time']!r}", expected='MMSS:MMSS, such as "0105:0125"')
    first_min, first_s, last_min, last_s = map(int, found.groups())
    return 60.0 * first_min + first_s, 60.0 * last_min + last_s


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records with moments, their subset told by the form of the file.

    Raises:
        AnnotationError: not of these forms, a row without usable times, or a query twice.
    """
    if not looks_like(data):
        raise AnnotationError(f"{source}: no queries with times", expected=_EXPECTED)
    videos: dict[str, RawVideo] = {}
    seen: set[str] = set()
    rows = list(entries(data))
    if len(rows) != len(data):
        raise AnnotationError(
            f"{source}: {len(data) - len(rows)} of {len(data)} entries are no queries", expected=_EXPECTED
        )
    for place, (key, row) in enumerate(rows):
        where = f"{source}: query {place}"
        if not _is_query(row):
            raise AnnotationError(f"{where} has no times: {row!r:.80}", expected=_EXPECTED)
        subset, video, qid, text = identity(key, row)
        if qid and qid in seen:
            raise AnnotationError(f"{where}: {qid!r} a second time", expected="each query once")
        seen.add(qid)
        start_s, end_s = span(row, where)
        if start_s != start_s or end_s != end_s:
            raise AnnotationError(f"{where}: start or end is missing", expected="seconds in both")
        raw = videos.setdefault(video, RawVideo(subset=subset))
        raw.moments = (*raw.moments, Moment(text=text, spans_s=((start_s, end_s),), qid=qid, place=place))
    return build(videos, source=source, reader="ual-bench", classes=classes)


def parse_transitions(data: Any, source: str) -> dict[str, tuple[float, ...]]:
    """video -> the annotators' transition times in seconds, -1 where one found none.

    The Oops! data set's `transition_times.json`: `{VIDEO: {"t": [three times], "len": ...}}`.

    Raises:
        AnnotationError: of another kind.
    """
    try:
        return {str(video): tuple(float(each) for each in entry["t"]) for video, entry in data.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise AnnotationError(
            f"{source}: no transition times per video",
            expected='{VIDEO: {"t": [three times]}}: transition_times.json of the Oops! data set',
        ) from None


def predicted_time(value: Any, where: str) -> float:
    """Seconds of a predicted time: a number, "12.5", "MM:SS" or "HH:MM:SS"; NaN for null, which is a missing answer.

    Raises:
        AnnotationError: neither.
    """
    return clock_seconds(value, where) if isinstance(value, str) else seconds(value, where)


def write(path: Path | str, annotations: Annotations) -> None:
    """Write the list form, one row per span with `video_id`, `start_time`, `end_time`, `description`."""
    rows = [(moment.place, video, moment) for video, each in annotations.videos.items() for moment in each.moments]
    data = [
        {"video_id": video, "start_time": start_s, "end_time": end_s, "description": moment.text}
        for _, video, moment in sorted(rows, key=lambda row: row[0])
        for start_s, end_s in moment.spans_s
    ]
    write_text(Path(path), json.dumps(data, indent=1) + "\n")
