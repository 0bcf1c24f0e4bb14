"""Protocols of progress: a value per frame that should rise as the task goes on."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ProgressProtocol(Protocol):
    """Value-order correlation (VOC) of every trajectory.

    Args:
        undefined: A trajectory whose correlation is undefined (constant, one value, wrong number of values, no
            prediction) is skipped in the mean and the median, or counts as zero.
        constant: Values are constant that are equal, or already those that are all close to the first one.
        success: A trajectory with a VOC above this is called a success; compared with `success` in the annotations
            where they have it.
    """

    evaluator: ClassVar[str] = "tal.evaluation.progress:run"
    annotation_files: ClassVar[str] = (
        "{ID: number of frames}, optionally with success; OpenGVL's JSON lines; a folder of GVL's demonstrations."
    )
    prediction_files: ClassVar[str] = (
        "{ID: [value, ...]} in the order of time; OpenGVL's JSON lines; a folder of GVL's demonstrations."
    )
    options: ClassVar[tuple[str, ...]] = ("undefined", "constant", "success")

    undefined: Literal["skip", "zero"] = "skip"
    constant: Literal["equal", "close"] = "equal"
    success: float = 0.5

    def __post_init__(self) -> None:
        if self.undefined not in ("skip", "zero"):
            raise ConfigError(f"undefined {self.undefined!r}", expected="skip or zero")
        if self.constant not in ("equal", "close"):
            raise ConfigError(f"constant {self.constant!r}", expected="equal or close")
        if not -1 <= self.success <= 1:
            raise ConfigError(f"success threshold {self.success}", expected="a correlation, from -1 to 1")
