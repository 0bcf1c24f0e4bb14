"""Targets by cost: a point's instance is the one whose class and ends it already predicts best (TemporalMaxer)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tal.modules.losses import diou_loss, sigmoid_focal_loss
from tal.ops.points import Assignment, Points, classes_of, distances_to, shortest_around


@dataclass(frozen=True, kw_only=True)
class WeightedAssignment(Assignment):
    """An `Assignment` whose points count for more or less.

    Args:
        weight: (P,), or (B, P).
    """

    weight: Tensor


@torch.no_grad()
def assign_by_cost(
    points: Points,
    logits: Tensor,
    offsets: Tensor,
    valid: Tensor,
    start_idx: Tensor,
    end_idx: Tensor,
    label: Tensor,
    *,
    center_radius: float | None,
    class_weight: float,
    tiou_weight: float,
    keep_share: float,
    confused_weight: float,
) -> WeightedAssignment:
    """Which classes each point answers for, the offsets to its instance, and its weight in the losses.

    The rules of TuanTNG/TemporalMaxer's SimOTAAssigner. Classes are those that `assign_points` gives. The offsets,
    other than there, are those to the cheapest of all instances around the point, centre or not, whatever its class,
    where the cost is `class_weight` times the focal loss plus `tiou_weight` times the DIoU loss. Of the points within
    an instance, the share `keep_share` with the lowest costs count in full; what no instance keeps counts
    `confused_weight`.

    Args:
        points: P points.
        logits: (P, K).
        offsets: (P, 2) predicted, in strides of the point's level.
        valid: (P,) bool; the others answer for nothing.
        start_idx: (N,) in snippets; likewise end_idx.
        label: (N,) int64.
        center_radius: In strides of the point's level; None for anywhere inside.
        class_weight, tiou_weight, keep_share, confused_weight: As above.
    """
    P, K = logits.shape
    if not len(start_idx):
        return WeightedAssignment(
            classes=offsets.new_zeros(P, K),
            offsets=offsets.new_zeros(P, 2),
            instance_idx=offsets.new_zeros(P, dtype=torch.int64),
            weight=offsets.new_ones(P),
        )
    around, wanted = _around(points, start_idx, end_idx)  # (P, N), (P, N, 2)
    around &= valid[:, None]
    cost = class_weight * _class_cost(logits, label) + tiou_weight * diou_loss(offsets[:, None], wanted)
    cost = cost.masked_fill(~around, float("inf"))
    chosen = cost.argmin(dim=1)
    answering, _ = shortest_around(points, start_idx, end_idx, center_radius=center_radius)
    return WeightedAssignment(
        classes=classes_of(answering & around, label, K),
        offsets=distances_to(points, start_idx, end_idx, chosen),
        instance_idx=chosen,
        weight=_weight(cost, around, keep_share, confused_weight),
    )


def _around(points: Points, start_idx: Tensor, end_idx: Tensor) -> tuple[Tensor, Tensor]:
    """Whether a point is in an instance, ends included; the distances in strides, 0 where it is not."""
    position, stride = points.position_idx[:, None], points.stride[:, None]
    distances = torch.stack([position - start_idx, end_idx - position], dim=-1) / stride[..., None]  # (P, N, 2)
    around = (distances >= 0).all(-1)
    return around, distances * around[..., None]


def _class_cost(logits: Tensor, label: Tensor) -> Tensor:
    """(P, N): focal loss of all K classes if the point were of the instance's class alone."""
    absent, present = (sigmoid_focal_loss(logits, torch.full_like(logits, float(value))) for value in (0, 1))  # (P, K)
    return absent.sum(-1, keepdim=True) + (present - absent)[:, label]


def _weight(cost: Tensor, around: Tensor, keep_share: float, confused_weight: float) -> Tensor:
    """(P,): 1 for points that an instance keeps, or that lie in none."""
    kept = (around.sum(0) * keep_share).long()  # (N,)
    dearest = cost.sort(dim=0).values.gather(0, (kept - 1).clamp(min=0)[None])  # (1, N)
    full = (around & (cost <= dearest) & (kept > 0)).any(1) | ~around.any(1)
    return torch.where(full, 1.0, confused_weight).to(cost)
