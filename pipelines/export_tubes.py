"""Tubes on numbered frames, in seconds: what `tal export` makes of JHMDB's and UCF101-24's files for other tools.

Frame n of a video begins (n - 1) / fps seconds after it. Right and bottom are a box's last pixels: its edges lie one
pixel further.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.tube_results import TubeTable
from tal.boxes import Tube
from tal.ops.tubes import FrameTube
from tal.segments import Segments


def with_times(annotations: Annotations, fps: float) -> Annotations:
    """The records with their tubes in seconds and fractions of the picture, where its size is known, too."""
    videos = {video: _with_times(record, annotations.classes, fps) for video, record in annotations.videos.items()}
    return replace(annotations, videos=videos)


def _with_times(record: VideoRecord, classes: tuple[str, ...], fps: float) -> VideoRecord:
    duration_s = None if record.frame_count is None else record.frame_count / fps
    if record.frame_size is None:
        return replace(record, fps=fps, duration_s=duration_s)
    height, width = record.frame_size
    tubes = [
        Tube(
            actor=str(number),
            label=classes[tube.label] if tube.label >= 0 else "",
            times_s=(tube.frames - 1) / fps,
            boxes=(tube.boxes + np.array([0, 0, 1, 1])) / np.array([width, height, width, height]),
        )
        for number, tube in enumerate(record.frame_tubes, 1)
    ]
    return replace(record, fps=fps, duration_s=duration_s, tubes=(*record.tubes, *tubes))


def records_of(table: TubeTable, source: str, fps: float | None) -> Annotations:
    """Detected tubes as records; with a rate also their spans as instances with scores."""
    videos = {
        video: VideoRecord(
            video=video,
            frame_tubes=tubes,
            fps=fps,
            instances=Segments.empty(table.labels) if fps is None else _spans(tubes, table.labels, fps),
        )
        for video, tubes in table.videos.items()
    }
    return Annotations(classes=table.labels, videos=videos, source=source, format="tubes")


def table_of(annotations: Annotations) -> TubeTable:
    """`records_of` back again."""
    return TubeTable(
        labels=annotations.classes, videos={video: each.frame_tubes for video, each in annotations.videos.items()}
    )


def _spans(tubes: tuple[FrameTube, ...], classes: tuple[str, ...], fps: float) -> Segments:
    return Segments(
        start_s=np.array([(tube.first - 1) / fps for tube in tubes], np.float64),
        end_s=np.array([tube.last / fps for tube in tubes], np.float64),
        score=np.array([tube.score for tube in tubes], np.float64),
        label=np.array([tube.label for tube in tubes], np.int64),
        classes=classes,
    )


def best_tubes(tubes: tuple[FrameTube, ...], threshold: float | None, top: int | None) -> tuple[FrameTube, ...]:
    """Those that score at least `threshold`, at most `top`, the best first."""
    kept = [tube for tube in tubes if threshold is None or tube.score >= threshold]
    return tuple(sorted(kept, key=lambda tube: -tube.score)[:top])


def narrowed(splits: Mapping[str, tuple[str, ...]], videos: Mapping[str, VideoRecord]) -> dict[str, tuple[str, ...]]:
    """The lists of splits with only these videos."""
    lists = {name: tuple(video for video in listed if video in videos) for name, listed in splits.items()}
    return {name: listed for name, listed in lists.items() if listed}
