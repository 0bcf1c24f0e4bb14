"""Protocols of action tubes: frame-mAP of boxes and video-mAP of tubes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tal.datasets.protocol import Protocol, Variant, check_thresholds
from tal.errors import ConfigError

FRAME_RULES = {
    "act": "ACT and MOC (widths include the last pixel, area under straight lines)",
    "pascal": "the PASCAL evaluator of AVA, as TubeR, STMixer and Classification Matters take it",
    "yowo": "YOWO's copy of Object-Detection-Metrics (widths include the last pixel, envelope)",
}
TUBE_RULES = {
    "act": "ACT and MOC (area under straight lines)",
    "yowo": "YOWO and TubeR (envelope, tubes with one common frame do not overlap, 1e-5 more ground truths)",
}
LINKS = {
    "act": "ACT's online linking",
    "yowo": "YOWO's Viterbi linking",
    "tuber": "YOWO's Viterbi linking, cut as in TubeR's fork",
}
TIES = {
    "numpy": "equal scores as NumPy's portable quicksort leaves them, which the reference evaluators call",
    "stable": "equal scores in the file's order",
}
VARIANTS = {
    "act": Variant(settings={}, source="MCG-NJU/MOC-Detector, src/ACT.py", about="the protocol's own rules"),
    "pascal": Variant(
        settings={"frame_rule": "pascal"},
        source="activitynet/ActivityNet, Evaluation/ava, as in MCG-NJU/STMixer",
        about="frame-mAP by the PASCAL evaluator of AVA: boxes end at their edges, envelope",
    ),
    "yowo": Variant(
        settings={"frame_rule": "yowo", "tube_rule": "yowo", "link": "yowo"},
        source="wei-tim/YOWO, evaluation_ucf24_jhmdb and core/eval_results.py",
        about="Viterbi linking of the boxes, envelope, 1e-5 more ground truths",
    ),
    "tuber": Variant(
        settings={"frame_rule": "pascal", "tube_rule": "yowo", "link": "tuber"},
        source="jinsingsangsung/tuber, evaluates/utils/video_map.py",
        about="frame-mAP as pascal, video-mAP as yowo with linked tubes cut to the frames that have boxes",
    ),
}
"""The public evaluators of the tube benchmarks, by tool."""


@dataclass(frozen=True, kw_only=True)
class TubesProtocol(Protocol):
    """A benchmark of action tubes.

    Args:
        split: Numbers of the test splits; of several the mean is taken, and {split} in the predictions' path stands for
            each number. Annotations that list no splits are evaluated whole.
        iou: Thresholds of frame-mAP and video-mAP, as 0.5 0.75.
        tubes: Detected tubes as JSON or pickle, for video-mAP beside the frame-mAP of the predictions.
        link: Make tubes of the detected boxes, by ACT's online linking (act), YOWO's Viterbi linking (yowo), or that
            cut to the frames that have boxes (tuber).
        weight: What the soft suppression of tubelets subtracts from 1: the sum of the overlaps over their frames, as
            ACT's and MOC's code does, or the mean, as was meant.
        ties: Equal scores in the order of NumPy's quicksort, as in the reference evaluators, or in the file's (stable).
        split_count: Test splits of the published set.
        class_count: Classes of the published set, to notice a partial file.
        frame_rule: Evaluator of frame-mAP, see `FRAME_RULES`.
        tube_rule: Evaluator of video-mAP, see `TUBE_RULES`.
    """

    evaluator: ClassVar[str] = "tal.evaluation.tubes:run"
    annotation_files: ClassVar[str] = (
        "Tubes: JSON, or the published pickle (JHMDB-GT.pkl, UCF101v2-GT.pkl), which is read without running code."
    )
    prediction_files: ClassVar[str] = (
        "CSV of boxes per frame, JSON of tubes, or ACT's pickles of detections and tubelets."
    )
    options: ClassVar[tuple[str, ...]] = ("split", "iou", "tubes", "link", "weight", "ties")

    split: tuple[int, ...] = (1,)
    iou: tuple[float, ...] = (0.2, 0.5, 0.75)
    tubes: Path | None = None
    link: Literal["act", "yowo", "tuber"] | None = None
    weight: Literal["sum", "mean"] = "sum"
    ties: Literal["numpy", "stable"] = "numpy"
    split_count: int
    class_count: int
    frame_rule: Literal["act", "pascal", "yowo"] = "act"
    tube_rule: Literal["act", "yowo"] = "act"

    def __post_init__(self) -> None:
        check_thresholds("IoU", self.iou)
        if not self.split or any(not 1 <= number <= self.split_count for number in self.split):
            raise ConfigError(
                f"{self.name}: splits {' '.join(map(str, self.split)) or '(none)'}",
                expected=f"numbers from 1 to {self.split_count}",
            )
        if len(set(self.split)) < len(self.split):
            raise ConfigError(f"{self.name}: a split twice in {self.split}", expected="each split once")
        for name, value, known in (
            ("link", self.link, {None, *LINKS}),
            ("weight", self.weight, {"sum", "mean"}),
            ("ties", self.ties, set(TIES)),
            ("frame_rule", self.frame_rule, set(FRAME_RULES)),
            ("tube_rule", self.tube_rule, set(TUBE_RULES)),
        ):
            if value not in known:
                raise ConfigError(f"{name} {value!r}", expected=" or ".join(sorted(filter(None, known))))

    def described(self) -> dict[str, Any]:
        """The rules that are applied, with the tool that each follows."""
        return super().described() | {
            "frame_rule": f"{self.frame_rule}: {FRAME_RULES[self.frame_rule]}",
            "tube_rule": f"{self.tube_rule}: {TUBE_RULES[self.tube_rule]}",
            "link": None if self.link is None else f"{self.link}: {LINKS[self.link]}",
            "ties": f"{self.ties}: {TIES[self.ties]}",
            "video-mAP": "without a threshold the mean over IoU 0.50:0.05:0.95",
        }
