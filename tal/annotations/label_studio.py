"""Label Studio exports of videos: JSON and JSON-MIN, timeline labels (in frames), temporal labels (in seconds), boxes.

Frames count from 1 and a range's last frame belongs to it: frames 1 to 25 at 25 per second are 0 to 1 s. The rate is
the task's `fps` (or `frame_rate`), else what a result states as `framesCount` and `duration`, else a keyframe's `frame`
over its `time`. Of several annotations of one task the one marked as ground truth counts, else the last.

A video rectangle becomes a tube per stretch of its track that is enabled, with a box at each keyframe and the result's
id as actor. Between keyframes the tool interpolates, which is left to the reader of the tube; a rotation is left out.
"""

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.showing import NO_LABEL, has_place, plain
from tal.atomic import write_text
from tal.boxes import Tube
from tal.errors import AnnotationError, ConfigError
from tal.segments import Segments

DEFAULT_FPS = 25.0
"""The rate at which times are written as frames where none is known."""

_VIDEO_KEYS = ("video", "video_url", "url", "file", "audio")
_OWN_ID = "tal_video"
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
        raw = videos.setdefault(
            str(facts.get(_OWN_ID) or _id(path)), RawVideo(path=path, subset=str(facts.get("subset", "")))
        )
        values = list(_values(task, facts))
        fps = _rate(facts, [value for _, value in values])
        for name, value in values:
            where = f"{source}: task {task_idx}"
            for row in _rows(value, fps, where):
                raw.add(*row)
            raw.tubes += tuple(_tubes(name, value, fps, where))
            if not ("ranges" in value or "start" in value or "sequence" in value):
                ignored["not segments or boxes"] = ignored.get("not segments or boxes", 0) + 1
            turned = sum(bool(each.get("rotation")) for each in value.get("sequence", ()))
            if turned:
                ignored["rotations of boxes"] = ignored.get("rotations of boxes", 0) + turned
        raw.fps = raw.fps or fps
    if ignored:
        told = ", ".join(f"{count} {kind}" for kind, count in ignored.items())
        _logger.warning("%s: left out: %s", source, told)
    return build(videos, source=source, reader="label-studio", classes=classes)


def _video_of(facts: Mapping[str, Any]) -> str:
    found = (facts[key] for key in _VIDEO_KEYS if isinstance(facts.get(key), str))
    return next(found, "")


def _id(path: str) -> str:
    """The media file's stem; an upload's prefix of eight hex digits is not part of its name."""
    parts = urlsplit(path)
    name = Path(unquote(parse_qs(parts.query).get("d", [parts.path])[0])).name
    return video_id(re.sub(r"^[0-9a-f]{8}-", "", name) if "/upload/" in path else name)


