"""Protocols of active objects: the box of the object that a hand uses."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol, check_thresholds
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HandObjectProtocol(Protocol):
    """Boxes of hands with their objects, or of objects alone, on images.

    Args:
        iou: Thresholds that overlaps have to exceed.
        match: Hand and object together, or the object alone.
        contact: Where predictions give contact and object scores instead of one: above this contact a hand is said to
            hold its object.
        joint: Where they do: below this product of contact and object score the object is taken away.
    """

    evaluator: ClassVar[str] = "tal.evaluation.hand_objects:run"
    annotation_files: ClassVar[str] = '{IMAGE: [{"hand": [left, top, right, bottom], "object": the same or null}]}.'
    prediction_files: ClassVar[str] = "The same with score, or with hand_score, contact and object_score."
    options: ClassVar[tuple[str, ...]] = ("iou", "contact", "joint")

    iou: tuple[float, ...] = (0.25, 0.5, 0.75)
    match: Literal["pairs", "objects"] = "pairs"
    contact: float = 0.1
    joint: float = 0.2

    def __post_init__(self) -> None:
        check_thresholds("IoU", self.iou)
        for name in ("contact", "joint"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} {getattr(self, name)}", expected="from 0 to 1")
