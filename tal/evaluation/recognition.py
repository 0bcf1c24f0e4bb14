"""Recognition with one class per video: top-k and mean class accuracy."""

from typing import Any

import numpy as np

from tal.datasets.kinds.recognition import RecognitionProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.evaluation.whole_videos import join
from tal.metrics.recognition import class_accuracy, label_rank, tied


def run(protocol: RecognitionProtocol, annotations: Any, predictions: Any, inputs: Inputs) -> Evaluation:
    """Score one class per video; a video without prediction is wrong.

    Args:
        protocol: The rules.
        annotations: A file that `tal.annotations.labels` reads, {VIDEO: label}, or records.
        predictions: A file that `tal.annotations.class_scores` reads, {VIDEO: scores}, or `ClassScores`.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, a video with several labels, no video or class in common.
    """
    tally = Tally()
    joined = join(protocol, annotations, predictions, inputs, tally)
    labels = joined.right.sum(1)
    if (labels > 1).any():
        several = [video for video, count in zip(joined.videos, labels, strict=True) if count > 1]
        raise AnnotationError(
            f"{len(several)} videos have several labels: {some(several)}",
            expected="one label per video",
            todo="evaluate them by the protocol recognition-multilabel",
        )
    tally.exclude("video without a label", int((labels == 0).sum()))
    score, label = joined.score[labels == 1], joined.right[labels == 1].argmax(1)
    if not len(label):
        raise AnnotationError("no video has a label", expected="ground truth to evaluate against")
    rank = label_rank(score, label)
    ties = int(tied(score, label).sum())
    if ties:
        tally.warn(f"{ties} videos have another class with the true one's score: of equal scores the first class wins")
    per_class = class_accuracy(rank == 0, label, class_count=score.shape[1])
    averaged = per_class
    if protocol.absent == "predicted":
        best = np.unique(score[np.isfinite(score).any(1)].argmax(1))
        averaged = np.where(np.isnan(per_class) & np.isin(np.arange(len(per_class)), best), 0.0, per_class)
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=joined.videos,
            with_predictions=joined.predicted,
            ground_truth=len(label),
            predictions=joined.rows,
            predictions_evaluated=joined.evaluated,
            classes=len(np.unique(label)),
        ),
        metrics={f"top{k}": float((rank < k).mean()) for k in protocol.topk}
        | {"mean-class-accuracy": float(np.nanmean(averaged))},
        per_class={
            name: {"accuracy": float(value), "ground_truth": int((label == position).sum())}
            for position, (name, value) in enumerate(zip(joined.classes, per_class, strict=True))
            if (label == position).any()
        },
    )
