"""TACoS as 2D-TAN publishes it: timestamps in frames, turned into seconds by each video's rate.

`{VIDEO: {"timestamps": [[first, last]], "sentences": [text], "fps", "num_frames"}}` (microsoft/2D-TAN, data/TACoS). The
times are frame numbers of a nominal rate (29.4) that the annotations themselves define: time = number / fps.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tal.annotations.activitynet_captions import has_sentences, moments_of
from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations
from tal.atomic import write_text
from tal.errors import AnnotationError

_EXPECTED = '{VIDEO: {"timestamps": [[first, last]], "sentences": [text], "fps", "num_frames"}}'


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is of this kind."""
    return has_sentences(data) and all({"fps", "num_frames"} <= set(entry) for entry in list(data.values())[:50])


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records with moments, in seconds; a video's duration is num_frames / fps.

    Raises:
        AnnotationError: not of this kind, or a rate that is not positive.
    """
    if not looks_like(data):
        raise AnnotationError(f"{source}: no timestamps, sentences and rate per video", expected=_EXPECTED)
    videos, place = {}, 0
    for video, entry in data.items():
        where = f"{source}: video {video!r}"
        rate = seconds(entry["fps"], where)
        if not rate > 0:
            raise AnnotationError(f"{where}: fps is {entry['fps']!r}", expected="frames per second, above 0")
        moments = moments_of(entry, where, first_place=place, rate=rate)
        videos[video_id(str(video))] = RawVideo(
            duration_s=seconds(entry["num_frames"], where) / rate, fps=rate, moments=moments
        )
        place += len(moments)
    return build(videos, source=source, reader="tacos", classes=classes)


def write(path: Path | str, annotations: Annotations) -> None:
    """Write one timestamp and sentence per span, in frames at each video's own rate.

    Raises:
        AnnotationError: a video without a rate or a duration.
    """
    data = {}
    for video, record in annotations.videos.items():
        if record.fps is None or record.duration_s is None:
            raise AnnotationError(
                f"video {video!r}: no frame rate or no duration",
                expected="both, since TACoS' times are in frames",
                todo="write ActivityNet Captions JSON or QVHighlights jsonl, whose times are seconds",
            )
        rows = [(span, moment.text) for moment in record.moments for span in moment.spans_s]
        data[video] = {
            "timestamps": [
                [_frames(start_s * record.fps), _frames(end_s * record.fps)] for (start_s, end_s), _ in rows
            ],
            "sentences": [text for _, text in rows],
            "fps": record.fps,
            "num_frames": _frames(record.duration_s * record.fps),
        }
    write_text(Path(path), json.dumps(data) + "\n")


def _frames(value: float) -> int | float:
    """The whole number that division and multiplication by the rate made inexact; another value as it is."""
    return round(value) if abs(value - round(value)) < 1e-6 else value
