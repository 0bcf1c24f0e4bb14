"""A script to its ground truth: exact arithmetic and rounded values, so that the same seed gives the same bytes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from tal.playground.actions import ACTIONS, CLASSES
from tal.playground.figure import Limb
from tal.playground.paint import pixel_box
from tal.playground.render import to_picture
from tal.playground.script import Actor, Performance, Script

_LEAST_SEEN = 0.2  # of a box's area inside the picture; below, the actor is out of sight
_SMOOTHING_PX = 0.75  # of anti-aliasing around a box
_COUNTS = ("", "once", "twice", "three times", "four times", "five times", "six times", "seven times", "eight times")


def annotate(script: Script) -> dict[str, Any]:
    """The video's entry in the annotations (format: `tal.playground`)."""
    settings = script.settings
    rows = sorted(
        ((part, actor) for actor in script.actors for part in actor.performances if part.labelled),
        key=lambda row: (row[0].start_ms, row[1].name),
    )
    tracks = {actor.name: _track(script, actor) for actor in script.actors}
    tubes = [_tube(name, "", track) for name, track in tracks.items()]
    tubes += [_tube(actor.name, part.action, _within(tracks[actor.name], part)) for part, actor in rows]
    qualities = [part.quality for part, _ in rows]
    return {
        "subset": script.split,
        "duration": round(settings.frame_count / settings.fps, 3),
        "fps": settings.fps,
        "resolution": f"{settings.width}x{settings.height}",
        "path": f"videos/{script.video}.mp4",
        "quality": round(sum(qualities) / len(qualities), 3) if qualities else None,
        "steps": [part.action for part, _ in rows],
        "cuts": [_seconds(shot.start_ms) for shot in script.shots[1:]],
        "annotations": [_instance(part, actor, position) for position, (part, actor) in enumerate(rows)],
        "moments": _moments(script, rows),
        "sounds": [{"time": _seconds(ms), "sound": name} for ms, name in sound_events(script)],
        "tubes": [tube for tube in tubes if tube["times"]],
    }


def _seconds(milliseconds: float) -> float:
    return round(milliseconds / 1000.0, 3)


def _instance(part: Performance, actor: Actor, position: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "id": position,
        "label": part.action,
        "label_id": CLASSES.index(part.action),
        "segment": [_seconds(part.start_ms), _seconds(part.end_ms)],
        "actor": actor.name,
        "quality": part.quality,
    }
    if ACTIONS[part.action].repetitive:
        entry["cycles"] = [[_seconds(start), _seconds(end)] for start, end in part.cycles_ms()]
    return entry


def sound_events(script: Script) -> list[tuple[float, str]]:
    """(milliseconds, name of the sound) in time, of distractors too."""
    events = [
        (part.time_of(cycle_idx, phase), name)
        for actor in script.actors
        for part in actor.performances
        for cycle_idx in range(len(part.cycles))
        for phase, name in ACTIONS[part.action].sounds
    ]
    return sorted(events)


def _moments(script: Script, rows: list[tuple[Performance, Actor]]) -> list[dict[str, Any]]:
    """A sentence per instance, and one per pair of an actor's neighbours; equal sentences are one moment."""
    spans: dict[str, list[list[float]]] = {}

    def add(text: str, start_ms: int, end_ms: int) -> None:
        spans.setdefault(text, []).append([_seconds(start_ms), _seconds(end_ms)])

    for part, actor in rows:
        add(f"{_who(actor)} {_does(part)}", part.start_ms, part.end_ms)
    for actor in script.actors:
        own = [part for part in actor.performances if part.labelled]
        for first, second in pairwise(own):
            add(
                f"{_who(actor)} {ACTIONS[first.action].says}, then {ACTIONS[second.action].says}",
                first.start_ms,
                second.end_ms,
            )
    return [{"text": text, "spans": times} for text, times in spans.items()]


def _who(actor: Actor) -> str:
    article = "an" if actor.body.shirt[0] in "aeiou" else "a"
    return f"a person in {article} {actor.body.shirt} shirt"


def _does(part: Performance) -> str:
    action = ACTIONS[part.action]
    words = [action.says]
    if action.repetitive:
        words.append(_COUNTS[len(part.cycles)])
    if part.tempo < 0.25 or part.tempo > 0.75:
        words.append("quickly" if part.tempo < 0.25 else "slowly")
    return " ".join(words)


def _track(script: Script, actor: Actor) -> list[tuple[float, list[float]]]:
    """(time in seconds, box) of every frame in which enough of the actor is in the picture."""
    settings = script.settings
    track = []
    for frame_idx in range(settings.frame_count):
        time_ms = 1000.0 * frame_idx / settings.fps
        box = frame_box(script, actor, actor.limbs_at(time_ms), time_ms)
        if box is not None:
            track.append((round(frame_idx / settings.fps, 3), box))
    return track


def frame_box(script: Script, actor: Actor, strokes: list[Limb], time_ms: float) -> list[float] | None:
    """Left, top, right, bottom of the figure as fractions of the picture; None if it is out of sight.

    What other actors hide counts as seen.
    """
    settings = script.settings
    view = script.shot_at(time_ms).view_at(time_ms)
    foot_x, foot_y = to_picture(actor.x_at(time_ms), actor.ground_y, view, settings.aspect)
    left, top, right, bottom = pixel_box(strokes, foot_x=foot_x, foot_y=foot_y, height=actor.body.height * view.zoom)
    pad = _SMOOTHING_PX / settings.height
    full = (left - pad) / settings.aspect, top - pad, (right + pad) / settings.aspect, bottom + pad
    seen = [min(max(edge, 0.0), 1.0) for edge in full]
    area = (full[2] - full[0]) * (full[3] - full[1])
    if (seen[2] - seen[0]) * (seen[3] - seen[1]) < _LEAST_SEEN * area:
        return None
    return [round(edge, 4) for edge in seen]


def _within(track: list[tuple[float, list[float]]], part: Performance) -> list[tuple[float, list[float]]]:
    return [row for row in track if part.start_ms <= 1000.0 * row[0] < part.end_ms]


def _tube(actor: str, label: str, track: list[tuple[float, list[float]]]) -> dict[str, Any]:
    return {
        "actor": actor,
        "label": label,
        "times": [time for time, _ in track],
        "boxes": [box for _, box in track],
    }


def to_json(data: Any, *, depth: int = 4) -> str:
    """JSON that a person can read: objects and lists of objects are broken into lines down to `depth`, no further."""
    return _broken(data, 0, depth) + "\n"


def _broken(data: Any, level: int, depth: int) -> str:
    pad = "\n" + " " * (level + 1)
    if level < depth and isinstance(data, dict) and data:
        items = (f"{json.dumps(key)}: {_broken(value, level + 1, depth)}" for key, value in data.items())
        return "{" + pad + f",{pad}".join(items) + "\n" + " " * level + "}"
    if level < depth and isinstance(data, list) and data and isinstance(data[0], dict):
        return "[" + pad + f",{pad}".join(_broken(value, level + 1, depth) for value in data) + "\n" + " " * level + "]"
    return json.dumps(data, separators=(", ", ": ") if not _numbers(data) else (",", ":"))


def _numbers(data: Any) -> bool:
    return isinstance(data, dict) and "boxes" in data
