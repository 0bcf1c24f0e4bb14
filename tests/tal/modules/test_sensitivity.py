"""Sensitivity by hand: Gaussians at known places, ranks, means, the contrast against its formula."""

import math

import pytest
import torch
import torch.nn.functional as F

from tal.modules.sensitivity import ClassSensitivity, Evaluator, contrast, most_sensitive, pooled


@pytest.mark.parametrize(
    ("form", "at_start"),
    [("sum", 1 + math.exp(-0.5)), ("mean_times_class", math.exp(-0.125) * (1 + math.exp(-0.5)) / 2)],
)
def test_gaussians_before_any_training(form, at_start):
    gaussians = ClassSensitivity(3, form)
    naming, ending = gaussians(torch.tensor([-0.5, 0.0, 0.5]), torch.tensor([0, 1, 2]))
    torch.testing.assert_close(naming, torch.tensor([math.exp(-0.125), 1.0, math.exp(-0.125)]))
    assert ending[0].item() == pytest.approx(at_start)
    assert ending[2].item() == pytest.approx(at_start)
    assert ending[1].item() == pytest.approx((2 if form == "sum" else 1) * math.exp(-0.125))


def test_every_class_has_its_own_gaussians():
    gaussians = ClassSensitivity(2)
    with torch.no_grad():
        gaussians.mu_cls[1], gaussians.sigma_cls[1] = 0.25, 0.5
    naming, _ = gaussians(torch.zeros(2, 1), torch.tensor([0, 1])[:, None])
    torch.testing.assert_close(naming[:, 0], torch.tensor([1.0, math.exp(-0.125)]))
    naming.sum().backward()
    assert gaussians.mu_cls.grad[:, 0].tolist() == [0, pytest.approx(math.exp(-0.125) * -1)]


def test_a_sigma_of_zero_gives_numbers():
    gaussians = ClassSensitivity(1)
    with torch.no_grad():
        gaussians.sigma_cls.zero_()
    naming, _ = gaussians(torch.tensor([0.0, 0.3]), torch.tensor([0, 0]))
    assert naming.tolist() == [1, 0]
    naming.sum().backward()
    assert gaussians.sigma_cls.grad.isfinite().all()


def test_clamping_puts_them_back_into_the_instance():
    gaussians = ClassSensitivity(2)
    with torch.no_grad():
        gaussians.mu_sta.fill_(-3)
        gaussians.sigma_end.fill_(-0.5)
    gaussians.clamp_()
    assert gaussians.mu_sta.unique().item() == -0.5
    assert gaussians.sigma_end.unique().item() == pytest.approx(0.1)
    assert gaussians.means()["mu_sta"].item() == -0.5
    assert gaussians.sigma_cls.unique().item() == 1


def test_evaluators_begin_near_one_half_and_see_neighbours_only():
    torch.manual_seed(0)
    evaluator = Evaluator(4, 8)
    levels = [torch.randn(2, 4, 12), torch.randn(2, 4, 6)]
    masks = [torch.ones(2, 1, 12, dtype=torch.bool), torch.ones(2, 1, 6, dtype=torch.bool)]
    quality = evaluator(levels, masks)
    assert quality.shape == (2, 18)
    assert ((quality > 0.1) & (quality < 0.9)).all()
    levels[0][:, :, 5] += 3
    changed = (evaluator(levels, masks) != quality).any(0).nonzero()[:, 0].tolist()
    assert changed == [4, 5, 6]


def test_most_sensitive_points():
    sensitivity = torch.tensor([[5.0, 4, 3, 2, 1, 9], [1.0, 2, 3, 4, 5, 9]])
    among = torch.tensor([[True] * 5 + [False], [False, True, False, False, False, False]])
    assert most_sensitive(sensitivity, among, 0.5).nonzero().tolist() == [[0, 0], [0, 1], [1, 1]]
    assert most_sensitive(sensitivity, among, 0.1).sum(1).tolist() == [1, 1]
    assert not most_sensitive(sensitivity, torch.zeros_like(among), 0.5).any()


def test_pooled_features_have_length_one():
    features = torch.tensor([[3.0, 0, 0], [0, 4.0, 7]])
    found = pooled(features, torch.tensor([[True, True, False], [False, False, True], [False, False, False]]))
    torch.testing.assert_close(found, torch.tensor([[0.6, 0.8], [0.0, 1.0], [0.0, 0.0]]))


def test_contrast_is_its_formula():
    generator = torch.Generator().manual_seed(0)
    anchors, others = (F.normalize(torch.randn(n, 5, generator=generator), dim=1) for n in (4, 3))
    label = torch.tensor([0, 0, 1, 1])
    values = []
    for i, partner in enumerate((1, 0, 3, 2)):
        sims = {j: math.exp(float(anchors[i] @ anchors[j]) / 0.07) for j in range(4) if j != i}
        rest = sum(math.exp(float(anchors[i] @ x) / 0.07) for x in others)
        values.append(-math.log(sims[partner] / (sum(sims.values()) + rest)))
    assert contrast(anchors, label, others, 0.07).item() == pytest.approx(sum(values) / 4, rel=1e-4)
    alone = torch.tensor([0, 0, 1, 2])
    assert contrast(anchors, alone, others, 0.07).item() == pytest.approx(
        sum(-math.log(_share(anchors, others, i, 1 - i)) for i in (0, 1)) / 2, rel=1e-4
    )


def _share(anchors, others, i, partner):
    everything = torch.cat([anchors, others]) @ anchors[i] / 0.07
    everything[i] = -torch.inf
    return everything.softmax(0)[partner].item()


def test_contrast_without_a_pair_is_zero_with_zero_gradients():
    anchors = F.normalize(torch.randn(2, 4), dim=1).requires_grad_()
    loss = contrast(anchors, torch.tensor([0, 1]), torch.zeros(0, 4), 0.07)
    loss.backward()
    assert loss.item() == 0
    assert not anchors.grad.any()
