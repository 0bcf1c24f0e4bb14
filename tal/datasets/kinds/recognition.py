"""Protocols of recognition: the class, or the classes, of a whole video."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tal.datasets.protocol import Protocol
from tal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class _WholeVideo(Protocol):
    """What both kinds share.

    Args:
        subset: The split to evaluate, in any case, where the annotations have several.
        classes: File with the class names in the order of the scores, where the predictions do not name them: one per
            line, or JSON.
        views: What several rows of one video become, its clips and crops: their mean or their maximum.
        activation: Applied to each row before that.
    """

    subset: str | None = None
    classes: Path | None = None
    views: Literal["mean", "max"] = "mean"
    activation: Literal["none", "softmax", "sigmoid"] = "none"

    def __post_init__(self) -> None:
        if self.views not in ("mean", "max"):
            raise ConfigError(f"views {self.views!r}", expected="mean or max")
        if self.activation not in ("none", "softmax", "sigmoid"):
            raise ConfigError(f"activation {self.activation!r}", expected="none, softmax or sigmoid")


@dataclass(frozen=True, kw_only=True)
class RecognitionProtocol(_WholeVideo):
    """One class per video.

    Args:
        topk: k of the accuracies.
        absent: Classes without videos are skipped in the mean class accuracy, or count as 0 where they are predicted.
    """

    evaluator: ClassVar[str] = "tal.evaluation.recognition:run"
    annotation_files: ClassVar[str] = (
        "A label per video: rows with video and label, or the lists of Kinetics, SSv2, Diving48, UCF101, mmaction2."
    )
    prediction_files: ClassVar[str] = (
        "A score per class and video, or per clip of it: JSON, CSV, npz, or lines as submissions to Charades."
    )
    options: ClassVar[tuple[str, ...]] = ("subset", "classes", "views", "activation", "topk", "absent")

    topk: tuple[int, ...] = (1, 5)
    absent: Literal["skip", "predicted"] = "skip"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.topk or min(self.topk) < 1:
            raise ConfigError(f"k of top-k {self.topk}", expected="whole numbers from 1")
        if self.absent not in ("skip", "predicted"):
            raise ConfigError(f"absent {self.absent!r}", expected="skip or predicted")


@dataclass(frozen=True, kw_only=True)
class MultilabelProtocol(_WholeVideo):
    """Several classes per video: mean average precision over classes.

    Args:
        ties: Equal scores count together, as one step of the curve, or in the order of the annotations.
        absent: Classes without videos are skipped, or have an AP of 0.
        unlabelled: Videos without any label are ranked by their scores, or last.
    """

    evaluator: ClassVar[str] = "tal.evaluation.multilabel:run"
    annotation_files: ClassVar[str] = (
        "Labels per video: rows with video and label, lists, or annotated segments (Charades CSV, ActivityNet JSON)."
    )
    prediction_files: ClassVar[str] = (
        "A score per class and video, or per clip of it: JSON, CSV, npz, or lines as submissions to Charades."
    )
    options: ClassVar[tuple[str, ...]] = (
        "subset", "classes", "views", "activation", "ties", "absent", "unlabelled",
    )  # fmt: skip

    ties: Literal["together", "order"] = "together"
    absent: Literal["skip", "zero"] = "skip"
    unlabelled: Literal["rank", "last"] = "rank"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ties not in ("together", "order"):
            raise ConfigError(f"ties {self.ties!r}", expected="together or order")
        if self.absent not in ("skip", "zero"):
            raise ConfigError(f"absent {self.absent!r}", expected="skip or zero")
        if self.unlabelled not in ("rank", "last"):
            raise ConfigError(f"unlabelled {self.unlabelled!r}", expected="rank or last")
