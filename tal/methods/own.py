"""`tal`: our localizer for data sets of a few dozen recordings. The composition is ours; its pieces are not.

The pyramid, its targets and its heads are ActionFormer's (Zhang, Wu, Li 2022). What differs:

- Distances to the ends begin at two strides: where they begin at 0, the ReLU behind them has no gradient at half of
  the points, and small data may never wake them.
- The embedding sees motion: beside every channel its difference over a few snippets.
- The encoder is ActionFormer's, or convolutional: residual blocks of growing dilation at full rate (MS-TCN, Abu Farha
  and Gall 2019), then one block per level after max pooling (TemporalMaxer, Tang et al. 2023).
- Two more answers are learnt beside the points': which classes are under way at every snippet, and which occur in the
  window at all. The second one's features are added to every snippet. When detections are scored, a point's
  probability can be multiplied by powers of both: the mean over the segment's snippets, and the window's.
- Several networks of this kind, of different initial weights, learn side by side; their probabilities and offsets are
  averaged point by point (deep ensembles, Lakshminarayanan et al. 2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tal.methods.base import Batch, Inputs, Method
from tal.methods.pyramid import PyramidMethod, PyramidOutputs
from tal.methods.pyramid_config import PyramidConfig, require
from tal.modules.attention import TransformerBlock
from tal.modules.dilated import DilatedBlock, pooled
from tal.modules.masked import MaskedConv, MaxPoolSkip, downsample_mask
from tal.modules.processes import mean_over_processes
from tal.segments import Segments
from tal.timeline import SnippetGrid

Floats = NDArray[np.floating]

_LOWEST_PROBABILITY = 1e-6
_FIRST_DISTANCE = 2.0  # strides; a level's instances reach 2 to 4 to either side


@dataclass(frozen=True, kw_only=True)
class TalConfig(PyramidConfig):
    """Settings of `tal`. Most likely changed: `members`, `frame_power`, `window_power`, `width`.

    Args:
        members: Networks that are averaged.
        motion: Differences between the snippets d later and d earlier go beside the features, for each of these d.
        encoder: "dilated" convolutions, or ActionFormer's "attention", with two blocks at full rate.
        dilations: Of the dilated blocks at full rate.
        window, heads, drop_path: Of attention: snippets that a query sees, odd; heads; share of dropped paths.
        dropout: In all blocks.
        frame_weight: Of the loss of the classes under way at every snippet; 0: not learnt.
        window_weight: Of the loss of the classes that occur in the window; 0: not learnt.
        frame_power, window_power: How much of either goes into a detection's score; 0: nothing.
    """

    members: int = 3
    motion: tuple[int, ...] = (1, 4)
    encoder: Literal["dilated", "attention"] = "dilated"
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    window: int = 19
    heads: int = 4
    drop_path: float = 0.1
    dropout: float = 0.1
    frame_weight: float = 1.0
    window_weight: float = 0.3
    frame_power: float = 0.0
    window_power: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.members >= 1, f"members of {self.members}", "at least 1")
        for name in ("motion", "dilations"):
            wrong = [d for d in getattr(self, name) if d < 1]
            require(not wrong, f"{name} of {wrong}", "numbers of snippets, at least 1")
        for name in ("dropout", "drop_path"):
            require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        require(self.encoder in ("dilated", "attention"), f"encoder {self.encoder!r}", '"dilated" or "attention"')
        odd = self.window == 0 or (self.window >= 3 and self.window % 2 == 1)
        require(odd, f"window of {self.window}", "an odd number from 3 on, or 0 for the whole sequence")
        divides = self.heads >= 1 and self.width % self.heads == 0
        require(divides, f"{self.heads} heads for width {self.width}", "a number that divides it")
        for name in ("frame_weight", "window_weight", "frame_power", "window_power"):
            require(getattr(self, name) >= 0, f"{name} of {getattr(self, name)}", "zero or more")
        for part in ("frame", "window"):
            learnt = getattr(self, f"{part}_weight") > 0 or getattr(self, f"{part}_power") == 0
            require(learnt, f"{part}_power of what is not learnt", f"{part}_weight above 0, or {part}_power of 0")


@dataclass(frozen=True, kw_only=True)
class TalOutputs(PyramidOutputs):
    """What the points say, and beside it:

    Args:
        frame_logits: (B, K, T) of the classes under way.
        window_logits: (B, K) of the classes that occur.
    """

    frame_logits: Tensor
    window_logits: Tensor


class TalMember(PyramidMethod):
    """One network of `TalLocalizer`, with its losses.

    Args:
        config: With `streams` and `classes`.
    """

    Config = TalConfig
    config: TalConfig

    def build_encoder(self) -> None:
        """Motion beside the features; dilated blocks, then one per level; the two further answers."""
        c = self.config
        if c.motion:
            self.embed_motion = MaskedConv(self.streams.width * len(c.motion), c.width, 3, bias=False)
        self.skip = MaxPoolSkip(2)
        if c.encoder == "dilated":
            self.stem = nn.ModuleList(DilatedBlock(c.width, dilation=d, dropout=c.dropout) for d in c.dilations)
            self.branch = nn.ModuleList(DilatedBlock(c.width, dropout=c.dropout) for _ in range(c.branch_layers))
        else:
            shape: dict[str, Any] = {"window": c.window, "dropout": c.dropout, "drop_path": c.drop_path}
            self.stem = nn.ModuleList(TransformerBlock(c.width, c.heads, stride=1, **shape) for _ in range(2))
            self.branch = nn.ModuleList(
                TransformerBlock(c.width, c.heads, stride=2, **shape) for _ in range(c.branch_layers)
            )
        if c.frame_weight:
            self.frame_logits = MaskedConv(c.width, self.outputs, 1)
        if c.window_weight:
            self.context = nn.Sequential(nn.Linear(2 * c.width, c.width), nn.GELU(), nn.Dropout(c.dropout))
            self.window_logits = nn.Linear(c.width, self.outputs)
            self.add_context = nn.Linear(c.width, c.width)

    def build_heads(self, in_width: int, width: int) -> None:
        """The pyramid's; distances begin at a usual length, where their ReLU has a gradient."""
        super().build_heads(in_width, width)
        bias = self.regress.offsets.bias
        if bias is not None:
            nn.init.constant_(bias, _FIRST_DISTANCE)

    def embedding(self, streams: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Name -> (B, C, T), mask (B, 1, T) -> (B, width, T)."""
        x = self.streams(streams, mask)
        embedded = self.embed(x, mask)
        if not self.config.motion:
            return embedded
        moved = torch.cat([_difference(x, mask, d) for d in self.config.motion], dim=1)
        return embedded + self.embed_motion(moved, mask)

    def network(self, streams: Mapping[str, Tensor], mask: Tensor) -> TalOutputs:
        """Name -> (B, C, T), mask (B, 1, T) -> what every point, every snippet and the window as a whole say."""
        x = self.embedding(streams, mask)  # (B, width, T)
        if self.positions is not None:
            x = self.positions(x, mask)
        for block in self.stem:
            x = block(x, mask)
        frames = self.frame_logits(x, mask) if self.config.frame_weight else x.new_zeros(x.shape[0], self.outputs, 1)
        window = x.new_zeros(x.shape[0], self.outputs)
        if self.config.window_weight:
            context = self.context(pooled(x, mask))  # (B, width)
            window = self.window_logits(context)
            x = (x + self.add_context(context)[..., None]) * mask
        levels, masks = self.encode(x, mask)
        points = self.heads(self.neck(levels, masks), masks)
        return TalOutputs(**vars(points), frame_logits=frames, window_logits=window)

    def encode(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, width, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l)."""
        levels, masks = [x], [mask]
        for block in self.branch:
            mask = downsample_mask(mask, 2)
            x = block(self.skip(x, mask) if self.config.encoder == "dilated" else x, mask)
            levels.append(x)
            masks.append(mask)
        return levels, masks

    def loss(self, outputs: TalOutputs, batch: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        """The pyramid's losses, and the cross-entropies of the further answers: "frames", "window"."""
        losses, c = super().loss(outputs, batch), self.config
        if not (c.frame_weight or c.window_weight):
            return losses
        mask = outputs.masks[0]
        under_way, occurring = self._presence(batch, mask)
        parts = {}
        if c.frame_weight:
            parts["frames"] = c.frame_weight, _entropy(outputs.frame_logits, under_way, mask)
        if c.window_weight:
            parts["window"] = c.window_weight, _entropy(outputs.window_logits, occurring, mask.any(dim=2))
        losses["loss"] = losses["loss"] + sum(weight * part for weight, part in parts.values())
        return losses | {name: part.detach() for name, (_, part) in parts.items()}

    @torch.no_grad()
    def _presence(self, batch: Batch, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Classes under way at each snippet, (B, K, T), and in the window, (B, K): 1 or 0."""
        B, _, T = mask.shape
        under_way = torch.zeros(B, self.outputs, T, device=mask.device)
        occurring = torch.zeros(B, self.outputs, device=mask.device)
        position = torch.arange(T, device=mask.device)
        for row, (start_idx, end_idx, label) in enumerate(self.instances(batch)):
            inside = (position >= start_idx[:, None]) & (position <= end_idx[:, None])  # (N, T)
            under_way[row].index_add_(0, label, inside.float())
            occurring[row, label] = 1.0
        return under_way.clamp(max=1), occurring


class TalLocalizer(Method):
    """Several networks side by side, their answers averaged.

    Args:
        config: With `streams` and `classes`.
    """

    Config = TalConfig
    config: TalConfig
    members: nn.ModuleList

    def __init__(self, config: TalConfig) -> None:
        super().__init__()
        self.config, self.classes = config, config.classes
        self.members = nn.ModuleList(TalMember(config) for _ in range(config.members))

    @property
    def all_members(self) -> list[TalMember]:
        """The networks."""
        return cast("list[TalMember]", list(self.members))

    @property
    def first(self) -> TalMember:
        """Any of them: for what does not depend on weights."""
        return self.all_members[0]

    @property
    def inputs(self) -> Inputs:
        """Its streams and windowing."""
        return self.first.inputs

    def set_feature_stats(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Standardise each stream with the training split's mean and deviation, (C,) each, by stream name."""
        for member in self.all_members:
            member.set_feature_stats(stats)

    def forward(self, batch: Batch) -> list[TalOutputs]:
        """What each member says."""
        return [member(batch) for member in self.all_members]

    def exported(self, batch: Batch) -> TalOutputs:
        """The members' mean."""
        return averaged(self(batch))

    def loss(self, outputs: Sequence[TalOutputs], batch: Batch) -> dict[str, Tensor]:
        """The sum of the members' losses; parts are their means."""
        parts = [member.loss(each, batch) for member, each in zip(self.all_members, outputs, strict=True)]
        losses = {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}
        return losses | {"loss": losses["loss"] * len(parts)}

    def candidates(self, outputs: Sequence[TalOutputs], batch: Batch) -> list[Segments]:
        """Per window, the segments that the averaged points propose, scored with snippets and window as well."""
        said = averaged(outputs)
        frames = said.frame_logits.float().sigmoid().cpu().double().numpy()  # (B, K, T)
        window = said.window_logits.float().sigmoid().cpu().double().numpy()  # (B, K)
        return [
            self._rescored(found, frames[row, :, : batch.grids[row].count], window[row], batch.grids[row])
            for row, found in enumerate(self.first.candidates(said, batch))
        ]

    def _rescored(self, found: Segments, frames: Floats, window: Floats, grid: SnippetGrid) -> Segments:
        """Scores times powers of the frames' (K, T) mean over each segment, and of the window's (K,)."""
        c, score, label = self.config, found.score, np.maximum(found.label, 0)
        if c.frame_power:
            first = np.clip(np.ceil(grid.to_idx(found.start_s)), 0, grid.count - 1).astype(np.int64)
            last = np.clip(np.floor(grid.to_idx(found.end_s)), first, grid.count - 1).astype(np.int64)
            sums = np.pad(np.cumsum(frames, axis=1), ((0, 0), (1, 0)))  # (K, T + 1)
            mean = (sums[label, last + 1] - sums[label, first]) / (last + 1 - first)
            score = score * np.maximum(mean, _LOWEST_PROBABILITY) ** c.frame_power
        if c.window_power:
            score = score * np.maximum(window[label], _LOWEST_PROBABILITY) ** c.window_power
        return replace(found, score=score)

    def suppress(self, candidates: Segments, video_scores: Tensor | None = None) -> Segments:
        """Detections within [0, duration], by falling score; see `PyramidMethod.suppress`."""
        return self.first.suppress(candidates, video_scores)


def averaged(outputs: Sequence[TalOutputs]) -> TalOutputs:
    """The mean of the members' probabilities, as logits, and of their offsets."""
    if len(outputs) == 1:
        return outputs[0]
    levels = range(len(outputs[0].logits))
    return replace(
        outputs[0],
        logits=tuple(_mean_logit([each.logits[level] for each in outputs]) for level in levels),
        offsets=tuple(torch.stack([each.offsets[level] for each in outputs]).mean(0) for level in levels),
        frame_logits=_mean_logit([each.frame_logits for each in outputs]),
        window_logits=_mean_logit([each.window_logits for each in outputs]),
    )


def _entropy(logits: Tensor, wanted: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy of (B, K, ...) independent classes, summed over them, mean over what is valid: (B, 1, ...)."""
    entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none") * valid
    return entropy.sum() / mean_over_processes(valid.sum())


def _mean_logit(logits: Sequence[Tensor]) -> Tensor:
    """The logit of the mean probability."""
    return torch.stack([each.float().sigmoid() for each in logits]).mean(0).logit(eps=1e-7)


def _difference(x: Tensor, mask: Tensor, distance: int) -> Tensor:
    """(B, C, T) -> (B, C, T): x[t + d] - x[t - d]; zero where either is outside or padding."""
    T = x.shape[-1]
    if 2 * distance >= T:
        return torch.zeros_like(x)
    both = mask[..., 2 * distance :] & mask[..., : T - 2 * distance]
    moved = (x[..., 2 * distance :] - x[..., : T - 2 * distance]) * both
    return F.pad(moved, (distance, distance))
