"""Feature pyramids over time: levels that halve it, and necks from these levels to those that the heads see."""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.masked import ChannelNorm, GroupNorm, MaskedConv, downsample_mask


def halved_levels(
    x: Tensor, mask: Tensor, blocks: Iterable[Callable[[Tensor, Tensor], Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """What is given, and what each block makes of the level before it.

    Args:
        x: (B, C, T).
        mask: (B, 1, T) bool.
        blocks: Called with a level and the mask of the next one, of half the length, which they give.

    Returns:
        Per level, from fine to coarse, (B, C, T_l) and masks (B, 1, T_l).
    """
    levels, masks = [x], [mask]
    for block in blocks:
        mask = downsample_mask(mask, 2)
        x = block(x, mask)  # (B, C, T / 2^l)
        levels.append(x)
        masks.append(mask)
    return levels, masks


class LevelNorms(nn.Module):
    """The neck that leaves levels to themselves: one ChannelNorm each."""

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.norm = nn.ModuleList(ChannelNorm(width) for _ in range(levels))

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Per level (B, C, T_l) -> (B, C, T_l)."""
        return [norm(x) for norm, x in zip(self.norm, levels, strict=True)]


class SharedNorm(nn.Module):
    """The neck of one norm for all levels: TemporalMaxer's, whose loop over levels makes a norm once.

    Args:
        width: C.
        kind: "layer"; "group", without weights, over groups of channels and all positions; "none".
        groups: Of "group".
    """

    def __init__(self, width: int, *, kind: Literal["layer", "group", "none"], groups: int) -> None:
        super().__init__()
        self.norm: nn.Module = nn.Identity()
        if kind == "layer":
            self.norm = ChannelNorm(width)
        elif kind == "group":
            self.norm = GroupNorm(groups, width, affine=False)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Per level (B, C, T_l) -> (B, C, T_l)."""
        return [self.norm(x) for x in levels]


class TopDownPyramid(nn.Module):
    """The neck that adds each coarser level to the finer one below it (Lin et al. 2017, in one dimension)."""

    def __init__(self, in_width: int, width: int, levels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(MaskedConv(in_width, width, 1, bias=False) for _ in range(levels))
        self.smooth = nn.ModuleList(MaskedConv(width, width, 3, groups=width, bias=False) for _ in range(levels))
        self.norm = nn.ModuleList(ChannelNorm(width) for _ in range(levels))

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Per level (B, C_in, T_l) -> (B, C, T_l)."""
        merged = [lateral(x, mask) for lateral, x, mask in zip(self.lateral, levels, masks, strict=True)]
        for level in range(len(merged) - 1, 0, -1):
            finer = merged[level - 1]
            merged[level - 1] = finer + F.interpolate(merged[level], scale_factor=2.0, mode="nearest")
        return [
            norm(smooth(x, mask)) for smooth, norm, x, mask in zip(self.smooth, self.norm, merged, masks, strict=True)
        ]
