"""Masked layers against references, and the sinusoid table."""

import math
import subprocess
import sys

import pytest
import torch

from tal.errors import FeatureError
from tal.modules.inputs import Standardize, StreamProjection
from tal.modules.masked import ChannelNorm, MaskedConv, MaxPoolSkip, ScaledDropPath, convolve, downsample_mask
from tal.modules.positions import SinusoidPositions

MASK = (torch.arange(12) < torch.tensor([12, 7])[:, None])[:, None]


@pytest.mark.parametrize("stride", [1, 2])
def test_padded_outputs_are_zero_whatever_the_input(stride):
    mask = downsample_mask(MASK, stride)
    x = torch.randn(2, 4, 12)
    conv = MaskedConv(4, 6, 3, stride=stride)
    torch.nn.init.ones_(conv.bias)
    for y in (conv(x, mask), MaxPoolSkip(stride)(x, mask)):
        assert y.shape[-1] == 12 // stride
        assert not y[~mask.expand_as(y)].any()
        assert y[mask.expand_as(y)].all()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("channels_adjacent", [False, True])
def test_convolutions_keep_the_order_of_their_input(channels_adjacent, groups, stride):
    x = torch.randn(2, 20, 8).transpose(1, 2) if channels_adjacent else torch.randn(2, 8, 20)
    weight, bias = torch.randn(16, 8 // groups, 5, requires_grad=True), torch.randn(16)
    found = convolve(x, weight, bias, stride=stride, padding=2, groups=groups)
    expected = torch.nn.functional.conv1d(x, weight, bias, stride, 2, groups=groups)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.square().sum(), weight)[0] for y in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    assert found.transpose(1, 2).is_contiguous() == channels_adjacent


def test_wide_kernels_in_16_bits_end():
    """In a process of its own, which can be given up."""
    script = """if True:
        import torch
        from tal.modules.masked import convolve

        torch.manual_seed(0)
        x, weight = torch.randn(2, 64, 16).transpose(1, 2), torch.randn(16, 1, 31).requires_grad_()
        expected = convolve(x, weight, None, padding=15, groups=16)
        with torch.autocast("cpu", torch.bfloat16):
            found = convolve(x, weight, None, padding=15, groups=16)
        assert found.dtype == torch.bfloat16
        assert (found.float() - expected).abs().max() < 0.2
        found.float().sum().backward()
        assert weight.grad.any()
    """
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_channel_norm_normalises_each_position():
    norm = ChannelNorm(5)
    torch.nn.init.uniform_(norm.weight)
    torch.nn.init.uniform_(norm.bias)
    x = torch.randn(2, 5, 9) * 3 + 1
    for b in range(2):
        for t in range(9):
            column = x[b, :, t]
            expected = (column - column.mean()) / (column.var(unbiased=False) + 1e-5).sqrt() * norm.weight + norm.bias
            torch.testing.assert_close(norm(x)[b, :, t], expected)


def test_dropped_paths_are_whole_samples_and_keep_the_mean():
    path = ScaledDropPath(3, 0.25)
    torch.nn.init.constant_(path.scale, 2.0)
    torch.manual_seed(0)
    y = path(torch.ones(4000, 3, 2))
    assert all(len(sample.unique()) == 1 for sample in y)
    assert sorted(y.unique().tolist()) == pytest.approx([0.0, 2 / 0.75])
    assert y.mean().item() == pytest.approx(2.0, abs=0.05)
    assert path.eval()(torch.ones(1, 3, 2)).unique().tolist() == [2.0]


def test_sinusoids():
    positions = SinusoidPositions(6, 10)
    x = positions(torch.zeros(1, 6, 4), torch.tensor([[[True, True, True, False]]]))[0]
    for channel in range(6):
        angle = 2 / 10000 ** (2 * (channel // 2) / 6)
        value = math.sin(angle) if channel % 2 == 0 else math.cos(angle)
        assert x[channel, 2].item() == pytest.approx(value / math.sqrt(6), abs=1e-6)
    assert not x[:, 3].any()
    assert not positions.state_dict()
    stretched = positions(torch.zeros(1, 6, 20), torch.ones(1, 1, 20, dtype=torch.bool))
    expected = torch.nn.functional.interpolate(positions.table, 20, mode="linear", align_corners=False)
    torch.testing.assert_close(stretched, expected)


def test_standardised_padding_stays_zero():
    layer = Standardize(4)
    x = torch.randn(2, 4, 12) * 3 + 2
    torch.testing.assert_close(layer(x, MASK), x * MASK)
    layer.set(torch.full((4,), 2.0), torch.tensor([3.0, 3.0, 3.0, 0.0]))
    y = layer(x, MASK)
    torch.testing.assert_close(y[0, :3], (x[0, :3] - 2) / 3)
    torch.testing.assert_close(y[0, 3], x[0, 3] - 2)
    assert not y[1, :, 7:].any()


def test_statistics_that_do_not_fit_are_refused():
    streams = StreamProjection({"rgb": 3}, None)
    with pytest.raises(FeatureError, match="'flow'"):
        streams.set_stats({"flow": (torch.zeros(3), torch.ones(3))})
    with pytest.raises(FeatureError, match=r"\(4,\)"):
        streams.set_stats({"rgb": (torch.zeros(4), torch.ones(4))})
    with pytest.raises(FeatureError, match="std"):
        streams.set_stats({"rgb": (torch.zeros(3), torch.full((3,), float("nan")))})
