"""Refinement heads and the noise that they begin with."""

import pytest
import torch
from torch import nn

from tal.errors import ConfigError
from tal.modules.dynamic_conv import DynamicConv
from tal.modules.refinement import HeadShape, RefinementConfig, SpanRefiner, move_spans
from tal.modules.span_noise import STEPS, FirstSpans, SpanDraws, SpanNoise, grid_spans, kept_variance

SHAPE = HeadShape(width=8, outputs=3, heads=2, hidden=16, dropout=0.0)
COUNTS = torch.tensor([20, 20, 20])


def _heads(layers=2, queries=6, **switches):
    torch.manual_seed(0)
    how = RefinementConfig(bins=5, dynamic_width=4, **switches)
    heads = SpanRefiner(how, SHAPE, layers=layers, queries=queries)
    for layer in heads.layers:
        nn.init.normal_(layer.logits.bias)
        nn.init.normal_(layer.deltas.weight, std=0.1)
    return heads.double()


def _spans(videos=3, queries=6):
    return torch.rand(videos, queries, 2, dtype=torch.float64)


SWITCHES = [{"attention": a, "dynamic_conv": d} for a in (True, False) for d in (True, False)]


@pytest.mark.parametrize("switches", SWITCHES)
def test_videos_of_a_batch_do_not_touch_each_other(switches):
    heads, memory, spans = _heads(**switches), torch.randn(3, 20, 8, dtype=torch.float64), _spans()
    found = heads(memory, COUNTS, spans)
    assert [each.shape for each in found.logits] == [(3, 6, 3)] * 2
    assert [each.shape for each in found.spans] == [(3, 6, 2)] * 2
    for video in range(3):
        rows = slice(video, video + 1)
        alone = heads(memory[rows], COUNTS[rows], spans[rows])
        for layer in range(2):
            torch.testing.assert_close(alone.logits[layer][0], found.logits[layer][video])
            torch.testing.assert_close(alone.spans[layer][0], found.spans[layer][video])


@pytest.mark.parametrize("switches", SWITCHES)
def test_batch_order_of_the_original_changes_batches_only(switches):
    memory, spans = torch.randn(3, 20, 8, dtype=torch.float64), _spans()
    plain, theirs = _heads(**switches), _heads(batch_order=True, **switches)
    alone = (memory[:1], COUNTS[:1], spans[:1])
    torch.testing.assert_close(plain(*alone).logits[-1], theirs(*alone).logits[-1])
    whole = (memory, COUNTS, spans)
    same = torch.allclose(plain(*whole).logits[-1], theirs(*whole).logits[-1])
    assert same == (switches["attention"] and switches["dynamic_conv"])


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_parameter_is_reached_and_spans_end_at_the_head_before(switches):
    heads, spans = _heads(**switches), _spans().requires_grad_()
    memory = torch.randn(3, 20, 8, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(heads(memory, COUNTS, spans).spans[1].sum(), spans, allow_unused=True)
    assert gradient is None
    found = heads(memory, COUNTS, spans)
    sum(each.square().sum() for each in (*found.logits, *found.spans)).backward()
    assert spans.grad.any()
    without = [name for name, each in heads.named_parameters() if each.grad is None or not each.grad.any()]
    assert not without


def test_spans_are_fractions_of_each_video_wherever_it_begins():
    heads, memory = _heads(layers=1), torch.randn(1, 20, 8, dtype=torch.float64)
    for layer in heads.layers:
        nn.init.zeros_(layer.deltas.weight)
        nn.init.zeros_(layer.deltas.bias)
    first = _spans(1)
    for origin in (0.0, 0.5):
        found = heads(memory, torch.tensor([11]), first, origin=origin)
        torch.testing.assert_close(found.spans[0], first)
    ramp = torch.arange(20.0).double()[None, :, None].expand(1, 20, 8)
    middle = torch.tensor([[[0.5, 0.4]]], dtype=torch.float64).expand(1, 6, 2)
    seen = []
    heads.layers[0].interact.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    for origin in (0.0, 0.5):
        heads(ramp, torch.tensor([11]), middle, origin=origin)
    torch.testing.assert_close(seen[0].mean(), torch.tensor(5.5).double())
    torch.testing.assert_close(seen[1].mean(), torch.tensor(5.0).double())


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
