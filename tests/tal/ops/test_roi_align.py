"""1-D RoI align against a plain loop, on ramps, and against the parity case's op."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tal.ops.roi_align import roi_align

CASE = Path(__file__).parents[3] / "../shared/cases/parity/denoiseloc_small.io.safetensors"


def _plain(features, spans, bins, lengths=None):
    """The definition, sample by sample."""
    B, C, L = features.shape
    out = torch.zeros(B, spans.shape[1], C, bins, dtype=features.dtype)
    for b in range(B):
        end_of = L if lengths is None else int(lengths[b])
        for q, (start, end) in enumerate(spans[b].tolist()):
            length = max(end - start, 1.0)
            samples = math.ceil(length / bins)
            for k in range(bins):
                for s in range(samples):
                    t = start + k * length / bins + (s + 0.5) * length / bins / samples
                    if not -1 <= t <= end_of:
                        continue
                    t = min(max(t, 0.0), end_of - 1)
                    low = int(t)
                    high = min(low + 1, end_of - 1)
                    out[b, q, :, k] += (
                        (1 - (t - low)) * features[b, :, low] + (t - low) * features[b, :, high]
                    ) / samples
    return out


@pytest.mark.parametrize("bins", [1, 5, 14])
@pytest.mark.parametrize("size", [1, 2, 17, 40])
def test_equals_the_definition(bins, size):
    torch.manual_seed(bins + size)
    features = torch.randn(3, 4, size, dtype=torch.float64)
    centre, width = torch.rand(3, 30, 1) * 2 * size - size / 2, torch.rand(3, 30, 1) ** 2 * 4 * size - 0.5
    spans = torch.cat([centre - width / 2, centre + width / 2], -1).double()
    torch.testing.assert_close(roi_align(features, spans, bins), _plain(features, spans, bins))
    lengths = torch.randint(1, size + 1, (3,))
    torch.testing.assert_close(roi_align(features, spans, bins, lengths), _plain(features, spans, bins, lengths))


def test_a_ramp_gives_the_centres_of_the_bins():
    ramp = torch.arange(60, dtype=torch.float64)[None, None]
    starts = torch.rand(1, 50, 1, dtype=torch.float64) * 20
    spans = torch.cat([starts, starts + 1 + torch.rand(1, 50, 1, dtype=torch.float64) * 38], -1)
    bins = 14
    centres = spans[..., :1] + (torch.arange(bins) + 0.5) * (spans[..., 1:] - spans[..., :1]) / bins
    torch.testing.assert_close(roi_align(ramp, spans, bins)[:, :, 0], centres)


def test_long_spans_cost_no_more_memory_and_stay_exact():
    torch.manual_seed(0)
    features = torch.randn(1, 2, 20, dtype=torch.float64)
    spans = torch.tensor([[[-3000.0, 3100.0], [-1.0, 4000.0], [-5000.0, 19.0], [500.0, 900.0]]], dtype=torch.float64)
    torch.testing.assert_close(roi_align(features, spans, 14), _plain(features, spans, 14))
    assert roi_align(features, spans * 1e30, 14).isfinite().all()


def test_gradients_reach_features_only():
    torch.manual_seed(0)
    features = torch.randn(2, 3, 9, dtype=torch.float64, requires_grad=True)
    spans = (torch.rand(2, 4, 2, dtype=torch.float64) * 9).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: roi_align(x, spans.detach(), 4), (features,))
    roi_align(features, spans, 4).sum().backward()
    assert spans.grad is None


def test_values_beyond_the_given_length_are_not_read():
    features = torch.randn(1, 2, 10)
    spans = torch.rand(1, 6, 2).sort(-1).values * 12
    poisoned = features.clone()
    poisoned[..., 6:] = 1e9
    length = torch.tensor([6])
    torch.testing.assert_close(roi_align(features, spans, 7, length), roi_align(poisoned, spans, 7, length))


@pytest.mark.skipif(not CASE.exists(), reason="the parity cases are not here")
def test_equals_the_recorded_op():
    values = load_file(CASE)
    features, rois = values["roi_align.features"], values["roi_align.rois"]
    for batch_idx, (start, end), expected in zip(
        rois[:, 0].long(), rois[:, 1:], values["roi_align.output"], strict=True
    ):
        found = roi_align(features[batch_idx][None], torch.stack([start, end])[None, None], expected.shape[-1])
        torch.testing.assert_close(found[0, 0], expected, atol=1e-5, rtol=1e-5)
