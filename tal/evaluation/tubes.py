"""Scores action tubes by a protocol: frame-mAP of boxes, video-mAP of tubes, over one split or several."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.annotations.tube_results import BoxTable, TubeTable
from tal.datasets.kinds.tubes import TubesProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, threshold_name
from tal.evaluation.tally import Tally
from tal.evaluation.tube_joining import Joining, Predicted, read_annotations, truth_boxes, truth_tubes, videos_of
from tal.metrics.tubes import (
    FRAME_RULES,
    MEAN_IOUS,
    TUBE_RULES,
    BoxRows,
    VideoTube,
    average_precision,
    frame_candidates,
    pascal_average_precision,
    tube_candidates,
)

Floats = NDArray[np.float64]


def run(
    protocol: TubesProtocol,
    annotations: Annotations | Path | str,
    predictions: BoxTable | TubeTable | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """frame-mAP, video-mAP, or both, whichever the predictions allow.

    Args:
        protocol: The benchmark's.
        annotations: JSON or pickle as `tal.annotations.tubes` reads them, or records.
        predictions: Any that `tal.annotations.tube_results` reads; {split} in a path is each split's number.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read or do not fit each other, or nothing to evaluate.
    """
    annotated = read_annotations(annotations, inputs)
    tally = Tally()
    _check_templates(protocol, predictions)
    splits = [_Split(protocol, annotated, predictions, number, inputs, tally) for number in protocol.split]
    metrics, per_class = _over_splits(protocol, splits, annotated.classes)
    absent = [name for name in annotated.classes if name not in per_class]
    if absent:
        tally.warn(f"{len(absent)} classes have no ground truth and are left out of the means: {', '.join(absent[:5])}")
    if protocol.class_count != len(annotated.classes):
        tally.warn(f"{len(annotated.classes)} classes in the annotations, the benchmark has {protocol.class_count}")
    several = len(splits) > 1
    counts = tally.counts(
        videos=[each.name(video, several) for each in splits for video in each.records],
        with_predictions={each.name(video, several) for each in splits for video in each.predicted.named},
        ground_truth=sum(len(each.truth) for each in splits),
        predictions=sum(each.predicted.read for each in splits),
        predictions_evaluated=sum(each.predicted.evaluated for each in splits),
        classes=len(per_class),
        splits=len(splits),
        ground_truth_boxes=sum(len(each.boxes) for each in splits),
        boxes_evaluated=sum(_size(each.predicted.boxes) for each in splits),
        tubes_evaluated=sum(_size(each.predicted.tubes) for each in splits),
    )
    return Evaluation(
        protocol=protocol.name,
        title=protocol.title,
        options=protocol.described() | {"annotation_format": annotated.format},
        inputs=inputs.hashes,
        counts=counts,
        metrics=metrics,
        per_class=per_class,
        missing=tally.missing,
        warnings=tuple(dict.fromkeys(tally.warnings)),
    )


def _check_templates(protocol: TubesProtocol, predictions: Any) -> None:
    """Refuse one file for several splits: a model of a split has seen the others' test videos."""
    paths = [path for path in (predictions, protocol.tubes) if isinstance(path, Path | str)]
    if len(protocol.split) > 1 and (len(paths) == 0 or any("{split}" not in str(path) for path in paths)):
        raise ConfigError(
            f"one set of predictions for {len(protocol.split)} splits",
            expected="a path with {split} in it, as runs/split{split}.csv",
            cause="each split has a model of its own: the test videos of one are training videos of another",
        )


def _size(rows: BoxRows | Sequence[VideoTube] | None) -> int:
    return 0 if rows is None else len(rows)


