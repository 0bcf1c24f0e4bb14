"""Protocols of online temporal detection, where every prediction is made while the video runs."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tal.datasets.kinds.detection import DetectionProtocol
from tal.errors import ConfigError

F1_VIDEO_RULES = {
    "predicted": "videos that the prediction file names (ActionSwitch, oracle_hungarian.py)",
    "all": "all videos of the split",
}


@dataclass(frozen=True, kw_only=True)
class OnlineProtocol(DetectionProtocol):
    """A benchmark of online detection: mAP with end delays, class-agnostic F1 and start detection.

    `excluded_videos` and `duplicates` are rules of the average precisions; F1 takes the ground truth of every video as
    published.

    Args:
        subset: The split to evaluate, in any case; the protocol's own by default.
        tiou: Thresholds of mAP, AEDT and F1, as 0.5 0.75 or 0.5,0.75.
        duplicates: keep duplicated ground truth as the evaluators of OAT-OSN, MATR and ActionSwitch do, or remove it.
        outside: count predictions on videos that are not in the split as false positives, or drop them.
        offsets_s: Tolerances of start detection in seconds.
        depth: Recall up to which the precisions of start detection are averaged, in (0, 1]; below 1 a reconstruction.
        f1_videos: F1 over the predicted videos, those that the prediction file names, or over all of the split.
        dummies: F1 counts one false positive for each of its videos without predictions, as the rows [0, 0] do that
            ActionSwitch writes for them.
        drop_future: Leave out predictions whose end lies after the time at which they were made; they are counted
            anyway.
    """

    evaluator: ClassVar[str] = "tal.evaluation.online:run"
    prediction_files: ClassVar[str] = (
        "ActivityNet results JSON or CSV, with generation_time or gentime, in seconds, in every row."
    )
    options: ClassVar[tuple[str, ...]] = (
        "subset",
        "tiou",
        "duplicates",
        "outside",
        "offsets_s",
        "depth",
        "f1_videos",
        "dummies",
        "drop_future",
    )

    duplicates: Literal["keep", "remove"]
    offsets_s: tuple[float, ...] = tuple(float(second) for second in range(1, 11))
    depth: float = 1.0
    f1_videos: Literal["predicted", "all"] = "predicted"
    dummies: bool = False
    drop_future: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.offsets_s or not all(0 <= offset < float("inf") for offset in self.offsets_s):
            raise ConfigError(f"offsets {self.offsets_s}", expected="at least one, seconds from 0 on")
        if not 0 < self.depth <= 1:
            raise ConfigError(f"depth {self.depth}", expected="a recall above 0 and at most 1")
        if self.f1_videos not in F1_VIDEO_RULES:
            raise ConfigError(f"rule for the videos of F1 {self.f1_videos!r}", expected=" or ".join(F1_VIDEO_RULES))

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {
            "f1_videos": f"{self.f1_videos}: {F1_VIDEO_RULES[self.f1_videos]}",
            "AEDT": "seconds from the end of an instance to the generation time of the prediction that takes it; "
            "MATR prints 100 times that",
        }
