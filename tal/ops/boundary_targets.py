"""What BMN learns: how near each snippet is to a start or an end, and how well each segment covers an instance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

REGION = 3.0
"""Length of the stretch around a boundary that counts as it, snippets."""


def boundary_targets(time: Tensor, snippets: int, anchors: Literal["centered", "cells"]) -> Tensor:
    """Share of every snippet's anchor that lies within 1.5 snippets of the nearest boundary.

    Args:
        time: (I,) starts or ends, in snippets from the first one's beginning.
        snippets: T.
        anchors: That of snippet i is [i - 0.5, i + 0.5] ("centered", JJBOY) or [i, i + 1] ("cells", OpenTAD).

    Returns:
        (T,) in [0, 1]; zeros without boundaries.
    """
    begin = torch.arange(snippets, device=time.device, dtype=time.dtype)[:, None] - (anchors == "centered") * 0.5
    if not len(time):
        return begin[:, 0].mul(0.0)
    shared = torch.minimum(begin + 1, time + REGION / 2) - torch.maximum(begin, time - REGION / 2)
    return shared.clamp(min=0).amax(1)


def segment_targets(start: Tensor, end: Tensor, first: Tensor, last: Tensor) -> Tensor:
    """tIoU of every segment with the instance that it covers best.

    Args:
        start, end: (I,) of the instances, in snippets from the first one's beginning.
        first, last: (M,) of the segments: snippet `last` is within.

    Returns:
        (M,) in [0, 1]; zeros without instances.
    """
    low, high = first[:, None].to(start.dtype), last[:, None].to(start.dtype) + 1
    if not len(start):
        return low[:, 0].mul(0.0)
    shared = (torch.minimum(high, end) - torch.maximum(low, start)).clamp(min=0)
    union = (high - low) + (end - start) - shared
    return (shared / union).amax(1)


def peaks(score: Tensor) -> Tensor:
    """Snippets that may be boundaries: local maxima, and all above half of the highest.

    Args:
        score: (B, T).

    Returns:
        (B, T) bool.
    """
    around = torch.nn.functional.max_pool1d(score[:, None], kernel_size=3, stride=1, padding=1)[:, 0]
    return (score == around) | (score > 0.5 * score.amax(1, keepdim=True))
