"""Ego4D moment queries: moments_train.json and moments_val.json as published, and clip_annotations.json made of them.

Published: {"videos": [{"split", "clips": [{"clip_uid", "video_start_sec", "video_end_sec", "annotations": [{"labels":
[{"label", "start_time", "end_time", "primary"}]}]}]}]}. EGO4D/episodic-memory (MQ/Convert_annotation.py) makes {CLIP:
{"subset", "parent_start_sec", "parent_end_sec", "annotations": [label, ...]}} of it, with the primary labels alone, and
without the clips of training and validation that have none. A clip is a video here, and times are within it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from tal.annotations.build import RawVideo, build, seconds
from tal.annotations.records import Annotations
from tal.errors import AnnotationError


def looks_like(data: Any) -> bool:
    """Whether parsed JSON is of this kind."""
    if not isinstance(data, dict):
        return False
    videos = data.get("videos")
    if isinstance(videos, list):
        return any(isinstance(each, dict) and "clips" in each for each in videos)
    entries = list(data.values())[:50]
    return bool(entries) and all(
        isinstance(each, dict) and {"parent_start_sec", "annotations"} <= set(each) for each in entries
    )


def parse(data: Any, *, source: str, classes: Sequence[str] | None = None) -> Annotations:
    """Records from parsed JSON, one per clip.

    Raises:
        AnnotationError: not of this kind, or an entry that cannot be read.
    """
    if not looks_like(data):
        raise AnnotationError(f"{source}: no clips of moments", expected='{"videos": [{"split", "clips": [...]}]}')
    clips = _published(data["videos"]) if isinstance(data.get("videos"), list) else _converted(data)
    videos: dict[str, RawVideo] = {}
    for clip, subset, start, end, labels in clips:
        where = f"{source}: clip {clip!r}"
        raw = RawVideo(subset=str(subset or ""), duration_s=seconds(end, where) - seconds(start, where))
        for label in labels:
            if label.get("primary", True):
                raw.add(seconds(label["start_time"], where), seconds(label["end_time"], where), str(label["label"]))
        if raw.names or raw.subset.startswith("test"):
            videos.setdefault(str(clip), raw)
    return build(videos, source=source, reader="ego4d", classes=classes)


def _published(videos: Iterable[Any]) -> Iterable[tuple[Any, Any, Any, Any, list[Any]]]:
    """(clip, split, start, end, labels) of each clip."""
    for video in videos:
        for clip in video["clips"]:
            labels = [label for each in clip.get("annotations") or () for label in each["labels"]]
            yield clip["clip_uid"], video.get("split"), clip["video_start_sec"], clip["video_end_sec"], labels


def _converted(data: Any) -> Iterable[tuple[Any, Any, Any, Any, list[Any]]]:
    for clip, entry in data.items():
        yield clip, entry.get("subset"), entry["parent_start_sec"], entry["parent_end_sec"], entry["annotations"]
