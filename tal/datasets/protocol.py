"""What a benchmark's protocol is, as data: a new benchmark declares one and adds no code."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tal.errors import ConfigError

DUPLICATE_RULES = {
    "keep": "ActivityNet toolkit (all kept)",
    "remove": "ActionFormer's evaluator (same class and both ends within 1e-3 s, or shorter than that, removed)",
}
OUTSIDE_RULES = {
    "count": "ActivityNet toolkit (false positives)",
    "drop": "left out",
}


def steps(first: float, last: float, count: int) -> tuple[float, ...]:
    """Evenly spaced thresholds, the very floats that the official evaluators compare with."""
    return tuple(np.linspace(first, last, count).tolist())


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A benchmark's split, exclusions, duplicate rule and metric.

    Args:
        name: As in `tal evaluate NAME`.
        title: The benchmark in words.
        metric: The kind of metric; "detection" is mAP over classes at each tIoU.
        subset: The split that is evaluated, compared without regard to case; None: all, or the one that is asked for.
        tious: Thresholds; `mAP` is the mean over them.
        duplicates: "keep" or "remove" duplicated ground truth; see `DUPLICATE_RULES`.
        outside: Predictions on videos that are not in the split "count" as false positives, or are "drop"ped.
        recall_multiples: k of Recall@kx, empty for none.
        excluded_videos: id -> why.
        excluded_classes: name -> why; their ground truth and predictions are left out, and counted.
        class_count: Classes of the published set, to notice a partial file; None if open.
        source: Where the protocol is defined.
    """

    name: str
    title: str
    metric: Literal["detection"] = "detection"
    subset: str | None
    tious: tuple[float, ...]
    duplicates: Literal["keep", "remove"]
    outside: Literal["count", "drop"] = "count"
    recall_multiples: tuple[int, ...] = ()
    excluded_videos: tuple[tuple[str, str], ...] = ()
    excluded_classes: tuple[tuple[str, str], ...] = ()
    class_count: int | None = None
    source: str

    def __post_init__(self) -> None:
        if not self.tious or not all(0 < value <= 1 for value in self.tious):
            raise ConfigError(f"tIoU thresholds {self.tious}", expected="at least one, each above 0 and at most 1")
        if self.duplicates not in DUPLICATE_RULES:
            raise ConfigError(f"duplicate rule {self.duplicates!r}", expected=" or ".join(DUPLICATE_RULES))
        if self.outside not in OUTSIDE_RULES:
            raise ConfigError(f"rule for videos outside {self.outside!r}", expected=" or ".join(OUTSIDE_RULES))
