"""The protocol of EPIC-KITCHENS detection: one set of predictions, scored as verbs, nouns and actions."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tal.datasets.kinds.detection import DetectionProtocol
from tal.errors import ConfigError

ABSENT_RULES = {
    "drop": "C2 evaluator since August 2023 (left out)",
    "renumber": "C2 evaluator before, ActionFormer, OpenTAD (they count for the class that gets their number)",
}


@dataclass(frozen=True, kw_only=True)
class EpicProtocol(DetectionProtocol):
    """Temporal detection of verbs, nouns and actions.

    Args:
        subset: The split to evaluate, in any case; the published files name none.
        tiou: Thresholds, as 0.5 0.75 or 0.5,0.75; `verb/mAP` is the mean over them.
        duplicates: keep duplicated ground truth as the challenge does, or remove it as ActionFormer's evaluator or
            opentad does.
        outside: count predictions on videos that are not in the split as false positives, or drop them.
        task: Annotations and predictions that have one kind of class, as `label`: which. Without it the predictions
            tell, by their keys verb, noun and action.
        absent_classes: drop predictions of classes without ground truth, as the challenge's evaluator does; or
            renumber, as it did until August 2023: it numbered the classes anew and so took those for other classes.
    """

    evaluator: ClassVar[str] = "tal.evaluation.epic:run"
    annotation_files: ClassVar[str] = "The published CSV (EPIC_100_validation.csv)."
    prediction_files: ClassVar[str] = (
        "The challenge's result JSON, with verb, noun and action; with --task any results of one kind."
    )
    options: ClassVar[tuple[str, ...]] = (*DetectionProtocol.options, "task", "absent_classes")

    task: Literal["verb", "noun", "action"] | None = None
    absent_classes: Literal["drop", "renumber"] = "drop"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.absent_classes not in ABSENT_RULES:
            raise ConfigError(f"rule for absent classes {self.absent_classes!r}", expected=" or ".join(ABSENT_RULES))

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {"absent_classes": f"{self.absent_classes}: {ABSENT_RULES[self.absent_classes]}"}
