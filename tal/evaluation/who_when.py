"""Scores submitted events against labels, video by video and together."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tal.annotations.who_when import Events, label_files, parse, submitted_files
from tal.datasets.kinds.who_when import WhoWhenProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics.who_when import Score, score_rows


def run(
    protocol: WhoWhenProtocol,
    annotations: Mapping[str, Events] | Path | str,
    predictions: Mapping[str, Events] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Accuracy over all videos and per video.

    Over several videos, `accuracy` is the mean of the videos' (ours: the referee scores one video at a time), and
    `pooled-accuracy` that of their rows together. A video without a submission has accuracy 0.

    Args:
        protocol: The benchmark's.
        annotations: A CSV of labels, a folder of them, or events per video.
        predictions: The same of a solution.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read or do not fit each other, or nothing to evaluate.
    """
    tally = Tally()
    truth, found = _read(annotations, predictions, protocol.suffix, inputs, tally)
    for video in set(found) - set(truth):
        tally.drop("video without labels", len(found.pop(video)))
    empty = [video for video, events in truth.items() if not len(events) or not events.balls]
    if empty:
        raise AnnotationError(f"labels of video {empty[0]!r} hold no events of balls", expected="rows of events")
    if not sum(len(events) for events in found.values()):
        raise AnnotationError("the submission holds no events", expected="at least one row", cause="a run that failed")
    scores = {video: _scored(events, found.get(video), protocol, video, tally) for video, events in truth.items()}
    total = sum(scores.values(), start=Score(row_scores=0.0, matched=0, submitted=0, truth=0))
    counts = tally.counts(
        videos=list(truth),
        with_predictions={video for video, events in found.items() if len(events)},
        ground_truth=total.truth,
        predictions=total.submitted + sum(tally.dropped.values()),
        predictions_evaluated=total.submitted,
        true_positives=total.matched,
        false_positives=total.submitted - total.matched,
        false_negatives=total.truth - total.matched,
    )
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=counts,
        metrics={
            "accuracy": float(np.mean([score.accuracy for score in scores.values()])),
            "pooled-accuracy": total.accuracy,
            "matched": total.matched / total.truth,
            "row-score": total.row_scores / total.matched if total.matched else 0.0,
        },
        per_class={video: _row(score) for video, score in scores.items()},
    )


def _read(
    annotations: Mapping[str, Events] | Path | str,
    predictions: Mapping[str, Events] | Path | str,
    suffix: str,
    inputs: Inputs,
    tally: Tally,
) -> tuple[dict[str, Events], dict[str, Events]]:
    """(labels, submitted events) per video."""
    if isinstance(annotations, Path | str):
        paths = label_files(Path(annotations))
        truth = {video: parse(inputs.read(path), path) for video, path in paths.items()}
    else:
        truth = dict(annotations)
        paths = {video: Path(video) for video in truth}
    if not isinstance(predictions, Path | str):
        return truth, dict(predictions)
    files = submitted_files(Path(predictions), paths, suffix)
    others = sorted(path.name for path in Path(predictions).glob("*.csv") if path not in files.values())
    if others:
        tally.warn(f"{len(others)} other files in {predictions} are not read: {some(others)}")
    return truth, {video: parse(inputs.read(path), path) for video, path in files.items()}


def _scored(truth: Events, found: Events | None, protocol: WhoWhenProtocol, video: str, tally: Tally) -> Score:
    if found is None:
        return Score(row_scores=0.0, matched=0, submitted=0, truth=len(truth))
    lacking = [ball for ball in truth.balls if ball not in found.balls]
    if len(lacking) == len(truth.balls):
        raise AnnotationError(
            f"video {video!r}: the submission has none of the balls {some(truth.balls)}, but {some(found.balls)}",
            expected="a column per ball of the labels",
            cause="the submission of another video",
        )
    if lacking:
        tally.warn(f"video {video!r}: no column for balls {', '.join(lacking)}; their cells count as wrong")
    early = int((~truth.present.all(axis=1)).sum())
    if early:
        tally.warn(f"video {video!r}: {early} rows of the labels end early; nobody holds the balls that they lack")
    if np.any(np.diff(found.frame) < 0) or np.any(np.diff(truth.frame) < 0):
        tally.warn(f"video {video!r}: frames go back; rows are matched in the files' order, as the referee does")
    holder, present = found.of_balls(truth.balls)
    return score_rows(truth.frame, truth.holder, found.frame, holder, present, tolerance=protocol.tolerance)


def _row(score: Score) -> dict[str, float]:
    return {
        "accuracy": score.accuracy,
        "row_scores": score.row_scores,
        "true_positives": score.matched,
        "false_positives": score.submitted - score.matched,
        "false_negatives": score.truth - score.matched,
        "ground_truth": score.truth,
    }
