"""Recognition with several classes per video: mean average precision."""

from typing import Any

import numpy as np

from tal.datasets.kinds.recognition import MultilabelProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally
from tal.evaluation.whole_videos import join
from tal.metrics.precision import ranking_ap


def run(protocol: MultilabelProtocol, annotations: Any, predictions: Any, inputs: Inputs) -> Evaluation:
    """Score several classes per video; a video without prediction is ranked last in every class.

    Args:
        protocol: The rules.
        annotations: A file that `tal.annotations.labels` reads, {VIDEO: labels}, or records.
        predictions: A file that `tal.annotations.class_scores` reads, {VIDEO: scores}, or `ClassScores`.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, no video or class in common, or no video with a label.
    """
    tally = Tally()
    joined = join(protocol, annotations, predictions, inputs, tally)
    score, right = joined.score, joined.right
    labelled = right.sum(1) > 0
    if not labelled.any():
        raise AnnotationError("no video has a label", expected="ground truth to evaluate against")
    if not labelled.all():
        fate = "rank by their scores" if protocol.unlabelled == "rank" else "rank last"
        tally.warn(f"{int((~labelled).sum())} videos have no label: they {fate}")
        if protocol.unlabelled == "last":
            score = np.where(labelled[:, None], score, -np.inf)
    precision = np.array([ranking_ap(s, g, ties=protocol.ties) for s, g in zip(score.T, right.T, strict=True)])
    count = right.sum(0)
    if protocol.absent == "zero":
        precision = np.where(count > 0, precision, 0.0)
    by_video = [ranking_ap(s, g, ties=protocol.ties) for s, g in zip(score[labelled], right[labelled], strict=True)]
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=joined.videos,
            with_predictions=joined.predicted,
            ground_truth=int(count.sum()),
            predictions=joined.rows,
            predictions_evaluated=joined.evaluated,
            classes=int((count > 0).sum()),
        ),
        metrics={
            "mAP": float(np.nanmean(precision)),
            "mAP-weighted": float(np.nansum(precision * count) / count.sum()),
            "mAP-samples": float(np.mean(by_video)),
        },
        per_class={
            name: {"AP": float(value), "ground_truth": int(number)}
            for name, value, number in zip(joined.classes, precision, count, strict=True)
            if number
        },
    )
