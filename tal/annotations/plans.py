"""Plans: sequences of actions, one per window of a video.

Ours: `{ID: [action, ...]}`, a list of lists (told apart by order), rows with an id and `actions`, and npz with `plans`
(N, T). Ground truth also as MTID publishes it (WiserZhou/MTID, dataset/): a list of windows with `legal_range`
[[start, end, action], ...]; such a window's id is its features' name and first second, as "changing_tire_0001@8", and
where several windows begin there "cpr_0016@12#2" for the second one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tal.annotations.rows import VALUE, Row, parse_npz, parse_rows
from tal.errors import AnnotationError

_ACTION_NAMES = ("actions", "plan", "steps", "prediction", "predictions", "labels", VALUE)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One plan.

    Args:
        id: The window's id; "" where plans are told apart by their order alone.
        actions: T names or numbers, as text.
        where: File and place, for messages.
    """

    id: str
    actions: tuple[str, ...]
    where: str


def parse_plans(content: bytes, path: Path | str) -> list[Plan]:
    """The plans of a file, in its order.

    Raises:
        AnnotationError: not readable as one of these forms, or an empty plan.
    """
    if content.startswith(b"PK\x03\x04"):
        return _from_npz(parse_npz(content, path), str(path))
    rows = parse_rows(content, path)
    plans = _numbered(rows) if all(map(_is_window, rows)) else [_own(row) for row in rows]
    named = [bool(plan.id) for plan in plans]
    if any(named) and not all(named):
        odd = plans[named.index(False)]
        raise AnnotationError(f"{odd.where} has no id, others have", expected="an id in every entry, or in none")
    return plans


def plans_of(given: Mapping[str, Sequence[str | int]] | Sequence[Sequence[str | int]]) -> list[Plan]:
    """Plans in memory: by id, or in order."""
    items = given.items() if isinstance(given, Mapping) else (("", each) for each in given)
    return [
        Plan(id=str(name), actions=_texts(list(actions), where := f"plan {position}"), where=where)
        for position, (name, actions) in enumerate(items)
    ]


def _is_window(row: Row) -> bool:
    held = row.cells.get("id")
    return isinstance(held, dict) and "legal_range" in held


def _numbered(rows: Sequence[Row]) -> list[Plan]:
    """Windows; where two of one video begin at one second, the later ones are numbered."""
    times: dict[str, int] = {}
    plans = []
    for row in rows:
        plan = _window(row)
        times[plan.id] = times.get(plan.id, 0) + 1
        plans.append(plan if times[plan.id] == 1 else replace(plan, id=f"{plan.id}#{times[plan.id]}"))
    return plans


def _window(row: Row) -> Plan:
    held = row.cells["id"]
    spans = held["legal_range"]
    name = str(held.get("feature") or held.get("vid") or "").replace("\\", "/").split("/")[-1].rsplit(".", 1)[0]
    if not isinstance(spans, list) or not all(isinstance(span, list) and len(span) == 3 for span in spans) or not spans:
        raise AnnotationError(f"{row.where}: legal_range {spans!r:.80}", expected="[[start, end, action], ...]")
    actions = _texts([span[2] for span in spans], row.where)
    return Plan(id=f"{name}@{spans[0][0]}", actions=actions, where=row.where)


def _own(row: Row) -> Plan:
    value: Any = row.needed(_ACTION_NAMES)
    if isinstance(value, str):
        value = value.replace(";", " ").split()
    if not isinstance(value, list):
        raise AnnotationError(f"{row.where}: {value!r:.80} is no plan", expected="a list of actions")
    return Plan(id=row.id, actions=_texts(value, row.where), where=row.where)


def _texts(actions: Sequence[Any], where: str) -> tuple[str, ...]:
    if not actions or not all(isinstance(each, str) or (hasattr(each, "__index__") and each >= 0) for each in actions):
        raise AnnotationError(
            f"{where}: a plan of {list(actions)!r:.80}", expected="names or numbers of actions, at least one"
        )
    return tuple(map(str, actions))


def _from_npz(arrays: Mapping[str, Any], source: str) -> list[Plan]:
    plans = arrays.get("plans", next(iter(arrays.values())) if len(arrays) == 1 else None)
    ids = arrays.get("ids")
    fits = plans is not None and plans.ndim == 2 and plans.dtype.kind in "iuU"
    if plans is None or not fits or (ids is not None and len(ids) != len(plans)):
        held = ", ".join(f"{name} {each.shape} {each.dtype}" for name, each in arrays.items())
        raise AnnotationError(f"{source} holds {held}", expected="plans (N, T) of whole numbers, optionally ids (N,)")
    names = [""] * len(plans) if ids is None else [str(each) for each in ids.tolist()]
    return [
        Plan(id=name, actions=_texts(row.tolist(), where := f"{source}: row {position}"), where=where)
        for position, (name, row) in enumerate(zip(names, plans, strict=True))
    ]
