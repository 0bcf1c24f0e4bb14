"""Protocols of open-vocabulary and zero-shot temporal detection."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.kinds.detection import DetectionProtocol
from tal.datasets.protocol import DETECTED_SEGMENTS
from tal.errors import ConfigError

VIDEO_RULES = {"all": "all videos of the split", "predicted": "videos with predictions"}
SETTINGS = {
    "generalised": "all classes, all videos of the split",
    "constrained-base": "base classes, videos without novel ones",
    "constrained-novel": "novel classes, videos without base ones",
}
EVERY_SUBSET = "all"
"""The `subset` of `ZeroShotProtocol` that means every video."""


@dataclass(frozen=True, kw_only=True)
class OpenVocabularyProtocol(DetectionProtocol):
    """A benchmark whose classes are base or novel: mAP of each kind, and recall of the proposals whatever their class.

    Args:
        subset: The split to evaluate, in any case; the protocol's own by default.
        tiou: Thresholds of mAP, as 0.5 0.75 or 0.5,0.75.
        duplicates: keep duplicated ground truth, or remove it; here only what is the same to the last digit.
        outside: count predictions on videos that are not in the split as false positives, or drop them.
        base: File with the base classes: JSON list or one class per line. All other classes are novel.
        setting: generalised judges all classes in all videos; constrained-base and constrained-novel only the classes
            of the one kind, in the videos that hold no other, with predictions made from that list of classes.
        videos: mAP over all videos of the split, or only those predicted, which have predictions.
        base_classes: The base classes where the benchmark fixes them and no file is given.
        agnostic_tiou: Threshold of the class-agnostic recalls.
        agnostic_counts: k of the class-agnostic Recall@k; those of Recall@kx are 1 and 5.
    """

    evaluator: ClassVar[str] = "tal.evaluation.open_vocabulary:run"
    options: ClassVar[tuple[str, ...]] = ("subset", "tiou", "duplicates", "outside", "base", "setting", "videos")

    duplicates: Literal["keep", "remove"]
    base: Path | None = None
    setting: Literal["generalised", "constrained-base", "constrained-novel"] = "generalised"
    videos: Literal["all", "predicted"] = "all"
    base_classes: tuple[str, ...] = ()
    agnostic_tiou: float = 0.5
    agnostic_counts: tuple[int, ...] = (100, 300, 1000)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("duplicate rule", self.duplicates, ("keep", "remove"))
        _check("setting", self.setting, SETTINGS)
        _check("rule for the videos", self.videos, VIDEO_RULES)

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        kept = self.duplicates == "keep"
        return super().described() | {
            "duplicates": "keep" if kept else "remove: STOV-TAL (same class and the very same ends, or reversed)",
            "base": str(self.base) if self.base else f"{len(self.base_classes)} classes of the benchmark",
            "setting": f"{self.setting}: {SETTINGS[self.setting]}",
            "videos": f"{self.videos}: {VIDEO_RULES[self.videos]}",
        }


@dataclass(frozen=True, kw_only=True)
class ZeroShotProtocol(DetectionProtocol):
    """A benchmark of several splits into seen and unseen classes: mAP of the unseen, averaged over the splits.

    Args:
        subset: The split of the videos, in any case; "all" for every annotated video, whatever its split.
        tiou: Thresholds of mAP, as 0.5 0.75 or 0.5,0.75.
        duplicates: keep duplicated ground truth as the ActivityNet toolkit does, or remove it as ActionFormer's
            evaluator does.
        outside: count predictions on videos that are not in the split as false positives, or drop them.
        splits: Folder with one list of unseen classes per split, a class per line: split_0.list, split_1.list, ...
            Predictions are one file for all splits, or a folder with a file per split, told by its number.
        videos: Judge all videos, or only those predicted, which the file names, if only with an empty list.
        split_count: Splits that the benchmark has.
        rounded: The AP of each class is rounded to 0.1 per cent, and a class without ground truth counts as 0.
    """

    evaluator: ClassVar[str] = "tal.evaluation.zero_shot:run"
    prediction_files: ClassVar[str] = f"{DETECTED_SEGMENTS}, for all splits; or a folder with such a file per split."
    options: ClassVar[tuple[str, ...]] = ("subset", "tiou", "duplicates", "outside", "splits", "videos")

    duplicates: Literal["keep", "remove"]
    splits: Path | None = None
    videos: Literal["all", "predicted"] = "all"
    split_count: int = 10
    rounded: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check("rule for the videos", self.videos, VIDEO_RULES)

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        exact = "exact, mean over the classes with ground truth"
        named = "videos that the prediction file names"
        return super().described() | {
            "videos": f"predicted: {named}" if self.videos == "predicted" else f"all: {VIDEO_RULES['all']}",
            "AP": "rounded to 0.1 per cent, mean over the listed classes" if self.rounded else exact,
        }


def _check(what: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ConfigError(f"{what} {value!r}", expected=" or ".join(known))
