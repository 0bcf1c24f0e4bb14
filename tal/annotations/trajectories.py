"""Progress per frame of trajectories: our own rows, GVL's demonstrations and OpenGVL's predictions.

Ours: `{ID: [value, ...]}` or rows with an id and `values` (JSON, JSON lines), in chronological order; as ground truth
also `{ID: number of frames}`, and `success` (true or false). OpenGVL (budzianowski/opengvl): JSON lines with
`eval_episode` and `predicted_percentages` in the order in which the frames were shown. GVL's site
(generative-value-learning.github.io): one JSON object per trajectory with `frames` of `frame_id` and `number`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tal.annotations import files
from tal.annotations.rows import VALUE, Row, number, parse_rows
from tal.errors import AnnotationError

_VALUE_NAMES = ("values", "predictions", "progress", "frames", "num_frames", "length", VALUE)
_SUCCESS = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """One trajectory.

    Args:
        id: Unique within its file.
        length: Number of frames.
        values: A value per frame, first frame first; None where only the length is known.
        success: Whether the task was done; None where the file does not say.
        where: File and place, for messages.
    """

    id: str
    length: int
    values: tuple[float, ...] | None
    success: bool | None = None
    where: str = ""


def parse_trajectories(content: bytes, path: Path | str, *, truth: bool = False) -> list[Trajectory]:
    """Trajectories of one file, in its order.

    Args:
        content: JSON, JSON lines or CSV.
        path: Named in messages; GVL's demonstrations take their id from it.
        truth: Read the frames that there are, where the file holds predictions too.

    Raises:
        AnnotationError: not readable as one of these, or a value that is no number.
    """
    if content.lstrip()[:1] == b"{" and b'"frames"' in content and b'"frame_id"' in content:
        return [_demonstration(files.to_unique_json(content, path), Path(path))]
    rows = parse_rows(content, path)
    if not all("eval_episode" in row.cells for row in rows):
        return [_own(row) for row in rows]
    times: dict[str, int] = {}
    found = []
    for each in (_opengvl(row, truth) for row in rows):
        times[each.id] = times.get(each.id, 0) + 1  # An episode can be drawn twice.
        found.append(each if times[each.id] == 1 else replace(each, id=f"{each.id}#{times[each.id]}"))
    return found


def _demonstration(data: Any, path: Path) -> Trajectory:
    frames = data.get("frames")
    if not isinstance(frames, list) or not all(isinstance(each, dict) and "number" in each for each in frames):
        raise AnnotationError(f"{path}: frames without numbers", expected='"frames": [{"frame_id", "number"}]')
    ordered = sorted(range(len(frames)), key=lambda position: _frame_id(frames[position], position))
    values = tuple(number(frames[position]["number"], f"{path}: frame {position}") for position in ordered)
    return Trajectory(id=path.stem, length=len(values), values=values, where=str(path))


def _frame_id(frame: Mapping[str, Any], position: int) -> float:
    return float(frame["frame_id"]) if isinstance(frame.get("frame_id"), int | float) else position


def _opengvl(row: Row, truth: bool) -> Trajectory:
    episode, predicted = row.cells["eval_episode"], row.cells.get("predicted_percentages")
    try:
        name = f"{row.cells.get('dataset', '')}/{episode['episode_index']}".lstrip("/")
        shown = [number(each, row.where) for each in episode["shuffled_frames_indices"]]
    except (KeyError, TypeError) as error:
        raise AnnotationError(f"{row.where}: an episode without {error}", expected="OpenGVL's predictions") from None
    if truth:
        return Trajectory(id=name, length=len(shown), values=None, where=row.where)
    if not isinstance(predicted, list):
        raise AnnotationError(f"{row.where}: no list of predicted_percentages", expected="OpenGVL's predictions")
    values = [number(each, row.where) for each in predicted]
    if len(values) == len(shown):
        values = [values[position] for position in sorted(range(len(shown)), key=shown.__getitem__)]
    return Trajectory(id=name, length=len(values), values=tuple(values), where=row.where)


def _own(row: Row) -> Trajectory:
    value = row.needed(_VALUE_NAMES)
    if isinstance(value, str) and len(value.split()) > 1:
        value = value.split()  # A cell of CSV.
    if isinstance(value, list):
        values = tuple(number(each, row.where) for each in value)
        return Trajectory(id=row.id, length=len(values), values=values, success=_success(row), where=row.where)
    length = number(value, row.where)
    if length < 0 or length != round(length):
        raise AnnotationError(f"{row.where}: {length:g} frames", expected="a list of values, or a number of frames")
    return Trajectory(id=row.id, length=round(length), values=None, success=_success(row), where=row.where)


def _success(row: Row) -> bool | None:
    value = row.first(("success", "succeeded"))
    if value is None:
        return None
    if str(value).lower() not in _SUCCESS:
        raise AnnotationError(f"{row.where}: success is {value!r}", expected="true or false")
    return _SUCCESS[str(value).lower()]
