"""All classes as one, for class-agnostic evaluation."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tal.annotations.records import Annotations
from tal.annotations.results import ResultTable

ONE_CLASS = "any class"


def as_one_class(
    annotations: Annotations, table: ResultTable, *, kept: Sequence[str] = ()
) -> tuple[Annotations, ResultTable]:
    """The same rows with one class for all, but for the classes in `kept`, which a protocol excludes by name.

    Predictions without a class, or of one that the annotations lack, are of the one class too.

    Args:
        annotations: Records.
        table: Predictions.
        kept: Classes that stay what they are.
    """
    classes = (ONE_CLASS, *(name for name in kept if name in annotations.classes))
    index = {name: position for position, name in enumerate(classes)}
    to_new = np.array(
        [*(index.get(name, 0) for name in annotations.classes), -1]
    )  # A label of -1 is a fault: it stays.
    videos = {
        video: replace(
            record, instances=replace(record.instances, label=to_new[record.instances.label], classes=classes)
        )
        for video, record in annotations.videos.items()
    }
    of_table = np.array([*(index.get(name, 0) for name in table.labels), 0])
    return (
        replace(annotations, classes=classes, videos=videos),
        replace(table, labels=classes, label_idx=of_table[table.label_idx], by_id=False),
    )
