"""ActivityNet Captions: `{VIDEO: {"duration", "timestamps": [[start, end]], "sentences": [text]}}`, seconds.

The validation videos were annotated twice, as val_1 and val_2. Ids are written with a leading "v_"; sentences may begin
with a blank. Both are kept.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.csv import video_id
from tal.annotations.records import Annotations, Moment
from tal.atomic import write_text
from tal.errors import AnnotationError

_EXPECTED = '{VIDEO: {"duration", "timestamps": [[start, end]], "sentences": [text]}}'


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is of this kind, TACoS (times in frames) left out."""
    return has_sentences(data) and not any("fps" in entry for entry in list(data.values())[:50])


def has_sentences(data: Any) -> bool:
    """Whether parsed JSON holds timestamps and sentences per video."""
    entries = list(data.values())[:50] if isinstance(data, dict) else []
    return bool(entries) and all(
        isinstance(entry, dict) and {"timestamps", "sentences"} <= set(entry) for entry in entries
    )


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records with moments.

    Raises:
        AnnotationError: not of this kind, or a video whose timestamps and sentences do not correspond.
    """
    if not looks_like(data):
        raise AnnotationError(f"{source}: no timestamps and sentences per video", expected=_EXPECTED)
    videos, place = {}, 0
    for video, entry in data.items():
        where = f"{source}: video {video!r}"
        duration_s = None if entry.get("duration") is None else seconds(entry["duration"], where)
        moments = moments_of(entry, where, first_place=place)
        videos[video_id(str(video))] = RawVideo(duration_s=duration_s, moments=moments)
        place += len(moments)
    return build(videos, source=source, reader="activitynet-captions", classes=classes)


def moments_of(entry: Mapping[str, Any], where: str, *, first_place: int, rate: float = 1.0) -> tuple[Moment, ...]:
    """The moments of one video, its times divided by `rate`."""
    timestamps, sentences = entry["timestamps"], entry["sentences"]
    if len(timestamps) != len(sentences):
        raise AnnotationError(
            f"{where}: {len(timestamps)} timestamps and {len(sentences)} sentences", expected="one for each"
        )
    found = []
    for offset, (pair, sentence) in enumerate(zip(timestamps, sentences, strict=True)):
        if not isinstance(pair, list) or len(pair) != 2:
            raise AnnotationError(f"{where}, sentence {offset}: a timestamp of {pair!r}", expected="[start, end]")
        span = (seconds(pair[0], where) / rate, seconds(pair[1], where) / rate)
        found.append(Moment(text=str(sentence), spans_s=(span,), place=first_place + offset))
    return tuple(found)


def write(path: Path | str, annotations: Annotations) -> None:
    """Write one timestamp and sentence per span; read back the same where each moment has one span."""
    data = {}
    for video, record in annotations.videos.items():
        rows = [(span, moment.text) for moment in record.moments for span in moment.spans_s]
        data[video] = {
            "duration": record.duration_s,
            "timestamps": [list(span) for span, _ in rows],
            "sentences": [text for _, text in rows],
        }
    write_text(Path(path), json.dumps(data) + "\n")
