"""What decides a playground dataset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from tal.errors import ConfigError

FORMAT_VERSION = 1  # goes up whenever the same seed would give other videos or annotations
SPLITS = ("training", "validation", "testing")

Difficulty = Literal["easy", "hard"]

_SHORTEST_S, _LONGEST_S = 5.0, 3600.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that a video's content depends on, beside its split and index.

    Args:
        difficulty: "easy": one actor, a camera that stands still. "hard": two or three actors that overlap, distractor
            motions and objects, changing speed, pauses, camera motion, cuts and lighting.
        seed: One seed is one dataset.
        duration_s: Length of a video, 5 to 3600 s; rounded to whole frames.
        width, height: Pixels, even; at least 48.
        fps: Frames per second, 5 to 60.

    Raises:
        ConfigError: a value outside its range.
    """

    difficulty: Difficulty = "easy"
    seed: int = 0
    duration_s: float = 30.0
    width: int = 160
    height: int = 120
    fps: float = 15.0

    def __post_init__(self) -> None:
        if self.difficulty not in get_args(Difficulty):
            known = " or ".join(get_args(Difficulty))
            raise ConfigError(f"difficulty {self.difficulty!r}", expected=known)
        if not _SHORTEST_S <= self.duration_s <= _LONGEST_S:
            raise ConfigError(
                f"videos of {self.duration_s:g} s",
                expected=f"{_SHORTEST_S:g} to {_LONGEST_S:g} s",
                cause="shorter ones have no room for an action",
            )
        if min(self.width, self.height) < 48 or self.width % 2 or self.height % 2:
            raise ConfigError(f"a size of {self.width}x{self.height}", expected="even numbers of at least 48 pixels")
        if not (math.isfinite(self.fps) and 5 <= self.fps <= 60):
            raise ConfigError(f"{self.fps:g} frames per second", expected="5 to 60")

        object.__setattr__(self, "duration_s", float(self.duration_s))  # 30 and 30.0 are one dataset, to the byte
        object.__setattr__(self, "fps", float(self.fps))

    @property
    def frame_count(self) -> int:
        """Frames of each video."""
        return round(self.duration_s * self.fps)

    @property
    def duration_ms(self) -> int:
        """Length of each video, from the first frame to the end of the last, in whole milliseconds (rounded down)."""
        return int(self.frame_count * 1000 / self.fps)

    @property
    def aspect(self) -> float:
        """Width divided by height."""
        return self.width / self.height
