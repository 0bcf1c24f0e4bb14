"""The worst single errors of each kind, and the videos in which they stand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal.diagnosis.area import Ints
from tal.diagnosis.errors import ERRORS, NAMES, Judged, Kind
from tal.diagnosis.oracles import missed
from tal.metrics.detection import toolkit_tiou

MISSED = "missed"
_PER_KIND = 6
_PER_CLASS_AND_VIDEO = 1
_PER_CLASS = 2


@dataclass(frozen=True, kw_only=True)
class Span:
    """A segment with its class, and what it turned out to be.

    Args:
        start_s, end_s: Seconds, or the annotations' unit.
        label: The class.
        kind: Of a prediction, a name of `tal.diagnosis.errors.NAMES`; of an instance "found" or "missed".
        score: The prediction's; None for an instance.
    """

    start_s: float
    end_s: float
    label: str
    kind: str
    score: float | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One error.

    Args:
        kind: Its name, or "missed".
        video: The id.
        span: The prediction; for "missed" the instance.
        rank: Of the prediction in its class, from 1; None for "missed".
        nearest: The instance that a false positive overlaps most; None if its video has none.
        tiou: That overlap; for "missed" the highest overlap of any prediction of its class.
    """

    kind: str
    video: str
    span: Span
    rank: int | None
    nearest: Span | None
    tiou: float


@dataclass(frozen=True, kw_only=True)
class CaseVideo:
    """A video that holds some of the cases.

    Args:
        video: The id.
        duration_s: Seconds; the last end of a segment where the annotations do not say.
        truth: Its instances.
        predictions: Those among the first G of their class, and those that are cases.
    """

    video: str
    duration_s: float
    truth: tuple[Span, ...]
    predictions: tuple[Span, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """Judged rows with the names that a reader needs.

    Args:
        judged: The rows.
        row: Which of the thresholds.
        videos: Id of each `video_idx`.
        durations_s: Of each video, None where it is not known.
        classes: Name of each label.
    """

    judged: Judged
    row: int
    videos: Sequence[str]
    durations_s: Sequence[float | None]
    classes: Sequence[str]

    def prediction(self, index: int) -> Span:
        """A prediction, in the order of judging."""
        rows, kind = self.judged.predictions, self.judged.kind[self.row, index]
        score = None if rows.score is None else float(rows.score[index])
        return self._span(rows.start_s[index], rows.end_s[index], rows.label[index], NAMES[Kind(kind)], score)

    def instance(self, index: int) -> Span:
        """An instance."""
        rows = self.judged.truth
        found = bool((self.judged.taken[self.row] == index).any())
        return self._span(rows.start_s[index], rows.end_s[index], rows.label[index], "found" if found else MISSED)

    def _span(self, start: float, end: float, label: int, kind: str, score: float | None = None) -> Span:
        return Span(start_s=float(start), end_s=float(end), label=self.classes[label], kind=kind, score=score)


def worst_cases(shown: Shown, *, count: int = _PER_KIND) -> list[tuple[Case, int]]:
    """(case, its row) of up to `count` errors of each kind, the worst first.

    False positives: the highest scores. Missed instances: the longest. So that one class or video does not fill the
    list, at most one of a class in a video and two of a class.
    """
    judged, found = shown.judged, []
    score = np.zeros(len(judged.rank)) if judged.predictions.score is None else judged.predictions.score
    for kind in ERRORS:
        rows = np.flatnonzero(judged.kind[shown.row] == kind)
        rows = rows[np.argsort(-score[rows], kind="stable")]
        chosen = _varied(rows, judged.predictions.label, judged.predictions.video_idx, count)
        found += [(_false(shown, index, kind), index) for index in chosen]
    away = np.flatnonzero(missed(judged, shown.row))
    away = away[np.argsort(-(judged.truth.end_s - judged.truth.start_s)[away], kind="stable")]
    chosen = _varied(away, judged.truth.label, judged.truth.video_idx, count)
    return found + [(_missed(shown, index), index) for index in chosen]


def case_videos(shown: Shown, cases: Sequence[tuple[Case, int]]) -> list[CaseVideo]:
    """The videos of the cases, in the order in which these name them."""
    judged = shown.judged
    drawn = judged.rank < judged.instances[judged.predictions.label]
    drawn[[index for case, index in cases if case.kind != MISSED]] = True
    position = {video: index for index, video in enumerate(shown.videos)}
    return [_video(shown, position[video], drawn) for video in dict.fromkeys(case.video for case, _ in cases)]


def _video(shown: Shown, video: int, drawn: NDArray[np.bool_]) -> CaseVideo:
    judged = shown.judged
    truth = np.flatnonzero(judged.truth.video_idx == video)
    predictions = np.flatnonzero(drawn & (judged.predictions.video_idx == video))
    spans = tuple(shown.instance(index) for index in truth.tolist())
    found = tuple(shown.prediction(index) for index in predictions.tolist())
    ends = [span.end_s for span in (*spans, *found) if np.isfinite(span.end_s)]
    known = shown.durations_s[video]
    return CaseVideo(
        video=shown.videos[video],
        duration_s=max([*ends, known or 0.0]),
        truth=spans,
        predictions=found,
    )


def _varied(rows: Ints, label: Ints, video: Ints, count: int) -> list[int]:
    """The first `count` rows, few of one class and of one class in one video."""
    seen: dict[tuple[int, ...], int] = {}
    chosen: list[int] = []
    for row in rows.tolist():
        keys = ((int(label[row]),), (int(label[row]), int(video[row])))
        if seen.get(keys[0], 0) >= _PER_CLASS or seen.get(keys[1], 0) >= _PER_CLASS_AND_VIDEO:
            continue
        for key in keys:
            seen[key] = seen.get(key, 0) + 1
        chosen.append(row)
        if len(chosen) == count:
            break
    return chosen


def _false(shown: Shown, index: int, kind: Kind) -> Case:
    judged = shown.judged
    nearest = int(judged.nearest[index])
    return Case(
        kind=NAMES[kind],
        video=shown.videos[judged.predictions.video_idx[index]],
        span=shown.prediction(index),
        rank=int(judged.rank[index]) + 1,
        nearest=shown.instance(nearest) if nearest >= 0 and judged.nearest_tiou[index] > 0 else None,
        tiou=float(judged.nearest_tiou[index]),
    )


def _missed(shown: Shown, index: int) -> Case:
    judged = shown.judged
    truth, rows = judged.truth, judged.predictions
    own = np.flatnonzero((rows.video_idx == truth.video_idx[index]) & (rows.label == truth.label[index]))
    overlap = toolkit_tiou(rows[own], truth[np.full(len(own), index)])
    return Case(
        kind=MISSED,
        video=shown.videos[truth.video_idx[index]],
        span=shown.instance(index),
        rank=None,
        nearest=None,
        tiou=float(overlap.max(initial=0.0)),
    )
