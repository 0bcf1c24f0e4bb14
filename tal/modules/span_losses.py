"""Losses of a set of predicted spans and of clips' saliency.

Moment-DETR (Lei, Berg, Bansal 2021, arXiv:2107.09609, section 4.2) and its code; DenoiseLoc (Xu et al. 2024) uses them
on every refinement step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tal.modules.processes import mean_over_processes, process_count
from tal.ops.matching import FOREGROUND, Matches
from tal.ops.spans import generalized_tiou, to_ends

PAIR_WEIGHT = 2.0
"""The original doubles the saliency loss, "to keep the same scale" as with one pair less."""


def span_losses(spans: Tensor, targets: Tensor, matches: Matches) -> tuple[Tensor, Tensor]:
    """Of the matched predictions: the mean absolute error, and the mean of 1 - generalised tIoU.

    Args:
        spans: (B, Q, 2) centre and width, in fractions of the video.
        targets: (N, 2) of all videos, as `torch.cat` puts them.
        matches: Which answers for which.

    Returns:
        Two scalars; zero where nothing is matched, of which the original's are not numbers.
    """
    predicted, wanted = spans[matches.video_idx, matches.query_idx].float(), targets[matches.target_idx].float()
    overlap = generalized_tiou(to_ends(predicted), to_ends(wanted))
    return _mean((predicted - wanted).abs()), _mean(1 - overlap)


def bin_loss(bins: Tensor, targets: Tensor, matches: Matches) -> Tensor:
    """Mean cross-entropy of the matched predictions' first and last clip.

    Args:
        bins: (B, Q, 2, V) logits.
        targets: (N, 2) int64 of all videos.
        matches: Which answers for which.
    """
    predicted, wanted = bins[matches.video_idx, matches.query_idx].float(), targets[matches.target_idx]
    return _mean(F.cross_entropy(predicted.flatten(0, 1), wanted.flatten(), reduction="none"))


def label_loss(logits: Tensor, matches: Matches, *, background: float) -> tuple[Tensor, Tensor]:
    """Cross-entropy of foreground and background, and the share of the matched predictions that it gets wrong.

    Args:
        logits: (B, Q, 2), foreground first.
        matches: Those of the foreground.
        background: Weight of the background's entries; the mean is over all entries, whatever they weigh.
    """
    wanted = torch.full(logits.shape[:2], 1 - FOREGROUND, dtype=torch.int64, device=logits.device)
    wanted[matches.video_idx, matches.query_idx] = FOREGROUND
    weight = torch.tensor([1.0, background], device=logits.device)
    entropy = F.cross_entropy(logits.float().transpose(1, 2), wanted, weight, reduction="none")
    found = logits[matches.video_idx, matches.query_idx].argmax(-1) == FOREGROUND
    return entropy.mean(), _mean((~found).float()).detach()


def saliency_loss(scores: Tensor, positive: Tensor, negative: Tensor, *, margin: float) -> Tensor:
    """Hinge on pairs of clips: the positive one has to score higher by the margin.

    Args:
        scores: (B, T) per clip.
        positive, negative: (B, P) int64, the clips of every pair.
        margin: Wanted difference.
    """
    gap = scores.gather(1, negative).float() - scores.gather(1, positive).float()
    return PAIR_WEIGHT * (margin + gap).clamp(min=0).mean()


def alignment_loss(queries: Tensor, tokens: Tensor, matches: Matches, *, temperature: float) -> Tensor:
    """Matched predictions are nearer to the text than the others (noise-contrastive; off in published results).

    A prediction's nearness is its summed product with all tokens, padding included: the original's rule, by which the
    loss depends on the batch's longest text.

    Args:
        queries: (B, Q, E) of unit length; tokens: (B, L, E) of unit length.
        matches: The positives.
        temperature: Of the softmax.
    """
    with torch.autocast(queries.device.type, enabled=False):
        nearness = torch.einsum("bqe,ble->bq", queries.float(), tokens.float()) / temperature
    positive = torch.zeros_like(nearness)
    positive[matches.video_idx, matches.query_idx] = 1.0
    mean = (nearness * positive).sum(1) / positive.sum(1).clamp(min=1)
    return (nearness.logsumexp(1) - mean).mean()


def _mean(values: Tensor) -> Tensor:
    """Over the values of all processes, of which each has its own number."""
    count = mean_over_processes(torch.tensor(float(values.numel()), device=values.device))
    return values.sum() / count.clamp(min=1 / process_count())
