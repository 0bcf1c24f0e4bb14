"""Progress per frame: value-order correlation and what it says of success."""

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import numpy as np

from tal.annotations.trajectories import Trajectory, parse_trajectories
from tal.datasets.kinds.progress import ProgressProtocol
from tal.errors import AnnotationError
from tal.evaluation.by_video import REPEATED, read, shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally
from tal.metrics.progress import value_order_correlation


def run(
    protocol: ProgressProtocol,
    annotations: Mapping[str, int | Sequence[float]] | Path | str,
    predictions: Mapping[str, Sequence[float]] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score a value per frame by its order alone.

    Args:
        protocol: The rules.
        annotations: Which trajectories there are, with their number of frames: a file or a folder that
            `tal.annotations.trajectories` reads, or {ID: number of frames or true values}.
        predictions: A value per frame in chronological order: a file, a folder, or {ID: values}.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, values that are no numbers, or no trajectory in common.
    """
    tally = Tally()
    truth = _by_id(_trajectories(annotations, inputs, truth=True), None)
    found = _by_id(_trajectories(predictions, inputs, truth=False), tally)
    without = [each.where for each in found.values() if each.values is None]
    if without:
        raise AnnotationError(
            f"{without[0]}: a number instead of a list of values",
            expected="a value per frame",
            cause="the two files were exchanged",
        )
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    ours = shared(truth, found, tally, source)
    scored = {video: _correlation(protocol, truth[video], ours.get(video), tally) for video in truth}
    values = np.array(list(scored.values()))
    undefined = int(np.isnan(values).sum())
    if undefined:
        fate = "count as 0" if protocol.undefined == "zero" else "are left out of mean and median"
        tally.warn(f"{undefined} trajectories whose correlation is undefined {fate}")
    averaged = np.nan_to_num(values, nan=0.0) if protocol.undefined == "zero" else values[~np.isnan(values)]
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=truth,
            with_predictions=ours,
            ground_truth=len(truth),
            predictions=read(found, tally),
            predictions_evaluated=len(averaged) if protocol.undefined == "skip" else len(ours),
            undefined=undefined,
        ),
        metrics={
            "VOC": float(averaged.mean()) if len(averaged) else float("nan"),
            "VOC-median": float(np.median(averaged)) if len(averaged) else float("nan"),
            "VOC-positive": float((averaged > 0).mean()) if len(averaged) else float("nan"),
            "success-rate": float((np.nan_to_num(values, nan=-2.0) > protocol.success).mean()),
        }
        | _detection(protocol, truth, scored),
        per_class={video: {"VOC": float(value)} for video, value in scored.items()},
    )


def _trajectories(
    given: Mapping[str, int | Sequence[float]] | Path | str, inputs: Inputs, *, truth: bool
) -> list[Trajectory]:
    if not isinstance(given, Path | str):
        return [
            Trajectory(
                id=name,
                length=len(value) if isinstance(value, Sized) else int(value),
                values=tuple(map(float, value)) if isinstance(value, Sized) else None,
                where=f"trajectory {name!r}",
            )
            for name, value in given.items()
        ]
    paths = sorted(Path(given).glob("*.json")) if Path(given).is_dir() else [Path(given)]
    if not paths:
        raise AnnotationError(f"{given}: a folder without json files", expected="one per trajectory")
    return [each for path in paths for each in parse_trajectories(inputs.read(path), path, truth=truth)]


def _by_id(trajectories: Sequence[Trajectory], tally: Tally | None) -> dict[str, Trajectory]:
    """By id; without a tally (ground truth) an id stands once."""
    found: dict[str, Trajectory] = {}
    for each in trajectories:
        if not each.id:
            raise AnnotationError(f"{each.where} names no trajectory", expected="an id in every entry")
        if tally is None and each.id in found:
            raise AnnotationError(f"{each.where}: {each.id!r} stands twice", expected="every id once")
        if each.values is not None and not np.isfinite(each.values).all():
            raise AnnotationError(f"{each.where}: a value is NaN or infinite", expected="a number per frame")
        found[each.id] = each
    if tally is not None:
        tally.drop(REPEATED, len(trajectories) - len(found))
    return found


def _correlation(protocol: ProgressProtocol, truth: Trajectory, found: Trajectory | None, tally: Tally) -> float:
    if found is None or found.values is None:
        return float("nan")
    if found.length != truth.length:
        tally.drop("wrong number of values", 1)
        return float("nan")
    value = value_order_correlation(found.values, nearly_constant=protocol.constant == "close")
    if np.isnan(value):
        tally.drop("constant, or fewer than two values", 1)
    return value


def _detection(
    protocol: ProgressProtocol, truth: Mapping[str, Trajectory], scored: Mapping[str, float]
) -> dict[str, float]:
    """Success by VOC against the true one, where the annotations tell it of every trajectory."""
    told = np.array([each.success is not None for each in truth.values()])
    if not told.all():
        return {}
    right = np.array([bool(each.success) for each in truth.values()])
    called = np.array([scored[video] > protocol.success for video in truth])  # An undefined VOC is above nothing.
    hits = int((right & called).sum())
    return {
        "success-accuracy": float((right == called).mean()),
        "success-precision": hits / int(called.sum()) if called.any() else float("nan"),
        "success-recall": hits / int(right.sum()) if right.any() else float("nan"),
    }
