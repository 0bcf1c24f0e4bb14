"""Repetition counting: MAE, OBO and their variants."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tal.annotations import repcount
from tal.annotations.records import Annotations
from tal.annotations.rows import VALUE, Row, number, parse_rows
from tal.annotations.subsets import in_subset
from tal.datasets.kinds.counting import CountingProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.by_video import in_split, latest, once, read, shared
from tal.evaluation.inputs import Inputs
from tal.evaluation.result import Evaluation, evaluation
from tal.evaluation.tally import Tally, some
from tal.metrics.counting import PLAIN_OFFSET, density_count, relative_error, rmse, within
from tal.segments import Segments

_COUNT_NAMES = ("count", "counts", "prediction", "predicted", "pred", "value", "repetitions", "num_repetitions")
_SEGMENT_NAMES = ("annotations", "segments", VALUE)


@dataclass(frozen=True, kw_only=True)
class _Truth:
    """A video's true count, and the action that is repeated ("" if unknown)."""

    count: float
    action: str = ""


def run(
    protocol: CountingProtocol,
    annotations: Annotations | Mapping[str, float] | Path | str,
    predictions: Mapping[str, float | Segments] | Path | str,
    inputs: Inputs,
) -> Evaluation:
    """Score counts.

    Args:
        protocol: The rules.
        annotations: RepCount's CSV; {VIDEO: count} or rows with `video` and `count`, as JSON or CSV; annotations whose
            segments are the cycles.
        predictions: {VIDEO: number}, rows with `video` and `count`, or ActivityNet results whose segments are counted.
        inputs: Reads the files.

    Raises:
        TalError: files that cannot be read, counts that are no numbers or negative truth, no video in common.
    """
    if protocol.truth == "density" and protocol.frames is None:
        raise ConfigError(
            "the density of RepCount's cycles without the videos' numbers of frames",
            todo="give them with --frames FILE",
        )
    tally = Tally()
    truth = _truth(protocol, annotations, inputs, tally)
    source = str(predictions) if isinstance(predictions, Path | str) else "predictions"
    found = _predictions(protocol, predictions, inputs, tally)
    ours = shared(truth, found, tally, source)
    videos = [video for video in truth if protocol.missing == "zero" or video in ours]
    if len(ours) < len(truth):
        fate = "count as 0 repetitions" if protocol.missing == "zero" else "are left out"
        tally.warn(f"{len(truth) - len(ours)} videos without a prediction {fate}")
    g = np.array([truth[video].count for video in videos])
    p = np.array([ours.get(video, 0.0) for video in videos])
    if (g == 0).any():
        tally.warn(f"{int((g == 0).sum())} videos hold no repetition: an error on one of them dominates MAE-plain")
    actions = np.array([truth[video].action for video in videos])
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
        ),
        metrics=_metrics(p, g),
        per_class={
            name: {**_metrics(p[actions == name], g[actions == name]), "ground_truth": int((actions == name).sum())}
            for name in sorted({*actions.tolist()} - {""})
        },
    )


def _metrics(p: Any, g: Any) -> dict[str, float]:
    return {
        "MAE": float(relative_error(p, g).mean()),
        "OBO": float(within(p, g).mean()),
        "OBZ": float(within(p, g, tolerance=0).mean()),
        "RMSE": rmse(p, g),
        "MAE-plain": float(relative_error(p, g, offset=PLAIN_OFFSET).mean()),
        "MAE-raw": float(relative_error(p, g, rounded=False).mean()),
        "OBO-raw": float(within(p, g, rounded=False).mean()),
    }


def _truth(protocol: CountingProtocol, annotations: Any, inputs: Inputs, tally: Tally) -> dict[str, _Truth]:
    if isinstance(annotations, Annotations):
        found = {
            video: _Truth(count=len(record.instances), action=_only(record.instances.names))
            for video, record in in_subset(annotations, protocol.subset).items()
        }
        source = annotations.source or "annotations"
    elif isinstance(annotations, Path | str):
        source = str(annotations)
        content = inputs.read(annotations)
        if repcount.looks_like(content):
            found = _of_repcount(repcount.parse(content, annotations), protocol, inputs, tally)
        elif protocol.truth == "density":
            raise AnnotationError(f"{source} is not RepCount's CSV", expected="cycles in frames, for the density")
        else:
            found = _of_rows(once(parse_rows(content, annotations)), protocol, source)
    else:
        source = "annotations"
        if protocol.truth == "density":
            raise AnnotationError("counts at hand", expected="RepCount's CSV: cycles in frames, for the density")
        found = {video: _Truth(count=number(value, f"video {video!r}")) for video, value in annotations.items()}
    negative = [video for video, each in found.items() if each.count < 0]
    if negative:
        raise AnnotationError(f"{source}: negative counts: {some(negative)}", expected="0 or more repetitions")
    if not found:
        raise AnnotationError(f"{source}: no counts to evaluate against")
    return found


