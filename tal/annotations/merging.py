"""Annotations in several files, one video each, as ELAN keeps them: a folder of documents is one set."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tal.annotations.records import Annotations, VideoRecord
from tal.errors import AnnotationError


def documents_in(folder: Path) -> list[Path]:
    """The ELAN documents of a folder, in the order of their names.

    Raises:
        AnnotationError: there are none.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".eaf")
    if not found:
        raise AnnotationError(
            f"{folder} is a folder without ELAN documents", expected="a file, or a folder of .eaf files"
        )
    return found


def merged(parts: Sequence[Annotations], source: Path | str) -> Annotations:
    """One set of all; the classes are those that occur anywhere, in the order of their names.

    Raises:
        AnnotationError: a video that stands in two of them.
    """
    classes = tuple(sorted({name for part in parts for name in part.classes}))
    index = {name: position for position, name in enumerate(classes)}
    videos: dict[str, VideoRecord] = {}
    for part in parts:
        label = np.array([*(index[name] for name in part.classes), -1], np.int64)
        for video, record in part.videos.items():
            if video in videos:
                raise AnnotationError(f"{part.source}: video {video!r} stands in another file of {source} too")
            instances = replace(record.instances, label=label[record.instances.label], classes=classes)
            videos[video] = replace(record, instances=instances)
    return Annotations(classes=classes, videos=videos, source=str(source), format=parts[0].format)
