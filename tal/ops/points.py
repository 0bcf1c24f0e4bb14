"""The points of a feature pyramid: where they are, which instance each answers for, what each proposes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

_EQUAL_LENGTHS = 1e-3


# (level, position (B, M), label (B, M)) -> (B, M, 2) distances to start and end, in strides of the level
OffsetsAt = Callable[[int, Tensor, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Points:
    """All P points of a pyramid, level after level, in snippets of the finest level.

    Args:
        position_idx: (P,) where a point is.
        stride: (P,) its level's stride, the unit of its offsets.
        shortest, longest: (P,) bounds, inclusive, of the distance to the farther end of the instances it answers for.
    """

    position_idx: Tensor
    stride: Tensor
    shortest: Tensor
    longest: Tensor


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What P points answer for; a batch's with a leading B.

    Args:
        classes: (P, K) float, 1 for a class that the point answers for.
        offsets: (P, 2) distances to the instance's start and end, in strides of the point's level.
        instance_idx: (P,) int64. Like offsets, meaningless where no class is set.
    """

    classes: Tensor
    offsets: Tensor
    instance_idx: Tensor

    @classmethod
    def stack(cls, parts: Sequence[Self]) -> Self:
        """Of all windows of a batch, (B, P, ...)."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.stack([getattr(each, name) for each in parts]) for name in names})


def pyramid_points(
    lengths: Sequence[int],
    strides: Sequence[int],
    ranges: Sequence[tuple[float, float]],
    device: torch.device | str = "cpu",
) -> Points:
    """The points of levels with T_l positions each: position t of a level with stride s stands at t * s."""
    position = [torch.arange(T, device=device) * stride for T, stride in zip(lengths, strides, strict=True)]
    per_level = torch.tensor([(s, *r) for s, r in zip(strides, ranges, strict=True)], device=device).float()
    rows = per_level.repeat_interleave(torch.tensor(lengths, device=device), dim=0)  # (P, 3)
    return Points(position_idx=torch.cat(position).float(), stride=rows[:, 0], shortest=rows[:, 1], longest=rows[:, 2])


def assign_points(
    points: Points,
    start_idx: Tensor,
    end_idx: Tensor,
    label: Tensor,
    *,
    classes: int,
    center_radius: float | None,
) -> Assignment:
    """Which classes each point answers for, and the offsets to its instance (ActionFormer, section 3.3).

    A point can answer for an instance if it lies strictly inside it, and strictly within `center_radius` strides of
    its centre, and the farther end is as far as the point's level covers. Of several it takes the shortest; all those
    that are within 1e-3 snippets as short give their classes too.

    Args:
        points: P points.
        start_idx: (N,) in snippets; likewise end_idx.
        label: (N,) int64.
        classes: K.
        center_radius: In strides of the point's level; None for anywhere inside.
    """
    position = points.position_idx[:, None]  # (P, 1)
    if not len(start_idx):
        return Assignment(
            classes=position.new_zeros(len(position), classes),
            offsets=position.new_zeros(len(position), 2),
            instance_idx=position.new_zeros(len(position), dtype=torch.int64),
        )
    equal, chosen = shortest_around(points, start_idx, end_idx, center_radius=center_radius)
    return Assignment(
        classes=classes_of(equal, label, classes),
        offsets=distances_to(points, start_idx, end_idx, chosen),
        instance_idx=chosen,
    )


def shortest_around(
    points: Points, start_idx: Tensor, end_idx: Tensor, *, center_radius: float | None
) -> tuple[Tensor, Tensor]:
    """Which of N instances each of P points can answer for, of these the shortest ones.

    Args:
        points, start_idx, end_idx, center_radius: As in `assign_points`; at least one instance.

    Returns:
        (P, N) bool, all that are within 1e-3 snippets as short as the shortest; and (P,) the shortest one.
    """
    position = points.position_idx[:, None]  # (P, 1)
    left, right = position - start_idx, end_idx - position  # (P, N)
    inside = torch.minimum(left, right) > 0
    if center_radius is not None:
        center, radius = 0.5 * (start_idx + end_idx), points.stride[:, None] * center_radius
        inside &= (position - center).abs() < radius
    farther = torch.maximum(left, right)
    inside &= (farther >= points.shortest[:, None]) & (farther <= points.longest[:, None])

    length = (end_idx - start_idx).expand_as(left).masked_fill(~inside, float("inf"))
    shortest, chosen = length.min(dim=1)
    return (length <= shortest[:, None] + _EQUAL_LENGTHS) & inside, chosen


def classes_of(answering: Tensor, label: Tensor, classes: int) -> Tensor:
    """(P, N) bool, (N,) labels -> (P, K) float, 1 for the classes of the instances that a point answers for."""
    one_hot = torch.nn.functional.one_hot(label, classes).float()  # (N, K)
    with torch.autocast(label.device.type, enabled=False):
        return (answering.float() @ one_hot).clamp(max=1)


def distances_to(points: Points, start_idx: Tensor, end_idx: Tensor, chosen: Tensor) -> Tensor:
    """(P, 2) distances from each point to the ends of its chosen instance (P,), in strides of its level."""
    position = points.position_idx
    return torch.stack([position - start_idx[chosen], end_idx[chosen] - position], dim=-1) / points.stride[:, None]


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """What the points of B windows propose, M columns each, of which `keep` says which count.

    Args:
        start_idx, end_idx: (B, M) in snippets of the finest level.
        score: (B, M) in [0, 1].
        label: (B, M) int64.
        point_idx: (B, M) position of the proposing point, in snippets of the finest level.
        keep: (B, M) bool.
    """

    start_idx: Tensor
    end_idx: Tensor
    score: Tensor
    label: Tensor
    point_idx: Tensor
    keep: Tensor


def best_proposals(
    logits: Sequence[Tensor],
    masks: Sequence[Tensor],
    strides: Sequence[int],
    offsets_at: OffsetsAt,
    *,
    score_threshold: float,
    per_level: int,
    min_length: float,
) -> Proposals:
    """The best (point, class) pairs of every level, as segments.

    Args:
        logits: Per level (B, K, T_l).
        masks: Per level (B, 1, T_l) bool.
        strides: Per level, in snippets.
        offsets_at: The offsets of chosen pairs of a level.
        score_threshold: Scores have to be higher.
        per_level: Pairs kept per level and window.
        min_length: Segments have to be longer, in snippets.
    """
    columns = []
    for level, (logit, mask, stride) in enumerate(zip(logits, masks, strides, strict=True)):
        K = logit.shape[1]
        probability = (logit.float().sigmoid() * mask).transpose(1, 2).flatten(1)  # (B, T_l * K)
        score, pair = probability.topk(min(per_level, probability.shape[1]), dim=1)  # (B, M_l)
        position = pair // K
        label = pair % K
        left, right = offsets_at(level, position, label).unbind(-1)
        point = position * float(stride)
        columns.append((point - left * stride, point + right * stride, score, label, point))
    start, end, score, label, point = (torch.cat(each, dim=1) for each in zip(*columns, strict=True))
    keep = (score > score_threshold) & (end - start > min_length)
    return Proposals(start_idx=start, end_idx=end, score=score, label=label, point_idx=point, keep=keep)
