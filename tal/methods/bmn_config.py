"""Settings of BMN."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from tal.methods.pyramid_config import check_classes, require
from tal.ops.boundary_matching import Layout
from tal.ops.nms import NmsConfig

Windows = Literal["resize", "slide"]
Origin = Literal["cells", "centers"]
Anchors = Literal["centered", "cells"]
Score = Literal["boundaries", "map"]

_CHOICES = {
    "windows": Windows,
    "origin": Origin,
    "layout": Layout,
    "sampled_to": Literal["after", "last"],
    "anchors": Anchors,
    "score": Score,
    "initial": Literal["torch", "xavier"],
    "fusion": Literal["product", "geometric"],
}


@dataclass(frozen=True, kw_only=True)
class BmnConfig:
    """Settings of a BMN; the defaults are those of JJBOY/BMN-Boundary-Matching-Network on ActivityNet.

    Most likely changed: `train_snippets`, `windows`, `durations`, `nms`. OpenTAD's variant is `layout: duration_start,
    sampled_to: last, anchors: cells, whole_anchors: true, zero_cells: true, epsilon: 0, reduced_width: 128,
    initial: xavier, peaks: true, score: map`.

    Args:
        streams: Feature stream -> its width; taken from the data if empty.
        classes: Class names; taken from the data if empty. The network does not know them: video-level scores name
            what it finds.
        train_snippets: T of its maps; what it reads has exactly this length.
        windows: Videos are interpolated to T snippets ("resize"), or cut into windows of T ("slide").
        window_overlap: Share of a sliding window that the next one sees too.
        origin: Where segments end between snippets: at the borders of cells around the centres ("cells", for resized
            videos), or at the centres ("centers", as OpenTAD's sliding windows).
        standardize: The trainer sets mean and deviation of every channel before training.
        width, base_layers, groups: Of the base module's convolutions; the boundary heads have one such layer more.
        shared_boundaries: Starts and ends have one hidden layer in common.
        layout: Of the map, see `tal.ops.boundary_matching.map_cells`.
        durations: Longest segment in snippets; null for T.
        samples, samples_per_bin, extension, sampled_to: How the boundary-matching layer samples a segment.
        reduced_width, sampled_width, map_width: Channels before sampling, after it, and in the map.
        map_layers, map_kernel: Two-dimensional convolutions of the map.
        initial: Initial weights: PyTorch's, or Xavier-uniform with biases of zero (OpenTAD).
        anchors: The stretch that snippet i answers for in the boundary targets: half a snippet to both sides of its
            beginning, so that a segment ends at the snippet after its last one and never at T ("centered"); or the
            snippet itself ("cells").
        whole_anchors: Only a stretch that lies wholly within a boundary's region counts; any other share becomes 0, as
            OpenTAD's code has it.
        boundary_threshold, segment_threshold: Positive are boundaries nearer than this, segments of a higher tIoU.
        high_tiou, low_tiou, zero_cells: Bands of the regression loss, see `draw_bands`.
        epsilon: In the cross-entropy, see `balanced_entropy`.
        regression_weight, segment_weight: Of half the mean squared error, and of the segments' cross-entropy.
        peaks: Only segments between peaks of the boundary probabilities, or what exceeds half of the highest, are
            proposed; the first snippet always counts as a start, the last one as an end.
        score: Of a proposal: start * end * classification * regression ("boundaries"), or the last two ("map").
        score_threshold: Proposals that do not score more are dropped.
        nms: How proposals become detections.
        window_nms: Every window's proposals are suppressed on their own first, then all that is left of a video.
        fusion: With video-level class scores, a detection's score is the product of both, or its square root.
        fusion_classes: So many best classes of the video get every detection.
        fusion_proposals: Detections kept before that.
        fuse_first: Classes are given before the (last) suppression, in which they suppress each other (OpenTAD's
            sliding windows).

    Raises:
        ConfigError: settings outside their range.
    """

    streams: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    train_snippets: int = 100
    windows: Windows = "resize"
    window_overlap: float = 0.5
    origin: Origin = "cells"
    standardize: bool = False

    width: int = 256
    base_layers: int = 2
    groups: int = 4
    shared_boundaries: bool = False
    layout: Layout = "start_end"
    durations: int | None = None
    samples: int = 32
    samples_per_bin: int = 3
    extension: float = 0.5
    sampled_to: Literal["after", "last"] = "after"
    reduced_width: int = 256
    sampled_width: int = 512
    map_width: int = 128
    map_layers: int = 2
    map_kernel: int = 3
    initial: Literal["torch", "xavier"] = "torch"

    anchors: Anchors = "centered"
    whole_anchors: bool = False
    boundary_threshold: float = 0.5
    segment_threshold: float = 0.9
    high_tiou: float = 0.7
    low_tiou: float = 0.3
    zero_cells: bool = False
    epsilon: float = 1e-6
    regression_weight: float = 10.0
    segment_weight: float = 1.0

    peaks: bool = False
    score: Score = "boundaries"
    score_threshold: float = 0.0
    nms: NmsConfig = field(
        default_factory=lambda: NmsConfig(
            sigma=0.4, near_tiou=(0.5, 0.9), min_score=0.0, max_segments=100, per_class=False, voting_tiou=0.0
        )
    )
    window_nms: bool = False
    fusion: Literal["product", "geometric"] = "product"
    fusion_classes: int = 2
    fusion_proposals: int = 200
    fuse_first: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value, known = getattr(self, name), get_args(choices)
            require(value in known, f"{name} {value!r}", " or ".join(f'"{each}"' for each in known))
        for name in _POSITIVE:
            require(getattr(self, name) > 0, f"{name} of {getattr(self, name)}", "a positive number")
        for name in _SHARES:
            require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        for name in ("extension", "regression_weight", "segment_weight", "map_layers"):
            require(getattr(self, name) >= 0, f"{name} of {getattr(self, name)}", "zero or more")
        require(
            self.durations is None or 0 < self.durations <= self.train_snippets,
            f"durations of {self.durations}",
            f"1 to train_snippets, {self.train_snippets}",
        )
        require(self.low_tiou < self.high_tiou, f"low_tiou of {self.low_tiou}", f"less than {self.high_tiou}")
        require(self.width % self.groups == 0, f"width {self.width} in {self.groups} groups", "a multiple of groups")
        total = sum(self.streams.values())
        require(total % self.groups == 0, f"features of width {total} in {self.groups} groups", "a multiple of groups")
        require(self.map_kernel % 2 == 1, f"map_kernel of {self.map_kernel}", "an odd number")
        check_classes(self.classes, ())

    @property
    def class_agnostic(self) -> bool:
        """Always."""
        return True


_POSITIVE = (
    "train_snippets",
    "width",
    "base_layers",
    "groups",
    "samples",
    "samples_per_bin",
    "reduced_width",
    "sampled_width",
    "map_width",
    "map_kernel",
    "fusion_classes",
    "fusion_proposals",
)
_SHARES = (
    "window_overlap",
    "boundary_threshold",
    "segment_threshold",
    "high_tiou",
    "low_tiou",
    "epsilon",
    "score_threshold",
)
