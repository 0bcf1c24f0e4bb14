"""ActionFormer: one-stage localization on a transformer pyramid (Zhang, Wu, Li 2022, arXiv:2202.07925).

Details as in the reference implementation happyharrycn/actionformer_release, whose weights load through
`tal.methods.originals`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from tal.methods.lengths import few_lengths
from tal.methods.pyramid import PyramidMethod
from tal.methods.pyramid_config import PyramidConfig, require
from tal.modules.attention import TransformerBlock
from tal.modules.pyramid import halved_levels
from tal.modules.sgp import ConvBlock


@dataclass(frozen=True, kw_only=True)
class ActionFormerConfig(PyramidConfig):
    """Settings of an ActionFormer. Most likely changed: `train_snippets`, `width`, `window`, `branch_layers`.

    Args:
        encoder: "transformer": the paper's; "conv": plain residual convolutions, which the reference implementation has
            beside. Of the settings below it has `stem_layers`, and `window` decides how far long videos are padded.
        heads: Attention heads.
        stem_layers: Blocks before the first subsampling.
        window: Snippets that a query sees, odd, at all levels or per level; 0 for all of them.
        relative_positions: Learn a bias per relative position where attention is windowed.
        dropout, drop_path: In transformer blocks: of activations, of whole residual paths.
    """

    encoder: Literal["transformer", "conv"] = "transformer"
    heads: int = 4
    stem_layers: int = 2
    window: int | tuple[int, ...] = 19
    relative_positions: bool = False
    dropout: float = 0.0
    drop_path: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.encoder in ("transformer", "conv"), f"encoder {self.encoder!r}", '"transformer" or "conv"')
        for name, lowest in (("heads", 1), ("stem_layers", 0)):
            require(getattr(self, name) >= lowest, f"{name} of {getattr(self, name)}", f"at least {lowest}")
        for name in ("dropout", "drop_path"):
            require(0 <= getattr(self, name) < 1, f"{name} of {getattr(self, name)}", "a number in [0, 1)")
        require(self.width % self.heads == 0, f"width {self.width} with {self.heads} heads", "a multiple of heads")
        windows = self.windows
        require(len(windows) == self.levels, f"window has {len(windows)} entries", f"one per level, {self.levels}")
        wrong = [w for w in windows if w != 0 and (w < 3 or w % 2 == 0)]
        require(not wrong, f"window of {wrong}", "odd numbers from 3 on, or 0 for the whole sequence")

    @property
    def windows(self) -> tuple[int, ...]:
        """Attention window per level; 0 for the whole sequence."""
        return (self.window,) * self.levels if isinstance(self.window, int) else tuple(self.window)

    def original_length(self, count: int) -> int:
        """T that the original pads to: `train_snippets`, and longer videos to what its chunked attention needs."""
        unit = self.multiple_of or max(s * max(w - 1, 1) for s, w in zip(self.strides, self.windows, strict=True))
        return self.train_snippets if count <= self.train_snippets else -(-count // unit) * unit

    def padded_length(self, count: int) -> int:
        """T that a window of `count` snippets is padded to, at least.

        Only two things of the original's padding reach the result: at every level the padded positions that a kernel
        over valid ones sees, because the normalisation's bias is there; and the length to which a long video's position
        table is stretched.
        """
        original = self.original_length(count)
        if self.absolute_positions and count > self.train_snippets:
            return original
        last, seen = self.strides[-1], max(self.embed_kernel, self.head_kernel, 3) // 2
        return min(original, (-(-count // last) + seen) * last)

    def lengths_together(self, counts: Sequence[int]) -> list[int]:
        """T per window of a batch; windows that are shorter than the original's have all the padding that is seen."""
        lengths = [self.padded_length(count) for count in counts]
        free = [own < self.original_length(count) for count, own in zip(counts, lengths, strict=True)]
        return few_lengths(lengths, free, most=self.train_snippets if self.absolute_positions else math.inf)


class ActionFormer(PyramidMethod):
    """The network, its losses and its decoding.

    Args:
        config: With `streams` and `classes`.
    """

    Config = ActionFormerConfig
    config: ActionFormerConfig

    def build_encoder(self) -> None:
        """Blocks at full rate, then one per level that halves it."""
        c = self.config
        self.stem = nn.ModuleList(self._block(c.windows[0], stride=1) for _ in range(c.stem_layers))
        self.branch = nn.ModuleList(self._block(window, stride=2) for window in c.windows[1:])

    def _block(self, window: int, *, stride: int) -> TransformerBlock | ConvBlock:
        c = self.config
        if c.encoder == "conv":
            return ConvBlock(c.width, stride=stride)
        return TransformerBlock(
            c.width,
            c.heads,
            window=window,
            stride=stride,
            dropout=c.dropout,
            drop_path=c.drop_path,
            relative_positions=c.relative_positions,
        )

    def encode(self, x: Tensor, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """(B, width, T), mask (B, 1, T) -> per level (B, width, T_l), masks (B, 1, T_l)."""
        for block in self.stem:
            x = block(x, mask)  # (B, width, T)
        return halved_levels(x, mask, self.branch)
