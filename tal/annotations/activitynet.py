"""ActivityNet-style annotation JSON, with the variations that THUMOS14, MultiTHUMOS, HACS, FineAction and others have.

`{"database": {VIDEO: {"subset", "duration", "fps", "annotations": [{"segment": [start, end], "label", "label_id"}]}}}`;
some publish the database without its wrapper, `duration_second` for `duration`, no rate, or further keys.

Beyond the published formats a video may have `path`, `moments` [{text, spans, and where known qid, place, clips,
saliency}], `tubes` [{actor, label, times, boxes}], `steps` [class name] and `quality`, an annotation `cycles` [[start,
end]], and the file beside its database a list of `classes`: the playground writes them.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.records import Annotations, Moment, VideoRecord
from tal.atomic import write_text
from tal.boxes import Tube
from tal.errors import AnnotationError

_DURATION_KEYS = ("duration", "duration_second", "duration_seconds", "duration_s", "video_duration")
_FPS_KEYS = ("fps", "frame_rate", "video_fps")


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is of this kind."""
    if not isinstance(data, dict):
        return False
    if isinstance(data.get("database"), dict):
        return not any(isinstance(entry, list) for entry in data["database"].values())
    entries = list(data.values())[:50]
    return bool(entries) and all(isinstance(entry, dict) and "annotations" in entry for entry in entries)


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from parsed JSON.

    The classes are those that the file lists (`classes`); without a list, those that occur, ordered by `label_id` where
    every instance has one and ids and names agree one to one, else by name.

    Raises:
        AnnotationError: not of this kind, or an entry that cannot be read (named).
    """
    if not looks_like(data):
        raise AnnotationError(f"{source}: not ActivityNet-style JSON", expected="a `database` of videos")
    database = data.get("database", data)
    videos = {str(video): _video(entry, f"{source}: video {video!r}") for video, entry in database.items()}
    listed = data.get("classes")
    if classes is None and isinstance(listed, list):
        classes = [str(name) for name in listed]
    return build(
        videos, source=source, reader="activitynet", classes=classes, class_order=_by_label_id(videos.values())
    )


def _first(entry: Mapping[str, Any], keys: Sequence[str], where: str) -> float | None:
    for key in keys:
        if entry.get(key) is not None:
            value = seconds(entry[key], f"{where}, {key}")
            return None if math.isnan(value) else value
    return None


def _video(entry: Any, where: str) -> RawVideo:
    if not isinstance(entry, dict):
        raise AnnotationError(
            f"{where}: {type(entry).__name__} instead of an object", expected="subset and annotations"
        )
    raw = RawVideo(
        duration_s=_first(entry, _DURATION_KEYS, where),
        fps=_first(entry, _FPS_KEYS, where),
        subset=str(entry.get("subset") or entry.get("split") or ""),
        path=entry.get("path"),
        moments=tuple(_moment(each, where) for each in entry.get("moments") or ()),
        tubes=tuple(_tube(each, where) for each in entry.get("tubes") or ()),
        steps=tuple(str(step) for step in entry.get("steps") or ()),
        quality=_first(entry, ("quality",), where),
    )
    rows = entry.get("annotations") or []
    if not isinstance(rows, list):
        raise AnnotationError(f"{where}: `annotations` is {type(rows).__name__}", expected="a list")
    label_ids = []
    for row_idx, row in enumerate(rows):
        try:
            start, end = row["segment"]
            start_s, end_s = float(start), float(end)
        except (TypeError, ValueError, KeyError):
            start_s, end_s = _segment(row, f"{where}, annotation {row_idx}")
        label, label_id = row.get("label"), row.get("label_id")
        raw.add(start_s, end_s, str(label_id if label is None else label) if (label, label_id) != (None, None) else "")
        label_ids.append(label_id)
        if row.get("cycles"):
            raw.cycles_s[row_idx] = _spans(row["cycles"], f"{where}, annotation {row_idx}, cycles")
    if label_ids and all(type(each) is int for each in label_ids):
        raw.extra["label_id"] = label_ids
    return raw


def _segment(row: Any, where: str) -> tuple[float, float]:
    """The slow way, which names what is wrong; null times become NaN."""
    pair = row.get("segment") if isinstance(row, dict) else None
    if not isinstance(pair, list | tuple) or len(pair) != 2:
        raise AnnotationError(f"{where}: segment is {pair!r}", expected='"segment": [start, end] in seconds')
    return seconds(pair[0], where), seconds(pair[1], where)


def _spans(pairs: Any, where: str) -> tuple[tuple[float, float], ...]:
    try:
        return tuple((seconds(start, where), seconds(end, where)) for start, end in pairs)
    except (TypeError, ValueError):
        raise AnnotationError(f"{where}: {pairs!r}", expected="a list of [start, end]") from None


def _moment(entry: Any, where: str) -> Moment:
    if not isinstance(entry, dict) or not {"text", "spans"} <= set(entry):
        raise AnnotationError(f"{where}: moment {entry!r}", expected="text and spans")
    try:
        return Moment(
            text=str(entry["text"]),
            spans_s=_spans(entry["spans"], f"{where}, moment"),
            qid=str(entry.get("qid", "")),
            place=int(entry.get("place", -1)),
            clips=tuple(int(clip) for clip in entry.get("clips", ())),
            saliency=tuple(tuple(float(score) for score in scores) for scores in entry.get("saliency", ())),
        )
    except (TypeError, ValueError):
        raise AnnotationError(
            f"{where}: moment {entry!r:.80}", expected="place, clips and saliency as numbers"
        ) from None


def _moment_entry(moment: Moment) -> dict[str, Any]:
    """Text and spans, and of the further parts those that are known."""
    entry: dict[str, Any] = {"text": moment.text, "spans": [list(span) for span in moment.spans_s]}
    if moment.qid:
        entry["qid"] = moment.qid
    if moment.place >= 0:
        entry["place"] = moment.place
    if moment.clips:
        entry |= {"clips": list(moment.clips), "saliency": [list(scores) for scores in moment.saliency]}
    return entry


def _tube(entry: Any, where: str) -> Tube:
    if not isinstance(entry, dict) or not {"actor", "times", "boxes"} <= set(entry):
        raise AnnotationError(f"{where}: tube {entry!r:.80}", expected="actor, times and boxes")
    return Tube(
        actor=str(entry["actor"]), label=str(entry.get("label", "")), times_s=entry["times"], boxes=entry["boxes"]
    )


def _by_label_id(videos: Iterable[RawVideo]) -> list[str] | None:
    """Names in the order of their ids; None if some instance has no id, or ids and names disagree."""
    pairs: set[tuple[int, str]] = set()
    for raw in videos:
        if raw.names and "label_id" not in raw.extra:
            return None
        pairs.update(zip(raw.extra.get("label_id", ()), raw.names, strict=True))
    ids, names = {label_id for label_id, _ in pairs}, {name for _, name in pairs}
    return [name for _, name in sorted(pairs)] if len(ids) == len(names) == len(pairs) else None


def write(path: Path | str, annotations: Annotations) -> None:
    """Write annotations as ActivityNet-style JSON, with the further parts where there are any; read back the same."""
    database = {video: _video_entry(record) for video, record in annotations.videos.items()}
    write_text(
        Path(path),
        json.dumps({"version": "tal", "classes": annotations.classes, "database": database}, indent=1) + "\n",
    )


def _video_entry(record: VideoRecord) -> dict[str, Any]:
    entry: dict[str, Any] = {"subset": record.subset, "duration": record.duration_s, "fps": record.fps}
    entry |= {"path": record.path, "quality": record.quality, "steps": list(record.steps)}
    entry["moments"] = [_moment_entry(each) for each in record.moments]
    entry["tubes"] = [
        {"actor": tube.actor, "label": tube.label, "times": tube.times_s.tolist(), "boxes": tube.boxes.tolist()}
        for tube in record.tubes
    ]
    rows = record.instances
    entry = {key: value for key, value in entry.items() if value not in (None, [])}
    entry["annotations"] = [
        {"segment": [start, end], "label": name, "label_id": label}
        | ({"cycles": [list(span) for span in record.cycles_s[row_idx]]} if row_idx in record.cycles_s else {})
        for row_idx, (start, end, name, label) in enumerate(
            zip(rows.start_s.tolist(), rows.end_s.tolist(), rows.names, rows.label.tolist(), strict=True)
        )
    ]
    return entry
