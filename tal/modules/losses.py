"""Losses of one-stage localizers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.processes import mean_over_processes, process_count

_EPS = 1e-8


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of independent classes (Lin et al. 2017, equation 5), one value per entry.

    Args:
        logits: Any shape.
        targets: Same shape, in [0, 1]; smoothed targets are allowed.
        alpha: Weight of positive entries; negative ones get 1 - alpha.
        gamma: How strongly easy entries are discounted.
    """
    logits, targets = logits.float(), targets.float()
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    missed = probability + targets - 2 * probability * targets  # 1 - p_t
    return entropy * missed**gamma * (1 - alpha + (2 * alpha - 1) * targets)


def diou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1-D distance-IoU loss of segments that share a point (Zheng et al. 2020).

    Args:
        predicted: (..., 2) distances from the point to start and end, not negative.
        target: (..., 2), same unit.

    Returns:
        (...): 1 - IoU + (distance of centres / length of the smallest segment that holds both)^2.
    """
    predicted, target = predicted.float(), target.float()
    hull = torch.maximum(predicted, target).sum(-1)
    difference = predicted - target
    centers = 0.5 * (difference[..., 1] - difference[..., 0])
    return 1 - distance_tiou(predicted, target) + (centers / hull.clamp(min=_EPS)) ** 2


def distance_tiou(predicted: Tensor, target: Tensor) -> Tensor:
    """tIoU of segments that share a point, from (..., 2) distances of that point to start and end; (...)."""
    predicted, target = predicted.float(), target.float()
    shared = torch.minimum(predicted, target).sum(-1)
    union = predicted.sum(-1) + target.sum(-1) - shared
    return shared / union.clamp(min=_EPS)


class RunningNormalizer(nn.Module):
    """Running mean of the number of positives, by which losses are divided; saved with the weights.

    In training it moves a tenth of the way to each step's count (at least 1). Where training is distributed it counts
    the positives of all processes, and each process divides by its share: together they train as one process with all
    of their batches.

    Args:
        start: Its first value.
        momentum: What is kept of it at each step.
    """

    value: Tensor

    def __init__(self, start: float, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.tensor(float(start)))

    def forward(self, count: Tensor) -> Tensor:
        """Take a step's count of positives, () of any type, and return the normaliser, ()."""
        processes = process_count()
        if self.training:
            everywhere = (mean_over_processes(count.to(self.value)) * processes).clamp(min=1)
            self.value.copy_(self.momentum * self.value + (1 - self.momentum) * everywhere)
        return self.value / processes
