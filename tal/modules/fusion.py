"""Sound let into a feature pyramid of pictures: gated cross-attention at every level (MRAV-FF).

Fish, Weinbren, Gilbert 2023 (arXiv:2310.03456) fuse at every temporal resolution by a hierarchical gated
cross-attention. Neither of the first author's repositories (ed-fish/MRAV-FF, ed-fish/actionformer_release) is a release
of the paper's network, so what is here is a reconstruction: the principle is theirs, the layers are ours.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.inputs import ConvStack, Standardize
from tal.modules.masked import ChannelNorm, MaskedConv, Pointwise
from tal.ops.exporting import max_pool
from tal.ops.local_attention import local_attention

GateKind = Literal["channel", "time", "scalar", "closed"]


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another of the same length, both normalised first.

    In a window every head has a learnt bias per relative position, which falls from the middle at first, by another
    slope in each head (ALiBi, Press et al. 2022, arXiv:2108.12409): what is heard at a snippet is told from what is
    heard around it, which a query that knows no places could not.

    Args:
        width: C of both.
        heads: Number of heads; divides C.
        window: Positions of the other that a query sees around its own, odd; 0 for all.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm_query, self.norm_key = ChannelNorm(width), ChannelNorm(width)
        self.query, self.key, self.value, self.proj = (Pointwise(width, width) for _ in range(4))
        if window:
            apart = (torch.arange(window) - window // 2).abs()
            slopes = 2.0 ** (1 - torch.arange(heads))  # 2, 1, 1/2, ...
            self.position_bias = nn.Parameter(-slopes[:, None] * apart)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T) twice, mask (B, 1, T) of both -> (B, C, T)."""
        other = self.norm_key(other)
        parts = self.query(self.norm_query(x)), self.key(other), self.value(other)
        q, k, v = (part.unflatten(1, (self.heads, -1)).transpose(2, 3) for part in parts)  # (B, H, T, D)
        if self.window:
            out = local_attention(q, k, v, mask, window=self.window, position_bias=self.position_bias)
        else:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None])
        return self.proj(out.transpose(2, 3).flatten(1, 2)) * mask


class Gate(nn.Module):
    """How much of what was attended to is let in: sigmoid(W [x; attended] + b).

    Args:
        width: C.
        kind: A value per "channel" and position, per position ("time"), or one for the whole sequence ("scalar", from
            the mean over its valid positions); "closed": always 0, with nothing to learn.
        bias: First value of b; below 0 the gate begins nearly closed.
    """

    def __init__(self, width: int, kind: GateKind, bias: float) -> None:
        super().__init__()
        self.kind = kind
        if kind != "closed":
            self.linear = Pointwise(2 * width, width if kind == "channel" else 1)
            nn.init.constant_(self.linear.bias, bias)

    def forward(self, x: Tensor, attended: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T) twice, mask (B, 1, T) -> (B, C or 1, T or 1) in [0, 1]."""
        if self.kind == "closed":
            return x.new_zeros(1, 1, 1)
        logits = self.linear(torch.cat([x, attended.to(x)], dim=1))
        if self.kind == "scalar":
            logits = (logits * mask).sum(2, keepdim=True) / mask.sum(2, keepdim=True).clamp(min=1)
        return logits.sigmoid()


class FusionLevel(nn.Module):
    """One level: pictures attend to sound, and a gate says how much of it they take.

    Args:
        width, heads, window: Of the attention.
        gate, gate_bias: Of the gate.
        symmetric: Sound attends to pictures before, through a gate of its own.
    """

    def __init__(
        self, width: int, heads: int, window: int, *, gate: GateKind, gate_bias: float, symmetric: bool
    ) -> None:
        super().__init__()
        self.attend, self.gate = CrossAttention(width, heads, window), Gate(width, gate, gate_bias)
        self.symmetric = symmetric
        if symmetric:
            self.attend_back, self.gate_back = CrossAttention(width, heads, window), Gate(width, gate, gate_bias)

    def forward(self, video: Tensor, audio: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What to add to the pictures, the sound, and the pictures' gate.

        Args:
            video: (B, C, T); likewise audio.
            mask: (B, 1, T).

        Returns:
            (B, C, T), (B, C, T), and (B, C or 1, T or 1) in [0, 1].
        """
        if self.symmetric:
            seen = self.attend_back(audio, video, mask)
            audio = audio + self.gate_back(audio, seen, mask) * seen
        heard = self.attend(video, audio, mask)
        gate = self.gate(video, heard, mask)
        return gate * heard, audio, gate


class AudioStep(nn.Module):
    """From a level's sound to the next coarser one's: max pooling (k3, stride 2), and a depthwise convolution beside.

    Padded positions count for nothing, however far a sequence is padded.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = MaskedConv(width, width, 3, groups=width, bias=False)
        self.norm = ChannelNorm(width)
        self.linear = Pointwise(width, width)

    def forward(self, x: Tensor, mask: Tensor, coarser: Tensor) -> Tensor:
        """(B, C, T), its mask (B, 1, T), and the next level's (B, 1, T') -> (B, C, T')."""
        x = max_pool(x.masked_fill(~mask, float("-inf")), 3, 2, 1).masked_fill(~coarser, 0.0)
        return x + self.linear(F.relu(self.norm(self.conv(x, coarser)))) * coarser


class AudioVisualFusion(nn.Module):
    """A pyramid of sound beside that of the pictures, let in at every level.

    Args:
        audio_width: C of the sound's features.
        width: C of the pyramid.
        levels: L.
        heads, window: Of the attention.
        gate, gate_bias, symmetric: See `Gate` and `FusionLevel`.
        hierarchy: What goes up to the next level is the sound times its gate: a level hears what those below let in.
    """

    def __init__(
        self,
        audio_width: int,
        width: int,
        levels: int,
        *,
        heads: int,
        window: int,
        gate: GateKind,
        gate_bias: float,
        symmetric: bool,
        hierarchy: bool,
    ) -> None:
        super().__init__()
        self.hierarchy = hierarchy
        self.standardize = Standardize(audio_width)
        self.project = MaskedConv(audio_width, width, 1)
        self.embed = ConvStack(width, width, layers=2, kernel_size=3)
        self.level = nn.ModuleList(
            FusionLevel(width, heads, window, gate=gate, gate_bias=gate_bias, symmetric=symmetric)
            for _ in range(levels)
        )
        self.step = nn.ModuleList(AudioStep(width) for _ in range(levels - 1))

    def forward(self, audio: Tensor, heard: Tensor, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """The levels with sound.

        Args:
            audio: (B, C_audio, T), on the finest level's grid.
            heard: (B, 1, 1) bool; sequences without sound come back as they are, bit for bit.
            levels: (B, C, T_l) each, from fine to coarse.
            masks: (B, 1, T_l) bool each.

        Returns:
            (B, C, T_l) each.
        """
        x = self.embed(self.project(self.standardize(audio, masks[0]), masks[0]), masks[0])
        fused = []
        for number, (fuse, video, mask) in enumerate(zip(self.level, levels, masks, strict=True)):
            if number:
                x = self.step[number - 1](x, masks[number - 1], mask)
            added, x, gate = fuse(video, x, mask)
            fused.append(torch.where(heard, video + added, video))
            x = x * gate if self.hierarchy else x
        return fused
