"""Segments and annotations from tuples.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from segment_rows import annotations_of, segments_of
"""

from tal.annotations.records import Annotations, VideoRecord
from tal.segments import Segments


def segments_of(rows, classes, extra=None):
    """Segments of classes.

    Args:
        rows: (start, end, name[, score[, value]]) each.
        classes: The class list.
        extra: Name of the column of values.
    """
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    score = columns[3] if len(columns) > 3 else None
    values = {extra: columns[4]} if len(columns) > 4 else None
    return Segments.from_names(*columns[:3], classes=classes, score=score, extra=values)


def annotations_of(rows, classes, **facts):
    """Annotations in memory.

    Args:
        rows: video -> (subset, [(start, end, name), ...]).
        classes: The class list.
        facts: Further ones of every `VideoRecord`.
    """
    videos = {
        video: VideoRecord(video=video, subset=subset, instances=segments_of(found, classes), **facts)
        for video, (subset, found) in rows.items()
    }
    return Annotations(classes=tuple(classes), videos=videos)
