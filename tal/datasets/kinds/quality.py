"""Protocols of quality: predicted scores against human ratings."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class QualityProtocol(Protocol):
    """Correlation of scores with ratings, per dimension and for their sum.

    Args:
        subset: The split to evaluate, in any case, where the annotations have several.
        dimensions: Columns of ratings to evaluate; by default all that are numbers and that the predictions have too.
        missing: Refuse predictions that lack a rated video, or drop such videos: a correlation over part of the videos
            is no longer comparable.
    """

    evaluator: ClassVar[str] = "tal.evaluation.quality:run"
    annotation_files: ClassVar[str] = (
        "{VIDEO: rating}, or rows of video and columns of ratings, JSON or CSV (GAIA's MOS.csv)."
    )
    prediction_files: ClassVar[str] = "The same with scores; a single score per video is held against every rating."
    options: ClassVar[tuple[str, ...]] = ("subset", "dimensions", "missing")

    subset: str | None = None
    dimensions: tuple[str, ...] = ()
    missing: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        if self.missing not in ("refuse", "drop"):
            raise ConfigError(f"missing {self.missing!r}", expected="refuse or drop")
