"""Protocols of boxes on keyframes: frame mAP."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import Protocol, check_thresholds
from tal.errors import ConfigError

ORDER_RULES = {
    "heap": "by score; equal ones as the official script's heap leaves them",
    "score": "by score; of equal ones the earlier row first",
    "class": "by score within a class; equal ones as NumPy's portable quicksort leaves them",
    "file": "in the file's order, whatever the scores",
}
KEYFRAME_RULES = {
    "annotated": "those that the ground truth's file names; detections on others are left out",
    "all": "those of either file; detections on keyframes without ground truth are false",
    "both": "those with ground truth and detections of evaluated classes; others are left out on both sides",
}


@dataclass(frozen=True, kw_only=True)
class FrameBoxProtocol(Protocol):
    """A benchmark of boxes on keyframes: classes, keyframes, order of judging and thresholds.

    Args:
        iou: Overlaps from which on a detection can be right, as 0.5 0.75 or 0.5,0.75.
        labelmap: The classes to evaluate, with their names (pbtxt); rows of others are left out.
        excluded: Keyframes to leave out of ground truth and detections (CSV: video, seconds).
        included: Seconds of the keyframes to evaluate, one per line; all of them by default.
        ties: Also tell how far mAP depends on the order of equal scores: `mAP-ties-lowest` and `mAP-ties-highest`.
        limit: Rows of a keyframe that are kept, those of highest score; 0 for all.
        order: In which order the detections of a keyframe take ground truth; see `ORDER_RULES`.
        keyframes: Which keyframes are evaluated; see `KEYFRAME_RULES`.
        classes: (number, name) without a label map; all that the ground truth holds where there are none.
        highest_class: Numbers beyond it are of another data set; None if open. Looked at where there is no label map.
        fractions: Edges are fractions of the frame; it is told where they are not.
    """

    evaluator: ClassVar[str] = "tal.evaluation.boxes:run"
    annotation_files: ClassVar[str] = (
        "AVA's CSV: video, seconds, left, top, right, bottom, action and, optionally, person."
    )
    prediction_files: ClassVar[str] = "AVA's CSV with the score as the 8th column."
    options: ClassVar[tuple[str, ...]] = ("iou", "labelmap", "excluded", "included", "ties")

    iou: tuple[float, ...] = (0.5,)
    labelmap: Path | None = None
    excluded: Path | None = None
    included: Path | None = None
    ties: bool = False
    limit: int = 0
    order: Literal["heap", "score", "class", "file"] = "score"
    keyframes: Literal["annotated", "all", "both"] = "annotated"
    classes: tuple[tuple[int, str], ...] = ()
    highest_class: int | None = None
    fractions: bool = False

    def __post_init__(self) -> None:
        check_thresholds("IoU", self.iou)
        if self.limit < 0:
            raise ConfigError(f"a limit of {self.limit} rows", expected="1 or more, or 0 for no limit")
        for name, value, rules in (
            ("order", self.order, ORDER_RULES),
            ("keyframes", self.keyframes, KEYFRAME_RULES),
        ):
            if value not in rules:
                raise ConfigError(f"{name} {value!r}", expected=" or ".join(rules))

    def described(self) -> dict[str, Any]:
        """The rules that are applied, in words."""
        return super().described() | {
            "rows_per_keyframe": f"the {self.limit} of highest score" if self.limit else "all",
            "order_in_keyframe": f"{self.order}: {ORDER_RULES[self.order]}",
            "evaluated_keyframes": f"{self.keyframes}: {KEYFRAME_RULES[self.keyframes]}",
            "order_of_ties": "equal scores as NumPy's portable quicksort leaves them, which the evaluators call",
        }
