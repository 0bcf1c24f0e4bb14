"""Label Studio exports of videos: JSON and JSON-MIN, timeline labels (in frames) and temporal labels (in seconds).

Frames count from 1 and a range's last frame belongs to it: frames 1 to 25 at 25 per second are 0 to 1 s. The rate is
the task's `fps` (or `frame_rate`), else what a result states as `framesCount` and `duration`. Of several annotations
of one task the one marked as ground truth counts, else the last.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations
from tal.atomic import write_text
from tal.errors import AnnotationError
from tal.segments import Segments

_VIDEO_KEYS = ("video", "video_url", "url", "file", "audio")
_RATE_KEYS = ("fps", "frame_rate", "frameRate", "framerate")
_logger = logging.getLogger(__name__)


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is of this kind."""
    tasks = data if isinstance(data, list) else [data]
    return bool(tasks) and all(
        isinstance(task, dict) and (isinstance(task.get("data"), dict) or _video_of(task)) for task in tasks[:20]
    )


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from parsed JSON, one per task; tasks of one video are joined.

    Raises:
        AnnotationError: not of this kind, or frames without a rate.
    """
    if not looks_like(data):
        raise AnnotationError(f"{source}: not a Label Studio export", expected="a list of tasks with videos")
    videos: dict[str, RawVideo] = {}
    ignored: dict[str, int] = {}
    for task_idx, task in enumerate(data if isinstance(data, list) else [data]):
        facts = task["data"] if isinstance(task.get("data"), dict) else task
        path = _video_of(facts)
        if not path:
            raise AnnotationError(f"{source}: task {task_idx} names no video", expected=f"one of {_VIDEO_KEYS}")
        raw = videos.setdefault(_id(path), RawVideo(path=path, subset=str(facts.get("subset", ""))))
        values = list(_values(task, facts))
        fps = _rate(facts, values)
        for value in values:
            for row in _rows(value, fps, f"{source}: task {task_idx}"):
                raw.add(*row)
            if not ("ranges" in value or "start" in value):
                kind = "boxes" if "sequence" in value else "other"
                ignored[kind] = ignored.get(kind, 0) + 1
        raw.fps = raw.fps or fps
    if ignored:
        told = ", ".join(f"{count} {kind}" for kind, count in ignored.items())
        _logger.warning("%s: results that are not segments in time were left out: %s", source, told)
    return build(videos, source=source, reader="label-studio", classes=classes)


def _video_of(facts: Mapping[str, Any]) -> str:
    found = (facts[key] for key in _VIDEO_KEYS if isinstance(facts.get(key), str))
    return next(found, "")


def _id(path: str) -> str:
    """The media file's stem; an upload's prefix of eight hex digits is not part of its name."""
    parts = urlsplit(path)
    name = Path(unquote(parse_qs(parts.query).get("d", [parts.path])[0])).name
    return video_id(re.sub(r"^[0-9a-f]{8}-", "", name) if "/upload/" in path else name)


def _values(task: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The `value` of each result, of either export."""
    if facts is task:  # JSON-MIN: every list of objects is one control's results.
        for entry in task.values():
            if isinstance(entry, list):
                yield from (value for value in entry if isinstance(value, dict))
        return
    done = [each for each in task.get("annotations") or task.get("completions") or [] if not each.get("was_cancelled")]
    chosen = [each for each in done if each.get("ground_truth")] or done
    for result in chosen[-1].get("result", []) if chosen else []:
        if isinstance(result.get("value"), dict):
            yield result["value"]


def _rate(facts: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> float | None:
    stated = next((float(facts[key]) for key in _RATE_KEYS if facts.get(key)), None)
    counted = (value["framesCount"] / value["duration"] for value in values if value.get("duration"))
    return stated or next(counted, None)


def _rows(value: Mapping[str, Any], fps: float | None, where: str) -> Iterator[tuple[float, float, str]]:
    names = value.get("timelinelabels") or value.get("labels") or value.get("choices") or [""]
    if "ranges" in value:
        if fps is None:
            raise AnnotationError(
                f"{where}: ranges in frames, and no frame rate",
                expected="seconds, or the rate",
                cause="Label Studio exports timeline labels as frame numbers without their rate",
                todo='add "fps" to the task\'s data in the export',
            )
        spans = [((each["start"] - 1) / fps, each["end"] / fps) for each in value["ranges"]]
    elif "start" in value and "end" in value:
        spans = [(seconds(value["start"], where), seconds(value["end"], where))]
    else:
        return
    for start_s, end_s in spans:
        for name in names:
            yield start_s, end_s, str(name)


def write(path: Path | str, results: Mapping[str, Segments]) -> None:
    """Write segments as Label Studio predictions to import: temporal labels in seconds, one task per video."""
    tasks = [
        {"data": {"video": f"{video}.mp4"}, "predictions": [{"model_version": "tal", "result": _results(rows)}]}
        for video, rows in results.items()
    ]
    write_text(Path(path), json.dumps(tasks, indent=1) + "\n")


def _results(rows: Segments) -> list[dict[str, Any]]:
    columns = zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.names, rows.score.tolist(), strict=True)
    return [
        {
            "id": f"r{row_idx}",
            "type": "labels",
            "from_name": "label",
            "to_name": "video",
            "score": score,
            "value": {"start": start_s, "end": end_s, "labels": [name]},
        }
        for row_idx, (start_s, end_s, name, score) in enumerate(columns)
    ]
