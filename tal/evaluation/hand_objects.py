"""Hands with the objects that they use, and objects alone: AP at each IoU."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tal.annotations.hand_objects import HandObject, hand_objects_of, parse_hand_objects
from tal.datasets.kinds.hand_objects import HandObjectProtocol
from tal.errors import AnnotationError
from tal.evaluation.by_video import shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation, threshold_name
from tal.evaluation.tally import Tally
from tal.metrics.pairs import Pairs, pair_ap

Entries = Mapping[str, Sequence[HandObject]]
_NO_BOX = (math.nan,) * 4


def run(
    protocol: HandObjectProtocol,
    annotations: Mapping[str, Any] | Path | str,
    predictions: Mapping[str, Any] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score boxes on images.

    Args:
        protocol: The rules.
        annotations: A file that `tal.annotations.hand_objects` reads, or its content.
        predictions: The same, with scores.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, entries without a box or score, no image in common, no ground truth.
    """
    tally = Tally()
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    truth, found = _read(annotations, inputs, "annotations"), _read(predictions, inputs, "predictions")
    ours: Entries = shared(truth, found, Tally(), source)
    read = sum(map(len, found.values()))
    tally.drop("image not in the ground truth", read - sum(map(len, ours.values())))
    number = {image: position for position, image in enumerate(truth)}
    true = _pairs(protocol, truth, number, tally, scored=False)
    detected = _pairs(protocol, ours, number, tally, scored=True)
    if not len(true.box):
        raise AnnotationError("no box in the ground truth", expected="boxes to evaluate against")
    values = {threshold: pair_ap(detected, true, threshold) for threshold in protocol.iou}
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=truth,
            with_predictions=[image for image, entries in ours.items() if entries],
            ground_truth=len(true.box),
            predictions=read,
            predictions_evaluated=len(detected.box),
        ),
        metrics={f"AP@{threshold_name(threshold)}": value for threshold, value in values.items()},
    )


def _read(given: Mapping[str, Any] | Path | str, inputs: Inputs, name: str) -> dict[str, list[HandObject]]:
    if isinstance(given, Path | str):
        return parse_hand_objects(inputs.read(given), given)
    return hand_objects_of(given, name)


def _pairs(
    protocol: HandObjectProtocol, entries: Entries, number: Mapping[str, int], tally: Tally, *, scored: bool
) -> Pairs:
    rows = []
    for image, each in entries.items():
        for entry in each:
            score, keeps = _score(protocol, entry) if scored else (0.0, True)
            partner = entry.object if keeps else None
            first = entry.hand if protocol.match == "pairs" else entry.object
            if first is None and protocol.match == "pairs":
                raise AnnotationError(f"{entry.where}: no hand", expected="a box of every hand")
            if first is None:
                (tally.drop if scored else tally.exclude)("hand without an object", 1)
            else:
                rows.append((number[image], first, partner or _NO_BOX, score))
    pairs = protocol.match == "pairs"
    return Pairs(
        image_idx=np.array([row[0] for row in rows], np.int64),
        box=np.array([row[1] for row in rows], np.float64).reshape(-1, 4),
        partner=np.array([row[2] for row in rows], np.float64).reshape(-1, 4) if pairs else None,
        score=np.array([row[3] for row in rows], np.float64) if scored else None,
    )


def _score(protocol: HandObjectProtocol, entry: HandObject) -> tuple[float, bool]:
    """(the pair's score, whether it keeps its object) by the rules of evaluate_100doh.py, where the file has parts."""
    if "score" in entry.scores:
        return entry.scores["score"], True
    if not {"hand_score", "contact"} <= entry.scores.keys():
        raise AnnotationError(f"{entry.where}: no score", expected="score, or hand_score and contact")
    hand, contact = entry.scores["hand_score"], entry.scores["contact"]
    thing = entry.scores.get("object_score", 1.0)
    score = hand * contact * thing if contact > protocol.contact else hand * (1 - contact)
    return score, contact * thing >= protocol.joint
