"""Cross-attention against a dense one, gates by kind, sound's pyramid beside padding."""

import pytest
import torch

from tal.modules.fusion import AudioStep, AudioVisualFusion, CrossAttention, Gate
from tal.modules.masked import downsample_mask


def _mask(counts, T):
    return (torch.arange(T) < torch.tensor(counts)[:, None])[:, None]


@pytest.mark.parametrize("window", [0, 5])
def test_cross_attention_is_dense_attention_within_its_window(window):
    torch.manual_seed(0)
    attention = CrossAttention(8, 2, window)
    x, other, mask = torch.randn(2, 8, 20), torch.randn(2, 8, 20), _mask([20, 13], 20)
    q = attention.query(attention.norm_query(x)).unflatten(1, (2, 4))
    k, v = (part(attention.norm_key(other)).unflatten(1, (2, 4)) for part in (attention.key, attention.value))
    scores = torch.einsum("bhdt,bhds->bhts", q, k) / 2
    apart = (torch.arange(20)[:, None] - torch.arange(20)).abs()
    near = torch.ones_like(apart, dtype=torch.bool) if window == 0 else apart <= window // 2
    if window:
        scores = scores - torch.tensor([2.0, 1.0])[:, None, None] * apart
    weight = scores.masked_fill(~(near & mask[:, None]), -1e9).softmax(-1)
    expected = attention.proj(torch.einsum("bhts,bhds->bhdt", weight, v).flatten(1, 2)) * mask
    torch.testing.assert_close(attention(x, other, mask), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "shape"), [("channel", (2, 8, 20)), ("time", (2, 1, 20)), ("scalar", (2, 1, 1)), ("closed", (1, 1, 1))]
)
def test_gates_begin_nearly_closed(kind, shape):
    torch.manual_seed(0)
    gate = Gate(8, kind, -2.0)
    x, attended, mask = torch.randn(2, 8, 20), torch.randn(2, 8, 20), _mask([20, 13], 20)
    value = gate(x, attended, mask)
    assert value.shape == shape
    assert 0 <= value.mean() < 0.3
    assert bool(value.any()) == (kind != "closed")
    if kind == "scalar":
        shorter = gate(x[1:, :, :13], attended[1:, :, :13], mask[1:, :, :13])
        torch.testing.assert_close(value[1:], shorter)


@pytest.mark.parametrize("T", [8, 9, 24, 31])
def test_sound_has_the_lengths_of_the_pictures_levels(T):
    mask = _mask([T, max(T - 3, 1)], T)
    x, step = torch.randn(2, 8, T), AudioStep(8)
    for _ in range(3):
        coarser = downsample_mask(mask, 2)
        x, mask = step(x, mask, coarser), coarser
        assert x.shape[-1] == mask.shape[-1]
        assert not x[~mask.expand_as(x)].any()


def _fusion(**changes):
    torch.manual_seed(0)
    settings = {"heads": 2, "window": 5, "gate": "channel", "gate_bias": -2.0, "symmetric": False, "hierarchy": True}
    return AudioVisualFusion(3, 8, 3, **{**settings, **changes})


def _inputs(T, count=13):
    generator = torch.Generator().manual_seed(0)
    masks = [_mask([count, count - 4], T)]
    audio = torch.randn(2, 3, 64, generator=generator)[..., :T] * masks[0]
    for _ in range(2):
        masks.append(downsample_mask(masks[-1], 2))
    levels = [torch.randn(2, 8, 64, generator=generator)[..., : mask.shape[-1]] * mask for mask in masks]
    return audio, levels, masks


@pytest.mark.parametrize("changes", [{}, {"window": 0}, {"symmetric": True}, {"gate": "scalar", "hierarchy": False}])
def test_padding_further_changes_nothing(changes):
    fusion, everyone = _fusion(**changes), torch.ones(2, 1, 1, dtype=torch.bool)
    (audio, levels, masks), (longer, further, wider) = _inputs(16), _inputs(32)
    for short, long, mask in zip(
        fusion(audio, everyone, levels, masks), fusion(longer, everyone, further, wider), masks, strict=True
    ):
        T = mask.shape[-1]
        torch.testing.assert_close(long[..., :T] * mask, short * mask)


def test_only_those_who_hear_are_changed():
    fusion, (audio, levels, masks) = _fusion(), _inputs(16)
    fused = fusion(audio, torch.tensor([True, False])[:, None, None], levels, masks)
    for before, after in zip(levels, fused, strict=True):
        assert not torch.equal(before[0], after[0])
        assert torch.equal(before[1], after[1])


def test_with_hierarchy_coarser_levels_hear_what_finer_ones_let_in():
    audio, levels, masks = _inputs(16)
    everyone = torch.ones(2, 1, 1, dtype=torch.bool)
    for hierarchy in (True, False):
        fusion = _fusion(hierarchy=hierarchy)
        before = fusion(audio, everyone, levels, masks)
        with torch.no_grad():
            fusion.level[0].gate.linear.bias.fill_(2.0)
        after = fusion(audio, everyone, levels, masks)
        assert not torch.equal(before[0], after[0])
        assert torch.equal(before[1], after[1]) != hierarchy
