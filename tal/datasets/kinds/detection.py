"""Protocols of temporal detection: mAP over classes at each tIoU."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import Protocol, check_thresholds
from tal.errors import ConfigError

DUPLICATE_RULES = {
    "keep": "ActivityNet toolkit (all kept)",
    "remove": "ActionFormer's evaluator (same class and both ends within 1e-3 s, or shorter than that, removed)",
}
OUTSIDE_RULES = {
    "count": "ActivityNet toolkit (false positives)",
    "drop": "left out",
}


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol(Protocol):
    """A benchmark of temporal detection: split, exclusions, duplicate rule and thresholds.

    Args:
        subset: The split to evaluate, in any case; the protocol's own by default.
        tiou: Thresholds, as 0.5 0.75 or 0.5,0.75; `mAP` is the mean over them.
        duplicates: keep duplicated ground truth as the ActivityNet toolkit does, or remove it as ActionFormer's
            evaluator does.
        outside: count predictions on videos that are not in the split as false positives, as the ActivityNet toolkit
            does, or drop them.
        recall_multiples: k of Recall@kx, empty for none.
        excluded_videos: id -> why.
        excluded_classes: name -> why; their ground truth and predictions are left out, and counted.
        class_count: Classes of the published set, to notice a partial file; None if open.
        duplicate_tolerance_s: How far the ends of duplicates may be apart.
    """

    evaluator: ClassVar[str] = "tal.evaluation.detection:run"
    options: ClassVar[tuple[str, ...]] = ("subset", "tiou", "duplicates", "outside")

    subset: str | None
    tiou: tuple[float, ...]
    duplicates: Literal["keep", "remove"]
    outside: Literal["count", "drop"] = "count"
    recall_multiples: tuple[int, ...] = ()
    excluded_videos: tuple[tuple[str, str], ...] = ()
    excluded_classes: tuple[tuple[str, str], ...] = ()
    class_count: int | None = None
    duplicate_tolerance_s: float = 1e-3

    def __post_init__(self) -> None:
        check_thresholds("tIoU", self.tiou)
        if self.duplicates not in DUPLICATE_RULES:
            raise ConfigError(f"duplicate rule {self.duplicates!r}", expected=" or ".join(DUPLICATE_RULES))
        if self.outside not in OUTSIDE_RULES:
            raise ConfigError(f"rule for videos outside {self.outside!r}", expected=" or ".join(OUTSIDE_RULES))

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {
            "duplicates": f"{self.duplicates}: {DUPLICATE_RULES[self.duplicates]}",
            "outside": f"{self.outside}: {OUTSIDE_RULES[self.outside]}",
            "ties": "equal scores in the file's order",
        }
