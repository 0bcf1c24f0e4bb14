"""Predictions as `tal evaluate` scores them, judged; and the videos over which they are drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import ResultTable
from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.kinds.epic import EpicProtocol
from tal.datasets.protocol import Protocol
from tal.diagnosis.area import Floats
from tal.diagnosis.bootstrap import Ranked, mean_precision, ranked_by_video
from tal.diagnosis.errors import Judged, judge
from tal.errors import ConfigError
from tal.evaluation import Evaluation, epic, threshold_name
from tal.evaluation.detection import Scored, run, score, with_blocked
from tal.evaluation.inputs import Inputs
from tal.evaluation.joining import read_predictions
from tal.registry import PROTOCOLS
from tal.segments import Segments

_Value = TypeVar("_Value")
Predictions = Mapping[str, Segments] | ResultTable | Path | str

_EVALUATORS = (DetectionProtocol.evaluator, EpicProtocol.evaluator)
"""Those whose mAP is that of one ranked list per class."""


def diagnosable(protocol: Protocol | str) -> DetectionProtocol:
    """The protocol, if it is one that can be diagnosed.

    Raises:
        TalError: no such protocol, or one that measures something else.
    """
    declared: Protocol = PROTOCOLS.load(protocol) if isinstance(protocol, str) else protocol
    if isinstance(declared, DetectionProtocol) and _is_diagnosable(declared):
        return declared
    known = [name for name in PROTOCOLS if _is_diagnosable(PROTOCOLS.load(name))]
    raise ConfigError(
        f"protocol {declared.name!r} cannot be diagnosed",
        expected=f"one of temporal detection: {', '.join(known)}",
        cause="diagnosis explains mean average precision of segments; this protocol measures something else",
        todo=f"tal evaluate {declared.name} gives its metrics",
    )


def _is_diagnosable(protocol: Protocol) -> bool:
    return isinstance(protocol, DetectionProtocol) and protocol.evaluator in _EVALUATORS


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One set of predictions, evaluated and judged.

    Args:
        source: What messages call it.
        table: As it was read.
        evaluation: Of `tal evaluate`.
        scored: The rows that it scores.
        judged: What they are.
    """

    source: str
    table: ResultTable
    evaluation: Evaluation
    scored: Scored
    judged: Judged

    @classmethod
    def of(
        cls, protocol: DetectionProtocol, annotations: Annotations, predictions: Predictions, inputs: Inputs
    ) -> "Side":
        """Read, evaluate and judge.

        Raises:
            TalError: as `tal.evaluate`.
        """
        if isinstance(protocol, EpicProtocol):
            source, table, evaluation, scored = _of_task(protocol, annotations, predictions, inputs)
        else:
            table, source = read_predictions(predictions, inputs)
            scored = score(with_blocked(protocol, inputs), annotations, table, source)
            evaluation = run(protocol, annotations, table, inputs)
        judged = judge(scored.joined.truth, scored.joined.predictions, scored.pairs)
        return cls(source=source, table=table, evaluation=evaluation, scored=scored, judged=judged)

    @property
    def records(self) -> Mapping[str, VideoRecord]:
        """The videos that are evaluated."""
        return self.scored.joined.records

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each label."""
        return self.scored.classes

    @cached_property
    def names(self) -> list[str]:
        """Id of each `video_idx`: the videos of the split, then those outside it that predictions name."""
        inside = self.records
        return [*inside, *(video for video in self.table.videos if video not in inside)]

    @property
    def thresholds(self) -> list[str]:
        """Names of the metrics per threshold: "mAP@0.50"."""
        return [f"mAP@{threshold_name(t)}" for t in self.judged.tious.tolist()]


def _of_task(
    protocol: EpicProtocol, annotations: Annotations, predictions: Predictions, inputs: Inputs
) -> tuple[str, ResultTable, Evaluation, Scored]:
    """Verbs, nouns or actions of EPIC-KITCHENS: (source, table, evaluation with the names of one task, rows)."""
    task = protocol.task
    if task is None:
        raise ConfigError(
            f"protocol {protocol.name!r} scores verbs, nouns and actions; one of them is diagnosed at a time",
            expected="--task verb, --task noun or --task action",
        )
    if isinstance(predictions, Path | str):
        tables, source = epic.read_tasks(protocol, predictions, inputs)
    else:
        table, source = read_predictions(predictions, inputs)
        tables = {task: table}
    scored = epic.score_tasks(protocol, annotations, tables, source, inputs)[task]
    whole = epic.run(protocol, annotations, tables, inputs)
    evaluation = replace(whole, metrics=_of_prefix(whole.metrics, task), per_class=_of_prefix(whole.per_class, task))
    return source, tables[task], evaluation, scored


def _of_prefix(values: Mapping[str, _Value], task: str) -> dict[str, _Value]:
    prefix = f"{task}/"
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def units_of(sides: Sequence[Side]) -> list[str]:
    """Videos that are drawn: those of the split, and those outside it on which predictions of any side count."""
    inside = sides[0].records
    outside: dict[str, None] = {}
    for side in sides:
        video = side.judged.predictions.video_idx
        outside |= {side.names[index]: None for index in np.unique(video[video >= len(inside)]).tolist()}
    return [*inside, *outside]


def ranked(side: Side, units: Sequence[str]) -> Ranked:
    """The judged predictions, each belonging to its video's place among `units`."""
    places = {video: place for place, video in enumerate(units)}
    place = np.array([places.get(video, -1) for video in side.names], np.int64)
    judged = side.judged
    return ranked_by_video(judged, place[judged.predictions.video_idx], place[judged.truth.video_idx], len(units))


def named_means(side: Side, precision: Floats) -> dict[str, Floats]:
    """ "mAP", "mAP@0.50", ... -> (W,) of (W, M, K) precision."""
    means = mean_precision(precision)
    return {"mAP": means.mean(axis=1), **dict(zip(side.thresholds, means.T, strict=True))}
