"""What is wrong with a dataset as far as its annotations tell: a list of findings, before any training."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tal.annotations.faults import KINDS, find_faults
from tal.annotations.records import Annotations, VideoRecord

_TRAINING_NAMES = ("training", "train")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        kind: What, in one word that a program can look for.
        video: The id it is about; "" if it is about the set.
        message: In words, with the numbers.
        cause: The likely reason; "" if the message says it.
    """

    kind: str
    video: str = ""
    message: str
    cause: str = ""

    def as_dict(self) -> dict[str, str]:
        """Plain values for json."""
        return {"kind": self.kind, "video": self.video, "message": self.message, "cause": self.cause}


def check_annotations(annotations: Annotations, *, train_subsets: Sequence[str] = ()) -> list[Finding]:
    """Faulty instances, durations that are no durations, classes that cannot be learnt.

    Args:
        annotations: As read.
        train_subsets: The splits that are trained on; without any, see `training_subsets`.
    """
    faults = find_faults(annotations).faults
    found = [
        Finding(
            kind=fault.kind, video=fault.video, message=str(fault) if fault.detail else f"{fault}: {KINDS[fault.kind]}"
        )
        for fault in faults
    ]
    for record in annotations.videos.values():
        if record.duration_s is not None and not record.duration_s > 0:
            message = f"{record.video}: a duration of {record.duration_s:g} s"
            found.append(Finding(kind="duration", video=record.video, message=message))
    return [*found, *_untrained_classes(annotations, train_subsets)]


def training_subsets(annotations: Annotations) -> tuple[str, ...]:
    """The splits called training or train; else validation where there is a test split, as in THUMOS14; else none."""
    by_name = {name.lower(): name for name in annotations.subsets}
    named = tuple(by_name[name] for name in _TRAINING_NAMES if name in by_name)
    if named:
        return named
    return (by_name["validation"],) if {"validation", "test"} <= set(by_name) else ()


def _untrained_classes(annotations: Annotations, train_subsets: Sequence[str]) -> Iterator[Finding]:
    chosen = {name.lower() for name in train_subsets or training_subsets(annotations)}
    of_all, of_training = (
        _class_counts(record for record in annotations.videos.values() if not names or record.subset.lower() in names)
        for names in (set(), chosen)
    )
    for name in annotations.classes:
        if not of_all.get(name):
            yield Finding(kind="class_without_instances", message=f"class {name!r} has no instance at all")
        elif not of_training.get(name):
            message = f"class {name!r} has {of_all[name]} instances, none of them in {' or '.join(sorted(chosen))}"
            yield Finding(
                kind="class_without_training",
                message=message,
                cause="another spelling of a class, or a split that left it out",
            )


def _class_counts(records: Iterator[VideoRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        tubes = np.array([tube.label for tube in record.frame_tubes], np.int64)
        labels, each = np.unique(np.concatenate([record.instances.label, tubes]), return_counts=True)
        for label, count in zip(labels.tolist(), each.tolist(), strict=True):
            if label >= 0:
                name = record.instances.classes[label]
                counts[name] = counts.get(name, 0) + count
    return counts


def id_leaks(sets: Mapping[str, Sequence[tuple[str, str]]]) -> list[Finding]:
    """Videos that are in more than one split.

    Args:
        sets: File -> (video, subset) as they stand in it, repetitions included.
    """
    places: dict[str, list[tuple[str, str]]] = {}
    for file, entries in sets.items():
        for video, subset in entries:
            places.setdefault(video, []).append((file, subset))
    found = []
    for video, where in places.items():
        splits = dict.fromkeys((subset.lower() or file) for file, subset in where)
        if len(splits) > 1:
            message = f"{video} is in {' and '.join(splits)}"
            cause = "one file was made from the other, or the splits were drawn per instance"
            found.append(Finding(kind="split_leak", video=video, message=message, cause=cause))
        elif len(where) > 1:
            message = f"{video} stands {len(where)} times in {' and '.join(dict.fromkeys(file for file, _ in where))}"
            cause = "all but one are ignored when the file is read" if len({file for file, _ in where}) == 1 else ""
            found.append(Finding(kind="repeated_video", video=video, message=message, cause=cause))
    return found


def entries_of_json(text: str) -> list[tuple[str, str]]:
    """(video, subset) of ActivityNet-style JSON, with the keys that a JSON object repeats, which readers overwrite."""
    inner: list[list[tuple[str, Any]]] = []

    def remember(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = [value for _, value in pairs]
        if values and all(isinstance(value, dict) and "annotations" in value for value in values):
            inner.append(pairs)
        return dict(pairs)

    json.loads(text, object_pairs_hook=remember)
    return [(str(video), str(entry.get("subset") or "")) for pairs in inner for video, entry in pairs]


def content_leaks(digests: Mapping[str, str], subsets: Mapping[str, str], what: str) -> list[Finding]:
    """Videos of different splits whose files are the same.

    Args:
        digests: Video -> hash of its content.
        subsets: Video -> split.
        what: The kind of file, for the message.
    """
    groups: dict[str, list[str]] = {}
    for video, digest in digests.items():
        groups.setdefault(digest, []).append(video)
    found = []
    for videos in groups.values():
        splits = dict.fromkeys(subsets.get(video, "").lower() for video in videos)
        if len(splits) > 1:
            listed = ", ".join(f"{video} ({subsets.get(video) or 'no split'})" for video in videos)
            found.append(Finding(kind="split_leak", video=videos[0], message=f"the same {what} for {listed}"))
    return found
