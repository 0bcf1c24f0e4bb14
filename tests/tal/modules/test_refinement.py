"""Refinement heads and the noise that they begin with."""

import pytest
import torch
from torch import nn

from tal.errors import ConfigError
from tal.modules.dynamic_conv import DynamicConv
from tal.modules.refinement import HeadShape, RefinementHeads, move_spans
from tal.modules.span_noise import STEPS, FirstSpans, SpanDraws, SpanNoise, grid_spans, kept_variance

SHAPE = {"width": 8, "outputs": 3, "heads": 2, "hidden": 16, "bins": 5, "dynamic_width": 4, "dropout": 0.0}


def _heads(layers=2, queries=6, **switches):
    torch.manual_seed(0)
    heads = RefinementHeads(layers=layers, queries=queries, shape=HeadShape(**{**SHAPE, **switches}))
    for layer in heads.layers:
        nn.init.normal_(layer.logits.bias)
        nn.init.normal_(layer.deltas.weight, std=0.1)
    return heads.double()


def _spans(videos=3, queries=6, size=20.0):
    return torch.rand(videos, queries, 2, dtype=torch.float64).sort(-1).values * size


SWITCHES = [{"attention": a, "dynamic_conv": d} for a in (True, False) for d in (True, False)]


@pytest.mark.parametrize("switches", SWITCHES)
def test_videos_of_a_batch_do_not_touch_each_other(switches):
    heads, memory, spans = _heads(**switches), torch.randn(3, 20, 8, dtype=torch.float64), _spans()
    logits, moved = heads(memory, spans)
    assert logits.shape == (2, 3, 6, 3)
    assert moved.shape == (2, 3, 6, 2)
    for video in range(3):
        alone = heads(memory[video : video + 1], spans[video : video + 1])
        torch.testing.assert_close(alone[0][:, 0], logits[:, video])
        torch.testing.assert_close(alone[1][:, 0], moved[:, video])


@pytest.mark.parametrize("switches", SWITCHES)
def test_batch_order_of_the_original_changes_batches_only(switches):
    memory, spans = torch.randn(3, 20, 8, dtype=torch.float64), _spans()
    plain, theirs = _heads(**switches), _heads(batch_order=True, **switches)
    torch.testing.assert_close(plain(memory[:1], spans[:1])[0], theirs(memory[:1], spans[:1])[0])
    same = torch.allclose(plain(memory, spans)[0], theirs(memory, spans)[0])
    assert same == (switches["attention"] and switches["dynamic_conv"])


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_parameter_is_reached_and_spans_end_at_the_head_before(switches):
    heads, spans = _heads(**switches), _spans().requires_grad_()
    logits, moved = heads(torch.randn(3, 20, 8, dtype=torch.float64), spans)
    (moved[1].sum() + logits.square().sum()).backward()
    assert spans.grad is None or not spans.grad.any()
    heads.zero_grad()
    logits, moved = heads(torch.randn(3, 20, 8, dtype=torch.float64), spans)
    (logits.square().sum() + moved.square().sum()).backward()
    assert spans.grad.any()
    without = [name for name, each in heads.named_parameters() if each.grad is None or not each.grad.any()]
    assert not without


def test_moving_spans():
    spans = torch.tensor([[2.0, 6.0], [-1.0, 1.0]])
    torch.testing.assert_close(move_spans(spans, torch.zeros(2, 2)), spans)
    moved = move_spans(spans, torch.tensor([[1.0, 0.0], [0.0, 2.0]]).log1p())
    centre = 4 + 4 * torch.log(torch.tensor(2.0)) / 2
    torch.testing.assert_close(moved[0], torch.stack([centre - 2, centre + 2]))
    torch.testing.assert_close(moved[1], torch.tensor([-3.0, 3.0]))
    assert move_spans(spans, torch.full((2, 2), 1e9)).isfinite().all()


def test_dynamic_convolution_by_hand():
    layer = DynamicConv(4, hidden=3, bins=2).double()
    proposals, features = torch.randn(5, 4).double(), torch.randn(5, 2, 4).double()
    row = 3
    first, second = layer.maps(proposals[row]).split(12)
    x = torch.relu(layer.norm_inner(features[row] @ first.view(4, 3)))
    x = torch.relu(layer.norm_outer(x @ second.view(3, 4)))
    expected = torch.relu(layer.norm(layer.project(x.flatten())))
    torch.testing.assert_close(layer(proposals, features)[row], expected)


def _draws(noise, step, counts, queries, padding=0.0):
    return SpanDraws(
        step=torch.full((len(counts),), step),
        noise=torch.full((len(counts), queries, 2), noise),
        padding=torch.full((len(counts), queries, 2), padding),
        kept=(None,) * len(counts),
    )


def test_schedule_falls_from_nearly_all_to_nothing():
    kept = kept_variance()
    assert kept.shape == (STEPS,)
    assert (kept.diff() < 0).all()
    assert kept[0] > 0.9999
    assert kept[-1] < 1e-6


