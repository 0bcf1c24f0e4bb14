"""Protocols of repetition counting."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CountingProtocol(Protocol):
    """Counts per video against the true ones.

    Args:
        subset: The split to evaluate, in any case, where the annotations have several.
        truth: Take the true count from the annotated cycles, from the column of counts (they disagree in few rows), or
            from the sum of TransRAC's density targets, which needs `frames`.
        frames: File with the number of frames of each video, {VIDEO: frames} or rows of video and frames.
        missing: A video without a prediction counts as zero repetitions, or is dropped from the mean.
        min_score: Where predictions are segments, count those with at least this score; all by default.
    """

    evaluator: ClassVar[str] = "tal.evaluation.counting:run"
    annotation_files: ClassVar[str] = (
        "RepCount's CSV; {VIDEO: count} or rows of video and count, JSON or CSV; annotations whose segments are cycles."
    )
    prediction_files: ClassVar[str] = (
        "{VIDEO: count}, rows of video and count, JSON or CSV; ActivityNet results, whose segments are counted."
    )
    options: ClassVar[tuple[str, ...]] = ("subset", "truth", "frames", "missing", "min_score")

    subset: str | None = None
    truth: Literal["cycles", "column", "density"] = "cycles"
    frames: Path | None = None
    missing: Literal["zero", "drop"] = "zero"
    min_score: float | None = None

    def __post_init__(self) -> None:
        if self.truth not in ("cycles", "column", "density"):
            raise ConfigError(f"truth {self.truth!r}", expected="cycles, column or density")
        if self.frames is not None and self.truth != "density":
            raise ConfigError(
                f"the videos' numbers of frames with truth {self.truth}: the density needs them, and nothing else does",
                todo="add --truth density (or --variant transrac), or leave --frames out",
            )
        if self.missing not in ("zero", "drop"):
            raise ConfigError(f"missing {self.missing!r}", expected="zero or drop")
        if self.min_score is not None and math.isnan(self.min_score):
            raise ConfigError("a min_score that is NaN", expected="a number")
