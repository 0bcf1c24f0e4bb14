"""Losses against their definitions."""

import pytest
import torch
from torchvision.ops import sigmoid_focal_loss as reference_focal_loss

from tal.modules.losses import RunningNormalizer, diou_loss, sigmoid_focal_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_equals_torchvisions(smoothing):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 7, generator=generator) * 4
    targets = (torch.rand(50, 7, generator=generator) > 0.7).float() * (1 - smoothing) + smoothing / 8
    expected = reference_focal_loss(logits, targets, alpha=0.25, gamma=2.0)
    torch.testing.assert_close(sigmoid_focal_loss(logits, targets), expected)


def test_diou_equals_its_definition():
    generator = torch.Generator().manual_seed(1)
    predicted, target = torch.rand(2, 40, 2, generator=generator) * 5
    for ours, p, t in zip(diou_loss(predicted, target).tolist(), predicted.tolist(), target.tolist(), strict=True):
        starts, ends = (-p[0], -t[0]), (p[1], t[1])
        inter, hull = min(ends) - max(starts), max(ends) - min(starts)
        union = sum(p) + sum(t) - inter
        centers = (starts[0] + ends[0]) / 2 - (starts[1] + ends[1]) / 2
        assert ours == pytest.approx(1 - inter / union + (centers / hull) ** 2, rel=1e-4, abs=1e-5)


def test_diou_of_equal_and_of_empty_segments():
    same = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    assert diou_loss(same, same).tolist() == [0.0, 0.0]
    empty = torch.zeros(1, 2, requires_grad=True)
    loss = diou_loss(empty, same[:1]).sum()
    assert loss.isfinite()
    loss.backward()
    assert empty.grad.isfinite().all()


def test_running_normalizer():
    normalizer = RunningNormalizer(100.0)
    assert normalizer(torch.tensor(34)).item() == pytest.approx(93.4)
    assert normalizer(torch.tensor(0)).item() == pytest.approx(0.9 * 93.4 + 0.1)
    normalizer.eval()
    assert normalizer(torch.tensor(1000)).item() == pytest.approx(0.9 * 93.4 + 0.1)
    assert list(normalizer.state_dict()) == ["value"]
