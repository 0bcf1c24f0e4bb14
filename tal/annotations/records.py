"""The one record type that every annotation reader gives."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tal.boxes import Tube
from tal.ops.tubes import FrameTube
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A sentence and the spans of video that answer it, seconds.

    Args:
        text: The query.
        spans_s: (start, end) of each span; spans of no or negative length stand as published.
        qid: The query's id, where the annotations give one.
        place: The query's position in its file, from 0, where predictions may be listed in that order; -1 if unknown.
        clips: Numbers of the clips that answer it, for highlights.
        saliency: Per clip in `clips`, each annotator's score from 0 (very bad) to 4 (very good).
    """

    text: str
    spans_s: tuple[tuple[float, float], ...]
    qid: str = ""
    place: int = -1
    clips: tuple[int, ...] = ()
    saliency: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class VideoRecord:
    """What is known of one video. Instances are as published, faults included.

    Args:
        video: The id.
        duration_s: Seconds; None where the annotations do not say.
        fps: The rate that the annotations state, if any; never used to convert frame times.
        subset: The split's name as written in the file ("" if none).
        path: The media file, where the annotations name one.
        instances: Segments and labels; `extra` holds what else a format gives per instance.
        moments: Sentences with spans.
        tubes: Boxes per actor and time.
        frame_tubes: Boxes per numbered frame in pixels, as tube benchmarks give them; labels index the class list.
        frame_count: Number of frames, where the annotations count in frames.
        frame_size: (height, width) in pixels, where the annotations give it.
        cycles_s: Repetition cycles: (start, end) in seconds, per instance row that has any.
        steps: Class names in the order in which the video shows them.
        quality: Execution score in [0, 1].
    """

    video: str
    duration_s: float | None = None
    fps: float | None = None
    subset: str = ""
    path: str | None = None
    instances: Segments = field(default_factory=Segments.empty)
    moments: tuple[Moment, ...] = ()
    tubes: tuple[Tube, ...] = ()
    frame_tubes: tuple[FrameTube, ...] = ()
    frame_count: int | None = None
    frame_size: tuple[int, int] | None = None
    cycles_s: Mapping[int, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    quality: float | None = None


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """Annotations of a set of videos; every record's instances share the one class list.

    Args:
        classes: The class names; a label is an index into them.
        videos: id -> record, in the file's order.
        source: The file that they were read from.
        format: The reader's name.
        further_subsets: (video, subset) where the file puts a video into a second split; the record has the first.
        splits: Name -> ids in the file's order, where the file lists its splits.
    """

    classes: tuple[str, ...]
    videos: Mapping[str, VideoRecord]
    source: str = ""
    format: str = ""
    further_subsets: tuple[tuple[str, str], ...] = ()
    splits: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.videos)

    @property
    def subsets(self) -> dict[str, int]:
        """Number of videos per split, in order of appearance."""
        counts: dict[str, int] = {}
        for record in self.videos.values():
            counts[record.subset] = counts.get(record.subset, 0) + 1
        return counts
