"""Protocols of repetition counting."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class CountingProtocol(Protocol):
    """Counts per video against the true ones.

    Args:
        subset: The split to evaluate, in any case, where the annotations have several.
        truth: Take the true count from the annotated cycles, or from the column of counts. They disagree in few rows.
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
    options: ClassVar[tuple[str, ...]] = ("subset", "truth", "missing", "min_score")

    subset: str | None = None
    truth: Literal["cycles", "column"] = "cycles"
    missing: Literal["zero", "drop"] = "zero"
    min_score: float | None = None

    def __post_init__(self) -> None:
        if self.truth not in ("cycles", "column"):
            raise ConfigError(f"truth {self.truth!r}", expected="cycles or column")
        if self.missing not in ("zero", "drop"):
            raise ConfigError(f"missing {self.missing!r}", expected="zero or drop")
