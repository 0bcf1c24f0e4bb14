"""The VideoGLUE score of models."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tal.annotations.videoglue import AVERAGE, Scores, parse_costs, parse_scores
from tal.datasets.kinds.videoglue import VideoGlueProtocol
from tal.errors import AnnotationError
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics.videoglue import group_mean, videoglue_score

_KINDS = {"parameters_m": "VGS-parameters", "gflops": "VGS-flops"}


def run(
    protocol: VideoGlueProtocol,
    annotations: Mapping[str, Mapping[str, float]] | Path | str,
    predictions: Scores | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Weigh the scores of every model.

    Args:
        protocol: The rules.
        annotations: Costs of the adaptations: a file that `tal.annotations.videoglue` reads, or {ADAPTATION:
            {"parameters_m", "gflops"}}.
        predictions: Scores: a file that it reads, or {MODEL: {ADAPTATION: {DATASET: score}}}.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, costs of at most 1, scores outside their range, an adaptation without
            costs, or no model with scores under every adaptation.
    """
    tally = Tally()
    costs = parse_costs(inputs.read(annotations), annotations) if isinstance(annotations, Path | str) else annotations
    _check_costs(costs)
    scores = parse_scores(inputs.read(predictions), predictions) if isinstance(predictions, Path | str) else predictions
    names = {name.lower(): name for name in costs}
    averages: dict[str, dict[str, float]] = {}
    for model, adaptations in scores.items():
        _check_scores(protocol, model, adaptations, names)
        own = {names[each.lower()]: _average(protocol, model, each, table) for each, table in adaptations.items()}
        lacking = [each for each in costs if each not in own]
        if lacking:
            tally.warn(f"{model} has no scores under {some(lacking)}: it is left out")
            tally.drop("score of a model that lacks an adaptation", sum(len(each) for each in adaptations.values()))
            continue
        averages[model] = own
    if not averages:
        raise AnnotationError("no model has scores under every adaptation", expected=f"scores under {some(costs)}")
    _tell_gaps(scores, tally)
    per_model = {model: _score(costs, own) for model, own in averages.items()}
    metrics = {f"{model}/VGS": values["VGS"] for model, values in per_model.items()}
    if len(per_model) == 1:
        metrics = dict(next(iter(per_model.values())))
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=list(scores),
            with_predictions=list(averages),
            ground_truth=len(costs),
            predictions=sum(len(table) for each in scores.values() for table in each.values()),
            predictions_evaluated=sum(len(table) for model in averages for table in scores[model].values()),
            models=len(averages),
        ),
        metrics=metrics,
        per_class=per_model,
    )


def _score(costs: Mapping[str, Mapping[str, float]], averages: Mapping[str, float]) -> dict[str, float]:
    values = [averages[name] for name in costs]
    each = {metric: videoglue_score(values, [costs[name][kind] for name in costs]) for kind, metric in _KINDS.items()}
    return {
        "VGS": float(np.mean(list(each.values()))),
        **each,
        **{f"average {name}": averages[name] for name in costs},
    }


def _check_costs(costs: Mapping[str, Mapping[str, float]]) -> None:
    if not costs:
        raise AnnotationError("no costs", expected="parameters_m and gflops of every adaptation")
    for name, values in costs.items():
        for kind in _KINDS:
            if not values[kind] > 1:
                raise AnnotationError(
                    f"{name}: {kind} is {values[kind]:g}",
                    expected="a number above 1: the weight is 1 / log10 of it",
                    cause="another unit: parameters are in millions, inference in GFLOPs",
                )


def _check_scores(
    protocol: VideoGlueProtocol, model: str, adaptations: Mapping[str, Mapping[str, float]], names: Mapping[str, Any]
) -> None:
    highest = 100 if protocol.percent else 1
    for adaptation, table in adaptations.items():
        if adaptation.lower() not in names:
            raise AnnotationError(
                f"{model}: no costs of adaptation {adaptation!r}", expected=f"one of {', '.join(names.values())}"
            )
        for dataset, score in table.items():
            if not 0 <= score <= highest:
                raise AnnotationError(
                    f"{model}, {adaptation}, {dataset}: a score of {score:g}",
                    expected=f"from 0 to {highest}",
                    cause="" if protocol.percent else "scores in percent",
                    todo="" if protocol.percent else "say --percent",
                )


def _average(protocol: VideoGlueProtocol, model: str, adaptation: str, table: Mapping[str, float]) -> float:
    if protocol.averages == "printed" and AVERAGE not in table:
        raise AnnotationError(
            f"{model}, {adaptation}: no {AVERAGE}", expected="printed averages", todo="say --averages groups"
        )
    own = {name: score for name, score in table.items() if name != AVERAGE}
    if protocol.averages == "groups" and not own:
        raise AnnotationError(
            f"{model}, {adaptation}: an average alone", expected="scores of datasets", todo="say --averages printed"
        )
    value = table[AVERAGE] if protocol.averages == "printed" else group_mean(own)
    return value / 100 if protocol.percent else value


def _tell_gaps(scores: Scores, tally: Tally) -> None:
    """A dataset that some models have under an adaptation, and others lack."""
    there: dict[str, set[str]] = {}
    for adaptations in scores.values():
        for adaptation, table in adaptations.items():
            there.setdefault(adaptation.lower(), set()).update(table.keys() - {AVERAGE})
    for model, adaptations in scores.items():
        for adaptation, table in adaptations.items():
            lacking = sorted(there[adaptation.lower()] - table.keys())
            if lacking and table.keys() != {AVERAGE}:
                tally.warn(f"{model} lacks {', '.join(lacking)} under {adaptation}: averages are over what it has")
