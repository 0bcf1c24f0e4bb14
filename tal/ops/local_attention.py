"""Attention within a sliding window, computed on blocks of queries and the keys that each block can see."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from tal.ops.exporting import exporting

BLOCK = 32
"""Queries per block: short blocks copy more keys, long ones compute more scores that the band discards."""

_INVALID = -1e4
_OUTSIDE = float("-inf")


def local_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, window: int, position_bias: Tensor | None = None
) -> Tensor:
    """Softmax attention of every position to the `window` positions around it.

    Equal to dense attention with the scores of |i - j| > window // 2 at minus infinity and those of padded keys
    lowered by 1e4 (ActionFormer, Zhang et al. 2022, section 3.2), in O(T * window) instead of O(T^2).

    Args:
        query: (B, H, T, D); likewise key and value.
        mask: (B, 1, T) bool, True where a key is valid.
        window: Odd number of keys that a query sees.
        position_bias: (H, window) added to the scores, by key position relative to the query.

    Returns:
        (B, H, T, D). Rows of padded queries mean nothing; the caller masks them.
    """
    if exporting():
        return _whole(query, key, value, mask, window=window, position_bias=position_bias)
    B, H, T, D = query.shape
    half = window // 2
    count = -(-T // BLOCK)  # n blocks
    seen = BLOCK + 2 * half  # S keys per block
    tail = count * BLOCK - T

    blocks = F.pad(query, (0, 0, 0, tail)).reshape(B * H * count, BLOCK, D)  # (B*H*n, b, D)
    keys, values = (
        F.pad(x, (0, 0, half, half + tail)).unfold(2, seen, BLOCK).transpose(3, 4).reshape(B * H * count, seen, D)
        for x in (key, value)
    )  # (B*H*n, S, D)
    bias = _bias(mask, count, half, tail, position_bias, query.dtype)
    scores = torch.baddbmm(
        bias.expand(B, H, count, BLOCK, seen).reshape(B * H * count, BLOCK, seen),
        blocks,
        keys.transpose(1, 2),
        alpha=1 / math.sqrt(D),
    )  # (B*H*n, b, S)
    attended = scores.softmax(-1).to(values.dtype) @ values  # (B*H*n, b, D)
    return attended.view(B, H, count * BLOCK, D)[:, :, :T]


def _whole(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, window: int, position_bias: Tensor | None
) -> Tensor:
    """The same over all pairs, in O(T^2): blocks whose number depends on T stay out of exported graphs."""
    position = torch.arange(query.shape[2], device=mask.device)
    relative = position - position[:, None] + window // 2  # (T, T): 0 is the leftmost key of a query's window
    lowered = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, _INVALID)[:, :, None]  # (B, 1, 1, T)
    bias = lowered.masked_fill((relative < 0) | (relative >= window), _OUTSIDE)  # (B, 1, T, T)
    if position_bias is not None:
        bias = bias + position_bias.to(query.dtype)[:, relative.clamp(0, window - 1)]
    found = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return found.contiguous()  # its order in memory changes when the graph is decomposed; views after it must not care


def _bias(mask: Tensor, count: int, half: int, tail: int, position_bias: Tensor | None, dtype: torch.dtype) -> Tensor:
    """What is added to a block's scores: (B, 1 or H, n, b, S)."""
    seen = BLOCK + 2 * half
    rows = torch.arange(BLOCK, device=mask.device)[:, None]
    columns = torch.arange(seen, device=mask.device)
    relative = columns - rows  # (b, S): 0 is the leftmost key of a query's window
    band = (relative >= 0) & (relative <= 2 * half)

    valid = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, _INVALID)
    padded = F.pad(valid, (half, half + tail), value=_OUTSIDE).unfold(2, seen, BLOCK)  # (B, 1, n, S)
    # A query beyond the end sees at least itself, so that its row is not all minus infinity.
    itself = (relative == half) & (padded == _OUTSIDE)[..., None, :]
    bias = padded[..., None, :].masked_fill(~band, _OUTSIDE).masked_fill(itself, _INVALID)
    if position_bias is None:
        return bias
    return bias + position_bias.to(dtype)[:, relative.clamp(0, 2 * half)][None, :, None]
