"""ASL: ActionFormer where its parts are off; weights and losses by hand where they are on; gradients; learning."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.asl import Asl, AslConfig
from tal.modules.losses import distance_tiou
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import (
    CLASSES,
    WIDTH,
    clips,
    every_parameter_learns,
    learns,
    same_in_any_batch,
    trains_in_bfloat16,
    trains_without_instances,
)

HOST = {
    "streams": {"features": WIDTH},
    "classes": CLASSES,
    "train_snippets": 64,
    "width": 16,
    "heads": 2,
    "stem_layers": 1,
    "branch_layers": 3,
    "window": 9,
    "init_loss_norm": 20,
}
OFF = {"class_sensitivity": False, "instance_sensitivity": False, "contrast_weight": 0.0}


def _asl(**changes):
    torch.manual_seed(0)
    return Asl(AslConfig(**{**HOST, "evaluator_width": 12, **changes}))


def _host(**changes):
    torch.manual_seed(0)
    return ActionFormer(ActionFormerConfig(**{**HOST, **changes}))


def test_the_host_is_the_same_network_from_the_same_seed():
    host, asl = _host().state_dict(), _asl().state_dict()
    assert list(asl)[: len(host)] == list(host)
    assert all(torch.equal(asl[name], value) for name, value in host.items())
    assert {name.split(".")[0] for name in list(asl)[len(host) :]} == {"gaussians", "evaluate_class", "evaluate_ends"}
    assert list(_asl(**OFF).state_dict()) == list(host)
    missing = _asl().load_state_dict(host, strict=False)
    assert not missing.unexpected_keys


@pytest.mark.parametrize(
    "changes", [{}, {"class_agnostic": True, "loss_weight": 0.0}, {"label_smoothing": 0.1, "drop_path": 0.0}]
)
def test_with_all_parts_off_losses_and_gradients_are_the_hosts(changes):
    host, asl, batch = _host(**changes), _asl(**OFF, **changes), clips(2)
    for model in (host, asl):
        torch.manual_seed(1)
        model.losses = model.loss(model(batch), batch)
        model.losses["loss"].backward()
    for name, value in host.losses.items():
        assert torch.equal(asl.losses[name], value)
    for ours, theirs in zip(asl.parameters(), host.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert torch.equal(asl.positives.value, host.positives.value)


def test_weights_of_one_change_no_bit_of_the_losses():
    batch = clips(2)
    host, asl = _host(), _asl(instance_sensitivity=False, contrast_weight=0.0, sensitivity_form="mean_times_class")
    with torch.no_grad():
        for name, parameter in asl.gaussians.named_parameters():
            if name.startswith("sigma"):
                parameter.fill_(1e9)
    torch.manual_seed(1)
    theirs = host.loss(host(batch), batch)
    torch.manual_seed(1)
    ours = asl.loss(asl(batch), batch)
    assert ours["weight_regression"].item() == 1
    for name, value in theirs.items():
        assert torch.equal(ours[name], value)


def test_inference_is_the_hosts_and_evaluates_nothing(monkeypatch):
    host, asl, batch = _host().eval(), _asl().eval(), clips(2)
    monkeypatch.setattr("tal.modules.sensitivity.Evaluator.forward", None)
    monkeypatch.setattr("tal.modules.sensitivity.ClassSensitivity.forward", None)
    for ours, theirs in zip(asl.predict(batch), host.predict(batch), strict=True):
        np.testing.assert_array_equal(ours.score, theirs.score)
        np.testing.assert_array_equal(ours.start_s, theirs.start_s)


def _answers(model, batch):
    outputs = model(batch)
    found = model.match(outputs, batch)
    return outputs, found, model._answered(found, batch)


def test_positions_are_fractions_of_the_instance_on_all_levels():
    model, batch = _asl(regression_ranges=((0, 99),) * 4, center_sampling="none"), clips(2)
    outputs, found, (start, end, label) = _answers(model, batch)
    points = model.points(outputs)
    position = points.position_idx.expand_as(found.positive)[found.positive]
    levels = points.stride.expand_as(found.positive)[found.positive]
    fraction = (position - (start + end) / 2) / (end - start)
    assert set(levels.tolist()) == {1, 2, 4, 8}
    for stride in (1, 2, 4, 8):
        on_level = fraction[levels == stride]
        assert on_level.min() < -0.2
        assert on_level.max() > 0.1
        assert on_level.abs().max() < 0.5
    naming, ending = model.weights(found, outputs, (start, end, label), None)
    torch.testing.assert_close(naming, torch.exp(-(fraction**2) / 2))
    torch.testing.assert_close(
        ending, torch.exp(-((fraction + 0.5) ** 2) / 2) + torch.exp(-((fraction - 0.5) ** 2) / 2)
    )
    wanted = found.wanted[found.positive].gather(1, label[:, None])
    assert wanted.all()
    torch.testing.assert_close(found.distances[found.positive][:, 0] * levels, position - start)


def test_weights_are_what_class_and_evaluators_say_together():
    model, batch = _asl(), clips(2)
    outputs, found, answered = _answers(model, batch)
    quality = model.evaluate(outputs)
    by_class = model.weights(found, outputs, answered, None)
    together = model.weights(found, outputs, answered, quality)
    for of_class, both, says in zip(by_class, together, quality, strict=True):
        torch.testing.assert_close(both, of_class + says[found.positive])
    alone = _asl(class_sensitivity=False)
    outputs, found, answered = _answers(alone, batch)
    quality = alone.evaluate(outputs)
    assert torch.equal(alone.weights(found, outputs, answered, quality)[0], quality[0][found.positive])


def test_normalized_weights_have_mean_one_and_cannot_shrink_the_loss():
    batch = clips(2)
    values = []
    for level in (0.0, -4.0):
        model = _asl(normalize_weights=True, contrast_weight=0.0, class_sensitivity=False, drop_path=0.0)
        with torch.no_grad():
            for evaluator in (model.evaluate_class, model.evaluate_ends):
                evaluator.out.weight.zero_()
                evaluator.out.bias.fill_(level)
        values.append(model.loss(model(batch), batch))
        assert values[-1]["weight_classification"].item() == pytest.approx(1)
    for name in ("classification", "regression"):
        assert values[0][name].item() == pytest.approx(values[1][name].item(), rel=1e-5)


def test_clamped_gaussians_stay_in_the_instance():
    model, batch = _asl(clamp_gaussians=True), clips(2)
    with torch.no_grad():
        model.gaussians.mu_cls.fill_(2)
        model.gaussians.sigma_end.fill_(0.01)
    losses = model.loss(model(batch), batch)
    assert losses["mu_cls"].item() == 0.5
    assert losses["sigma_end"].item() == pytest.approx(0.1)
    model.eval()
    with torch.no_grad():
        model.gaussians.mu_cls.fill_(2)
    assert model.loss(model(batch), batch)["mu_cls"].item() == 2


@pytest.mark.parametrize("levels", ["finest", "all"])
def test_gradients_reach_every_parameter(levels):
    every_parameter_learns(_asl(contrast_levels=levels, label_weight=0.2, drop_path=0.0), clips(4))


def test_the_weights_alone_move_the_gaussians():
    model, batch = _asl(instance_sensitivity=False, contrast_weight=0.0), clips(2)
    model.loss(model(batch), batch)["loss"].backward()
    for name, parameter in model.gaussians.named_parameters():
        assert parameter.grad.any(), name


@pytest.mark.parametrize("detach", [False, True])
def test_evaluators_foresee_and_change_nothing_else(detach):
    model, batch = _asl(detach_evaluators=detach, drop_path=0.0, evaluator_points="positives"), clips(2)
    outputs, found, (_, _, label) = _answers(model, batch)
    quality = model.evaluate(outputs)
    loss = model._evaluators_loss(found, outputs, batch, quality)
    probability = found.logits[found.positive].sigmoid().gather(1, label[:, None])[:, 0]
    overlap = distance_tiou(found.offsets[found.positive], found.distances[found.positive])
    expected = ((quality[0][found.positive] - probability) ** 2).mean() + (
        (quality[1][found.positive] - overlap) ** 2
    ).mean()
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    moved = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert {"evaluate_class", "evaluate_ends"} <= moved
    assert moved.isdisjoint({"classify", "regress"})
    assert ("stem" in moved) == (not detach)


def test_evaluators_learn_at_all_points_of_an_instance():
    model, batch = _asl(drop_path=0.0), clips(3)
    nested = Segments(
        start_s=np.array([5.0, 8.0]), end_s=np.array([25.0, 11.0]), label=np.array([0, 1]), classes=CLASSES
    )
    batch = replace(batch, targets=(nested, batch.targets[1], Segments.empty(CLASSES)))
    outputs, found, _ = _answers(model, batch)
    asked, distances, label = model._inside(found, outputs, batch)
    points = model.points(outputs)
    position_s = torch.from_numpy(batch.grids[0].to_seconds(points.position_idx.numpy()))
    inside = (position_s > 5) & (position_s < 25) & found.valid[0]
    torch.testing.assert_close(asked[0], inside)
    assert asked[0].sum() > found.positive[0].sum()
    assert not asked[2].any()
    inner = ((position_s > 8) & (position_s < 11))[inside]
    first = label[: len(inner)]
    torch.testing.assert_close(first == 1, inner)  # of nested instances the shorter one
    ends_s = torch.where(inner[:, None], torch.tensor([8.0, 11.0]), torch.tensor([5.0, 25.0]))
    wanted = (ends_s - position_s[inside][:, None]).abs() / batch.grids[0].stride_s / points.stride[inside][:, None]
    torch.testing.assert_close(distances[: len(inner)], wanted.float())

    quality = model.evaluate(outputs)
    probability = found.logits[0][inside].sigmoid().gather(1, first[:, None])[:, 0]
    one = replace(batch, targets=(nested, *[Segments.empty(CLASSES)] * 2))
    expected = (quality[0][0][inside] - probability) ** 2
    expected += (quality[1][0][inside] - distance_tiou(found.offsets[0][inside], wanted.float())) ** 2
    assert model._evaluators_loss(found, outputs, one, quality).item() == pytest.approx(expected.mean().item())


def test_one_instance_gives_no_contrast():
    model, batch = _asl(drop_path=0.0), clips(1)
    single = replace(batch, targets=(batch.targets[0][:1],))
    outputs = model(single)
    for feature in outputs.features:
        feature.retain_grad()
    loss = model._contrast(outputs, single, model.evaluate(outputs))
    loss.backward()
    assert loss.item() == 0
    assert not any(feature.grad is not None and feature.grad.any() for feature in outputs.features)
    both = model(batch)
    assert model._contrast(both, batch, model.evaluate(both)).item() > 0


def test_contrast_gathers_a_class_and_pushes_the_rest_away():
    model, batch = _asl(contrast_temperature=0.5), clips(2)
    outputs = model.eval()(batch)
    marks = torch.zeros_like(outputs.features[0])
    position = torch.arange(marks.shape[-1])
    for row, (start, end, label) in enumerate(model.instances(batch)):
        for s, e, k in zip(start, end, label, strict=True):
            marks[row, k, (position > s) & (position < e)] = 1
    marks[:, 2] = 1 - marks[:, :2].amax(1)
    told = model._contrast(replace(outputs, features=(marks,)), batch, None).item()
    # anchors of length 1 along their class; 4 of each class; 4 others, of outside points (and the least sensitive)
    assert told < model._contrast(replace(outputs, features=(torch.ones_like(marks),)), batch, None).item()
    assert told > -math.log(3 * math.exp(2) / (3 * math.exp(2) + 8)) - 0.01


def test_label_loss_asks_for_the_classes_of_the_window():
    model, batch = _asl(), clips(1)
    batch = replace(batch, targets=(batch.targets[0][:1],))
    outputs = model(batch)
    found = model.match(outputs, batch)
    share = found.logits[0][found.valid[0]].softmax(-1).amax(0).double()
    present = batch.targets[0].label[0]
    expected = -(share[present].log() + (1 - share[1 - present]).log()) / found.normalizer
    assert model._labels_loss(found, batch).item() == pytest.approx(expected.item(), rel=1e-4)


def test_a_batch_without_instances_has_a_loss():
    trains_without_instances(_asl(label_weight=0.2, normalize_weights=True), clips(2))


def test_bfloat16_autocast_trains():
    trains_in_bfloat16(lambda: _asl(label_weight=0.2, drop_path=0.0), clips(2))


def test_overfits_a_handful_of_clips():
    first, last = learns(_asl(width=32, drop_path=0.05), clips(2))
    for part in ("contrast", "evaluators"):
        assert last[part] < 0.5 * first[part]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"class_sensitivity": False, "instance_sensitivity": False}, "without sensitivity"),
        ({"contrast_share": 0.0}, "contrast_share"),
        ({"contrast_temperature": 0.0}, "contrast_temperature"),
        ({"contrast_levels": "coarsest"}, "finest or all"),
        ({"sensitivity_form": "product"}, "sum or mean_times_class"),
        ({"evaluator_weight": -1.0}, "zero or more"),
        ({"evaluator_width": 0}, "at least 1"),
        ({"label_weight": 0.2, "class_agnostic": True}, "needs classes"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, text):
    with pytest.raises(ConfigError, match=text):
        _asl(**changes)


def test_the_challenge_networks_parts():
    host, asl = _host().state_dict(), _asl(channel_share=0.2, bridge="xlnet").state_dict()
    assert all(torch.equal(asl[name], value) for name, value in host.items())  # from the same seed
    batch = clips(2, counts=[60, 41])
    plain = _asl().eval()(batch)
    for changes, levels in (({"channel_share": 0.5}, 4), ({"bridge": "xlnet"}, 3), ({"bridge": "stem"}, 3)):
        model = _asl(**changes).eval()
        found = model(batch)
        differ = [not torch.equal(a, b) for a, b in zip(found.logits, plain.logits, strict=True)]
        assert sum(differ) == levels
        assert differ[-1]
        every_parameter_learns(_asl(**changes, drop_path=0.0), batch)
        same_in_any_batch(model, 41, ("logits", "offsets"))


def test_the_challenge_networks_parts_need_a_stem():
    for changes in ({"channel_share": 0.2}, {"bridge": "stem"}):
        with pytest.raises(ConfigError, match="stem that is not there"):
            _asl(stem_layers=0, **changes)
    with pytest.raises(ConfigError, match="bridge 'bert'"):
        _asl(bridge="bert")
