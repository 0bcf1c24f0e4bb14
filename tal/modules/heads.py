"""Heads that every level of a pyramid shares: class logits, and offsets to both ends."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from tal.modules.inputs import ConvStack
from tal.modules.masked import MaskedConv

_EMPTY_CLASS_PROB = 1e-6


class ClassificationHead(nn.Module):
    """Class logits per point.

    Args:
        in_width, width: C of the pyramid and of the hidden layers.
        outputs: K.
        layers: Convolutions, the last one included.
        kernel_size: Of every convolution.
        prior_prob: Probability that an untrained head gives (Lin et al. 2017, focal loss, section 4.1).
        empty: Classes without training instances: they start, and without gradient stay, near zero.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        outputs: int,
        *,
        layers: int = 3,
        kernel_size: int = 3,
        prior_prob: float = 0.01,
        empty: Iterable[int] = (),
    ) -> None:
        super().__init__()
        self.trunk = ConvStack(in_width, width, layers=layers - 1, kernel_size=kernel_size)
        self.logits = MaskedConv(width if layers > 1 else in_width, outputs, kernel_size)
        with torch.no_grad():
            bias: Tensor = self.logits.bias  # type: ignore[assignment]
            bias.fill_(_logit(prior_prob))
            bias[list(empty)] = _logit(_EMPTY_CLASS_PROB)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Per level (B, C, T_l) -> (B, K, T_l)."""
        return [self.logits(self.trunk(x, mask), mask) for x, mask in zip(levels, masks, strict=True)]


class RegressionHead(nn.Module):
    """Distances from each point to the start and to the end, in strides of its level, never negative.

    Args:
        in_width, width, layers, kernel_size: As in `ClassificationHead`.
        levels: L; each has a learnt scale of its own.
        outputs: Values per point.
    """

    def __init__(
        self, in_width: int, width: int, levels: int, *, layers: int = 3, kernel_size: int = 3, outputs: int = 2
    ) -> None:
        super().__init__()
        self.trunk = ConvStack(in_width, width, layers=layers - 1, kernel_size=kernel_size)
        self.offsets = MaskedConv(width if layers > 1 else in_width, outputs, kernel_size)
        self.scale = nn.Parameter(torch.ones(levels))

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Per level (B, C, T_l) -> (B, outputs, T_l)."""
        raw = [self.offsets(self.trunk(x, mask), mask) for x, mask in zip(levels, masks, strict=True)]
        return [(x * scale).relu() for x, scale in zip(raw, self.scale, strict=True)]


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
