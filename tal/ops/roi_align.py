"""RoI align in one dimension: every span of a sequence as the same number of averaged bins."""

import torch
from torch import Tensor


def roi_align(features: Tensor, spans: Tensor, bins: int, lengths: Tensor | None = None) -> Tensor:
    """Cut spans into equal bins and average each over samples between the sequence's positions.

    As Align1D of frostinassiky/denoiseloc (from G-TAD) has it: a span shorter than 1 is taken as long as 1, from its
    start on; a bin is the mean of ceil(length / bins) samples at the centres of equal parts of it; a sample at t
    interpolates the values at floor(t) and floor(t) + 1, value i standing at t = i; up to 1 before the first and after
    the last value it takes that value, beyond it is 0.

    The samples that count are at most L + 1 + bins per span however long it is, and all of them together are one matrix
    that the features are multiplied with. Gradients reach the features; the spans get none, as in the original.

    Args:
        features: (B, C, L).
        spans: (B, Q, 2) start and end in positions, anywhere.
        bins: N of the output.
        lengths: (B,) values of each sequence, at least 1, which then ends there; None: L of them.

    Returns:
        (B, Q, C, N).
    """
    weights = _weights(spans.detach(), bins, features.shape[-1], lengths).to(features.dtype)  # (B, Q, N, L)
    pooled = weights.flatten(1, 2) @ features.transpose(1, 2)  # (B, Q N, C)
    return pooled.unflatten(1, weights.shape[1:3]).transpose(2, 3)


def _weights(spans: Tensor, bins: int, size: int, lengths: Tensor | None) -> Tensor:
    """(B, Q, 2) -> (B, Q, N, L), what every position counts in every bin."""
    ends = torch.tensor(size, device=spans.device) if lengths is None else lengths[:, None, None]  # (B, 1, 1)
    start, end = spans[..., :1], spans[..., 1:]  # (B, Q, 1)
    length = (end - start).clamp(min=1)
    bin_length = length / bins
    samples = bin_length.ceil()  # per bin
    step = bin_length / samples  # at most 1, and near it where there are many samples
    # The samples of all bins are one row; it is entered where the sequence begins.
    first = ((-1 - start) / step - 1.5).floor().clamp(min=0)
    number = first + torch.arange(size + bins + 4, device=spans.device)  # (B, Q, G)
    bin_idx = torch.div(number, samples, rounding_mode="floor")
    t = start + bin_idx * bin_length + (number - bin_idx * samples + 0.5) * bin_length / samples
    inside = (bin_idx < bins) & (t >= -1) & (t <= ends)
    t = torch.minimum(t.clamp(min=0), (ends - 1).to(t.dtype))
    low = t.floor()
    weight = inside.to(t.dtype) / samples
    low_idx = low.nan_to_num(0).clamp(0, size - 1).long()
    high_idx = torch.minimum(low_idx + 1, (ends - 1).long())
    row = bin_idx.nan_to_num(0).clamp(0, bins - 1).long() * size
    found = weight.new_zeros(*spans.shape[:2], bins * size)
    found = found.scatter_add(-1, row + low_idx, weight * (1 - (t - low)))
    found = found.scatter_add(-1, row + high_idx, weight * (t - low))
    return found.unflatten(-1, (bins, size))
