"""What is wrong with annotations, found and counted; and cleaning, for training only, as the caller chooses.

Evaluation reads annotations as published. The official sets do hold faults: MultiTHUMOS has 37 empty or reversed
instances and 35 past their video's end, ActivityNet 12 and 215.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal.annotations.build import UNKNOWN_LABEL
from tal.annotations.records import Annotations, VideoRecord
from tal.errors import AnnotationError
from tal.segments import Segments

Mask = NDArray[np.bool_]

KINDS = {
    "not_a_number": "a time is missing or NaN",
    "unknown_label": "the label is missing or not in the class list",
    "negative": "starts before the video does",
    "reversed": "ends before it starts",
    "empty": "shorter than 1e-3 s",
    "past_end": "ends after the video does",
    "duplicated": "same class and both ends within 1e-3 s of an earlier instance",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One faulty instance.

    Args:
        kind: A name in `KINDS`.
        video: The id.
        subset: Of the video.
        row_idx: Of the instance in its record.
        start_s, end_s: As annotated.
        label: The class name as written.
        detail: What it was measured against, in words; "" if the numbers say it.
    """

    kind: str
    video: str
    subset: str
    row_idx: int
    start_s: float
    end_s: float
    label: str
    detail: str = ""

    def __str__(self) -> str:
        told = f"{self.video}: {self.label or '(no label)'} from {self.start_s:g} to {self.end_s:g} s"
        return f"{told} ({self.detail})" if self.detail else told


