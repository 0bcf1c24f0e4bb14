"""MRAV-FF: localizers on a feature pyramid that hear (Fish, Weinbren, Gilbert 2023, arXiv:2310.03456).

One mechanism for every host: `Hearing` adds gated cross-attention to sound between a host's pyramid and its neck and
heads, and leaves the host itself alone. `MravFf` is ActionFormer that hears, `MravFfTriDet` TriDet; the paper has both.
The layers are a reconstruction (see `tal.modules.fusion`); the choices that the first author's repositories try are
settings: fusing for regression only is ed-fish/MRAV-FF's last state, dropped sound its earlier one.

Sound comes as one more stream of features, VGGish or log-mel vectors, interpolated in time to the pictures' snippets by
`tal.features.align`. A video without sound, or whose sound is zero throughout, gives the host's outputs bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Inputs
from tal.methods.pyramid import PyramidMethod, PyramidOutputs
from tal.methods.pyramid_config import PyramidConfig, require
from tal.methods.tridet import TriDet, TriDetConfig
from tal.modules.fusion import AudioVisualFusion


@dataclass(frozen=True, kw_only=True)
class HearingConfig(PyramidConfig):
    """Settings of the sound beside the host's. Most likely changed: `audio`, `audio_dropout`, `fused_heads`.

    Args:
        audio: Name of the stream that is sound; not the first, whose time grid decides.
        audio_heads: Attention heads.
        audio_window: Snippets of sound that a picture's snippet hears around itself, odd, at every level; 0 for all.
        gate: A gate per "channel" and snippet, per snippet ("time"), or one per window ("scalar"); "closed": no sound
            at all, the host as it is, for comparison.
        gate_bias: First bias of the gates; -2 begins nearly closed, near the host.
        symmetric: Sound also attends to pictures.
        hierarchy: A coarser level hears what the finer ones let in.
        fused_heads: Which heads see the fused levels; the others see the host's. TriDet's start and end heads go with
            the regression.
        audio_dropout: Share of training windows that hear nothing.
    """

    audio: str = "audio"
    audio_heads: int = 4
    audio_window: int = 9
    gate: Literal["channel", "time", "scalar", "closed"] = "channel"
    gate_bias: float = -2.0
    symmetric: bool = False
    hierarchy: bool = True
    fused_heads: Literal["both", "classification", "regression"] = "both"
    audio_dropout: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds, heads = ("channel", "time", "scalar", "closed"), ("both", "classification", "regression")
        require(self.gate in kinds, f"gate {self.gate!r}", " or ".join(kinds))
        require(self.fused_heads in heads, f"fused_heads {self.fused_heads!r}", " or ".join(heads))
        require(0 <= self.audio_dropout <= 1, f"audio_dropout of {self.audio_dropout}", "a share in [0, 1]")
        odd = self.audio_window == 0 or (self.audio_window >= 3 and self.audio_window % 2 == 1)
        require(odd, f"audio_window of {self.audio_window}", "an odd number from 3 on, or 0 for all")
        divides = self.audio_heads >= 1 and self.width % self.audio_heads == 0
        require(divides, f"{self.audio_heads} audio_heads for width {self.width}", "a number that divides it")
        if self.streams:
            names = ", ".join(self.streams)
            beside = self.audio in tuple(self.streams)[1:]
            require(beside, f"audio {self.audio!r} with the streams {names}", "a stream of sound, named after another")

    @property
    def embedded_streams(self) -> tuple[str, ...]:
        """The streams that go side by side into the host's embedding."""
        return tuple(name for name in self.streams if name != self.audio)


class Hearing(PyramidMethod):
    """What a host needs to hear; stands before the host among the bases.

    Args:
        config: The host's, with sound among its `streams`.
    """

    Config = HearingConfig
    config: HearingConfig

    def __init__(self, config: HearingConfig) -> None:
        super().__init__(config)
        c = self.config
        self.fusion = AudioVisualFusion(
            c.streams[c.audio],
            c.width,
            c.levels,
            heads=c.audio_heads,
            window=c.audio_window,
            gate=c.gate,
            gate_bias=c.gate_bias,
            symmetric=c.symmetric,
            hierarchy=c.hierarchy,
        )

    @property
    def inputs(self) -> Inputs:
        """The host's, of which sound may be missing."""
        return replace(super().inputs, optional=(self.config.audio,))

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        super().set_feature_stats({name: each for name, each in stats.items() if name != self.config.audio})
        if self.config.audio in stats:
            self.fusion.standardize.set(*stats[self.config.audio])

    def network(self, streams: Mapping[str, Tensor], mask: Tensor) -> PyramidOutputs:
        """Name -> (B, C, T), mask (B, 1, T) -> what every point says."""
        audio = streams[self.config.audio]
        levels, masks = self.pyramid(streams, mask)  # (B, width, T_l) each
        fused = self.fusion(audio, self._heard(audio), levels, masks)
        seen = self.neck(fused, masks)
        if self.config.fused_heads == "both":
            return self.heads(seen, masks)
        plain = self.neck(levels, masks)
        if self.config.fused_heads == "regression":
            return self.heads(seen, masks, to_classify=plain)
        return self.heads(plain, masks, to_classify=seen)

    def _heard(self, audio: Tensor) -> Tensor:
        """(B, 1, 1) bool: windows with sound, of which training drops some."""
        heard = (audio != 0).flatten(1).any(1)[:, None, None]
        if self.training and self.config.audio_dropout > 0:
            heard = heard & (torch.rand(len(audio), 1, 1, device=audio.device) >= self.config.audio_dropout)
        return heard


@dataclass(frozen=True, kw_only=True)
class MravFfConfig(HearingConfig, ActionFormerConfig):
    """Settings of an ActionFormer that hears: the host's, and those of `HearingConfig`."""


class MravFf(Hearing, ActionFormer):
    """An ActionFormer that hears.

    Args:
        config: With `streams`, sound among them, and `classes`.
    """

    Config = MravFfConfig
    config: MravFfConfig


@dataclass(frozen=True, kw_only=True)
class MravFfTriDetConfig(HearingConfig, TriDetConfig):
    """Settings of a TriDet that hears: the host's, and those of `HearingConfig`."""


class MravFfTriDet(Hearing, TriDet):
    """A TriDet that hears.

    Args:
        config: With `streams`, sound among them, and `classes`.
    """

    Config = MravFfTriDetConfig
    config: MravFfTriDetConfig
