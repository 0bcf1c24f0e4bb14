"""A playground dataset on disk: videos rendered side by side, resumable, nothing half-written."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from tal.atomic import write_text
from tal.console import track
from tal.device import cores
from tal.errors import ConfigError, TalError
from tal.playground.actions import CLASSES
from tal.playground.annotate import annotate, to_json
from tal.playground.process import render_all
from tal.playground.script import write_script
from tal.playground.settings import FORMAT_VERSION, SPLITS, Difficulty, Settings

Split = Literal["all", "training", "validation", "testing"]

_log = logging.getLogger(__name__)
_NAME = "tal playground"
_SHARES = {"training": 0.6, "validation": 0.2, "testing": 0.2}


def generate(
    out: Path | str,
    *,
    difficulty: Difficulty = "easy",
    seed: int = 0,
    videos: int = 40,
    split: Split = "all",
    duration_s: float = 30.0,
    width: int = 160,
    height: int = 120,
    fps: float = 15.0,
    workers: int | None = None,
) -> Path:
    """Render a dataset into a folder, or what of it is still missing there.

    A video depends only on the seed, the settings, its split and its index: the same seed gives the same dataset,
    splits share nothing, and more videos can be added later, to any split.

    Args:
        out: The folder; new, empty, or one that was made with the same seed and settings.
        difficulty: See `Settings`, also for duration, size and rate.
        seed: One seed is one dataset.
        videos: How many, in total for "all" (60 % training, 20 % validation, 20 % testing), else of the one split.
        split: Which splits to render.
        duration_s, width, height, fps: Of each video.
        workers: Processes; default one per usable core.

    Returns:
        The path of annotations.json.

    Raises:
        ConfigError: a setting outside its range.
        TalError: the folder holds something else.
        VideoError: a video could not be written.
    """
    settings = Settings(difficulty=difficulty, seed=seed, duration_s=duration_s, width=width, height=height, fps=fps)
    wanted = _counts(split, videos)
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers", expected="at least 1")
    folder = Path(out)
    counts = _claim(folder, settings, wanted)
    ids = [(name, index) for name in SPLITS for index in range(counts[name])]
    missing = [each for each in ids if not (folder / "videos" / f"{each[0]}_{each[1]:04d}.mp4").exists()]
    _sweep(folder / "videos")
    if missing:
        processes = min(workers or cores(), len(missing))
        for _ in track(render_all(folder, settings, missing, processes), "rendering", total=len(missing)):
            pass
    _log.info("%d videos rendered, %d were there: %s", len(missing), len(ids) - len(missing), folder)
    return _write_annotations(folder, settings, ids)


def _counts(split: Split, videos: int) -> dict[str, int]:
    """Videos per split; with "all", every split gets at least one."""
    known = ("all", *SPLITS)
    if split not in known:
        raise ConfigError(f"split {split!r}", expected=" or ".join(known))
    least = len(SPLITS) if split == "all" else 1
    if not least <= videos <= 10_000:
        raise ConfigError(f"{videos} videos for split {split!r}", expected=f"{least} to 10000")
    if split != "all":
        return {name: videos if name == split else 0 for name in SPLITS}
    counts = {name: max(1, round(videos * share)) for name, share in _SHARES.items() if name != "training"}
    return {"training": videos - sum(counts.values())} | counts


def _claim(folder: Path, settings: Settings, wanted: dict[str, int]) -> dict[str, int]:
    """Make the folder ours, or see that it is; returns the videos per split with those that are there already."""
    described = {"dataset": _NAME, "format": FORMAT_VERSION, "synthetic": True} | asdict(settings)
    note = folder / "dataset.json"
    counts = dict(wanted)
    if note.exists():
        found = _read_note(note)
        differing = {name: (found.get(name), value) for name, value in described.items() if found.get(name) != value}
        if differing:
            raise TalError(
                f"{folder} holds a playground with "
                + ", ".join(f"{name} {have}" for name, (have, _) in differing.items()),
                expected=", ".join(f"{name} {want}" for name, (_, want) in differing.items()),
                cause="the folder was made by an earlier run with other settings",
                todo="choose another folder, or remove this one",
            )
        counts = {name: max(wanted[name], found["videos"].get(name, 0)) for name in SPLITS}
    elif folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise TalError(
            f"{folder} is there already and is not a playground",
            expected="a new or empty folder, or one with a playground's dataset.json",
            todo="choose another folder",
        )
    (folder / "videos").mkdir(parents=True, exist_ok=True)
    _write_if_changed(note, to_json(described | {"classes": CLASSES, "videos": counts}))
    _write_if_changed(folder / "README.md", _readme(settings, counts))
    return counts


def _sweep(videos: Path) -> None:
    """Remove what a killed run left unfinished: hidden parts that name a process which is no more."""
    for part in videos.glob(".*.mp4.*.part"):
        process = part.name.split(".")[-2]
        if process.isdecimal() and not _alive(int(process)):
            part.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_note(note: Path) -> dict[str, Any]:
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise TalError(f"{note} cannot be read: {error}", expected="a playground's dataset.json") from error
    if not isinstance(found, dict) or found.get("dataset") != _NAME or not isinstance(found.get("videos"), dict):
        raise TalError(f"{note} is not a playground's", expected="a new or empty folder", todo="choose another folder")
    return found


def _write_annotations(folder: Path, settings: Settings, ids: Sequence[tuple[str, int]]) -> Path:
    scripts = [write_script(settings, split, index) for split, index in ids]
    database = {script.video: annotate(script) for script in track(scripts, "annotating")}
    version = f"{_NAME} {FORMAT_VERSION}, {settings.difficulty}, seed {settings.seed}"
    target = folder / "annotations.json"
    _write_if_changed(
        target, to_json({"version": version, "synthetic": True, "classes": CLASSES, "database": database})
    )
    return target


def _write_if_changed(path: Path, text: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _readme(settings: Settings, counts: dict[str, int]) -> str:
    many = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    each = f"{settings.duration_s:g} s, {settings.width}x{settings.height}, {settings.fps:g} frames per second"
    return f"""# Playground, {settings.difficulty}, seed {settings.seed}

Synthetic: rendered by `tal playground` (format {FORMAT_VERSION}), not filmed.
Nothing measured here stands for a benchmark's published number.

{many} videos of {each}, with sound.
{len(CLASSES)} classes: {", ".join(CLASSES)}.

- `videos/*.mp4`: frame i is at i / fps seconds.
- `annotations.json`: ActivityNet style; per video segments with actor, quality and repetition cycles, sentences
  (moments), boxes of each actor in each frame (tubes; fractions of width and height), step order, sounds, cuts.
- `dataset.json`: what it was made with. The same command completes an interrupted folder and redoes nothing.
"""
