"""TriDet: one-stage localization on convolutions, ends from distributions (Shi et al. 2023, arXiv:2303.07347).

Details as in the reference implementation dingfengshi/TriDet, whose weights load through `tal.methods.originals`.
Statistics over time (a mean, a GroupNorm) include padding there, so windows are padded here exactly as there; of a
video longer than one inference window, each window has statistics of its own, not the whole video's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tal.methods.base import Batch
from tal.methods.pyramid import Matched, PyramidMethod, PyramidOutputs
from tal.methods.pyramid_config import PyramidConfig, require
from tal.modules.heads import RegressionHead
from tal.modules.losses import diou_loss, distance_tiou
from tal.modules.pyramid import halved_levels
from tal.modules.sgp import NORM_GROUPS, ConvBlock, SgpBlock
from tal.modules.trident import BoundaryHeads, trident_offsets


@dataclass(frozen=True, kw_only=True)
class TriDetConfig(PyramidConfig):
    """Settings of a TriDet. Most likely changed: `train_snippets`, `width`, `window`, `growth`, `bins`, `init_std`.

    Args:
        encoder: "sgp": the paper's; "conv": plain residual convolutions, which the reference implementation has beside.
        stem_layers: Blocks before the first subsampling, with a window of 1 and without dropped paths.
        window: w, kernel of the depthwise convolutions in blocks that subsample, odd, at all levels or per level; that
            of the finest level only decides how far long videos are padded.
        growth: k; the wider of the two windows is (w + 1) * k.
        mlp_width: Of the blocks' MLP; None for 4 times `width`.
        downsampling: How blocks subsample: "max" pooling, or "average" pooling and a 1x1 convolution.
        drop_path: Probability of dropping a residual path of a block that subsamples.
        init_std: Deviation of the initial weights of the depthwise convolutions. The released settings for THUMOS14 and
            EPIC-KITCHENS leave it at 0, with which they stay 0 in all of the training, and blocks are norm and MLP
            alone; those for ActivityNet have 0.2, those for HACS 0.1.
        trident: Ends from distributions per class; otherwise one pair of distances per point, and no weighting by tIoU.
        bins: B; an end lies at most so many strides from its point.
        boundary_kernel: Kernel of the start and end heads.
        tiou_power: The classification loss of a positive pair is multiplied by its tIoU to this power. Its gradient
            reaches the regression too, as in the reference implementation.
        input_noise: Deviation of Gaussian noise on the embedding's input in training, padding included: it tells the
            network where the sequence begins and ends.
    """

    encoder: Literal["sgp", "conv"] = "sgp"
    stem_layers: int = 2
    window: int | tuple[int, ...] = 1
    growth: float = 5.0
    mlp_width: int | None = None
    downsampling: Literal["max", "average"] = "max"
    drop_path: float = 0.1
    init_std: float = 0.1
    trident: bool = True
    bins: int = 16
    boundary_kernel: int = 3
    tiou_power: float = 0.2
    input_noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, lowest in _LOWEST.items():
            value = getattr(self, name)
            require(value is None or value >= lowest, f"{name} of {value}", f"at least {lowest}")
        require(0 <= self.drop_path < 1, f"drop_path of {self.drop_path}", "a number in [0, 1)")
        require(self.growth > 0, f"growth of {self.growth}", "a positive number")
        require(self.boundary_kernel % 2 == 1, f"boundary_kernel of {self.boundary_kernel}", "an odd number")
        require(self.encoder in ("sgp", "conv"), f"encoder {self.encoder!r}", '"sgp" or "conv"')
        require(self.downsampling in ("max", "average"), f"downsampling {self.downsampling!r}", '"max" or "average"')
        windows = self.windows
        require(len(windows) == self.levels, f"window has {len(windows)} entries", f"one per level, {self.levels}")
        wrong = [w for w in windows if w < 1 or w % 2 == 0]
        require(not wrong, f"window of {wrong}", "odd numbers from 1 on")
        grouped = self.encoder == "conv" or self.width % NORM_GROUPS == 0
        require(grouped, f"width of {self.width}", f"a multiple of {NORM_GROUPS}, the groups of the blocks' GroupNorm")

    @property
    def windows(self) -> tuple[int, ...]:
        """w per level."""
        return (self.window,) * self.levels if isinstance(self.window, int) else tuple(self.window)

    def padded_length(self, count: int) -> int:
        """T that a window of `count` snippets is padded to: `train_snippets`, beyond it the original's unit."""
        if count <= self.train_snippets:
            return self.train_snippets
        unit = self.multiple_of or max(s * w for s, w in zip(self.strides, self.windows, strict=True))
        last, length = self.strides[-1], -(-count // unit) * unit
        return -(-length // last) * last


_LOWEST: Mapping[str, float] = {
    "stem_layers": 0,
    "mlp_width": 1,
    "init_std": 0,
    "bins": 1,
    "boundary_kernel": 1,
    "tiou_power": 0,
    "input_noise": 0,
}


@dataclass(frozen=True, kw_only=True)
class TridentOutputs(PyramidOutputs):
    """`PyramidOutputs` whose `offsets` are (B, 2 * (bins + 1), T_l) logits around each point, and the boundaries'.

    Args:
        start: (B, K, T_l) logits that an instance starts here.
        end: (B, K, T_l) likewise.
    """

    start: tuple[Tensor, ...]
    end: tuple[Tensor, ...]


class TriDet(PyramidMethod):
    """The network, its losses and its decoding.

    Args:
        config: With `streams` and `classes`.
    """

    Config = TriDetConfig
    config: TriDetConfig

    def build_encoder(self) -> None:
        """Blocks at full rate, then one per level that halves it."""
        c = self.config
        self.stem = nn.ModuleList(self._block(1, stride=1, drop_path=0.0) for _ in range(c.stem_layers))
        self.branch = nn.ModuleList(self._block(window, stride=2, drop_path=c.drop_path) for window in c.windows[1:])

    def _block(self, window: int, *, stride: int, drop_path: float) -> SgpBlock | ConvBlock:
        c = self.config
        if c.encoder == "conv":
            return ConvBlock(c.width, stride=stride)
        return SgpBlock(
            c.width,
            window,
            growth=c.growth,
            mlp_width=c.mlp_width or 4 * c.width,
            stride=stride,
            downsampling=c.downsampling,
            drop_path=drop_path,
            init_std=c.init_std,
        )

    def build_heads(self, in_width: int, width: int) -> None:
        """Add `classify`, `regress` and, for distributions, `boundaries`."""
        super().build_heads(in_width, width)
        c = self.config
        if c.trident:
            self.boundaries = BoundaryHeads(
                in_width,
                width,
                self.outputs,
                layers=c.head_layers,
                kernel_size=c.boundary_kernel,
                prior_prob=c.prior_prob,
                empty=self.empty_outputs,
            )
            self.regress = RegressionHead(
                in_width, width, c.levels, layers=c.head_layers, kernel_size=c.head_kernel, outputs=2 * (c.bins + 1)
            )

    def forward(self, batch: Batch) -> PyramidOutputs:
        """What every point of the pyramid says, in training too whatever other windows there are."""
        return self.by_length(batch)

    def embedding(self, streams: Mapping[str, Tensor], mask: Tensor) -> Tensor:
        """Name -> (B, C, T), mask (B, 1, T) -> (B, width, T), of noisy streams in training."""
        x = self.streams(streams, mask)
        if self.training and self.config.input_noise > 0:
            x = x + torch.randn_like(x) * self.config.input_noise
        return self.embed(x, mask)

    def encode(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, width, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l)."""
        for block in self.stem:
            x = block(x, mask)  # (B, width, T)
        return halved_levels(x, mask, self.branch)

    def heads(
        self, levels: Sequence[Tensor], masks: Sequence[Tensor], to_classify: Sequence[Tensor] | None = None
    ) -> PyramidOutputs:
        """Per level (B, neck_width, T_l), mask (B, 1, T_l) -> what the points say."""
        plain = super().heads(levels, masks, to_classify)
        if not self.config.trident:
            return plain
        start, end = self.boundaries(levels, masks)  # (B, K, T_l) each
        return TridentOutputs(
            logits=plain.logits,
            offsets=plain.offsets,
            masks=plain.masks,
            features=plain.features,
            start=tuple(start),
            end=tuple(end),
        )

    def loss(self, outputs: PyramidOutputs, batch: Batch) -> dict[str, Tensor]:
        """Focal loss, that of positive pairs weighted by their tIoU, and DIoU loss of these pairs."""
        if not isinstance(outputs, TridentOutputs):
            return super().loss(outputs, batch)
        found = self.match(outputs, batch)
        pair, predicted = self._positive_pairs(outputs, found)
        wanted = found.distances[pair[:2]]  # (N, 2)
        tiou = distance_tiou(predicted, wanted)
        weight = tiou.clamp(min=_EPS) ** self.config.tiou_power * (tiou > 0)
        focal = self.focal(found)  # (B, P, K)
        focal = focal * torch.ones_like(focal).index_put(pair, weight.to(focal))
        return self.total(focal.sum() / found.normalizer, diou_loss(predicted, wanted).sum() / found.normalizer)

    def _positive_pairs(self, outputs: TridentOutputs, found: Matched) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Window, point and class of all N positive pairs, (N,) each, and their predicted offsets, (N, 2)."""
        answering = (found.wanted > 0) & found.positive[..., None]  # (B, P, K)
        pairs, predicted, first = [], [], 0
        for level, mask in enumerate(outputs.masks):
            row, position, label = answering[:, first : first + mask.shape[-1]].nonzero(as_tuple=True)
            pairs.append((row, position + first, label))
            predicted.append(self._decoded(outputs, level, row, position, label))
            first += mask.shape[-1]
        row, point, label = (torch.cat(column) for column in zip(*pairs, strict=True))
        return (row, point, label), torch.cat(predicted)

    def offsets_at(self, outputs: PyramidOutputs, level: int, position: Tensor, label: Tensor) -> Tensor:
        """Distances to start and end, (B, M, 2) in strides of the level, of chosen (position, class) pairs."""
        if not isinstance(outputs, TridentOutputs):
            return super().offsets_at(outputs, level, position, label)
        row = torch.arange(len(position), device=position.device)[:, None].expand_as(position)
        return self._decoded(outputs, level, row, position, label)

    def _decoded(self, outputs: TridentOutputs, level: int, row: Tensor, position: Tensor, label: Tensor) -> Tensor:
        start, end, centers = outputs.start[level], outputs.end[level], outputs.offsets[level]
        return trident_offsets(start, end, centers, row, position, label)


_EPS = 1e-8
"""Least tIoU whose power is taken: the gradient of a power below 1 has no bound at 0."""
