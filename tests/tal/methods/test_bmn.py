"""BMN: maps, targets, losses, proposals, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tal.errors import ConfigError, FeatureError
from tal.methods.base import Sample
from tal.methods.batching import collate, resize_sample
from tal.methods.bmn import Bmn, BmnOutputs
from tal.methods.bmn_config import BmnConfig
from tal.methods.inference import predict_whole
from tal.modules.boundary_losses import balanced_entropy, draw_bands, mean_square
from tal.ops.boundary_targets import boundary_targets, peaks, segment_targets
from tal.ops.nms import NmsConfig
from tal.segments import Segments
from tal.timeline import SnippetGrid

SMALL = BmnConfig(
    streams={"a": 4},
    classes=("x", "y", "z"),
    train_snippets=16,
    width=8,
    samples=4,
    reduced_width=6,
    sampled_width=8,
    map_width=6,
)
OPENTAD = replace(
    SMALL,
    layout="duration_start",
    durations=10,
    sampled_to="last",
    anchors="cells",
    whole_anchors=True,
    zero_cells=True,
    epsilon=0.0,
    initial="xavier",
    peaks=True,
    score="map",
    origin="centers",
    windows="slide",
)


def instances(*segments, label="x"):
    start, end = zip(*segments, strict=True) if segments else ((), ())
    return Segments.from_names(start, end, [label] * len(segments), classes=("x", "y", "z"))


def batch_of(config, *truth, count=None, stride_s=1.0):
    grid = SnippetGrid(stride_s=stride_s, window_s=stride_s, count=count or config.train_snippets)
    rng = torch.Generator().manual_seed(0)
    samples = [
        Sample(
            video=f"v{row}",
            streams={"a": torch.randn(grid.count, 4, generator=rng)},
            grid=grid,
            duration_s=grid.end_s,
            instances=each,
        )
        for row, each in enumerate(truth or (instances((2.0, 7.0)), instances((0.0, 3.0), (9.5, 14.0))))
    ]
    return collate(samples, Bmn(config).inputs, train=True)


@pytest.fixture(params=[SMALL, OPENTAD], ids=["jjboy", "opentad"])
def config(request):
    return request.param


@pytest.fixture
def model(config):
    torch.manual_seed(0)
    return Bmn(config)


def test_outputs_are_probabilities_of_the_maps_shape(model, config):
    outputs = model(batch_of(config))
    assert outputs.start.shape == outputs.end.shape == (2, 16)
    rows = 16 if config.layout == "start_end" else 10
    assert outputs.regression.shape == outputs.classification.shape == (2, rows, 16)
    for each in (outputs.start, outputs.end, outputs.regression, outputs.classification):
        assert ((each > 0) & (each < 1)).all()


def test_every_parameter_learns(model, config):
    batch = batch_of(config)
    model.loss(model(batch), batch)["loss"].backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_matching_segment_has_tiou_one(config):
    batch = batch_of(config, instances((3.0, 9.0)), instances())
    if config.origin == "centers":
        batch = replace(batch, targets=(instances((3.5, 9.5)), instances()))
    model = Bmn(config)
    targets = model.targets(batch)
    best = targets.segments[0].argmax()
    assert targets.segments[0, best] == 1
    assert (model.segments.start_idx[best], model.segments.last_idx[best]) == (3, 8)
    assert (targets.segments[0] == 1).sum() == 1
    assert not targets.segments[1].any()
    assert not targets.start[1].any()
    assert targets.start[0].argmax() in (2, 3)


def test_boundary_targets():
    time = torch.tensor([4.25])
    near = boundary_targets(time, 10, "centered")  # from 2.75 to 5.75
    assert near.tolist() == [0, 0, 0, 0.75, 1, 1, 0.25, 0, 0, 0]
    assert boundary_targets(time, 10, "cells").tolist() == [0, 0, 0.25, 1, 1, 0.75, 0, 0, 0, 0]


def test_segment_targets_take_the_best_instance():
    first, last = torch.tensor([0, 2, 2]), torch.tensor([9, 3, 9])
    found = segment_targets(torch.tensor([2.0, 0.0]), torch.tensor([4.0, 10.0]), first, last)
    assert found.tolist() == pytest.approx([1.0, 1.0, 0.8])


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_balanced_entropy_is_its_formula(epsilon):
    rng = torch.Generator().manual_seed(1)
    probability, positive = torch.rand(5, 7, generator=rng), torch.rand(5, 7, generator=rng) > 0.7
    ratio = positive.numel() / positive.sum()
    hit, passed = torch.log(probability + epsilon), torch.log(1 - probability + epsilon)
    expected = -(0.5 * ratio * hit * positive + 0.5 * ratio / (ratio - 1) * passed * ~positive).mean()
    torch.testing.assert_close(balanced_entropy(probability, positive, epsilon=epsilon), expected)


@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
@pytest.mark.parametrize("value", [False, True])
def test_one_kind_only_is_the_plain_mean(epsilon, value):
    probability = torch.tensor([0.1, 0.5, 0.9], requires_grad=True)
    positive = torch.full((3,), value)
    loss = balanced_entropy(probability, positive, epsilon=epsilon)
    torch.testing.assert_close(loss, F.binary_cross_entropy(probability, positive.float()), atol=1e-5, rtol=1e-4)
    loss.backward()
    assert probability.grad.isfinite().all()
    certain = torch.tensor([0.0, 1.0], requires_grad=True)
    balanced_entropy(certain, torch.tensor([True, False]), epsilon=epsilon).backward()
    assert certain.grad.isfinite().all()


def test_windows_without_instances_give_finite_losses_and_gradients(model, config):
    batch = batch_of(config, instances(), instances())
    losses = model.loss(model(batch), batch)
    losses["loss"].backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


def test_places_without_a_segment_are_in_no_loss(config):
    torch.manual_seed(0)
    model, batch = Bmn(config), batch_of(config)
    outputs = model(batch)
    maps = {name: getattr(outputs, name).detach().requires_grad_() for name in ("regression", "classification")}
    model.loss(replace(outputs, **maps), batch)["loss"].backward()
    outside = torch.ones(maps["regression"][0].numel(), dtype=torch.bool)
    outside[model.segments.place] = False
    assert outside.any()
    for each in maps.values():
        assert not each.grad.flatten(1)[:, outside].any()
        assert each.grad.flatten(1)[:, ~outside].any()


def test_bands_are_drawn_in_balance_and_by_the_seed():
    wanted = torch.rand(4, 5000, generator=torch.Generator().manual_seed(2)) ** 2
    wanted[0, :50] = 0
    drawn = [draw_bands(wanted, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    high = int((wanted > 0.7).sum())
    for band in ((wanted > 0.3) & (wanted <= 0.7), (wanted > 0) & (wanted <= 0.3)):
        assert int((drawn[0] & band).sum()) == pytest.approx(high, rel=0.1)
    assert drawn[0][wanted > 0.7].all()
    assert not drawn[0][wanted == 0].any()
    assert not draw_bands(wanted * 0.5).any()
    few = torch.tensor([[0.9, 0.8, 0.5, 0.0]])
    assert draw_bands(few).tolist() == [[True, True, True, False]]
    assert draw_bands(few, zeros=True).all()


def test_mean_square_counts_what_is_chosen():
    predicted, wanted = torch.tensor([[0.5, 1.0]]), torch.tensor([[0.0, 0.0]])
    assert mean_square(predicted, wanted, torch.tensor([[True, False]])) == 0.25
    assert mean_square(predicted, wanted, torch.tensor([[False, False]])) == 0


def test_regression_is_half_the_mean_square_of_what_is_drawn(config):
    torch.manual_seed(0)
    model, batch = Bmn(config), batch_of(config)
    outputs, wanted = model(batch), model.targets(batch).segments
    losses = model.loss(outputs, batch, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    chosen = draw_bands(wanted, zeros=config.zero_cells, generator=generator)
    predicted = outputs.regression.flatten(1)[:, model.segments.place]
    expected = 0.5 * (predicted[chosen] - wanted[chosen]).square().mean()
    torch.testing.assert_close(losses["regression"], expected.detach())
    total = losses["boundaries"] + losses["segments"] + 10 * losses["regression"]
    torch.testing.assert_close(losses["loss"].detach(), total)


def test_both_layouts_propose_the_same_segments():
    batch = batch_of(SMALL)
    first = Bmn(SMALL)
    second = Bmn(replace(SMALL, layout="duration_start"))
    outputs, moved = first(batch), {}
    for name in ("regression", "classification"):
        square = getattr(outputs, name)
        other = torch.zeros_like(square).flatten(1)
        values = {(s, e): square[:, s, e] for s in range(16) for e in range(s, 16)}
        for place, s, e in zip(
            second.segments.place, second.segments.start_idx.tolist(), second.segments.last_idx.tolist(), strict=True
        ):
            other[:, place] = values[s, e]
        moved[name] = other.unflatten(1, square.shape[1:])
    for one, two in zip(
        first.candidates(outputs, batch), second.candidates(replace(outputs, **moved), batch), strict=True
    ):
        rows = [sorted(zip(each.start_s, each.end_s, each.score, strict=True)) for each in (one, two)]
        assert rows[0] == rows[1]
        assert len(rows[0]) == 16 * 15 // 2  # none ends with the last snippet


def flat_outputs(config, start, end):
    rows = config.train_snippets if config.layout == "start_end" else config.durations
    ones = torch.ones(1, rows, config.train_snippets)
    return BmnOutputs(start=start, end=end, regression=0.5 * ones, classification=0.5 * ones, features=ones)


def test_peaks_bound_what_is_proposed():
    start, end = torch.full((1, 16), 0.1), torch.full((1, 16), 0.1)
    start[0, 4], end[0, 9], start[0, 5] = 0.9, 0.8, 0.5
    start[0, 10:] -= torch.linspace(0.01, 0.06, 6)  # falling, no peaks
    start[0, :4], end[0, :9], end[0, 10:] = torch.linspace(0, 0.08, 4), torch.linspace(0, 0.09, 9), 0.05
    end[0, 10:] -= torch.linspace(0, 0.04, 6)
    assert peaks(start)[0].nonzero().flatten().tolist() == [4, 5, 7, 8, 9]
    config = replace(OPENTAD, durations=16)
    batch = batch_of(config, instances())
    (found,) = Bmn(config).candidates(flat_outputs(config, start, end), batch)
    pairs = set(zip(found.start_s - 0.5, found.end_s - 0.5, strict=True))  # at centres
    assert pairs == {(s, e + 1) for s in (0, 4, 5, 7, 8, 9) for e in (9, 15)}
    assert (found.score == 0.25).all()


def test_scores_take_the_boundary_after_the_last_snippet():
    start, end = torch.rand(1, 16), torch.rand(1, 16)
    batch = batch_of(SMALL, instances())
    (found,) = Bmn(SMALL).candidates(flat_outputs(SMALL, start, end), batch)
    expected = start[0, found.start_s.astype(int)] * end[0, found.end_s.astype(int)] * 0.25
    np.testing.assert_allclose(found.score, expected, rtol=1e-6)


def test_nothing_is_proposed_beyond_the_video():
    model = Bmn(OPENTAD).eval()
    batch = batch_of(OPENTAD, instances(), count=9)
    assert batch.mask.shape[-1] == 16
    (found,) = model.predict(batch)
    assert len(found)
    assert found.end_s.max() <= 9.0
    assert (found.end_s > found.start_s).all()
    with pytest.raises(FeatureError, match="length of this model's maps"):
        model(replace(batch, streams={"a": torch.zeros(1, 4, 17)}, mask=torch.ones(1, 1, 17, dtype=torch.bool)))


def test_the_best_classes_of_the_video_name_the_detections():
    model = Bmn(replace(SMALL, nms=replace(SMALL.nms, max_segments=5)))
    batch = batch_of(SMALL, instances())
    batch = replace(batch, video_scores=torch.tensor([[0.2, 0.1, 0.7]]))
    (plain,) = model.predict(replace(batch, video_scores=None))
    (found,) = model.predict(batch)
    assert set(found.names) == {"x", "z"}
    assert len(found) == 2 * len(plain) == 10
    best = found[found.label == 2]
    np.testing.assert_allclose(best.score, plain.score * 0.7, rtol=1e-6)
    model.config = replace(model.config, fusion="geometric", fusion_classes=1)
    (found,) = model.predict(batch)
    np.testing.assert_allclose(found.score, np.sqrt(plain.score * 0.7), rtol=1e-6)


def test_classes_suppress_each_other_where_they_are_given_first():
    config = replace(OPENTAD, fuse_first=True, window_nms=True, nms=NmsConfig(per_class=False, min_score=1e-9))
    torch.manual_seed(0)
    batch = replace(batch_of(config, instances()), video_scores=torch.tensor([[0.9, 0.8, 0.7]]))
    (found,) = Bmn(config).predict(batch)
    top = found[:1]
    same = found[(found.start_s == top.start_s[0]) & (found.end_s == top.end_s[0])]
    assert len(same) <= 2
    assert same.score.min() < 0.5 * same.score.max()


@pytest.mark.parametrize("config", [SMALL, OPENTAD], ids=["resized", "sliding"])
def test_overfits_a_handful_of_videos(config):
    """Two long bumps and a short one; the best proposals are the instances."""
    config = replace(config, width=16, reduced_width=16, sampled_width=32, map_width=16, standardize=False)
    torch.manual_seed(0)
    model = Bmn(config)
    shift = 0.5 if config.origin == "centers" else 0.0  # so that the map holds the instances exactly
    truth = [[(3.0, 8.0)], [(6.0, 13.0)], [(1.0, 4.0), (9.0, 12.0)]]
    truth = [[(start + shift, end + shift) for start, end in segments] for segments in truth]
    samples = []
    for row, segments in enumerate(truth):
        x = torch.zeros(32, 4)
        for start, end in segments:
            x[int(2 * start) : int(2 * end), 0] = 2.0
        grid = SnippetGrid(stride_s=0.5, window_s=0.5, count=32)
        whole = Sample(video=str(row), streams={"a": x}, grid=grid, duration_s=16.0, instances=instances(*segments))
        if config.windows == "slide":
            grid = SnippetGrid(stride_s=1.0, window_s=1.0, count=16)
            whole = replace(whole, streams={"a": x[::2]}, grid=grid)
        samples.append(whole)
    batch = collate([resize_sample(each, 16) for each in samples], model.inputs, train=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        loss = model.loss(model(batch), batch)["loss"]
        loss.backward()
        optimizer.step()
    model.eval()
    for each, segments in zip(samples, truth, strict=True):
        whole = collate([resize_sample(each, 16)], model.inputs, train=False)
        (found,) = predict_whole(model, whole)
        top = sorted(zip(found.start_s[: len(segments)], found.end_s[: len(segments)], strict=True))
        np.testing.assert_allclose(top, segments, atol=0.76)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"layout": "square"}, "layout 'square'"),
        ({"durations": 17}, "durations of 17"),
        ({"groups": 3}, "groups"),
        ({"streams": {"a": 6}}, "width 6 in 4 groups"),
        ({"map_kernel": 2}, "map_kernel"),
        ({"low_tiou": 0.8}, "low_tiou"),
        ({"samples": 0}, "samples of 0"),
        ({"window_overlap": 1.0}, "window_overlap"),
    ],
)
def test_settings_are_checked(change, text):
    with pytest.raises(ConfigError, match=text):
        replace(SMALL, **change)


def test_shared_boundaries_have_one_hidden_layer():
    keys = Bmn(replace(SMALL, shared_boundaries=True)).state_dict()
    assert keys["boundaries.score.0.weight"].shape == (2, 8, 1)
    assert "boundaries.hidden.1.weight" not in keys


def test_nothing_but_weights_is_saved():
    assert not [name for name in Bmn(SMALL).state_dict() if "place" in name or "matrix" in name or "filling" in name]
