"""Protocols of moment retrieval and highlight detection together, as QVHighlights has them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol, check_thresholds
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class HighlightsProtocol(Protocol):
    """A benchmark whose queries have windows and saliency scores per clip.

    Args:
        subset: The split, in any case, where the annotations name several.
        missing: Queries without prediction: refuse the file as the official tool does, count them as misses, or leave
            them out (its match_number=False).
        unrounded: Do not round to hundredths of a per cent as the official tool does.
        tiou: Thresholds of MR-mAP, which is also the mean over them, and of MR-R1.
        r1_tiou: Thresholds of MR-R1, if others.
        mean_iou: Also MR-mIoU, the mean overlap of the first windows.
        max_windows: Predicted windows per query that MR-mAP looks at.
        lengths_s: Name -> (above, at most) seconds of the ground truth's windows, evaluated apart.
        levels: Name -> lowest saliency score of a relevant clip.
        clip_s: Length of a clip.
    """

    evaluator: ClassVar[str] = "tal.evaluation.highlights:run"
    annotation_files: ClassVar[str] = "QVHighlights JSON lines with relevant_windows and saliency_scores."
    prediction_files: ClassVar[str] = (
        "QVHighlights JSON lines with pred_relevant_windows, pred_saliency_scores, or both; or any other form of "
        "windows per query."
    )
    options: ClassVar[tuple[str, ...]] = ("subset", "missing", "unrounded")

    subset: str | None = None
    missing: Literal["refuse", "miss", "drop"] = "refuse"
    unrounded: bool = False
    tiou: tuple[float, ...]
    r1_tiou: tuple[float, ...] = ()
    mean_iou: bool = False
    max_windows: int = 10
    lengths_s: tuple[tuple[str, float, float], ...]
    levels: tuple[tuple[str, float], ...]
    clip_s: float = 2.0

    def __post_init__(self) -> None:
        check_thresholds("tIoU", self.tiou)
        if self.missing not in ("refuse", "miss", "drop"):
            raise ConfigError(f"missing {self.missing!r}", expected="refuse, miss or drop")
