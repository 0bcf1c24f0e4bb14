"""Procedure planning: success rate, mean accuracy and mIoU per horizon."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.plans import Plan, parse_plans, plans_of
from tal.datasets.kinds.planning import PlanningProtocol
from tal.errors import AnnotationError
from tal.evaluation.by_video import REPEATED, read, shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics.planning import batch_iou, set_iou, step_accuracy, success

Ints = NDArray[np.int64]
Plans = Mapping[str, Sequence[str | int]] | Sequence[Sequence[str | int]]


def run(
    protocol: PlanningProtocol, annotations: Plans | Path | str, predictions: Plans | Path | str, inputs: Inputs
) -> Evaluation:
    """Score plans; a window without a plan is wrong at every place.

    Args:
        protocol: The rules.
        annotations: A file that `tal.annotations.plans` reads, {ID: actions}, or a list of lists of actions.
        predictions: The same; without ids one plan per window, in the same order.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, another number of plans without ids, or no window in common.
    """
    tally = Tally()
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    truth = _named(_plans(annotations, inputs))
    plans = _matched(_plans(predictions, inputs), truth, source)
    found = {plan.id: plan for plan in plans}
    tally.drop(REPEATED, len(plans) - len(found))
    predicted = read(found, tally)
    found = shared(truth, found, tally, source)
    _refuse_other_actions(truth.values(), found.values(), source)
    fitting = {name: plan for name, plan in found.items() if len(plan.actions) == len(truth[name].actions)}
    tally.drop("wrong number of actions", len(found) - len(fitting))
    horizons = sorted({len(plan.actions) for plan in truth.values()})
    chosen = [horizon for horizon in horizons if not protocol.horizon or horizon in protocol.horizon]
    if not chosen:
        raise AnnotationError(
            f"no window of horizon {', '.join(map(str, protocol.horizon))}",
            expected=f"one of {', '.join(map(str, horizons))}",
        )
    absent = [str(horizon) for horizon in protocol.horizon if horizon not in horizons]
    if absent:
        tally.warn(f"no window has the horizon {' or '.join(absent)}")
    windows = [name for name, plan in truth.items() if len(plan.actions) in chosen]
    tally.exclude("another horizon", len(truth) - len(windows))
    metrics, per_class = _scores(protocol, chosen, {name: truth[name] for name in windows}, fitting)
    if len(fitting) < len(windows):
        tally.warn(f"{len(windows) - sum(name in fitting for name in windows)} windows have no plan: they are wrong")
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=windows,
            with_predictions=found,
            ground_truth=len(windows),
            predictions=predicted,
            predictions_evaluated=sum(name in fitting for name in windows),
        ),
        metrics=metrics,
        per_class=per_class,
    )


def _refuse_other_actions(truth: Iterable[Plan], found: Iterable[Plan], source: str) -> None:
    """Actions under other names would all be wrong."""
    known = {action for plan in truth for action in plan.actions}
    planned = {action for plan in found for action in plan.actions}
    if planned and not planned & known:
        raise AnnotationError(
            f"{source}: none of its {len(planned)} actions is in the annotations: {some(sorted(planned))}",
            expected=f"actions such as {some(sorted(known))}",
            cause="names on one side and numbers on the other, or plans of another set",
        )


def _scores(
    protocol: PlanningProtocol, horizons: Sequence[int], truth: Mapping[str, Plan], found: Mapping[str, Plan]
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """(metrics, accuracy per step of each horizon)"""
    index: dict[str, int] = {}
    metrics: dict[str, float] = {}
    per_class: dict[str, dict[str, float]] = {}
    for horizon in horizons:
        names = [name for name, plan in truth.items() if len(plan.actions) == horizon]
        g = _numbers([truth[name].actions for name in names], index)
        p = np.full_like(g, -1)
        given = [position for position, name in enumerate(names) if name in found]
        if given:
            p[given] = _numbers([found[names[position]].actions for position in given], index)
        steps = step_accuracy(p, g)
        values = {"SR": success(p, g).mean(), "mAcc": steps.mean(), "mIoU": set_iou(p, g).mean()}
        if protocol.batch is not None:
            values["mIoU-batch"] = batch_iou(p, g, batch=protocol.batch)
        metrics |= {f"{name}@{horizon}": float(value) for name, value in values.items()}
        if len(horizons) == 1:
            metrics = {name: float(value) for name, value in values.items()} | metrics
        for place, value in enumerate(steps, 1):
            per_class[f"T={horizon}, action {place}"] = {"accuracy": float(value), "ground_truth": len(names)}
    return metrics, per_class


def _numbers(plans: Sequence[Sequence[str]], index: dict[str, int]) -> Ints:
    return np.array([[index.setdefault(name, len(index)) for name in plan] for plan in plans], np.int64)


def _plans(given: Any, inputs: Inputs) -> list[Plan]:
    plans = parse_plans(inputs.read(given, binary=True), given) if isinstance(given, Path | str) else plans_of(given)
    if not plans:
        raise AnnotationError("no plans", expected="at least one")
    return plans


def _matched(plans: list[Plan], truth: Mapping[str, Plan], source: str) -> list[Plan]:
    """Plans with their windows' ids; those without ids stand in the windows' order."""
    if any(plan.id for plan in plans):
        return plans
    if len(plans) != len(truth):
        raise AnnotationError(
            f"{source}: {len(plans)} plans without ids for {len(truth)} windows",
            expected="one plan per window, in the annotations' order, or ids",
        )
    return [replace(plan, id=name) for name, plan in zip(truth, plans, strict=True)]


def _named(plans: Sequence[Plan]) -> dict[str, Plan]:
    """Ground truth by id, or by its place where it has no ids; a window stands once."""
    found: dict[str, Plan] = {}
    for position, plan in enumerate(plans):
        name = plan.id or str(position)
        if name in found:
            raise AnnotationError(f"{plan.where}: window {name!r} stands twice", expected="every id once")
        found[name] = plan
    return found
