"""Action quality: rank and linear correlation with ratings, relative error."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations
from tal.annotations.rows import ID_NAMES, VALUE, Row, number, parse_rows
from tal.annotations.subsets import in_subset
from tal.datasets.kinds.quality import QualityProtocol
from tal.errors import AnnotationError
from tal.evaluation.by_video import in_split, latest, once, read, shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics import quality

Floats = NDArray[np.float64]


def run(
    protocol: QualityProtocol,
    annotations: Annotations | Mapping[str, float | Mapping[str, float]] | Path | str,
    predictions: Mapping[str, float | Mapping[str, float]] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score ratings.

    Args:
        protocol: The rules.
        annotations: {VIDEO: rating}, {VIDEO: {dimension: rating}}, or the same as JSON or CSV rows with an id (GAIA's
            MOS.csv), or records with `quality`.
        predictions: The same; a single score per video is held against every dimension.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, ratings that are no numbers, no dimension or video in common, or rated
            videos without a prediction.
    """
    tally = Tally()
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    truth = _truth(protocol, annotations, inputs)
    found = latest(_rows(predictions, inputs), tally)
    ours = shared(truth, found, tally, source)
    _check_complete(protocol, truth, ours, tally, source)
    pairs = _dimensions(protocol, truth, ours, source)
    videos = [video for video in truth if video in ours]
    table = {name: (_column(ours, videos, theirs), _column(truth, videos, name)) for name, theirs in pairs.items()}
    metrics = {}
    if len(table) > 1:
        p, g = (np.sum([each[side] for each in table.values()], axis=0) for side in (0, 1))
        metrics = _metrics(p, g, "the sum of the dimensions", tally)
    by_dimension = {name: _metrics(p, g, name, tally) for name, (p, g) in table.items()}
    if len(table) == 1:
        metrics, by_dimension = next(iter(by_dimension.values())), {}
    return evaluation(
        protocol,
        inputs,
        tally,
        counts=tally.counts(
            videos=truth,
            with_predictions=ours,
            ground_truth=len(videos),
            predictions=read(found, tally),
            predictions_evaluated=len(ours),
            dimensions=len(table),
        ),
        metrics=metrics
        | {f"{name}/{metric}": value for name, values in by_dimension.items() for metric, value in values.items()},
        per_class=by_dimension,
    )


def _check_complete(
    protocol: QualityProtocol, truth: Mapping[str, Row], ours: Mapping[str, Row], tally: Tally, source: str
) -> None:
    lacking = [video for video in truth if video not in ours]
    if lacking and protocol.missing == "refuse":
        raise AnnotationError(
            f"{source}: no score of {len(lacking)} of {len(truth)} rated videos: {some(lacking)}",
            expected="a score of every rated video",
            cause="predictions for a part of the videos: a test split",
            todo="choose the split with --subset, or leave the others out with --missing drop",
        )
    if lacking:
        tally.warn(f"{len(lacking)} rated videos without a prediction are left out")


def _metrics(p: Floats, g: Floats, name: str, tally: Tally) -> dict[str, float]:
    fitted = quality.logistic_fit(p, g)
    if fitted is None:
        tally.warn(f"no logistic can be fitted to {name}: PLCC-logistic is undefined")
    values = {
        "SRCC": quality.srcc(p, g),
        "KRCC": quality.krcc(p, g),
        "PLCC": quality.plcc(p, g),
        "PLCC-logistic": float("nan") if fitted is None else quality.plcc(fitted, g),
        "R-l2": quality.relative_l2(p, g),
        "RMSE": quality.rmse(p, g),
    }
    if np.isnan(values["SRCC"]):
        tally.warn(f"{name}: fewer than two videos, or all equal: correlations are undefined")
    return values


def _truth(protocol: QualityProtocol, annotations: Any, inputs: Inputs) -> dict[str, Row]:
    if isinstance(annotations, Annotations):
        rated = {
            video: record.quality
            for video, record in in_subset(annotations, protocol.subset).items()
            if record.quality is not None
        }
        return once(_rows(rated, inputs))
    source = str(annotations) if isinstance(annotations, Path | str) else "annotations"
    return in_split(once(_rows(annotations, inputs)), protocol.subset, source)


def _rows(given: Any, inputs: Inputs) -> Sequence[Row]:
    if isinstance(given, Path | str):
        return parse_rows(inputs.read(given), given)
    rows = [
        Row(id=video, cells=value if isinstance(value, Mapping) else {VALUE: value}, where=f"video {video!r}")
        for video, value in given.items()
    ]
    if not rows:
        raise AnnotationError("no ratings", expected="a number for at least one video")
    return rows


def _dimensions(
    protocol: QualityProtocol, truth: Mapping[str, Row], ours: Mapping[str, Row], source: str
) -> dict[str, str]:
    """Column of ratings -> column of predictions."""
    rated, predicted = _numeric(list(truth.values())), _numeric(list(ours.values()))
    chosen = list(protocol.dimensions) or rated
    unknown = [name for name in chosen if name not in rated]
    if unknown or not chosen:
        raise AnnotationError(
            f"the annotations have no ratings called {some(unknown)}" if unknown else "the annotations hold no numbers",
            expected=f"one of {', '.join(rated)}" if rated else "a column of numbers",
        )
    if len(predicted) == 1:
        return dict.fromkeys(chosen, predicted[0])
    common = [name for name in chosen if name in predicted]
    if not common or (protocol.dimensions and len(common) < len(chosen)):
        raise AnnotationError(
            f"{source}: its numbers are called {', '.join(predicted) or '(none)'}, the ratings {', '.join(chosen)}",
            expected="the same names, or a single score per video",
            todo="rename the columns, or choose with --dimensions",
        )
    return {name: name for name in common}


def _numeric(rows: Sequence[Row]) -> list[str]:
    """Names of the cells that are numbers in most rows; neither ids nor numbers of rows."""
    return [
        name
        for name in dict.fromkeys(name for row in rows for name in row.cells)
        if name
        and name.lower() not in ID_NAMES
        and not name.startswith("Unnamed")
        and 2 * sum(_is_number(row.cells.get(name)) for row in rows) > len(rows)
    ]


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and float(value) is not None
    except (TypeError, ValueError, OverflowError):
        return False


def _column(rows: Mapping[str, Row], videos: Sequence[str], name: str) -> Floats:
    return np.array([number(rows[video].cells.get(name), f"{rows[video].where}: {name}") for video in videos])
