"""`tal playground`: the built-in benchmark as a command."""

from pathlib import Path

from tal.errors import ConfigError
from tal.playground.dataset import Split, generate
from tal.playground.settings import Difficulty


def playground(
    *,
    out: Path,
    difficulty: Difficulty = "easy",
    seed: int = 0,
    videos: int = 40,
    split: Split = "all",
    duration_s: float = 30.0,
    size: str = "160x120",
    fps: float = 15.0,
    workers: int | None = None,
) -> None:
    """Render the built-in benchmark: videos of figures that act, with sound, and their complete ground truth.

    OUT gets videos/*.mp4, annotations.json, dataset.json and a README. It is synthetic: nothing measured on it stands
    for a benchmark's published number. The same command completes an interrupted folder and redoes nothing; more
    videos of the same seed can be added later. A video depends only on the seed, the settings, its split and index.

    Args:
        out: Folder to write; new, empty, or one made with the same seed and settings.
        difficulty: easy: one actor, camera at rest. hard: several actors that overlap, distractors, changing speed,
            pauses, camera motion, cuts, lighting.
        seed: One seed is one dataset, with the same annotations on every machine.
        videos: How many; with --split all 60 % of them are training, 20 % validation and 20 % testing.
        split: One split, or all three.
        duration_s: Length of each video in seconds.
        size: WIDTHxHEIGHT in pixels, both even.
        fps: Frames per second.
        workers: Processes; default one per usable core.
    """
    width, _, height = size.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"size {size!r}", expected="WIDTHxHEIGHT in pixels, such as 160x120")
    annotations = generate(
        out,
        difficulty=difficulty,
        seed=seed,
        videos=videos,
        split=split,
        duration_s=duration_s,
        width=int(width),
        height=int(height),
        fps=fps,
        workers=workers,
    )
    print(annotations)
