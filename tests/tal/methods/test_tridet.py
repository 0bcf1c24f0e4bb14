"""TriDet: learning, the zero initialisation, distributions against loops, losses by hand, padding, settings."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.tridet import TriDet, TriDetConfig
from tal.modules.losses import sigmoid_focal_loss
from tal.modules.sgp import SgpBlock, wide_kernel
from tal.modules.trident import trident_offsets
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import CLASSES, WIDTH, clips, learns, same_in_any_batch, trains_in_bfloat16, trains_without_instances

DEPTHWISE = ("gate", "instant", "narrow", "wide", "overall")
SMALL = TriDetConfig(
    streams={"features": WIDTH},
    classes=CLASSES,
    train_snippets=64,
    width=32,
    stem_layers=1,
    branch_layers=3,
    window=3,
    growth=2.0,
    mlp_width=48,
    bins=8,
    init_std=0.2,
    init_loss_norm=20,
    drop_path=0.05,
)


def _model(**changes):
    torch.manual_seed(0)
    return TriDet(replace(SMALL, **changes))


@pytest.mark.parametrize(
    "changes",
    [{"input_noise": 0.1}, {"trident": False, "downsampling": "average", "encoder": "conv"}],
    ids=["noisy", "plain offsets, convolutions"],
)
def test_overfits_a_handful_of_clips(changes):
    learns(_model(**changes), clips(2))


def test_a_level_of_one_position_with_a_channel_per_group():
    model = _model(width=16, train_snippets=8).eval()
    (found,) = model.predict(clips(counts=[5], T=8))
    assert np.isfinite(found.score).all()


@pytest.mark.parametrize("init_std", [0.0, 0.1])
def test_depthwise_convolutions_that_start_at_zero_never_learn(init_std):
    model, batch = _model(init_std=init_std), clips(2)
    depthwise = {n: p for n, p in model.named_parameters() if n.split(".")[-2] in DEPTHWISE and "attention" not in n}
    assert len(depthwise) == 2 * 5 * 4
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(3):
        model.loss(model(batch), batch)["loss"].backward()
        optimiser.step()
        moved = [name for name, value in depthwise.items() if value.grad.any() or (init_std == 0 and value.any())]
        optimiser.zero_grad()
        assert len(moved) == (0 if init_std == 0 else len(depthwise))
    block = model.branch[0]
    x = torch.randn(2, 32, 16)
    assert torch.equal(block.perceive(x), x) == (init_std == 0)


def test_a_block_by_hand():
    torch.manual_seed(0)
    block = SgpBlock(16, 3, growth=1.5, mlp_width=24, init_std=0.5).eval()
    assert [wide_kernel(w, k) for w, k in ((1, 5), (3, 1.5), (15, 1.3), (5, 2), (1, 1.25))] == [11, 7, 21, 13, 3]
    for name in DEPTHWISE:
        torch.nn.init.normal_(getattr(block, name).bias)
    x, mask = torch.randn(2, 16, 12), torch.arange(12).expand(2, 1, 12) < 9
    o = block.norm(x)
    out = {name: getattr(block, name)(o) for name in DEPTHWISE}
    overall = torch.relu(block.overall(o.mean(-1, keepdim=True)))
    y = x * mask + out["instant"] * overall + (out["narrow"] + out["wide"]) * out["gate"] + o
    expected = y + block.contract(torch.nn.functional.gelu(block.expand(block.norm_mlp(y))))
    torch.testing.assert_close(block(x, mask), expected)


def test_offsets_equal_loops_over_bins():
    torch.manual_seed(1)
    B, K, T, bins = 2, 3, 7, 4
    start, end, centers = torch.randn(B, K, T), torch.randn(B, K, T), torch.randn(B, 2 * (bins + 1), T)
    rows, positions, labels = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, (B, T, K)), indexing="ij"))
    found = trident_offsets(start, end, centers, rows, positions, labels)
    for (row, t, k), ours in zip(zip(rows, positions, labels, strict=True), found, strict=True):
        left, right = [], []
        for b in range(bins + 1):
            before, after = t - bins + b, t + b
            left.append((start[row, k, before] if before >= 0 else 0.0) + centers[row, b, t])
            right.append((end[row, k, after] if after < T else 0.0) + centers[row, bins + 1 + b, t])
        left, right = torch.stack(left).softmax(0), torch.stack(right).softmax(0)
        expected = [sum((bins - b) * left[b] for b in range(bins + 1)), sum(b * right[b] for b in range(bins + 1))]
        torch.testing.assert_close(ours, torch.stack(expected))


def test_no_end_is_farther_than_the_bins():
    model, batch = _model(), clips(2)
    with torch.no_grad():
        outputs = model.eval()(batch)
        for level, logits in enumerate(outputs.logits):
            sharp = replace(
                outputs, start=tuple(100 * x for x in outputs.start), end=tuple(100 * x for x in outputs.end)
            )
            position = torch.arange(logits.shape[-1]).expand(2, -1)
            found = model.offsets_at(sharp, level, position, position % 2)
            assert found.min() >= 0
            assert found.max() <= SMALL.bins + 1e-5


def test_losses_by_hand():
    """Every pair of a positive point and one of its classes regresses; two instances of one length give two pairs."""
    model, batch = _model(label_smoothing=0.1, tiou_power=0.5), clips(2)
    first = batch.targets[0]
    twice = Segments(
        start_s=first.start_s[[0, 0, 1]], end_s=first.end_s[[0, 0, 1]], label=np.array([0, 1, 1]), classes=CLASSES
    )
    batch = replace(batch, targets=(twice, batch.targets[1]))
    outputs = model.eval()(batch)
    losses, found = model.loss(outputs, batch), model.match(outputs, batch)
    several = first_point = 0
    classification = regression = 0.0
    for level, logits in enumerate(outputs.logits):
        for row in range(2):
            for t in range(logits.shape[-1]):
                point = first_point + t
                if not found.valid[row, point]:
                    continue
                several += found.wanted[row, point].sum() == 2
                for k in range(2):
                    wanted = found.wanted[row, point, k]
                    focal = sigmoid_focal_loss(logits[row, k, t], wanted * 0.9 + 0.1 / 3)
                    if wanted:
                        at, label = torch.tensor([[t], [t]]), torch.tensor([[k], [k]])
                        (lp, rp), (lg, rg) = (
                            model.offsets_at(outputs, level, at, label)[row, 0],
                            found.distances[row, point],
                        )
                        inter = min(lp, lg) + min(rp, rg)
                        iou = inter / (lp + rp + lg + rg - inter)
                        hull = max(lp, lg) + max(rp, rg)
                        regression += 1 - iou + (0.5 * (rp - lp - rg + lg) / hull) ** 2
                        focal = focal * iou**0.5
                    classification += focal
        first_point += logits.shape[-1]
    assert several > 0
    assert losses["classification"].item() == pytest.approx((classification / 20).item(), rel=1e-4)
    assert losses["regression"].item() == pytest.approx((regression / 20).item(), rel=1e-4)


def test_what_the_losses_reach():
    """Boundaries leave the pyramid alone; the classification loss reaches the regression by its tIoU."""
    model, batch = _model(), clips(2)
    outputs = model(batch)
    sum(x.sum() for x in outputs.start + outputs.end).backward(retain_graph=True)
    assert all(p.grad is None for n, p in model.named_parameters() if not n.startswith("boundaries."))
    for power, reached in ((0.2, True), (0.0, False)):
        model = _model(tiou_power=power, loss_weight=1e-20)
        model.loss(model(batch), batch)["loss"].backward()
        assert (model.regress.offsets.weight.grad.abs().max().item() > 1e-6) == reached
    idle = [name for name, value in _trained(_model(), batch) if value.grad is None or not value.grad.any()]
    assert not idle


def _trained(model, batch):
    model.loss(model(batch), batch)["loss"].backward()
    return model.named_parameters()


def test_a_gradient_at_no_overlap_is_finite():
    model, batch = _model(bins=1), clips(2)
    for name in ("start", "end"):
        torch.nn.init.zeros_(getattr(model.boundaries, name).logits.weight)
    torch.nn.init.zeros_(model.regress.offsets.weight)
    with torch.no_grad():
        model.regress.offsets.bias.copy_(torch.tensor([0.0, 200.0, 200.0, 0.0]))  # both ends at the point itself
    losses = model.loss(model(batch), batch)
    losses["loss"].backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_noise_is_for_training_and_covers_padding():
    batch = clips(2, counts=[40, 40])
    model = _model(input_noise=0.5, drop_path=0.0)
    seen = []
    model.embed.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    torch.manual_seed(3)
    model(batch)
    noise = seen[0] - batch.streams["features"]
    assert noise[..., :40].std().item() == pytest.approx(0.5, rel=0.1)
    assert noise[..., 40:].std().item() == pytest.approx(0.5, rel=0.1)
    model.eval()(batch)
    torch.testing.assert_close(seen[1], batch.streams["features"])


@pytest.mark.parametrize("count", [5, 63, 64, 65, 100])
def test_a_window_is_what_it_is_in_any_batch_and_padding(count):
    model = _model(window=(3, 5, 3, 5), absolute_positions=True).eval()
    same_in_any_batch(model, count, ("logits", "offsets", "start", "end"))


@pytest.mark.parametrize(
    ("window", "count", "length"),
    [(15, 700, 768), (15, 769, 960), (1, 769, 800), ((1, 1, 1, 1, 1, 9), 769, 864), ((1, 1, 1, 1, 3, 1), 769, 832)],
)
def test_windows_are_padded_as_the_original_pads_them(window, count, length):
    assert TriDetConfig(train_snippets=768, window=window).padded_length(count) == length


def test_bfloat16_autocast_trains():
    trains_in_bfloat16(lambda: _model(drop_path=0.0), clips(2), rel=0.1)


def test_a_batch_without_instances_has_a_loss():
    trains_without_instances(_model(), clips(2))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"window": 2}, "odd numbers from 1"),
        ({"window": (1, 3)}, "one per level, 4"),
        ({"width": 24}, "a multiple of 16"),
        ({"bins": 0}, "bins of 0"),
        ({"growth": 0.0}, "a positive number"),
        ({"boundary_kernel": 2}, "an odd number"),
        ({"downsampling": "min"}, '"max" or "average"'),
        ({"encoder": "gru"}, '"sgp" or "conv"'),
        ({"init_std": -0.1}, "at least 0"),
        ({"drop_path": 1.0}, "in \\[0, 1\\)"),
    ],
)
def test_settings_that_cannot_be(changes, said):
    with pytest.raises(ConfigError, match=said):
        replace(SMALL, **changes)
