"""Settings that all localizers on a feature pyramid share: what they may be, and what follows from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from tal.errors import ConfigError
from tal.ops.nms import NmsConfig


@dataclass(frozen=True, kw_only=True)
class PyramidConfig:
    """What every one-stage localizer on a feature pyramid can be told; a method adds its encoder's settings.

    Args:
        streams: Feature stream -> its width; taken from the data if empty.
        classes: Class names; taken from the data if empty.
        train_snippets: T that training windows are padded to, and that the position table covers.
        resize: Features are interpolated to `train_snippets` instead of cut and padded.
        standardize: The trainer sets mean and deviation of every channel before training.
        class_agnostic: One output, action or not; a detection gets its class from video-level scores.
        projection: Stream -> width of a 1x1 convolution of its own; their sum is `width`. None: streams as they are.
        width: C of the network.
        embed_layers, embed_kernel: Convolutions of the embedding, and their kernel.
        branch_layers: Blocks that halve T; the pyramid has one level more.
        absolute_positions: Add sinusoid positions.
        neck: "identity", or "top_down" to add coarse levels to finer ones.
        neck_width, head_width: C of the neck's output and of the heads' hidden layers; None for `width`.
        head_layers, head_kernel: Convolutions of a head, their kernel.
        regression_ranges: Per level, shortest and longest distance from a point to the farther end of its instance, in
            snippets; None for 0 to 4, 4 to 8, 8 to 16, ... and no limit on the last level.
        multiple_of: Videos longer than `train_snippets` are padded to a multiple of this; None for the original's rule.
        center_sampling: "radius": only points near an instance's centre answer for it; "none": all points inside.
        center_radius: In strides of the level.
        prior_prob: What an untrained classifier gives.
        empty_classes: Classes without training instances, whose probability starts near zero.
        init_loss_norm: First value of the running number of positives.
        label_smoothing: In [0, 1).
        loss_weight: Of the regression loss; 0 or less balances it with the classification loss.
        score_threshold: Points with lower scores propose nothing.
        candidates_per_level: Best (point, class) pairs that go on to suppression.
        min_length_snippets: Shorter proposals are dropped.
        nms: How candidates become detections.
        fusion_classes: With video-level class scores, every detection is given to that many best classes.
        fusion_proposals: Detections kept before that.

    Raises:
        ConfigError: settings outside their range, or that contradict each other.
    """

    streams: dict[str, int] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    train_snippets: int = 2304
    resize: bool = False
    standardize: bool = False
    class_agnostic: bool = False

    projection: dict[str, int] | None = None
    width: int = 512
    embed_layers: int = 2
    branch_layers: int = 5
    embed_kernel: int = 3
    absolute_positions: bool = False
    neck: Literal["identity", "top_down"] = "identity"
    neck_width: int | None = None
    head_width: int | None = None
    head_layers: int = 3
    head_kernel: int = 3
    regression_ranges: tuple[tuple[float, float], ...] | None = None
    multiple_of: int | None = None

    center_sampling: Literal["radius", "none"] = "radius"
    center_radius: float = 1.5
    prior_prob: float = 0.01
    empty_classes: tuple[str, ...] = ()
    init_loss_norm: float = 100.0
    label_smoothing: float = 0.0
    loss_weight: float = 1.0

    score_threshold: float = 0.001
    candidates_per_level: int = 2000
    min_length_snippets: float = 0.05
    nms: NmsConfig = field(default_factory=NmsConfig)
    fusion_classes: int = 2
    fusion_proposals: int = 200

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            require(value is None or value >= lowest, f"{name} of {value}", f"at least {lowest}")
        for name in ("label_smoothing", "score_threshold"):
            require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        require(0 < self.prior_prob < 1, f"prior_prob of {self.prior_prob}", "a number in (0, 1)")
        for name in ("embed_kernel", "head_kernel"):
            require(getattr(self, name) % 2 == 1, f"{name} of {getattr(self, name)}", "an odd number")
        require(self.neck in ("identity", "top_down"), f"neck {self.neck!r}", '"identity" or "top_down"')
        require(
            self.center_sampling in ("radius", "none"),
            f"center_sampling {self.center_sampling!r}",
            '"radius" or "none"',
        )
        self._check_levels()
        self._check_data()

    def _check_levels(self) -> None:
        ranges = self.ranges
        require(
            len(ranges) == self.levels, f"regression_ranges for {len(ranges)} levels", f"one per level, {self.levels}"
        )
        wrong_ranges = [r for r in ranges if not (len(r) == 2 and 0 <= r[0] < r[1])]
        require(not wrong_ranges, f"regression_ranges {wrong_ranges}", "pairs of rising numbers, not negative")
        require(
            self.train_snippets % self.strides[-1] == 0,
            f"train_snippets of {self.train_snippets} with {self.levels} levels",
            f"a multiple of the last level's stride, {self.strides[-1]}",
        )
        require(
            self.multiple_of is None or self.multiple_of % self.strides[-1] == 0,
            f"multiple_of {self.multiple_of}",
            f"a multiple of the last level's stride, {self.strides[-1]}",
        )

    def _check_data(self) -> None:
        check_classes(self.classes, self.empty_classes)
        thin = [name for name, width in self.streams.items() if width < 1]
        require(not thin, f"streams without width: {', '.join(thin)}", "a positive width per stream")
        if self.projection is not None:
            if self.streams:
                same = set(self.projection) == set(self.embedded_streams)
                require(same, f"projection of {sorted(self.projection)}", f"{sorted(self.embedded_streams)}")
            total = sum(self.projection.values())
            require(total == self.width, f"projection to {total} channels in all", f"width, {self.width}")
        wide = self.neck == "identity" and self.neck_width not in (None, self.width)
        require(not wide, f"neck_width {self.neck_width} with the identity neck", f"width, {self.width}")

    @property
    def embedded_streams(self) -> tuple[str, ...]:
        """The streams that go side by side into the embedding."""
        return tuple(self.streams)

    @property
    def levels(self) -> int:
        """L."""
        return self.branch_layers + 1

    @property
    def strides(self) -> tuple[int, ...]:
        """Per level, in snippets."""
        return tuple(2**level for level in range(self.levels))

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Regression range per level, in snippets."""
        if self.regression_ranges is not None:
            return self.regression_ranges
        edges = [0.0, *(4.0 * stride for stride in self.strides[:-1]), math.inf]
        return tuple(pairwise(edges))

    def padded_length(self, count: int) -> int:
        """T that a window of `count` snippets is padded to, at least: what of the original's padding matters."""
        return count

    def lengths_together(self, counts: Sequence[int]) -> list[int]:
        """T per window of a batch, with which every one gives what it gives alone."""
        last = self.strides[-1]
        return [-(-self.padded_length(count) // last) * last for count in counts]


_LOWEST: Mapping[str, float] = {
    "train_snippets": 1,
    "width": 1,
    "embed_layers": 1,
    "branch_layers": 0,
    "embed_kernel": 1,
    "neck_width": 1,
    "head_width": 1,
    "head_layers": 1,
    "head_kernel": 1,
    "multiple_of": 1,
    "center_radius": 0,
    "init_loss_norm": 1,
    "candidates_per_level": 1,
    "min_length_snippets": 0,
    "fusion_classes": 1,
    "fusion_proposals": 1,
}


def require(fine: bool, given: str, expected: str) -> None:
    """Raise a ConfigError unless `fine`."""
    if not fine:
        raise ConfigError(given, expected=expected)


def check_classes(classes: Sequence[str], empty: Sequence[str]) -> None:
    """Raise a ConfigError if a class has two places, or an empty one none."""
    duplicates = sorted({name for name in classes if classes.count(name) > 1})
    require(not duplicates, f"classes named twice: {', '.join(duplicates)}", "distinct names")
    unknown = sorted(set(empty) - set(classes)) if classes else []
    require(not unknown, f"empty_classes that are no classes: {', '.join(unknown)}", "names from classes")


def require_data(streams: Mapping[str, int], classes: Sequence[str]) -> None:
    """Raise a ConfigError unless there are streams to see and classes to find: what a network is built for."""
    require_streams(streams)
    require(bool(classes), "a method without classes", "classes: their names")


def require_streams(streams: Mapping[str, int]) -> None:
    """Raise a ConfigError unless there are streams to see."""
    require(bool(streams), "a method without feature streams", "streams: their names and widths")