@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0])
def test_without_noise_spans_are_the_ground_truth_then_the_padding(scale):
    truth = [torch.tensor([[0.3, 0.2], [0.7, 0.5]]), torch.empty(0, 2)]
    blurred = SpanNoise(5, scale).blurred(truth, _draws(0.0, 0, [2, 0], 5))
    torch.testing.assert_close(blurred[0, :2], truth[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(blurred[0, 2:], torch.full((3, 2), 0.5), atol=1e-4, rtol=0)
    torch.testing.assert_close(blurred[1, 0], torch.tensor([0.5, 1.0]), atol=1e-4, rtol=0)


def test_a_large_scale_hides_the_noise_of_early_steps():
    truth = [torch.tensor([[0.3, 0.2], [0.7, 0.5]])]
    apart = [
        (SpanNoise(2, scale).blurred(truth, _draws(1.0, 50, [2], 2))[0] - truth[0]).abs().max()
        for scale in (1.0, 100.0)
    ]
    assert apart[0] > 0.02
    assert apart[1] < 0.01


def test_blurred_spans_stay_in_the_video_and_are_decided_by_the_seed():
    noise, truth = SpanNoise(4, 2.0), [torch.rand(9, 2), torch.rand(4, 2), torch.rand(1, 2)]
    torch.manual_seed(3)
    first = noise.blurred(truth, noise.draw([9, 4, 1]))
    torch.manual_seed(3)
    assert torch.equal(first, noise.blurred(truth, noise.draw([9, 4, 1])))
    assert not torch.equal(first, noise.blurred(truth, noise.draw([9, 4, 1])))
    assert ((first >= 0) & (first <= 1)).all()


def test_more_ground_truths_than_queries_are_drawn_from_without_repetition():
    noise = SpanNoise(4, 4.0)
    draws = noise.draw([9])
    assert len(draws.kept[0].unique()) == 4
    assert (draws.kept[0].diff() > 0).all()


def test_padding_has_the_spread_of_diffusiondet():
    noise = SpanNoise(20_000, 4.0)
    torch.manual_seed(0)
    draws = noise.draw([1])
    still = SpanDraws(
        step=torch.zeros(1, dtype=torch.int64), noise=draws.noise * 0, padding=draws.padding, kept=(None,)
    )
    spans = noise.blurred([torch.rand(1, 2)], still)[0, 1:]
    torch.testing.assert_close(spans.mean(0), torch.full((2,), 0.5), atol=5e-3, rtol=0)
    torch.testing.assert_close(spans.std(0), torch.full((2,), 1 / 6), atol=5e-3, rtol=0)
    assert spans[:, 1].min() >= 1e-4 - 1e-6


def test_spans_of_inference():
    noise = SpanNoise(30, 1.0)
    assert torch.equal(noise.gaussian(5), noise.gaussian(5))
    assert not torch.equal(noise.gaussian(5), noise.gaussian(6))
    assert ((noise.gaussian(5) >= 0) & (noise.gaussian(5) <= 1)).all()
    grid = grid_spans(11)
    torch.testing.assert_close(grid[0], torch.tensor([0.5, 1.0]))
    torch.testing.assert_close(grid[1:4], torch.tensor([[0.25, 0.5], [0.5, 0.5], [0.75, 0.5]]))
    assert len(grid.unique(dim=0)) == 11


def test_a_scale_has_to_be_positive():
    with pytest.raises(ConfigError, match="snr_scale of 0"):
        SpanNoise(3, 0.0)


def test_training_and_inference_begin_with_what_the_switches_say():
    truth = [torch.rand(2, 2), torch.rand(1, 2)]

    def spans(training, **settings):
        torch.manual_seed(1)
        first = FirstSpans(4, **{"scale": 4.0, "denoise": True, "kind": "gaussian", "seed": 0, **settings})
        return first.train(training)(2, truth)

    noise = SpanNoise(4, 4.0)
    assert torch.equal(spans(False), noise.gaussian(0).expand(2, -1, -1))
    assert torch.equal(spans(False, seed=3), noise.gaussian(3).expand(2, -1, -1))
    assert torch.equal(spans(False, kind="grid")[1], grid_spans(4))
    assert not torch.equal(spans(True)[0], spans(True)[1])
    assert torch.equal(spans(True, kind="grid"), spans(True))
    assert torch.equal(spans(True, kind="grid", denoise=False)[1], grid_spans(4))
    learned = spans(True, kind="learned", denoise=False)
    assert torch.equal(learned, torch.tensor([0.5, 1.0]).expand(2, 4, 2))
    assert learned.requires_grad
    fresh = spans(True, denoise=False)
    assert not torch.equal(fresh, spans(False))
    assert ((fresh >= 0) & (fresh <= 1)).all()


def test_first_spans_refuse_what_cannot_be():
    with pytest.raises(ConfigError, match="learned with denoise"):
        FirstSpans(4, scale=4.0, denoise=True, kind="learned", seed=0)
    with pytest.raises(ConfigError, match="first_spans 'other'"):
        FirstSpans(4, scale=4.0, denoise=True, kind="other", seed=0)
    with pytest.raises(ConfigError, match="without any"):
        FirstSpans(4, scale=4.0, denoise=True, kind="gaussian", seed=0)(2, None)
