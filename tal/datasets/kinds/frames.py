"""Protocols of per-frame mAP: every class ranks all frames of all videos."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import ANNOTATED_SEGMENTS, Protocol
from tal.errors import ConfigError

SAMPLING_RULES = {
    "rows": "every row of the scores is a frame (super-events)",
    "times": "equally spaced times of each video, j / points of its duration (Charades_v1_localize.m)",
    "strided": "of each video with more rows than points, rows 1, 1 + s, ... with s = int(rows / points) (MS-TCT)",
}
END_RULES = {
    "closed": "a segment's own ends belong to it (Charades_v1_localize.m)",
    "open": "a segment's own ends do not belong to it (super-events)",
}
EMPTY_RULES = {
    "exclude": "classes that no frame shows are left out of the mean",
    "zero": "classes that no frame shows count as 0 (super-events)",
}
TIE_RULES = {
    "order": "in the order of videos and frames",
    "together": "one step of the curve (scikit-learn)",
}


@dataclass(frozen=True, kw_only=True)
class FramesProtocol(Protocol):
    """A benchmark of multi-label action detection per frame.

    Args:
        subset: The split to evaluate, in any case; the protocol's own by default.
        sampling: Which frames are judged: all rows of the scores, equally spaced times of each video, or strided rows.
        points: How many times, or strided rows, per video.
        rate: Rows of the scores per second; without it the rows share the video's duration equally. Predictions that
            are segments are looked at this often where all rows are judged.
        ends: A segment's own ends belong to it (closed) or not (open).
        empty_classes: Classes that no frame shows are left out of the mean, or count as zero.
        equal_scores: They rank in order, or together as one step of the curve.
        columns: File that names the columns of the scores, one class per line. Without it the order is that of the
            annotations' classes, or the number in the class's name (from 0; from 1 where the highest is the number of
            columns).
        class_count: Classes of the published set, to notice a partial file; None if open.
    """

    evaluator: ClassVar[str] = "tal.evaluation.frames:run"
    annotation_files: ClassVar[str] = ANNOTATED_SEGMENTS
    prediction_files: ClassVar[str] = (
        "Scores per frame: a folder of VIDEO.npy or an npz with (T, K) arrays, Charades' text lines, JSON or "
        "CSV; or segments as ActivityNet results."
    )
    options: ClassVar[tuple[str, ...]] = (
        "subset",
        "sampling",
        "points",
        "rate",
        "ends",
        "empty_classes",
        "equal_scores",
        "columns",
    )

    subset: str | None
    sampling: Literal["rows", "times", "strided"]
    points: int = 25
    rate: float | None = None
    ends: Literal["closed", "open"]
    empty_classes: Literal["exclude", "zero"]
    equal_scores: Literal["order", "together"] = "order"
    columns: Path | None = None
    class_count: int | None = None

    def __post_init__(self) -> None:
        for name, rules in (
            ("sampling", SAMPLING_RULES),
            ("ends", END_RULES),
            ("empty_classes", EMPTY_RULES),
            ("equal_scores", TIE_RULES),
        ):
            if getattr(self, name) not in rules:
                raise ConfigError(f"{name} {getattr(self, name)!r}", expected=" or ".join(rules))
        if self.points < 1:
            raise ConfigError(f"{self.points} points per video", expected="at least 1")
        if self.rate is not None and not 0 < self.rate < float("inf"):
            raise ConfigError(f"a rate of {self.rate} rows per second", expected="a number above 0")

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        rules = {
            "sampling": SAMPLING_RULES,
            "ends": END_RULES,
            "empty_classes": EMPTY_RULES,
            "equal_scores": TIE_RULES,
        }
        told = {name: f"{getattr(self, name)}: {about[getattr(self, name)]}" for name, about in rules.items()}
        described = super().described() | told
        return {name: value for name, value in described.items() if name != "points" or self.sampling != "rows"}
