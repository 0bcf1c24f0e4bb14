"""Per-frame mAP: scores of frames, or segments with scores, against multi-label ground truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import files, frame_scores
from tal.annotations.frame_scores import FrameScores, parse_frame_scores, read_folder
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable, from_json, parse_table
from tal.annotations.subsets import in_subset, listed
from tal.datasets.kinds.frames import FramesProtocol
from tal.errors import AnnotationError
from tal.evaluation.frame_rows import class_columns, rows_of_scores, rows_of_segments
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.splits import present_subset
from tal.evaluation.tally import Tally, some
from tal.metrics import frames
from tal.segments import Segments

Floats = NDArray[np.float64]
Predictions = FrameScores | ResultTable


def run(
    protocol: FramesProtocol,
    annotations: Annotations | Path | str,
    predictions: Mapping[str, NDArray[np.floating] | Segments] | Predictions | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score frames.

    Args:
        protocol: The rules.
        annotations: A file in any format that is read, or records.
        predictions: Scores per frame (see `tal.annotations.frame_scores`), or segments, of which each frame takes the
            highest score of those that cover it; in memory video -> (T, K) scores or segments.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, an unknown subset, other classes, scores with NaN, nothing to evaluate.
    """
    annotations = inputs.annotations(annotations)
    found, source = _read(predictions, inputs)
    tally = Tally()
    subset, note = present_subset(annotations, protocol.subset)
    if note:
        tally.warn(note)
    records = in_subset(annotations, subset)
    named = _named(found)
    _check(annotations, records, subset, named, source)
    if isinstance(found, FrameScores):
        columns = class_columns(protocol, annotations, found, source, inputs)
        tally.drop("frame that stands more than once (its last row is taken)", found.repeated)
        scores, labels = rows_of_scores(protocol, annotations, records, found, columns, tally)
    else:
        scores, labels = rows_of_segments(protocol, annotations, records, found, source, tally)
    if not labels.any():
        raise AnnotationError(
            f"{source}: none of the {len(labels)} frames that are judged shows a class",
            expected="frames inside annotated segments",
            cause="predictions on videos without instances, or a wrong rate"
            if protocol.rate is None
            else "a wrong rate",
        )
    if protocol.class_count not in (None, len(annotations.classes)):
        tally.warn(f"{len(annotations.classes)} classes are annotated, the benchmark has {protocol.class_count}")
    precision = frames.frame_average_precision(scores, labels, ties=protocol.equal_scores)
    rows = len(found)
    counts = tally.counts(
        videos=records,
        with_predictions=named,
        classes=int(labels.any(axis=0).sum()),
        ground_truth=int(labels.sum()),
        predictions=rows,
        predictions_evaluated=rows - sum(tally.dropped.values()),
        frames=len(scores),
        frames_without_scores=int((scores == -np.inf).all(axis=1).sum()),
    )
    width = found.width if isinstance(found, FrameScores) else 0
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=counts,
        metrics=_metrics(protocol, precision, labels, max(len(annotations.classes), width)),
        per_class=_per_class(annotations.classes, precision, labels),
        subset=subset,
        annotation_format=annotations.format,
    )


def _named(found: Predictions) -> list[str]:
    """The videos that have predictions."""
    if isinstance(found, FrameScores):
        return list(found.scores)
    return [found.videos[video] for video in np.unique(found.video_idx)]


def _read(predictions: Any, inputs: Inputs) -> tuple[Predictions, str]:
    """(scores or segments, what messages call them)."""
    if isinstance(predictions, FrameScores | ResultTable):
        return predictions, "predictions"
    if isinstance(predictions, Mapping):
        if any(isinstance(each, Segments) for each in predictions.values()):
            return ResultTable.from_segments(predictions), "predictions"
        return FrameScores(scores={video: np.asarray(each) for video, each in predictions.items()}), "predictions"
    path, source = Path(predictions), str(predictions)
    if path.is_dir():
        scores, inputs.hashes[source] = read_folder(path)
        return scores, source
    content = inputs.read(path, binary=True)
    if files.looks_like_json(content):
        data = files.to_json(content, path)
        found: Predictions = (
            parse_frame_scores(content, path) if frame_scores.looks_like(data) else from_json(data, source)
        )
    elif _is_table_of_segments(content):
        found = parse_table(content, path)
    else:
        found = parse_frame_scores(content, path)
    if isinstance(found, ResultTable) and not len(found):
        raise AnnotationError(f"{source} holds no predictions", expected="at least one", cause="a run that failed")
    return found, source


def _is_table_of_segments(content: bytes) -> bool:
    """Whether CSV has a column of labels, which scores per frame have not: there each class is a column."""
    cells = [cell.strip().strip(b'"') for cell in content.split(b"\n", 1)[0].lower().split(b",")]
    return b"label" in cells and cells[:2] != [b"video", b"frame"]


def _check(
    annotations: Annotations,
    records: Mapping[str, VideoRecord],
    subset: str | None,
    named: Sequence[str],
    source: str,
) -> None:
    """Refuse a split without ground truth, and predictions on none of its videos."""
    if not any(len(record.instances) for record in records.values()):
        raise AnnotationError(
            f"{annotations.source or 'annotations'}: no ground truth in {len(records)} videos of subset "
            f"{subset or 'any'!r}",
            expected="instances to evaluate against",
            todo=f"choose another subset; there are {listed(annotations)}",
        )
    if not any(video in records for video in named):
        raise AnnotationError(
            f"{source}: none of its {len(named)} videos is in subset {subset or 'any'!r}: {some(named)}",
            expected=f"videos such as {some(list(records))}",
            cause="another split, or ids written in another way",
        )


def _metrics(
    protocol: FramesProtocol, precision: Floats, shown: NDArray[np.bool_], class_count: int
) -> dict[str, float]:
    """mAP, and the mean weighted by each class's frames (Charades' WAP)."""
    filled = np.nan_to_num(precision)
    mean = filled.sum() / class_count if protocol.empty_classes == "zero" else np.nanmean(precision)
    return {"mAP": float(mean), "weighted-mAP": float((filled * shown.sum(axis=0)).sum() / shown.sum())}


def _per_class(classes: Sequence[str], precision: Floats, shown: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    counts = shown.sum(axis=0).tolist()
    return {
        name: {"AP": value, "ground_truth": count}
        for name, value, count in zip(classes, precision.tolist(), counts, strict=True)
        if count
    }
