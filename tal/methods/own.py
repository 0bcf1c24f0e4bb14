"""`tal`: our localizer for data sets of a few dozen recordings. The composition is ours; its pieces are not.

ActionFormer (Zhang, Wu, Li 2022) and TriDet (Shi et al. 2023) have the same points, on the same pyramid, and so have
their twins with other initial weights. What one network gets wrong another need not: one ActionFormer and three TriDets
are averaged before anything is suppressed, of every point and class their probabilities, and of the segments that they
propose there. This is a deep ensemble (Lakshminarayanan et al. 2017). TemporalMaxer (Tang, Kim, Sohn 2023) may be a
member too.

The members learn side by side from the same windows, each with its own losses; only the norm to which gradients are
clipped is that of all together. Unlike the originals, windows are not padded to the longest of training when they are
localized: each is padded as far as it would be alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from tal.methods.actionformer import ActionFormer
from tal.methods.base import Batch
from tal.methods.pyramid import PyramidMethod, PyramidOutputs
from tal.methods.pyramid_config import PyramidConfig, require
from tal.methods.temporalmaxer import TemporalMaxer
from tal.methods.tridet import TriDet

Kind = Literal["actionformer", "tridet", "temporalmaxer"]


@dataclass(frozen=True, kw_only=True)
class TalConfig(PyramidConfig):
    """Settings of `tal`. Most likely changed: `members`, `width`, `window`.

    Args:
        members: Networks that are averaged; a kind may come more than once, with other initial weights.
        window, heads: Of ActionFormer's attention.
        drop_path: Share of dropped paths, of ActionFormer and TriDet.
    """

    members: tuple[Kind, ...] = ("actionformer", "tridet", "tridet", "tridet")
    window: int = 19
    heads: int = 4
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        unknown = sorted(set(self.members) - set(_KINDS))
        require(bool(self.members), "no members", "at least one")
        require(not unknown, f"members {', '.join(unknown)}", " or ".join(_KINDS))
        require(not self.absolute_positions, "absolute_positions", "none: their tables are stretched to padded lengths")
        for name in self.members:  # says what is wrong with the rest
            self.of(name)

    def of(self, kind: Kind) -> PyramidConfig:
        """The settings of a member: the pyramid's, and which of the others it has; padded no more than needed."""
        config = _KINDS[kind].Config
        shared = {each.name for each in fields(PyramidConfig)}
        known = {each.name for each in fields(config)}
        own = {"heads", "drop_path"} | ({"window"} if kind == "actionformer" else set())
        settings: dict[str, Any] = {name: getattr(self, name) for name in shared | (own & known)}
        last = self.strides[-1]
        return config(**{**settings, "train_snippets": last, "multiple_of": last})


_KINDS: Mapping[Kind, type[PyramidMethod]] = {
    "actionformer": ActionFormer,
    "tridet": TriDet,
    "temporalmaxer": TemporalMaxer,
}


@dataclass(frozen=True, kw_only=True)
class TalOutputs:
    """What the points say, member by member.

    Args:
        members: Of each.
    """

    members: tuple[PyramidOutputs, ...]

    @property
    def logits(self) -> tuple[Tensor, ...]:
        """(B, K, T_l) per level: of the mean of the members' probabilities."""
        return tuple(_mean_logit(level) for level in zip(*(each.logits for each in self.members), strict=True))

    @property
    def masks(self) -> tuple[Tensor, ...]:
        """(B, 1, T_l) per level, the same for all."""
        return self.members[0].masks


class TalLocalizer(PyramidMethod):
    """Several localizers on one pyramid, averaged point by point.

    Args:
        config: With `streams` and `classes`.
    """

    Config = TalConfig
    config: TalConfig
    members: nn.ModuleList

    def build(self) -> None:
        """Add the members; the network is theirs."""
        self.members = nn.ModuleList(_KINDS[kind](self.config.of(kind)) for kind in self.config.members)

    @property
    def all_members(self) -> list[PyramidMethod]:
        """The networks."""
        return cast("list[PyramidMethod]", list(self.members))

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        for member in self.all_members:
            member.set_feature_stats(stats)

    def forward(self, batch: Batch) -> TalOutputs:  # type: ignore[override]
        """What each member says."""
        return TalOutputs(members=tuple(member(batch) for member in self.all_members))

    def loss(self, outputs: TalOutputs, batch: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        """The sum of the members' losses; "classification" and "regression" are their means."""
        losses = [each.loss(said, batch) for each, said in zip(self.all_members, outputs.members, strict=True)]
        parts = {name: torch.stack([each[name] for each in losses]) for name in losses[0]}
        return {name: each.sum() if name == "loss" else each.mean() for name, each in parts.items()}

    def offsets_at(  # type: ignore[override]
        self, outputs: TalOutputs, level: int, position: Tensor, label: Tensor
    ) -> Tensor:
        """The mean distances to start and end, (B, M, 2) in strides of the level, of (position, class) pairs."""
        members = zip(self.all_members, outputs.members, strict=True)
        return torch.stack([each.offsets_at(said, level, position, label) for each, said in members]).mean(0)


def _mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """The logit of the mean probability."""
    return torch.stack([each.float().sigmoid() for each in logits]).mean(0).logit(eps=1e-7)
