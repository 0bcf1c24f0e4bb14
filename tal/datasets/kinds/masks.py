"""Protocols of segmentation: masks of the objects that take part in an action."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MasksProtocol(Protocol):
    """Masks per object and annotated frame.

    Args:
        masks: True masks: a folder of palette PNGs, SEQUENCE/FRAME.png, or npz with an array per SEQUENCE/FRAME.
        flagged: Sequences that the annotators marked as redundant, missing or other are skipped, or kept.
    """

    evaluator: ClassVar[str] = "tal.evaluation.masks:run"
    annotation_files: ClassVar[str] = "ActionVOS' list of sequences: val_human.json, val_novel.json."
    prediction_files: ClassVar[str] = (
        "A folder of palette PNGs, SEQUENCE/FRAME.png, or npz with an array per SEQUENCE/FRAME."
    )
    options: ClassVar[tuple[str, ...]] = ("masks", "flagged")

    masks: Path | None = None
    flagged: Literal["skip", "keep"] = "skip"

    def __post_init__(self) -> None:
        if self.flagged not in ("skip", "keep"):
            raise ConfigError(f"flagged {self.flagged!r}", expected="skip or keep")
