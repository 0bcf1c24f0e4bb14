"""Segmentation of acting objects: IoU of positive and negative objects, gIoU and accuracy."""

from collections.abc import Mapping
from collections.abc import Sequence as Listed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.actionvos import IndexMap, MaskFiles, Sequence, parse_sequences
from tal.datasets.kinds.masks import MasksProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics.masks import mask_scores, overlap_areas


def run(
    protocol: MasksProtocol,
    annotations: Listed[Sequence] | Path | str,
    predictions: Mapping[str, IndexMap] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score index maps; a frame without a prediction counts as empty.

    Args:
        protocol: The rules, and where the true masks are.
        annotations: ActionVOS' split: a file that `tal.annotations.actionvos` reads, or sequences.
        predictions: A folder of palette PNGs SEQUENCE/FRAME.png, an npz file with an array per SEQUENCE/FRAME, or
            {SEQUENCE/FRAME: (H, W) indices}.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, no true mask of a frame, masks of different sizes, or no frame in common.
    """
    if protocol.masks is None:
        raise ConfigError(
            "no true masks are given",
            expected="--masks: a folder of palette PNGs, or npz",
            todo="for ActionVOS, dataset_visor/Annotations_Sparse/val as its scripts make it from VISOR",
        )
    tally = Tally()
    sequences = _sequences(protocol, annotations, inputs, tally)
    frames = {f"{each.folder}/{frame}": each for each in sequences for frame in each.frames}
    truth, found = MaskFiles(protocol.masks), MaskFiles(predictions)
    there = found.names
    missing = _missing(frames, found, tally)
    areas, positive, names = _areas(frames, truth, found)
    for each in (truth, found):
        if isinstance(each.given, Path | str):
            inputs.hashes[str(each.given)] = each.digest.hexdigest()
    scores = mask_scores(areas, positive)
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=[each.folder for each in sequences],
            with_predictions={name.rsplit("/", 1)[0] for name in there},
            ground_truth=len(areas),
            predictions=len(there),
            predictions_evaluated=len(there & frames.keys()),
            frames=len(frames),
            frames_without_prediction=missing,
            positive=int(positive.sum()),
            negative=int((~positive).sum()),
            TP=scores.tp,
            TN=scores.tn,
            FP=scores.fp,
            FN=scores.fn,
        ),
        metrics=scores.named(),
        per_class={
            name: {**mask_scores(areas[of], positive[of]).named(), "ground_truth": int(of.sum())}
            for name in sorted(set(names))
            for of in [np.array(names) == name]
        },
    )


def _sequences(protocol: MasksProtocol, annotations: Any, inputs: Inputs, tally: Tally) -> list[Sequence]:
    listed = (
        parse_sequences(inputs.read(annotations), annotations) if isinstance(annotations, Path | str) else annotations
    )
    sequences = [each for each in listed if protocol.flagged == "keep" or not each.flagged]
    tally.exclude("sequence that the annotators flagged", len(listed) - len(sequences))
    return sequences


def _missing(frames: Mapping[str, Sequence], found: MaskFiles, tally: Tally) -> int:
    """Number of frames without a prediction.

    Raises:
        AnnotationError: not one frame in common.
    """
    there = found.names
    if not there & frames.keys():
        raise AnnotationError(
            f"{found}: none of its {len(there)} masks is of the split's frames: {some(sorted(there))}",
            expected=f"masks such as {some(frames)}",
            cause="another split, or files that are named in another way",
        )
    tally.drop("frame that is not evaluated", len(there - frames.keys()))
    missing = len(frames.keys() - there)
    if missing:
        tally.warn(f"{missing} frames without a predicted mask count as empty")
    return missing


def _areas(
    frames: Mapping[str, Sequence], truth: MaskFiles, found: MaskFiles
) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[str]]:
    """((N, 3) areas, (N,) whether positive, (N) object names) of every object in every frame."""
    areas: list[NDArray[Any]] = []
    positive: list[bool] = []
    names: list[str] = []
    for name, sequence in frames.items():
        true = truth.read(name)
        if true is None:
            raise AnnotationError(f"{truth}: no mask {name}", expected="a true mask of every annotated frame")
        predicted = found.read(name)
        if predicted is None:
            predicted = np.zeros_like(true)
        if predicted.shape != true.shape:
            raise AnnotationError(
                f"{name}: the predicted mask is {predicted.shape[1]}x{predicted.shape[0]}, the true one "
                f"{true.shape[1]}x{true.shape[0]}",
                expected="one size",
                todo="resize the predictions by nearest neighbour",
            )
        areas.append(overlap_areas(predicted, true, list(sequence.objects)))
        positive += sequence.objects.values()
        names += sequence.names.values()
    return np.concatenate(areas), np.array(positive, bool), names
