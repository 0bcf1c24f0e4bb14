"""What a page shows, as plain data: videos with ground truth and predictions, and the numbers about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class Media:
    """What the page's player loads.

    Args:
        src: A link relative to the page, or a data URI.
        offset_s: Added to a time before seeking: the raw pts of the first frame, for players that seek on raw pts.
    """

    src: str
    offset_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ReportVideo:
    """One video on the page.

    Args:
        video: The id.
        duration_s: Seconds.
        predictions: Detections with scores.
        truth: Ground truth; None where there is none, so that nothing is judged.
        media: The player's source; None if it cannot be played.
        note: Why it cannot be played, or what else a viewer should know of this video.
        strip: (time in seconds, JPEG data URI) of a few frames along the video.
    """

    video: str
    duration_s: float
    predictions: Segments
    truth: Segments | None = None
    media: Media | None = None
    note: str = ""
    strip: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Miss:
    """One of the worst mistakes.

    Args:
        kind: "missed" (an instance that nothing found), "false" (a detection of nothing), "boundary" (the right class
            at the right place with wrong ends).
        video_idx: Position in the report's list of videos.
        start_s, end_s: Of the instance (missed) or the detection, seconds.
        name: Its class.
        score: The detection's; None for a missed instance.
        detail: What lies nearest, in words.
        thumbnail: JPEG data URI of its middle; "" if there is none.
    """

    kind: str
    video_idx: int
    start_s: float
    end_s: float
    name: str
    score: float | None
    detail: str
    thumbnail: str = ""


@dataclass(frozen=True, kw_only=True)
class Report:
    """A whole page.

    Args:
        title: The heading.
        subtitle: One line under it.
        facts: What made these predictions: model, features, files.
        videos: At least one.
        threshold: Where the score slider stands at first.
        metrics: Name -> value in [0, 1].
        per_class: Class -> {metric: value}.
        misses: The worst, in the order shown.
    """

    title: str
    subtitle: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    videos: Sequence[ReportVideo]
    threshold: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    misses: Sequence[Miss] = ()