def _of_repcount(
    videos: Mapping[str, repcount.RepCountVideo], protocol: CountingProtocol, inputs: Inputs, tally: Tally
) -> dict[str, _Truth]:
    if protocol.subset is not None:
        raise AnnotationError("RepCount's CSV has no subsets: the split is the file", todo="leave --subset out")
    differ = [name for name, each in videos.items() if each.count is not None and each.count != len(each.cycles)]
    if differ:
        chosen = "column is" if protocol.truth == "column" else "cycles are"
        tally.warn(
            f"{len(differ)} videos whose column `count` is not their number of cycles ({some(differ)}): "
            f"the {chosen} taken"
        )
    frames = {} if protocol.frames is None else _frames(protocol.frames, inputs)
    found = {}
    for name, each in videos.items():
        count: int | None = len(each.cycles)
        if protocol.truth == "column" or (protocol.truth == "density" and each.count is None):
            count = each.count  # TransRAC's loader skips rows without one.
        elif protocol.truth == "density":
            if name not in frames:
                raise AnnotationError(f"{protocol.frames}: no number of frames of {name!r}", expected="one per video")
            count = density_count(each.cycles, frames[name])
        if count is None:
            tally.exclude("no count", 1)
        else:
            found[name] = _Truth(count=count, action=each.action)
    return found


def _frames(path: Path, inputs: Inputs) -> dict[str, int]:
    rows = once(parse_rows(inputs.read(path), path))
    found = {video: number(row.needed(("frames", "num_frames", VALUE)), row.where) for video, row in rows.items()}
    short = [video for video, frames in found.items() if frames < 1]
    if short:
        raise AnnotationError(f"{path}: videos without frames: {some(short)}", expected="at least 1")
    return {video: round(frames) for video, frames in found.items()}


def _of_rows(rows: Mapping[str, Row], protocol: CountingProtocol, source: str) -> dict[str, _Truth]:
    found = {}
    for video, row in in_split(rows, protocol.subset, source).items():
        segments, column = row.first(_SEGMENT_NAMES), row.first(_COUNT_NAMES)
        if isinstance(row.cells.get("annotations"), list):
            segments = row.cells["annotations"]  # An empty list is a count too.
        if isinstance(segments, list) and (protocol.truth == "cycles" or column in (None, segments)):
            if not all(isinstance(each, dict) or (isinstance(each, list) and len(each) == 2) for each in segments):
                raise AnnotationError(
                    f"{row.where}: {segments!r:.80} holds no cycles",
                    expected='a number, or [{"segment": [start, end]}]',
                )
            labels = [str(each.get("label", "")) for each in segments if isinstance(each, dict)]
            found[video] = _Truth(count=len(segments), action=_only(labels))
        else:
            action = str(row.first(("type", "class", "action", "label")) or "")
            found[video] = _Truth(count=number(row.needed(_COUNT_NAMES), row.where), action=action)
    return found


def _only(labels: Any) -> str:
    names = set(labels)
    return names.pop() if len(names) == 1 else ""


def _predictions(protocol: CountingProtocol, predictions: Any, inputs: Inputs, tally: Tally) -> dict[str, float]:
    if isinstance(predictions, Path | str):
        content = inputs.read(predictions)
        if repcount.looks_like(content):
            raise AnnotationError(
                f"{predictions} holds RepCount's annotations, not predictions",
                expected="{VIDEO: count}, or rows with video and count",
                cause="the two files were exchanged",
            )
        rows = latest(parse_rows(content, predictions), tally)
        if protocol.min_score is not None and all(_segments(row) is None for row in rows.values()):
            raise ConfigError(
                f"a min_score of {protocol.min_score:g}, and counts instead of segments with scores",
                expected="ActivityNet results",
                todo="leave min_score out",
            )
        counted = {video: _count(row, protocol.min_score) for video, row in rows.items()}
        if protocol.min_score is not None:
            below = sum(len(_segments(row) or ()) for row in rows.values()) - int(sum(counted.values()))
            tally.warn(f"{below} segments below the score {protocol.min_score:g} are not counted")
        return counted
    return {
        video: _above(value.score.tolist(), protocol.min_score)
        if isinstance(value, Segments)
        else number(value, f"prediction for video {video!r}")
        for video, value in predictions.items()
    }


def _count(row: Row, min_score: float | None) -> float:
    if "annotations" in row.cells:
        raise AnnotationError(f"{row.where}: annotations, not predictions", cause="the two files were exchanged")
    segments = _segments(row)
    if segments is None:
        return number(row.needed(_COUNT_NAMES), row.where)
    if not all(isinstance(each, dict) and "segment" in each for each in segments):
        raise AnnotationError(
            f"{row.where}: a list that holds no segments",
            expected='a number, or [{"segment": [start, end], "score"}] to be counted',
        )
    if min_score is None:
        return len(segments)
    return _above([number(each.get("score"), row.where) for each in segments], min_score)


def _segments(row: Row) -> list[Any] | None:
    found = row.first(("segments", VALUE))
    return found if isinstance(found, list) else None


def _above(scores: list[float], min_score: float | None) -> float:
    return float(len(scores) if min_score is None else sum(score >= min_score for score in scores))
