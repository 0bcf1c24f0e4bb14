"""TemporalMaxer: learning, its assigner against loops, weights of points, padding, settings."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.temporalmaxer import TemporalMaxer, TemporalMaxerConfig
from tal.modules.cost_assigner import assign_by_cost
from tal.modules.losses import diou_loss, sigmoid_focal_loss
from tal.ops.points import assign_points, pyramid_points

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import CLASSES, WIDTH, clips, learns, same_in_any_batch, trains_without_instances

SMALL = TemporalMaxerConfig(
    streams={"features": WIDTH},
    classes=CLASSES,
    train_snippets=64,
    width=32,
    branch_layers=3,
    init_loss_norm=20,
)
RULE = {"center_radius": 1.5, "class_weight": 1.0, "tiou_weight": 2.0, "keep_share": 1.0, "confused_weight": 0.0}


def _model(**changes):
    torch.manual_seed(0)
    return TemporalMaxer(replace(SMALL, **changes))


@pytest.mark.parametrize("neck_norm", ["layer", "group"])
def test_overfits_a_handful_of_clips(neck_norm):
    learns(_model(neck_norm=neck_norm), clips(2))


def test_context_has_no_parameters_and_one_norm_serves_all_levels():
    names = [name for name, _ in _model().named_parameters()]
    assert {name.split(".")[0] for name in names} == {"embed", "neck", "classify", "regress"}
    assert [name for name in names if name.startswith("neck")] == ["neck.norm.weight", "neck.norm.bias"]
    assert not list(_model(neck_norm="group").neck.parameters())
    assert _model(neck="top_down").neck.lateral


def _draw(seed, instances=5):
    torch.manual_seed(seed)
    points = pyramid_points([32, 16, 8], [1, 2, 4], [(0, 6), (4, 12), (8, 1e4)])
    P = len(points.stride)
    start_idx = (torch.rand(instances) * 20).round()
    end_idx = start_idx + (torch.rand(instances) * 14 + 2).round()
    end_idx[1], start_idx[1] = end_idx[0], start_idx[0]  # two of one length
    label = torch.randint(0, 3, (instances,))
    return points, torch.randn(P, 3) * 2, torch.rand(P, 2) * 4, torch.rand(P) < 0.9, start_idx, end_idx, label


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"keep_share": 0.6, "confused_weight": 0.1},
        {"class_weight": 0.0, "tiou_weight": 1.0, "center_radius": 0.6},
        {"class_weight": 3.0, "tiou_weight": 0.5, "center_radius": None, "keep_share": 0.0, "confused_weight": 0.5},
    ],
    ids=["published", "keeps some", "by tIoU", "by class, keeps none"],
)
def test_the_assigner_equals_loops(seed, changes):
    rule = {**RULE, **changes}
    points, logits, offsets, valid, start_idx, end_idx, label = _draw(seed)
    found = assign_by_cost(points, logits, offsets, valid, start_idx, end_idx, label, **rule)
    radius = {"center_radius": rule["center_radius"]}
    plain = assign_points(points, start_idx, end_idx, label, classes=3, **radius)
    assert torch.equal(found.classes, plain.classes * valid[:, None])

    P, N = len(valid), len(label)
    costs = np.full((P, N), np.inf)
    for p in range(P):
        for n in range(N):
            t, stride = points.position_idx[p], points.stride[p]
            wanted = torch.stack([t - start_idx[n], end_idx[n] - t]) / stride
            if valid[p] and wanted.min() >= 0:
                one = torch.nn.functional.one_hot(label[n], 3).float()
                focal, ends = sigmoid_focal_loss(logits[p], one).sum(), diou_loss(offsets[p], wanted)
                costs[p, n] = rule["class_weight"] * focal + rule["tiou_weight"] * ends
    weight = np.where(np.isfinite(costs).any(1), rule["confused_weight"], 1.0)
    for n in range(N):
        kept = int(np.isfinite(costs[:, n]).sum() * rule["keep_share"])
        weight[np.argsort(costs[:, n])[:kept]] = 1.0
    np.testing.assert_allclose(found.weight, weight)
    for p in np.flatnonzero(found.classes.sum(1)):
        best = costs[p].argmin()
        assert costs[p, found.instance_idx[p]] == pytest.approx(costs[p, best], abs=1e-4)
        t, stride, chosen = points.position_idx[p], points.stride[p], found.instance_idx[p]
        expected = torch.stack([t - start_idx[chosen], end_idx[chosen] - t]) / stride
        torch.testing.assert_close(found.offsets[p], expected)


def test_a_point_may_regress_to_another_instance_than_the_one_it_names():
    """As in the reference implementation: its classes are the shortest instance's, its ends the cheapest one's."""
    points = pyramid_points([16], [1], [(0, 1e4)])
    start_idx, end_idx, label = torch.tensor([0.0, 6.0]), torch.tensor([16.0, 10.0]), torch.tensor([0, 1])
    offsets = torch.tensor([8.0, 8.0]).expand(16, 2)
    logits = torch.tensor([4.0, -4.0]).expand(16, 2)
    everything = torch.ones(16, dtype=torch.bool)
    found = assign_by_cost(points, logits, offsets, everything, start_idx, end_idx, label, **RULE)
    assert found.classes[8].tolist() == [0, 1]
    assert found.instance_idx[8] == 0
    assert found.offsets[8].tolist() == [8, 8]


def test_weights_of_points_reach_losses_and_their_divisor():
    batch = clips(2)
    whole, half = _model().train(), _model(keep_share=0.5, confused_weight=0.25).train()
    outputs = whole(batch)
    found = half.match(outputs, batch)
    weights = found.weight[found.positive]
    assert set(weights.unique().tolist()) == {0.25, 1.0}
    assert half.positives.value.item() == pytest.approx(0.9 * 20 + 0.1 * weights.sum().item())
    half.positives.value.fill_(20.0)
    losses = half.eval().loss(outputs, batch)
    by_pair = diou_loss(found.offsets[found.positive], found.distances[found.positive])
    assert losses["regression"].item() == pytest.approx(((by_pair * weights).sum() / 20).item(), rel=1e-5)
    focal = half.focal(found).sum(-1)
    expected = focal.sum() - ((1 - weights) * focal[found.positive]).sum()
    assert losses["classification"].item() == pytest.approx((expected / 20).item(), rel=1e-5)


@pytest.mark.parametrize("neck_norm", ["layer", "group"])
@pytest.mark.parametrize("count", [5, 63, 64, 65, 100])
def test_a_window_is_what_it_is_in_any_batch_and_padding(neck_norm, count):
    same_in_any_batch(_model(neck_norm=neck_norm, head_kernel=5).eval(), count, ("logits", "offsets"))


def test_windows_of_a_batch_share_a_length_where_they_may():
    counts = [64, 30, 10, 90]
    assert SMALL.lengths_together(counts) == [64, 64, 64, 96]
    assert SMALL.lengths_together([10, 30]) == [40, 40]
    assert replace(SMALL, neck_norm="group").lengths_together([10, 30, 90]) == [64, 64, 96]


def test_a_batch_without_instances_has_a_loss():
    trains_without_instances(_model(), clips(2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"neck_norm": "batch"}, '"layer", "group" or "none"'),
        ({"neck_norm": "group", "neck_groups": 5}, "a divisor of width"),
        ({"keep_share": 1.1}, "a share in"),
        ({"tiou_weight": -1.0}, "not negative"),
    ],
)
def test_settings_that_cannot_be(changes, said):
    with pytest.raises(ConfigError, match=said):
        replace(SMALL, **changes)
