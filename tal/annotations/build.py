"""From the rows that a reader finds to records: the one place that makes class lists and columns."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tal.annotations.records import Annotations, Moment, VideoRecord
from tal.boxes import Tube
from tal.errors import AnnotationError
from tal.segments import Segments

UNKNOWN_LABEL = "unknown_label"
"""`extra` column of instances whose label is not in the class list (label -1): the label as written."""


@dataclass(kw_only=True)
class RawVideo:
    """One video while its file is being read; rows are in the file's order.

    `extra` columns are aligned with the rows; a column that lacks rows is filled by the builder.
    """

    duration_s: float | None = None
    fps: float | None = None
    subset: str = ""
    path: str | None = None
    start_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    score: list[float] | None = None
    extra: dict[str, list[Any]] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    tubes: tuple[Tube, ...] = ()
    cycles_s: dict[int, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    quality: float | None = None

    def add(self, start_s: float, end_s: float, name: str) -> None:
        """One more instance."""
        self.start_s.append(start_s)
        self.end_s.append(end_s)
        self.names.append(name)


def build(
    videos: Mapping[str, RawVideo],
    *,
    source: str,
    reader: str,
    classes: Sequence[str] | None = None,
    class_order: Iterable[str] | None = None,
) -> Annotations:
    """Records that share one class list.

    Args:
        videos: id -> rows.
        source: The file, for messages.
        reader: The reader's name.
        classes: The class list to use; instances of other labels get label -1 and keep theirs in
            `extra["unknown_label"]`, so that they are counted as faults.
        class_order: The order in which the file itself puts its classes; by name if None.

    Raises:
        AnnotationError: the file holds no videos.
    """
    if not videos:
        raise AnnotationError(f"{source}: no videos in it", expected=f"annotations in the {reader} format")
    found = {name for raw in videos.values() for name in raw.names} - {""}
    known = tuple(classes) if classes is not None else tuple(class_order or sorted(found))
    index = {name: position for position, name in enumerate(known)}
    some_unknown = any(name not in index for raw in videos.values() for name in raw.names)
    records = {
        video: VideoRecord(
            video=video,
            duration_s=raw.duration_s,
            fps=raw.fps,
            subset=raw.subset,
            path=raw.path,
            instances=_instances(raw, known, index, some_unknown),
            moments=raw.moments,
            tubes=raw.tubes,
            cycles_s=raw.cycles_s,
            steps=raw.steps,
            quality=raw.quality,
        )
        for video, raw in videos.items()
    }
    return Annotations(classes=known, videos=records, source=source, format=reader)


def _instances(raw: RawVideo, classes: tuple[str, ...], index: Mapping[str, int], some_unknown: bool) -> Segments:
    label = np.array([index.get(name, -1) for name in raw.names], np.int64)
    extra = {name: np.asarray(column) for name, column in raw.extra.items()}
    if some_unknown:
        extra[UNKNOWN_LABEL] = np.array([name if name not in index else "" for name in raw.names], dtype=np.str_)
    return Segments(
        start_s=np.array(raw.start_s, np.float64),
        end_s=np.array(raw.end_s, np.float64),
        score=None if raw.score is None else np.array(raw.score, np.float64),  # type: ignore[arg-type]
        label=label,
        classes=classes,
        extra=extra,
    )


def seconds(value: Any, where: str) -> float:
    """A time as a float; null becomes NaN, which is counted as a fault later.

    Raises:
        AnnotationError: neither a number nor a number's text.
    """
    if value is None or value == "":
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise AnnotationError(f"{where}: a time of {value!r:.60}", expected="a number of seconds") from None


def clock_seconds(text: str, where: str) -> float:
    """Seconds from "12.5", "MM:SS.ss" or "HH:MM:SS.ss"; an empty text is NaN."""
    parts = text.strip().split(":")
    if len(parts) > 3:
        raise AnnotationError(f"{where}: a time of {text!r}", expected="seconds or HH:MM:SS.ss")
    total = 0.0
    for part in parts:
        total = total * 60 + seconds(part, where)
    return total
