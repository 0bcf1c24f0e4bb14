"""Protocols of who holds what when: rows of events, matched in time."""

from dataclasses import dataclass
from typing import ClassVar

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WhoWhenProtocol(Protocol):
    """A benchmark of events that say who holds which object.

    Args:
        tolerance: Frames by which a submitted row may miss the one that it matches.
        suffix: What stands after the video's id in the names of submitted files, where a folder holds several per
            video, as _out for VIDEO_out.csv.
    """

    evaluator: ClassVar[str] = "tal.evaluation.who_when:run"
    annotation_files: ClassVar[str] = "CSV of labels (frame, a column per ball), or a folder of them."
    prediction_files: ClassVar[str] = "The same of a solution."
    options: ClassVar[tuple[str, ...]] = ("tolerance", "suffix")

    tolerance: int = 10
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise ConfigError(f"a tolerance of {self.tolerance} frames", expected="0 or more")
