"""Protocols of moment retrieval: R@n at IoU m, one sentence at a time."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import Protocol, Variant, check_thresholds
from tal.errors import ConfigError

COMPARISONS = {"reach": "IoU >= m (CTRL, Moment-DETR)", "exceed": "IoU > m (2D-TAN)"}
SPANS = {
    "published": "as published",
    "clipped": "limited to the video, and left out where nothing remains (2D-TAN)",
}

TOOLS = {
    "2d-tan": Variant(
        settings={
            "compare": "exceed",
            "nms": 0.5,
            "nms_margin": None,
            "order": "listed",
            "spans": "clipped",
            "moment_map": False,
            "rounded": False,
        },
        source="microsoft/2D-TAN, lib/core/eval.py, lib/datasets, experiments",
        about="IoU > m, windows suppressed above 0.5 in their listed order, spans limited to the video",
    ),
    "moment-detr": Variant(
        settings={
            "compare": "reach",
            "nms": None,
            "nms_margin": None,
            "order": "listed",
            "spans": "published",
            "moment_map": True,
            "rounded": True,
        },
        source="jayleicn/moment_detr, standalone_eval/eval.py",
        about="IoU >= m, no suppression, MR-mAP and MR-R1 too, hundredths of a per cent",
    ),
    "ctrl": Variant(
        settings={
            "compare": "reach",
            "nms": None,
            "nms_margin": 0.05,
            "order": "score",
            "spans": "published",
            "top": (1, 5, 10),
            "moment_map": False,
            "rounded": False,
        },
        source="jiyanggao/TALL, main.py",
        about="IoU >= m, windows suppressed above m - 0.05 by score, R@10 too",
    ),
}
"""The rules of the public evaluators, by tool."""


@dataclass(frozen=True, kw_only=True)
class GroundingProtocol(Protocol):
    """A benchmark of moment retrieval: thresholds, and how windows are compared and suppressed.

    Args:
        subset: The split, in any case, where the annotations name several.
        tiou: Thresholds m of R@n, as 0.5 0.7 or 0.5,0.7.
        top: Numbers n of windows that may be tried, as 1 5 or 1,5.
        compare: A window answers if its IoU has to reach the threshold, or has to exceed it.
        nms: A window removes later ones that it overlaps by more than this, before they are counted.
        nms_margin: The same with an overlap this far below each threshold.
        order: Windows are ranked as the file lists them, or by score.
        spans: Take the ground truth as published, or clipped to the video, empty spans left out.
        durations: Annotations that tell how long the videos are, for clipped spans (Charades_v1_test.csv).
        further: A second file of annotations whose queries are evaluated too (val_2 beside val_1).
        moment_map: Compute MR-mAP and MR-R1 of QVHighlights too.
        rounded: Round to hundredths of a per cent.
    """

    evaluator: ClassVar[str] = "tal.evaluation.grounding:run"
    annotation_files: ClassVar[str] = (
        "Sentences with their moments: Charades-STA text, TACoS or ActivityNet Captions JSON, QVHighlights JSON lines."
    )
    prediction_files: ClassVar[str] = (
        "Ranked windows per query: QVHighlights JSON lines, a JSON list of [start, end, score] per query in the "
        "annotations' order, or CSV with video, query, start, end, score."
    )
    options: ClassVar[tuple[str, ...]] = (
        "subset",
        "tiou",
        "top",
        "compare",
        "nms",
        "nms_margin",
        "order",
        "spans",
        "durations",
        "further",
        "moment_map",
        "rounded",
    )

    subset: str | None = None
    tiou: tuple[float, ...] = (0.3, 0.5, 0.7)
    top: tuple[int, ...] = (1, 5)
    compare: Literal["reach", "exceed"] = "reach"
    nms: float | None = None
    nms_margin: float | None = None
    order: Literal["listed", "score"] = "listed"
    spans: Literal["published", "clipped"] = "published"
    durations: Path | None = None
    further: Path | None = None
    moment_map: bool = False
    rounded: bool = False

    def __post_init__(self) -> None:
        check_thresholds("tIoU", self.tiou)
        if not self.top or min(self.top) < 1:
            raise ConfigError(f"numbers of windows {self.top}", expected="at least one, each 1 or more")
        for name, rules in (("compare", COMPARISONS), ("spans", SPANS), ("order", ("listed", "score"))):
            if getattr(self, name) not in rules:
                raise ConfigError(f"{name} {getattr(self, name)!r}", expected=" or ".join(rules))
        if self.nms is not None and not 0 <= self.nms <= 1:
            raise ConfigError(f"nms {self.nms}", expected="an overlap in [0, 1]")
        if self.nms_margin is not None and not 0 <= self.nms_margin < min(self.tiou):
            raise ConfigError(f"nms_margin {self.nms_margin}", expected=f"at least 0 and below {min(self.tiou)}")
        if self.nms is not None and self.nms_margin is not None:
            raise ConfigError("both nms and nms_margin", expected="one of them")
        if self.durations is not None and self.spans == "published":
            raise ConfigError("durations with spans as published", todo="add --spans clipped")

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {
            "compare": f"{self.compare}: {COMPARISONS[self.compare]}",
            "spans": f"{self.spans}: {SPANS[self.spans]}",
        }