@dataclass(frozen=True, kw_only=True)
class FaultReport:
    """All faults of a set of annotations; an instance may have several.

    Args:
        faults: In the order of videos and instances.
        instances: How many instances were looked at.
    """

    faults: tuple[Fault, ...]
    instances: int

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> number of faults, for the kinds that occur, in the order of `KINDS`."""
        found = [fault.kind for fault in self.faults]
        return {kind: found.count(kind) for kind in KINDS if kind in found}

    def __str__(self) -> str:
        told = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in self.counts.items())
        return f"{told or 'no faults'} in {self.instances} instances"


@dataclass(frozen=True, kw_only=True)
class FaultPolicy:
    """What happens to each kind of faulty instance before training.

    "keep" leaves it, "drop" takes it out, "clip" limits it to the video, "swap" exchanges its ends, "error" refuses the
    annotations. An instance of which clipping leaves nothing is dropped.
    """

    not_a_number: Literal["drop", "error"] = "drop"
    unknown_label: Literal["drop", "error"] = "drop"
    negative: Literal["keep", "drop", "clip", "error"] = "clip"
    reversed: Literal["drop", "swap", "error"] = "drop"
    empty: Literal["keep", "drop", "error"] = "drop"
    past_end: Literal["keep", "drop", "clip", "error"] = "clip"
    duplicated: Literal["keep", "drop", "error"] = "drop"


@dataclass(frozen=True, kw_only=True)
class CleaningReport:
    """What `clean` did.

    Args:
        found: The faults before cleaning.
        done: (kind, action) -> number of instances.
        instances: How many are left.
    """

    found: FaultReport
    done: Mapping[tuple[str, str], int] = field(default_factory=dict)
    instances: int

    def __str__(self) -> str:
        told = ", ".join(f"{count} {kind.replace('_', ' ')}: {action}" for (kind, action), count in self.done.items())
        return f"{self.instances} of {self.found.instances} instances kept" + (f" ({told})" if told else "")


def find_faults(annotations: Annotations, *, tolerance_s: float = 1e-3) -> FaultReport:
    """Every fault of every instance; nothing is changed.

    Args:
        annotations: As read.
        tolerance_s: Both ends of duplicates agree within it, seconds.
    """
    faults = [fault for record in annotations.videos.values() for fault in _faults_of(record, tolerance_s)]
    return FaultReport(faults=tuple(faults), instances=_instances(annotations))


def clean(
    annotations: Annotations, policy: FaultPolicy | None = None, *, tolerance_s: float = 1e-3
) -> tuple[Annotations, CleaningReport]:
    """Annotations to train on, and what was done to get them. Never used for evaluation.

    Args:
        annotations: As read.
        policy: What happens to each kind; the default drops what has no place or no label and clips what sticks out.
        tolerance_s: Both ends of duplicates agree within it, seconds.

    Raises:
        AnnotationError: a kind that the policy refuses; the message lists the first instances.
    """
    chosen = policy or FaultPolicy()
    found = find_faults(annotations, tolerance_s=tolerance_s)
    actions = {each.name: str(getattr(chosen, each.name)) for each in fields(chosen)}
    refused = [fault for fault in found.faults if actions[fault.kind] == "error"]
    if refused:
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: {len(refused)} faulty instances, among them "
            + "; ".join(f"{fault.kind}: {fault}" for fault in refused[:3]),
            expected=f"none of {', '.join(sorted({fault.kind for fault in refused}))}",
            todo="correct the annotations, or choose another policy",
        )
    done: dict[tuple[str, str], int] = {}
    videos = {
        video: _cleaned(record, actions, done, tolerance_s) if len(record.instances) else record
        for video, record in annotations.videos.items()
    }
    result = replace(annotations, videos=videos)
    return result, CleaningReport(found=found, done=done, instances=_instances(result))


def _instances(annotations: Annotations) -> int:
    return sum(len(record.instances) for record in annotations.videos.values())


def _masks(rows: Segments, duration_s: float | None, tolerance_s: float) -> dict[str, Mask]:
    """Kind -> (N,) which instances have it."""
    with np.errstate(invalid="ignore"):
        return {
            "not_a_number": ~(np.isfinite(rows.start_s) & np.isfinite(rows.end_s)),
            "unknown_label": rows.label < 0,
            "negative": rows.start_s < 0,
            "reversed": rows.end_s < rows.start_s,
            "empty": (rows.length_s == 0) | ((rows.length_s > 0) & (rows.length_s < tolerance_s)),
            "past_end": rows.end_s > (np.inf if duration_s is None else duration_s),
            "duplicated": _duplicated(rows, tolerance_s),
        }


def _duplicated(rows: Segments, tolerance_s: float) -> Mask:
    """(N,) instances with an earlier one, itself no duplicate, of the same class and ends."""
    duplicated = np.zeros(len(rows), bool)
    order = np.argsort(rows.start_s, kind="stable")
    close = np.diff(rows.start_s[order]) <= tolerance_s
    has_neighbour = np.zeros(len(rows), bool)
    has_neighbour[order[1:][close]] = has_neighbour[order[:-1][close]] = True
    for row in np.flatnonzero(has_neighbour):
        same = ~duplicated[:row] & (rows.label[:row] == rows.label[row])
        same &= np.abs(rows.start_s[:row] - rows.start_s[row]) <= tolerance_s
        same &= np.abs(rows.end_s[:row] - rows.end_s[row]) <= tolerance_s
        duplicated[row] = same.any()
    return duplicated


def _faults_of(record: VideoRecord, tolerance_s: float) -> Iterator[Fault]:
    rows = record.instances
    if not len(rows):
        return
    masks = _masks(rows, record.duration_s, tolerance_s)
    if not any(mask.any() for mask in masks.values()):
        return
    names = rows.names
    written = rows.extra.get(UNKNOWN_LABEL)
    for row_idx in range(len(rows)):
        for kind in (kind for kind, mask in masks.items() if mask[row_idx]):
            yield Fault(
                kind=kind,
                video=record.video,
                subset=record.subset,
                row_idx=row_idx,
                start_s=float(rows.start_s[row_idx]),
                end_s=float(rows.end_s[row_idx]),
                label=names[row_idx] or ("" if written is None else str(written[row_idx])),
                detail=f"the video ends at {record.duration_s:g} s" if kind == "past_end" else "",
            )


def _cleaned(
    record: VideoRecord, actions: Mapping[str, str], done: dict[tuple[str, str], int], tolerance_s: float
) -> VideoRecord:
    """One record after the policy; `done` is counted up."""
    rows = record.instances
    masks = _masks(rows, record.duration_s, tolerance_s)
    start_s, end_s, kept = rows.start_s.copy(), rows.end_s.copy(), np.ones(len(rows), bool)
    for kind, mask in masks.items():
        action = actions[kind]
        touched = mask & kept
        if not touched.any():
            continue
        done[kind, action] = done.get((kind, action), 0) + int(touched.sum())
        if action == "drop":
            kept &= ~mask
        elif action == "swap":
            start_s[touched], end_s[touched] = end_s[touched], start_s[touched]
        elif action == "clip":
            first, last = (0.0, np.inf) if kind == "negative" else (-np.inf, record.duration_s)
            start_s[touched], end_s[touched] = start_s[touched].clip(first, last), end_s[touched].clip(first, last)
    was_something = kept & (rows.end_s != rows.start_s)
    vanished = was_something & (end_s <= start_s)
    if vanished.any():
        done["outside", "drop"] = done.get(("outside", "drop"), 0) + int(vanished.sum())
        kept &= ~vanished
    if kept.all() and np.array_equal(start_s, rows.start_s) and np.array_equal(end_s, rows.end_s):
        return record
    position = np.cumsum(kept) - 1
    cycles = {int(position[row]): spans for row, spans in record.cycles_s.items() if kept[row]}
    return replace(record, instances=replace(rows, start_s=start_s, end_s=end_s)[kept], cycles_s=cycles)
