"""Which videos of an annotation file a protocol means."""

import json
from pathlib import Path

from tal.annotations import files
from tal.annotations.records import Annotations
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs

_SAME = ({"test", "testing"}, {"val", "validation"}, {"train", "training"})


def present_subset(annotations: Annotations, subset: str | None) -> tuple[str | None, str]:
    """(the split's name as the annotations have it, a sentence where it is not the one that was asked for).

    Files whose split is the file itself (Charades, EPIC-KITCHENS) name none: all their videos are meant. "test" and
    "testing", "val" and "validation" are one, since copies of one benchmark differ in that.
    """
    present = {name.lower() for name in annotations.subsets}
    if subset is None or subset.lower() in present:
        return subset, ""
    if present == {""}:
        count = len(annotations)
        return None, f"the annotations name no subsets: all {count} videos are taken for subset {subset!r}"
    for names in _SAME:
        if subset.lower() in names and len(names & present) == 1:
            other = next(iter(names & present))
            return other, f"the annotations call subset {subset!r} {other!r}"
    return subset, ""


def blocked_videos(path: Path, inputs: Inputs) -> tuple[str, ...]:
    """Ids of videos to leave out: a JSON list (or object, its keys), or one id per line.

    Raises:
        AnnotationError: the file cannot be read, or holds something else.
    """
    content = inputs.read(path)
    if not files.looks_like_json(content):
        return tuple(line.strip() for line in files.to_text(content, path).splitlines() if line.strip())
    found = files.to_json(content, path)
    names = list(found) if isinstance(found, dict) else found
    if not all(isinstance(name, str) for name in names):
        raise AnnotationError(f"{path}: {json.dumps(names)[:80]}", expected="a list of video ids")
    return tuple(names)
