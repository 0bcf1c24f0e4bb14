"""Which prediction answers for which target: one to one, at the least total cost (DETR, Carion et al. 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from tal.ops.spans import generalized_tiou, to_ends

FOREGROUND = 0
"""Class of a prediction that answers for a target; the other one, 1, is the background."""

_COSTLY = 1e6


@dataclass(frozen=True, kw_only=True)
class MatchWeights:
    """How much each part of the cost counts.

    Args:
        span: Of the L1 distance of (centre, width), or of the probabilities of the end bins.
        giou: Of the generalised tIoU.
        label: Of the probability of the foreground.
    """

    span: float = 10.0
    giou: float = 1.0
    label: float = 4.0


@dataclass(frozen=True, kw_only=True)
class Matches:
    """M pairs of a prediction and a target, video after video.

    Args:
        video_idx: (M,) int64, which of the batch's videos.
        query_idx: (M,) which of its predictions.
        target_idx: (M,) which of the targets, counted through all videos as `torch.cat` puts them.
    """

    video_idx: Tensor
    query_idx: Tensor
    target_idx: Tensor

    def __len__(self) -> int:
        return len(self.video_idx)


def assign(costs: Sequence[Tensor]) -> Matches:
    """The pairs of the least total cost, per video (Hungarian algorithm).

    Every video gives as many pairs as it has predictions or targets, whichever are fewer. What is not a number counts
    as very costly, so that a diverging training ends with its loss, not here.

    Args:
        costs: Per video, (predictions, targets).
    """
    device = costs[0].device
    numbers = torch.cat([cost.detach().flatten() for cost in costs]).cpu().double()  # one transfer for all videos
    numbers = numbers.nan_to_num(_COSTLY, posinf=_COSTLY, neginf=-_COSTLY)
    rows: list[Tensor] = []
    before = 0
    for video, (cost, own) in enumerate(zip(costs, numbers.split([cost.numel() for cost in costs]), strict=True)):
        pairs = linear_sum_assignment(own.view(cost.shape))
        query, target = (torch.as_tensor(each, dtype=torch.int64) for each in pairs)
        rows.append(torch.stack([torch.full_like(query, video), query, target + before]))
        before += cost.shape[1]
    video_idx, query_idx, target_idx = torch.cat(rows, dim=1).to(device)
    return Matches(video_idx=video_idx, query_idx=query_idx, target_idx=target_idx)


@torch.no_grad()
def match_spans(logits: Tensor, spans: Tensor, targets: Sequence[Tensor], weights: MatchWeights) -> Matches:
    """Pair predicted spans with wanted ones (Moment-DETR, section 4.2).

    Args:
        logits: (B, Q, 2), foreground first.
        spans: (B, Q, 2) centre and width, in fractions of the video.
        targets: Per video (N, 2) centre and width.
        weights: Of the cost's parts.
    """
    foreground = logits.float().softmax(-1)[..., FOREGROUND]  # (B, Q)
    costs = []
    for probability, predicted, wanted in zip(foreground, spans.float(), targets, strict=True):
        distance = torch.cdist(predicted, wanted.to(predicted), p=1)
        overlap = generalized_tiou(to_ends(predicted)[:, None], to_ends(wanted))
        costs.append(weights.span * distance - weights.giou * overlap - weights.label * probability[:, None])
    return assign(costs)


@torch.no_grad()
def match_bins(logits: Tensor, bins: Tensor, targets: Sequence[Tensor], weights: MatchWeights) -> Matches:
    """Pair predictions whose ends are classified among V clips with wanted first and last clips.

    Args:
        logits: (B, Q, 2), foreground first.
        bins: (B, Q, 2, V) logits of the first and of the last clip.
        targets: Per video (N, 2) int64, first and last clip.
        weights: Of the cost's parts; there is no overlap in it.
    """
    foreground, chances = logits.float().softmax(-1)[..., FOREGROUND], bins.float().softmax(-1)
    costs = []
    for probability, chance, wanted in zip(foreground, chances, targets, strict=True):
        hit = chance[:, 0, wanted[:, 0]] + chance[:, 1, wanted[:, 1]]  # (Q, N)
        costs.append(-weights.span * hit - weights.label * probability[:, None])
    return assign(costs)
