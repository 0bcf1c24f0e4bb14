"""The splits of annotated videos."""

from tal.annotations.records import Annotations, VideoRecord
from tal.errors import AnnotationError


def in_subset(annotations: Annotations, subset: str | None) -> dict[str, VideoRecord]:
    """The videos of a split, compared whole and without regard to case; all of them for None.

    Raises:
        AnnotationError: no such split, or None where there are several.
    """
    if subset is None:
        if len({name.lower() for name in annotations.subsets}) > 1:
            raise AnnotationError(
                f"{annotations.source or 'annotations'}: several subsets and none chosen",
                expected=f"one of {listed(annotations)}",
                todo="choose it with --subset",
            )
        return dict(annotations.videos)
    chosen = {video: each for video, each in annotations.videos.items() if each.subset.lower() == subset.lower()}
    if not chosen:
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: no video is in subset {subset!r}",
            expected=f"one of {listed(annotations)}",
            cause="annotations of another benchmark, or without subsets",
            todo="choose it with --subset",
        )
    return chosen


def listed(annotations: Annotations) -> str:
    """The splits with their sizes, for messages."""
    return ", ".join(f"{name or '(none)'} ({count} videos)" for name, count in annotations.subsets.items())