class _Split:
    """One split's ground truth and predictions, and the AP of each class."""

    def __init__(
        self,
        protocol: TubesProtocol,
        annotations: Annotations,
        predictions: BoxTable | TubeTable | Path | str,
        number: int,
        inputs: Inputs,
        tally: Tally,
    ) -> None:
        self.protocol, self.number = protocol, number
        self.class_count = len(annotations.classes)
        self.records = videos_of(annotations, protocol, number)
        self.truth = truth_tubes(self.records, tally)
        if not self.truth:
            raise AnnotationError(
                f"{annotations.source or 'annotations'}: no tubes in {len(self.records)} videos",
                expected="boxes on numbered frames, as tal.annotations.tubes reads them",
                cause="annotations of another task",
            )
        self.boxes = truth_boxes(self.truth)
        joining = Joining(protocol, annotations, self.records, number, inputs, tally)
        joining.add(predictions)
        if protocol.tubes is not None:
            joining.add(protocol.tubes)
        self.predicted: Predicted = joining.finish()

    def name(self, video: str, several: bool) -> str:
        return f"{video} (split {self.number})" if several else video

    def frame_ap(self) -> Floats | None:
        """(M, K) at the protocol's thresholds."""
        found = self.predicted.boxes
        if found is None:
            return None
        if self.protocol.frame_rule == "pascal":
            return pascal_average_precision(
                self.boxes,
                found,
                self.protocol.iou,
                class_count=self.class_count,
                stable=self.protocol.ties == "stable",
            )
        rule = FRAME_RULES[self.protocol.frame_rule]
        rule = replace(rule, stable=rule.stable or self.protocol.ties == "stable")
        pairs = frame_candidates(self.boxes, found, rule)
        return average_precision(pairs, self.protocol.iou, rule, class_count=self.class_count)

    def tube_ap(self) -> Floats | None:
        """(M + 10, K) at the protocol's thresholds and those of the mean."""
        if self.predicted.tubes is None:
            return None
        rule = TUBE_RULES[self.protocol.tube_rule]
        rule = replace(rule, stable=rule.stable or self.protocol.ties == "stable")
        pairs = tube_candidates(self.truth, self.predicted.tubes, rule)
        return average_precision(pairs, (*self.protocol.iou, *MEAN_IOUS), rule, class_count=self.class_count)


def _over_splits(
    protocol: TubesProtocol, splits: Sequence[_Split], classes: Sequence[str]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """(metrics, the same per class); of several splits the means, and each split's own metrics after its name."""
    tables = [_named(protocol, each) for each in splits]
    metrics = _mean([{name: float(np.nanmean(row)) for name, row in table.items()} for table in tables])
    if len(splits) > 1:
        for each, table in zip(splits, tables, strict=True):
            metrics |= {f"split{each.number}/{name}": float(np.nanmean(row)) for name, row in table.items()}
    tubes = np.bincount([tube.tube.label for each in splits for tube in each.truth], minlength=len(classes))
    per_class = {}
    for row in np.flatnonzero(tubes).tolist():
        of_class = [{name: float(values[row]) for name, values in table.items()} for table in tables]
        of_class = [values for values in of_class if not np.isnan(next(iter(values.values())))]
        per_class[classes[row]] = _mean(of_class) | {"ground_truth": int(tubes[row])}
    renamed = {
        name: {key.replace("-mAP", "-AP"): value for key, value in values.items()} for name, values in per_class.items()
    }
    return metrics, renamed


def _named(protocol: TubesProtocol, split: _Split) -> dict[str, Floats]:
    """Metric name -> (K,) AP."""
    named: dict[str, Floats] = {}
    names = [threshold_name(value) for value in protocol.iou]
    frames, tubes = split.frame_ap(), split.tube_ap()
    if frames is not None:
        named |= {f"frame-mAP@{name}": row for name, row in zip(names, frames, strict=True)}
    if tubes is not None:
        count = len(names)
        named |= {f"video-mAP@{name}": row for name, row in zip(names, tubes[:count], strict=True)}
        named["video-mAP"] = tubes[count:].mean(axis=0)
    return named


def _mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
