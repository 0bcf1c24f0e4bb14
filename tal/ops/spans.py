"""Spans as (centre, width) or (start, end), in any unit; overlap of all pairs."""

import torch
from torch import Tensor


def to_ends(spans: Tensor) -> Tensor:
    """(..., 2) centre and width -> (..., 2) start and end."""
    centre, width = spans.unbind(-1)
    return torch.stack([centre - 0.5 * width, centre + 0.5 * width], dim=-1)


def to_centre_width(ends: Tensor) -> Tensor:
    """(..., 2) start and end -> (..., 2) centre and width."""
    start, end = ends.unbind(-1)
    return torch.stack([0.5 * (start + end), end - start], dim=-1)


def generalized_tiou(first: Tensor, second: Tensor) -> Tensor:
    """tIoU less the share of the smallest common span that neither covers (Rezatofighi et al. 2019).

    Args:
        first: (..., 2) start and end.
        second: (..., 2); the leading dimensions are broadcast: `first[:, None]` and `second` give all pairs.

    Returns:
        (...) float32 in [-1, 1]; not a number where both spans are one and the same point.
    """
    first, second = first.float(), second.float()
    shared = (torch.minimum(first[..., 1], second[..., 1]) - torch.maximum(first[..., 0], second[..., 0])).clamp(min=0)
    union = (first[..., 1] - first[..., 0]) + (second[..., 1] - second[..., 0]) - shared
    hull = torch.maximum(first[..., 1], second[..., 1]) - torch.minimum(first[..., 0], second[..., 0])
    hull = hull.clamp(min=0)
    return shared / union - (hull - union) / hull