def _values(task: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(id, `value`) of each result, of either export."""
    if facts is task:  # JSON-MIN: every list of objects is one control's results, which have no ids.
        for key, entry in task.items():
            if isinstance(entry, list):
                yield from (
                    (f"{key} {number}", value) for number, value in enumerate(entry, 1) if isinstance(value, dict)
                )
        return
    done = [each for each in task.get("annotations") or task.get("completions") or [] if not each.get("was_cancelled")]
    chosen = [each for each in done if each.get("ground_truth")] or done
    for result in chosen[-1].get("result", []) if chosen else []:
        if isinstance(result.get("value"), dict):
            yield str(result.get("id", "")), result["value"]


def _rate(facts: Mapping[str, Any], values: Sequence[Mapping[str, Any]]) -> float | None:
    stated = (float(facts[key]) for key in _RATE_KEYS if facts.get(key))
    counted = (value["framesCount"] / value["duration"] for value in values if value.get("duration"))
    keyframes = (each for value in values for each in value.get("sequence", ()))
    timed = (each["frame"] / each["time"] for each in keyframes if each.get("time"))
    return next(chain(stated, counted, timed), None)


def _rows(value: Mapping[str, Any], fps: float | None, where: str) -> Iterator[tuple[float, float, str]]:
    names = _names(value)
    if "ranges" in value:
        rate = _needed(fps, where)
        spans = [((each["start"] - 1) / rate, each["end"] / rate) for each in value["ranges"]]
    elif "start" in value and "end" in value:
        spans = [(seconds(value["start"], where), seconds(value["end"], where))]
    else:
        return
    for start_s, end_s in spans:
        for name in names:
            yield start_s, end_s, str(name)


def _names(value: Mapping[str, Any]) -> list[Any]:
    return value.get("timelinelabels") or value.get("labels") or value.get("choices") or [""]


def _needed(fps: float | None, where: str) -> float:
    if fps is None:
        raise AnnotationError(
            f"{where}: ranges in frames, and no frame rate",
            expected="seconds, or the rate",
            cause="Label Studio exports timeline labels as frame numbers without their rate",
            todo='add "fps" to the task\'s data in the export',
        )
    return fps


def _tubes(actor: str, value: Mapping[str, Any], fps: float | None, where: str) -> Iterator[Tube]:
    """A tube per label and enabled stretch of a video rectangle; keyframes in any order."""
    keyframes = sorted(value.get("sequence", ()), key=lambda each: each["frame"])
    stretch: list[Mapping[str, Any]] = []
    for position, each in enumerate(keyframes):
        stretch.append(each)
        if each.get("enabled", True) and position + 1 < len(keyframes):
            continue
        rate = _needed(fps, where)
        boxes = [(box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"]) for box in stretch]
        for name in _names(value):
            yield Tube(
                actor=actor,
                label=str(name),
                times_s=np.array([(box["frame"] - 1) / rate for box in stretch]),
                boxes=np.array(boxes, np.float64) / 100,
            )
        stretch = []


def write(
    path: Path | str,
    annotations: Annotations,
    *,
    scores: bool = True,
    fps: float | None = None,
    media: Mapping[str, str] | None = None,
) -> int:
    """Write tasks to import, and beside them, as NAME.config.xml, the labelling interface that shows them.

    Segments become timeline labels and tubes video rectangles, both in whole frames, boxes limited to the picture.
    Every task states its rate as `fps`, which the interface hands to the player. Segments without a place (see
    `showing.has_place`) are left out, starts before 0 are clipped.

    Args:
        path: The JSON file.
        annotations: Instances and tubes of videos.
        scores: They are predictions, to be looked through; otherwise ground truth.
        fps: Frames per second of videos whose record does not state a rate; 25 by default.
        media: Video -> its URL; by default its id with ".mp4".

    Returns:
        The number of segments and tubes written.
    """
    if fps is not None and not 0 < fps < math.inf:
        raise ConfigError(f"fps {fps}", expected="frames per second, above 0")
    tasks, written = [], 0
    for video, record in annotations.videos.items():
        rate = record.fps or fps or DEFAULT_FPS
        results = [*_timeline(record.instances, rate, scores), *_rectangles(record, rate)]
        written += len(results)
        for number, result in enumerate(results, 1):
            result["id"] = f"r{number}"
        part: dict[str, Any] = {"model_version": "tal"} if scores else {"ground_truth": True}
        url = (media or {}).get(video) or quote(f"{video}.mp4", errors="replace")
        facts = {"video": url, _OWN_ID: video, "fps": rate}
        tasks.append({"data": facts, "predictions" if scores else "annotations": [part | {"result": results}]})
    write_text(Path(path), json.dumps(tasks, indent=1) + "\n")
    write_text(Path(path).with_suffix(".config.xml"), _interface(annotations))
    return written


def _timeline(rows: Segments, fps: float, scores: bool) -> Iterator[dict[str, Any]]:
    names = rows.names
    for row in np.flatnonzero(has_place(rows)).tolist():
        first = 1 + max(0, round(float(rows.start_s[row]) * fps))
        last = max(first, round(float(rows.end_s[row]) * fps))
        value = {"ranges": [{"start": first, "end": last}], "timelinelabels": [plain(names[row]) or NO_LABEL]}
        result = {"type": "timelinelabels", "from_name": "timelineLabels", "to_name": "video", "value": value}
        score = float(rows.score[row])
        yield result | ({"score": score} if scores and math.isfinite(score) else {})


def _rectangles(record: VideoRecord, fps: float) -> Iterator[dict[str, Any]]:
    last_frame = round((record.duration_s or 0.0) * fps)
    for tube in record.tubes:
        frames = np.maximum(1, np.round(tube.times_s * fps).astype(np.int64) + 1)
        rows = np.flatnonzero(np.diff(frames, prepend=0))  # of boxes within one frame the first
        percent = 100 * tube.boxes.clip(0, 1)
        keyframes = [
            {
                "frame": int(frames[row]),
                "time": float(frames[row] / fps),
                "enabled": bool(row != rows[-1]),
                "rotation": 0,
                "x": float(percent[row, 0]),
                "y": float(percent[row, 1]),
                "width": float(percent[row, 2] - percent[row, 0]),
                "height": float(percent[row, 3] - percent[row, 1]),
            }
            for row in rows
        ]
        if keyframes:
            count = max(last_frame, int(frames[-1]))
            value = {"framesCount": count, "duration": count / fps, "sequence": keyframes, "labels": [_tube_name(tube)]}
            yield {"type": "videorectangle", "from_name": "box", "to_name": "video", "value": value}


def _tube_name(tube: Tube) -> str:
    return plain(tube.label or tube.actor) or NO_LABEL


def _interface(annotations: Annotations) -> str:
    """The labelling interface for the labels that occur."""
    records = annotations.videos.values()
    names = {plain(name) or NO_LABEL: None for record in records for name in record.instances.names}
    boxed = {_tube_name(tube): None for record in records for tube in record.tubes}
    lines = ["<View>", '  <Video name="video" value="$video" frameRate="$fps"/>']
    if names or not boxed:
        lines += ['  <TimelineLabels name="timelineLabels" toName="video">', *_labels(names), "  </TimelineLabels>"]
    if boxed:
        lines.append('  <VideoRectangle name="box" toName="video"/>')
        lines += ['  <Labels name="boxLabels" toName="video" allowEmpty="true">', *_labels(boxed), "  </Labels>"]
    return "\n".join([*lines, "</View>", ""])


def _labels(names: Iterable[str]) -> list[str]:
    return [f"    <Label value={quoteattr(name)}/>" for name in names]
