"""Blockwise attention against dense attention with the banded mask."""

import math

import pytest
import torch

from tal.ops.local_attention import local_attention


def dense_attention(query, key, value, mask, window, position_bias=None):
    T = query.shape[2]
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    distance = torch.arange(T) - torch.arange(T)[:, None]
    if position_bias is not None:
        scores = scores + position_bias[:, (distance + window // 2).clamp(0, window - 1)]
    scores = scores + torch.where(mask, 0.0, -1e4)[:, :, None]
    return scores.masked_fill(distance.abs() > window // 2, -math.inf).softmax(-1) @ value


def _inputs(T, valid, seed=0, heads=2, width=8):
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, heads, T, width, generator=generator, requires_grad=True) for _ in range(3))
    mask = torch.arange(T) < torch.tensor([T, valid])[:, None, None]
    return q, k, v, mask


@pytest.mark.parametrize("window", [3, 9, 19, 65])
@pytest.mark.parametrize(("T", "valid"), [(1, 1), (5, 3), (31, 20), (32, 32), (33, 1), (96, 60), (100, 99)])
@pytest.mark.parametrize("biased", [False, True])
def test_equals_dense_attention_with_its_gradients(T, valid, window, biased):
    q, k, v, mask = _inputs(T, valid)
    bias = torch.randn(2, window, requires_grad=True) if biased else None
    leaves = [q, k, v, *([bias] if biased else [])]
    outputs, gradients = [], []
    for attend in (
        local_attention(q, k, v, mask, window=window, position_bias=bias),
        dense_attention(q, k, v, mask, window, bias),
    ):
        masked = attend * mask[..., None]
        outputs.append(masked)
        gradients.append(torch.autograd.grad((masked * masked.detach().sin()).sum(), leaves))
    torch.testing.assert_close(*outputs, rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_padded_keys_do_not_matter():
    q, k, v, mask = _inputs(40, 25)
    other_k, other_v = (torch.where(mask[..., None], x, torch.full_like(x, 7.0)) for x in (k, v))
    ours, other = (local_attention(q, *kv, mask, window=9) * mask[..., None] for kv in ((k, v), (other_k, other_v)))
    torch.testing.assert_close(ours, other, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_finite_values_close_to_full_precision(dtype):
    q, k, v, mask = _inputs(70, 1)
    full = local_attention(q, k, v, mask, window=9)
    with torch.autocast("cpu", dtype=dtype):
        low = local_attention(q, k, v, mask, window=9)
    assert low.isfinite().all()
    torch.testing.assert_close(low.float() * mask[..., None], full * mask[..., None], rtol=0.05, atol=0.05)
    low.sum().backward()
    assert all(x.grad.isfinite().all() for x in (q, k, v))
