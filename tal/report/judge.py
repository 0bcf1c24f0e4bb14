"""Detections against ground truth, video by video: which are right, what was missed, what went wrong worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tal.metrics import matching
from tal.metrics.matching import MATCH_TIOU
from tal.report.data import Miss, ReportVideo
from tal.segments import Segments, tiou

NEAR_TIOU = 0.1
"""With at least this much, it has the right place and wrong ends."""


class Outcome(IntEnum):
    """What a detection turned out to be."""

    UNKNOWN = 0
    CORRECT = 1
    BOUNDARY = 2
    FALSE = 3
    DUPLICATE = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement:
    """Per detection its outcome and its best tIoU within its class; per instance the score it was found with.

    Args:
        outcome: (N,) values of `Outcome`.
        best_tiou: (N,) of each detection to the instances of its class.
        found_score: (M,) score of the detection that matched each instance; -1 where none did.
        nearest_tiou: (M,) of each instance to the detections of its class that score at least the threshold.
    """

    outcome: NDArray[np.int64]
    best_tiou: NDArray[np.float64]
    found_score: NDArray[np.float64]
    nearest_tiou: NDArray[np.float64]


def judge(predictions: Segments, truth: Segments, threshold: float = 0.0) -> Judgement:
    """Match detections to instances of the same class by falling score, each instance once, at tIoU 0.5.

    Because the highest score chooses first, what a detection is does not depend on a threshold below its score.
    """
    overlap, taken = matching.class_tiou(predictions, truth), matching.match(predictions, truth)
    best = overlap.max(axis=1, initial=0.0)
    outcome = np.select(
        [taken >= 0, best >= MATCH_TIOU, best >= NEAR_TIOU],
        [Outcome.CORRECT, Outcome.DUPLICATE, Outcome.BOUNDARY],
        Outcome.FALSE,
    ).astype(np.int64)
    found = np.full(len(truth), -1.0)
    found[taken[taken >= 0]] = predictions.score[taken >= 0]
    nearest = overlap[predictions.score >= threshold].max(axis=0, initial=0.0)
    return Judgement(outcome=outcome, best_tiou=best, found_score=found, nearest_tiou=nearest)


def best_threshold(videos: Sequence[ReportVideo]) -> float:
    """The score above which the detections of all judged videos have the highest F1; 0 if nothing is right."""
    scores, right, instances = [np.empty(0)], [np.empty(0, bool)], 0
    for video in videos:
        if video.truth is not None:
            scores.append(video.predictions.score)
            right.append(matching.match(video.predictions, video.truth) >= 0)
            instances += len(video.truth)
    return matching.best_threshold(np.concatenate(scores), np.concatenate(right), instances) or 0.0


def worst_misses(videos: Sequence[ReportVideo], threshold: float, *, count: int = 6) -> list[Miss]:
    """Up to `count` of each kind among detections that score at least `threshold`.

    Missed instances: those with the least overlap first, then the longest. False detections and bad boundaries: the
    highest scores first. No more than two of one kind and class in one video, so that one bad video does not fill
    the page.
    """
    found: dict[str, list[tuple[tuple[float, ...], Miss]]] = {"missed": [], "false": [], "boundary": []}
    for position, video in enumerate(videos):
        if video.truth is None:
            continue
        shown = video.predictions[video.predictions.score >= threshold]
        verdict = judge(shown, video.truth, threshold)
        for row in np.flatnonzero((verdict.found_score < 0) & (verdict.nearest_tiou < NEAR_TIOU)):
            order = (verdict.nearest_tiou[row], -video.truth.length_s[row])
            found["missed"].append((order, _missed(position, video.truth, int(row), shown)))
        for kind, outcome in (("false", Outcome.FALSE), ("boundary", Outcome.BOUNDARY)):
            for row in np.flatnonzero(verdict.outcome == outcome):
                miss = _wrong(kind, position, shown, int(row), video.truth, float(verdict.best_tiou[row]))
                found[kind].append(((-shown.score[row],), miss))
    return [miss for rows in found.values() for miss in _varied(rows, count)]


def _varied(rows: list[tuple[tuple[float, ...], Miss]], count: int) -> list[Miss]:
    """The first `count` in order, at most two of one class in one video."""
    seen: dict[tuple[int, str], int] = {}
    chosen = []
    for _, miss in sorted(rows, key=lambda row: row[0]):
        key = (miss.video_idx, miss.name)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 2:
            chosen.append(miss)
        if len(chosen) == count:
            break
    return chosen


def _missed(position: int, truth: Segments, row: int, shown: Segments) -> Miss:
    other = _overlapping(shown, truth.start_s[row], truth.end_s[row])
    return Miss(
        kind="missed",
        video_idx=position,
        start_s=float(truth.start_s[row]),
        end_s=float(truth.end_s[row]),
        name=truth.names[row],
        score=None,
        detail=f"{other} detected here" if other else "nothing detected here",
    )


def _wrong(kind: str, position: int, shown: Segments, row: int, truth: Segments, best: float) -> Miss:
    other = _overlapping(truth, shown.start_s[row], shown.end_s[row])
    detail = f"tIoU {best:.2f}" if kind == "boundary" else f"is {other}" if other else "no instance here"
    return Miss(
        kind=kind,
        video_idx=position,
        start_s=float(shown.start_s[row]),
        end_s=float(shown.end_s[row]),
        name=shown.names[row],
        score=float(shown.score[row]),
        detail=detail,
    )


def _overlapping(segments: Segments, start_s: float, end_s: float) -> str:
    """Class of the segment that overlaps a span most, "" below tIoU 0.1."""
    if not len(segments):
        return ""
    overlap = tiou([start_s], [end_s], segments.start_s, segments.end_s)[0]
    return segments.names[int(overlap.argmax())] if overlap.max() >= NEAR_TIOU else ""
