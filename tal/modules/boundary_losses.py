"""Losses of maps in which few entries are positive: balanced cross-entropy, and regression on a balanced draw (BMN).

Where training is distributed, all counts are those of all processes (`tal.modules.processes`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tal.modules.processes import mean_over_processes

_LEAST = 1e-3
"""In place of a count of zero: less than one entry of one process among many."""


def balanced_entropy(probability: Tensor, positive: Tensor, *, epsilon: float = 1e-6) -> Tensor:
    """Cross-entropy in which positive and negative entries weigh half each, whatever their numbers.

    Where there are none of one kind, all entries weigh the same, as in OpenTAD; the formula would divide by zero.

    Args:
        probability: Any shape, in [0, 1].
        positive: Same shape, bool.
        epsilon: Added inside the logarithms (JJBOY); 0: PyTorch's own, limited to 100 (OpenTAD).
    """
    probability = probability.float()
    share = mean_over_processes(torch.stack([positive.sum(), (~positive).sum()]).float())
    entries = share.sum()
    balanced = torch.where(share.min() > 0, 0.5 * entries / share.clamp(min=1e-12), torch.ones_like(share))
    if epsilon > 0:
        entropy = -(torch.where(positive, probability, 1 - probability) + epsilon).log()
    else:
        with torch.autocast(probability.device.type, enabled=False):
            entropy = F.binary_cross_entropy(probability, positive.float(), reduction="none")
    return (torch.where(positive, balanced[0], balanced[1]) * entropy).sum() / entries.clamp(min=_LEAST)


def draw_bands(
    wanted: Tensor,
    *,
    high: float = 0.7,
    low: float = 0.3,
    zeros: bool = False,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Entries to regress on: all high ones, and of the middle and the low band at random about as many each.

    The originals draw from all entries where a band holds fewer than there are high ones; here from the band itself.

    Args:
        wanted: (B, M) tIoU with the best instance.
        high, low: Bands are (high, 1], (low, high], (0, low].
        zeros: The low band begins with 0 (OpenTAD).
        generator: Of the draws; None for torch's own, which the trainer seeds.

    Returns:
        (B, M) bool; nothing where no entry is high.
    """
    top, middle = wanted > high, (wanted > low) & (wanted <= high)
    bottom = (wanted <= low) if zeros else (wanted <= low) & (wanted > 0)
    counts = mean_over_processes(torch.stack([top.sum(), middle.sum(), bottom.sum()]).float())
    chosen = top
    for band, count in ((middle, counts[1]), (bottom, counts[2])):
        draw = torch.rand(wanted.shape, generator=generator, device=wanted.device)
        chosen = chosen | (band & (draw > 1 - counts[0] / count.clamp(min=_LEAST)))
    return chosen


def mean_square(predicted: Tensor, wanted: Tensor, chosen: Tensor) -> Tensor:
    """Mean squared error of the chosen entries of all processes; 0 where none are."""
    error = (predicted.float() - wanted).square()
    return torch.where(chosen, error, 0.0).sum() / mean_over_processes(chosen.sum()).clamp(min=1e-6)
