"""Protocols of procedure planning: the actions between a start and a goal."""

from dataclasses import dataclass
from typing import ClassVar

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PlanningProtocol(Protocol):
    """Plans of a fixed number of actions.

    Args:
        horizon: Numbers of actions T to evaluate; all that the ground truth has by default.
        batch: Also report mIoU over the sets of whole batches of this many plans; not by default.
    """

    evaluator: ClassVar[str] = "tal.evaluation.planning:run"
    annotation_files: ClassVar[str] = "MTID's and PDPP's JSON of windows; {ID: [action, ...]}; a list of lists."
    prediction_files: ClassVar[str] = (
        "{ID: [action, ...]}; a list of lists in the windows' order; npz with plans (N, T)."
    )
    options: ClassVar[tuple[str, ...]] = ("horizon", "batch")

    horizon: tuple[int, ...] = ()
    batch: int | None = None

    def __post_init__(self) -> None:
        if any(value < 1 for value in self.horizon):
            raise ConfigError(f"horizon {self.horizon}", expected="numbers of actions from 1")
        if self.batch is not None and self.batch < 1:
            raise ConfigError(f"batch of {self.batch}", expected="a number of plans from 1")
