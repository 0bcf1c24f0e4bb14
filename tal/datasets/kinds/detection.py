"""Protocols of temporal detection: mAP over classes at each tIoU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import ANNOTATED_SEGMENTS, DETECTED_SEGMENTS, Protocol, check_thresholds
from tal.errors import ConfigError

DUPLICATE_RULES = {
    "keep": "ActivityNet toolkit (all kept)",
    "remove": "ActionFormer's evaluator (same class and both ends within 1e-3 s, or shorter than that, removed)",
    "opentad": "OpenTAD (same class and both ends within 1e-3 s, or without length, removed)",
}
OUTSIDE_RULES = {
    "count": "ActivityNet toolkit (false positives)",
    "drop": "left out",
}
RECALL_RULES = {
    "classes": "ActionFormer's evaluator (mean over classes, tIoU >= threshold)",
    "instances": "Ego4D's own (share of all instances, tIoU > threshold)",
}


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol(Protocol):
    """A benchmark of temporal detection: split, exclusions, duplicate rule and thresholds.

    Args:
        subset: The split to evaluate, in any case; the protocol's own by default.
        tiou: Thresholds, as 0.5 0.75 or 0.5,0.75; `mAP` is the mean over them.
        duplicates: keep duplicated ground truth as the ActivityNet toolkit does, or remove it as ActionFormer's
            evaluator or opentad does.
        outside: count predictions on videos that are not in the split as false positives, as the ActivityNet toolkit
            does, or drop them.
        class_agnostic: One class for everything. Instances of two classes with the same ends become duplicates, which
            the rule of `duplicates` then removes or keeps; predictions are all kept, so that of two with the same ends
            one is a false positive.
        ties: Also tell how far mAP depends on the order of equal scores: `mAP-ties-lowest` and `mAP-ties-highest`.
        blocked: File with ids of videos that are left out: a JSON list or one id per line.
        recall_multiples: k of Recall@kx, empty for none.
        recall_over: Recall@kx as the mean over classes, or over all instances with a strict threshold as in Ego4D's
            own evaluator.
        excluded_videos: id -> why.
        excluded_classes: name -> why; their ground truth and predictions are left out, and counted.
        class_count: Classes of the published set, to notice a partial file; None if open.
        duplicate_tolerance_s: How far the ends of duplicates may be apart.
        union_margin_s: Added to every union of two segments; only PointTAD's evaluator has one.
    """

    evaluator: ClassVar[str] = "tal.evaluation.detection:run"
    annotation_files: ClassVar[str] = ANNOTATED_SEGMENTS
    prediction_files: ClassVar[str] = f"{DETECTED_SEGMENTS}."
    options: ClassVar[tuple[str, ...]] = (
        "subset",
        "tiou",
        "duplicates",
        "outside",
        "class_agnostic",
        "ties",
        "blocked",
        "recall_multiples",
    )

    subset: str | None
    tiou: tuple[float, ...]
    duplicates: Literal["keep", "remove", "opentad"]
    outside: Literal["count", "drop"] = "count"
    class_agnostic: bool = False
    ties: bool = False
    blocked: Path | None = None
    recall_multiples: tuple[int, ...] = ()
    excluded_videos: tuple[tuple[str, str], ...] = ()
    excluded_classes: tuple[tuple[str, str], ...] = ()
    class_count: int | None = None
    duplicate_tolerance_s: float = 1e-3
    recall_over: Literal["classes", "instances"] = "classes"
    union_margin_s: float = 0.0

    def __post_init__(self) -> None:
        check_thresholds("tIoU", self.tiou)
        if self.duplicates not in DUPLICATE_RULES:
            raise ConfigError(f"duplicate rule {self.duplicates!r}", expected=" or ".join(DUPLICATE_RULES))
        if self.outside not in OUTSIDE_RULES:
            raise ConfigError(f"rule for videos outside {self.outside!r}", expected=" or ".join(OUTSIDE_RULES))
        if self.recall_over not in RECALL_RULES:
            raise ConfigError(f"rule of recall {self.recall_over!r}", expected=" or ".join(RECALL_RULES))
        if any(multiple < 1 for multiple in self.recall_multiples):
            raise ConfigError(f"multiples of recall {self.recall_multiples}", expected="whole numbers from 1 on")

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        rules = super().described() | {
            "duplicates": f"{self.duplicates}: {DUPLICATE_RULES[self.duplicates]}",
            "outside": f"{self.outside}: {OUTSIDE_RULES[self.outside]}",
            "equal_scores": "in the file's order",
        }
        if self.recall_multiples:
            rules["recall"] = f"{self.recall_over}: {RECALL_RULES[self.recall_over]}"
        if self.union_margin_s:
            rules["union_margin_s"] = self.union_margin_s
        return rules
