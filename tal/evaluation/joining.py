"""Brings ground truth and predictions of segments onto common rows; everything that is left out is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable, from_json, parse_table
from tal.annotations.subsets import in_subset, listed
from tal.datasets.kinds.detection import DetectionProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.tally import Tally, some
from tal.metrics import detection
from tal.segments import Segments

Ints = NDArray[np.int64]

_OTHER_SUBSET = "video of another subset"
_NOT_ANNOTATED = "video not in the annotations"


def read_predictions(
    predictions: Mapping[str, Segments] | ResultTable | Path | str, inputs: Inputs, *, scored: bool = True
) -> tuple[ResultTable, str]:
    """(columns, what messages call them).

    Args:
        predictions: A file, or predictions in memory.
        inputs: Reads the file.
        scored: Refuse JSON without scores.

    Raises:
        AnnotationError: a file that cannot be read, or that holds no predictions.
    """
    if not isinstance(predictions, Path | str):
        return _in_memory(predictions, scored), "predictions"
    table = parse_table(inputs.read(predictions), predictions, scored=scored)
    if not len(table):
        raise AnnotationError(f"{predictions} holds no predictions", expected="at least one", cause="a run that failed")
    return table, str(predictions)


def _in_memory(predictions: Any, scored: bool) -> ResultTable:
    """Columns of what is at hand: themselves, segments per video, or ActivityNet results that are parsed already."""
    if isinstance(predictions, ResultTable):
        return predictions
    if not isinstance(predictions, Mapping):
        raise AnnotationError(
            f"predictions of type {type(predictions).__name__}",
            expected="a file, segments per video (tal.Segments), or ActivityNet results as a dict",
        )
    if all(isinstance(rows, Segments) for rows in predictions.values()):
        return ResultTable.from_segments(predictions)
    wrapped = "results" in predictions or "database" in predictions
    return from_json(dict(predictions) if wrapped else {"results": dict(predictions)}, "predictions", scored=scored)


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """Ground truth and predictions of one split as rows that share videos and classes.

    Args:
        records: The videos that are evaluated, in order; `video_idx` of a row is a position among them, or above
            their number for predictions on videos outside the split.
        truth: Ground truth.
        duplicates_removed: Rows of ground truth that the duplicate rule took out.
        predictions: The predictions that are judged.
        table_row: (N,) row of each of them in the table.
        outside: How many of them are on videos outside the split.
        tally: What was left out.
    """

    records: Mapping[str, VideoRecord]
    truth: detection.Rows
    duplicates_removed: int
    predictions: detection.Rows
    table_row: Ints
    outside: int
    tally: Tally


def join(
    protocol: DetectionProtocol, annotations: Annotations, table: ResultTable, source: str, *, by_class: bool = True
) -> Joined:
    """Apply a protocol's split, exclusions, duplicate rule and rule for videos outside.

    Args:
        protocol: The rules.
        annotations: Records of all splits.
        table: The predictions.
        source: What messages call the predictions.
        by_class: False where classes do not matter, as for proposals: all rows get label 0, after the duplicate rule,
            which compares classes.

    Raises:
        TalError: an unknown subset, no ground truth, predictions with NaN, or on no video or of no class that is there.
    """
    joining = _Joining(protocol, annotations, table, source)
    records = joining.records()
    truth, removed = joining.truth(records)
    if not by_class:
        truth = replace(truth, label=np.zeros(len(truth), np.int64))
    judged, rows, outside = joining.judged(records, truth, by_class)
    return Joined(
        records=records,
        truth=truth,
        duplicates_removed=removed,
        predictions=judged,
        table_row=rows,
        outside=outside,
        tally=joining.tally,
    )


@dataclass
class _Joining:
    """One joining under way: rows are cut down step by step, each step counted."""

    protocol: DetectionProtocol
    annotations: Annotations
    table: ResultTable
    source: str
    tally: Tally = field(default_factory=Tally)

    def records(self) -> dict[str, VideoRecord]:
        """The videos of the split, without those that the protocol excludes."""
        chosen = in_subset(self.annotations, self.protocol.subset)
        blocked = dict(self.protocol.excluded_videos)
        for video in chosen:
            if video in blocked:
                self.tally.exclude(f"video {video}: {blocked[video]}", len(chosen[video].instances))
        return {video: record for video, record in chosen.items() if video not in blocked}

    def truth(self, records: Mapping[str, VideoRecord]) -> tuple[detection.Rows, int]:
        """(ground truth of the split, number of duplicates removed)."""
        parts = [record.instances for record in records.values()]
        rows = detection.Rows(
            video_idx=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
            label=_column([part.label for part in parts]).astype(np.int64),
            start_s=_column([part.start_s for part in parts]),
            end_s=_column([part.end_s for part in parts]),
        )
        kept = rows.label >= 0
        self.tally.exclude("label unknown or missing", int((~kept).sum()))
        placed = np.isfinite(rows.start_s) & np.isfinite(rows.end_s)
        self.tally.exclude("start or end missing", int((kept & ~placed).sum()))
        kept &= placed
        for name, reason in self.protocol.excluded_classes:
            if name in self.annotations.classes:
                of_class = rows.label == self.annotations.classes.index(name)
                self.tally.exclude(f"class {name}: {reason}", int((kept & of_class).sum()))
                kept &= ~of_class
        rows, removed = rows[kept], 0
        if self.protocol.duplicates != "keep":
            tolerance_s, length_s = self.protocol.duplicate_tolerance_s, rows.end_s - rows.start_s
            shorter = self.protocol.duplicates == "remove"
            short = length_s < tolerance_s if shorter else length_s <= 0
            what = f"shorter than {tolerance_s:g} s" if shorter else "without length"
            self.tally.exclude(f"{what} (removed with the duplicates)", int(short.sum()))
            rows = rows[~short]
            duplicated = detection.duplicates(rows, tolerance_s=tolerance_s)
            rows, removed = rows[~duplicated], int(duplicated.sum())
        if not len(rows):
            raise AnnotationError(
                f"{self.annotations.source or 'annotations'}: no ground truth in {len(records)} videos "
                f"of subset {self.protocol.subset or 'any'!r}",
                expected="instances to evaluate against",
                cause="the benchmark does not publish this split's labels" if records else "",
                todo=f"choose another subset; there are {listed(self.annotations)}",
            )
        return rows, removed

    def judged(
        self, records: Mapping[str, VideoRecord], truth: detection.Rows, by_class: bool
    ) -> tuple[detection.Rows, Ints, int]:
        """(the predictions that are judged, their rows in the table, how many are on videos outside the split)."""
        table = self.table
        _refuse_nan(table, self.source)
        self._tell_faults()
        position = {video: index for index, video in enumerate(records)}
        video_idx = np.array([position.get(video, -1) for video in table.videos], np.int64)
        foreign = np.flatnonzero(video_idx < 0)
        video_idx[foreign] = len(records) + np.arange(len(foreign))
        rows = detection.Rows(
            video_idx=video_idx[table.video_idx],
            label=self._labels()[table.label_idx] if by_class else np.zeros(len(table), np.int64),
            start_s=table.start_s,
            end_s=table.end_s,
            score=table.score,
        )
        blocked = {video for video, _ in self.protocol.excluded_videos}
        kept = ~np.array([video in blocked for video in table.videos], bool)[table.video_idx]
        self.tally.drop("video excluded by the protocol", int((~kept).sum()))
        is_outside = kept & (rows.video_idx >= len(records))
        if is_outside.sum() == kept.sum() and len(rows):
            raise self._no_common_video(records)
        self._tell_outside(is_outside)
        if self.protocol.outside == "drop":
            kept &= ~is_outside
        if by_class:
            kept &= self._of_known_class(rows.label, truth, kept)
        return rows[kept], np.flatnonzero(kept), int((kept & is_outside).sum())

    def _of_known_class(self, label: Ints, truth: detection.Rows, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(N,) whether each prediction is of a class that is evaluated; those of `kept` that are not are counted."""
        has_truth = np.bincount(truth.label, minlength=len(self.annotations.classes) + 2) > 0
        excluded = {name for name, _ in self.protocol.excluded_classes}
        barred = np.array([name in excluded for name in self.annotations.classes] + [False, False])
        known = np.ones(len(label), bool)
        for reason, wrong in (
            ("no class", label == -1),
            ("class not in the annotations", label == -2),
            ("class excluded by the protocol", (label >= 0) & barred[label]),
            ("class without ground truth in the subset", (label >= 0) & ~has_truth[label]),
        ):
            self.tally.drop(reason, int((kept & known & wrong).sum()))
            known &= ~wrong
        strange = int((kept & (label == -2)).sum())
        if strange > kept.sum() / 2:
            self.tally.warn(
                f"{strange} of {kept.sum()} predictions are of classes that the annotations lack: are they of another "
                "benchmark?"
            )
        return known

    def _tell_faults(self) -> None:
        """Faulty segments are judged, as the public evaluators do, but not in silence."""
        reversed_ones = int((self.table.end_s < self.table.start_s).sum())
        if reversed_ones:
            self.tally.warn(f"{reversed_ones} predictions end before they start: they overlap nothing")
        negative = int((self.table.start_s < 0).sum())
        if negative:
            self.tally.warn(f"{negative} predictions start before 0: they are taken as they are")

    def _labels(self) -> Ints:
        """Class index of each of the table's labels (-2 where the annotations lack it), and -1 at the end for none."""
        if len(self.table) and not self.table.labels:
            raise AnnotationError(
                f"{self.source}: none of its {len(self.table)} predictions has a label",
                expected="a class name in every prediction",
                cause="proposals, or a file that names its classes by another key",
            )
        index = {name: position for position, name in enumerate(self.annotations.classes)}
        if self.table.by_id or not any(label in index for label in self.table.labels):
            index = _by_label_id(self.annotations) or index
        labels = [index.get(label, -2) for label in self.table.labels]
        if labels and max(labels) < 0:
            raise AnnotationError(
                f"{self.source}: none of its {len(labels)} classes is in the annotations: {some(self.table.labels)}",
                expected=f"classes such as {some(self.annotations.classes)}",
                cause="predictions of another benchmark, or other names for its classes",
            )
        return np.array([*labels, -1], np.int64)

    def _tell_outside(self, is_outside: NDArray[np.bool_]) -> None:
        known = self.annotations.videos
        for reason, wanted in ((_NOT_ANNOTATED, False), (_OTHER_SUBSET, True)):
            of_kind = np.array([(video in known) == wanted for video in self.table.videos], bool)
            of_rows = is_outside & (of_kind[self.table.video_idx] if len(of_kind) else is_outside)
            if not of_rows.any():
                continue
            count = int(of_rows.sum())
            videos = [self.table.videos[video] for video in np.unique(self.table.video_idx[of_rows])]
            if self.protocol.outside == "drop":
                self.tally.drop(reason, count)
                fate = "are left out"
            else:
                fate = "count as false positives, as in the ActivityNet toolkit; outside=drop leaves them out"
            self.tally.warn(f"{count} predictions on {len(videos)} videos ({reason}: {some(videos)}) {fate}")

    def _no_common_video(self, records: Mapping[str, VideoRecord]) -> AnnotationError:
        elsewhere = {
            self.annotations.videos[video].subset for video in self.table.videos if video in self.annotations.videos
        }
        return AnnotationError(
            f"{self.source}: all {len(self.table)} predictions are on {len(self.table.videos)} videos that are not in "
            f"subset {self.protocol.subset or 'any'!r}: {some(self.table.videos)}",
            expected=f"videos such as {some(list(records))}",
            cause=f"they are of subset {' and '.join(sorted(elsewhere))}"
            if elsewhere
            else "ids written in another way",
            todo="choose the subset" if elsewhere else "use the annotations' ids in the predictions",
        )


def _column(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)


def _by_label_id(annotations: Annotations) -> dict[str, int]:
    """`label_id` as text -> class index, for annotations that give ids."""
    found: dict[str, int] = {}
    for record in annotations.videos.values():
        ids = record.instances.extra.get("label_id", np.empty(0))
        found |= {str(label_id): int(label) for label_id, label in zip(ids, record.instances.label, strict=False)}
    return found


def _refuse_nan(table: ResultTable, source: str) -> None:
    for name, column in (("score", table.score), ("start", table.start_s), ("end", table.end_s)):
        rows = np.flatnonzero(np.isnan(column))
        if len(rows):
            raise AnnotationError(
                f"{source}: {len(rows)} predictions with {name} NaN, the first on video "
                f"{table.videos[table.video_idx[rows[0]]]!r}",
                expected="numbers",
                cause="a training run that diverged" if name == "score" else "",
                todo="look at the model's output; such predictions cannot be ranked or placed",
            )
