"""Localizers that hear: the host bit for bit without sound or with closed gates; what is only audible is learnt."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.features.align import on_one_grid
from tal.features.base import VideoFeatures
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.methods.mrav_ff import MravFf, MravFfConfig, MravFfTriDet, MravFfTriDetConfig
from tal.methods.tridet import TriDet, TriDetConfig
from tal.segments import Segments
from tal.timeline import SnippetGrid

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import every_parameter_learns, trains_in_bfloat16

CLASSES = ("clap", "snap")
SMALL = {"classes": CLASSES, "train_snippets": 64, "width": 16, "branch_layers": 3, "window": 5, "init_loss_norm": 20}
HOSTS = {
    "actionformer": (ActionFormer, ActionFormerConfig, MravFf, MravFfConfig, {"heads": 2, "stem_layers": 1}),
    "tridet": (TriDet, TriDetConfig, MravFfTriDet, MravFfTriDetConfig, {"stem_layers": 1, "bins": 6}),
}
EVERY_LEVEL = {"regression_ranges": ((0, 99),) * 4}
HEARS = {"streams": {"rgb": 4, "audio": 3}, "audio_heads": 2, "audio_window": 5}


def _host(name, **changes):
    host, config, _, _, own = HOSTS[name]
    torch.manual_seed(0)
    return host(config(streams={"rgb": 4}, **{**SMALL, **own, **changes}))


def _hearing(name, **changes):
    _, _, method, config, own = HOSTS[name]
    torch.manual_seed(0)
    return method(config(**{**SMALL, **own, **HEARS, **changes}))


def _sample(seed, *, audible=True, count=60):
    """Two instances, seen by a bump that says nothing of the class, which is only heard."""
    rng = np.random.default_rng(seed)
    grid = SnippetGrid(stride_s=0.5, window_s=0.5, count=count)
    start_s = np.array([2.0, 16.0]) + rng.uniform(0, 3, 2)
    end_s, label = start_s + rng.uniform(4, 9, 2), rng.permutation(2)
    streams = {"rgb": rng.normal(0, 0.3, (count, 4)), "audio": rng.normal(0, 0.3, (count, 3))}
    for s, e, k in zip(start_s, end_s, label, strict=True):
        inside = (grid.centers_s > s) & (grid.centers_s < e)
        streams["rgb"][inside, :2] += 2
        streams["audio"][inside, k] += 2
    return Sample(
        video=str(seed),
        streams={
            name: torch.from_numpy(x.astype(np.float32)) for name, x in streams.items() if audible or name != "audio"
        },
        grid=grid,
        duration_s=grid.end_s,
        instances=Segments(start_s=start_s, end_s=end_s, label=label, classes=CLASSES),
    )


def _batch(model, seeds=(0, 1), *, audible=(True, True), count=60):
    samples = [_sample(seed, audible=heard, count=count) for seed, heard in zip(seeds, audible, strict=True)]
    return collate(samples, model.inputs, train=True)


def _assert_same_outputs(ours, theirs, *, rows=slice(None)):
    for name in vars(theirs):
        if name not in ("masks", "features"):
            for one, other in zip(getattr(ours, name), getattr(theirs, name), strict=True):
                assert torch.equal(one[rows], other[rows]), name


@pytest.mark.parametrize("host", HOSTS)
def test_the_host_is_the_same_network_from_the_same_seed(host):
    theirs, ours = _host(host).state_dict(), _hearing(host).state_dict()
    assert list(ours)[: len(theirs)] == list(theirs)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    assert {name.split(".")[0] for name in list(ours)[len(theirs) :]} == {"fusion"}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("fused_heads", ["both", "classification", "regression"])
@pytest.mark.parametrize("host", HOSTS)
def test_with_closed_gates_it_is_the_host(host, fused_heads, train):
    theirs = _host(host).train(train)
    ours = _hearing(host, gate="closed", fused_heads=fused_heads, audio_dropout=0.0).train(train)
    batch = _batch(ours)
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        model.outputs_ = model(batch)
        losses.append(model.loss(model.outputs_, batch))
    _assert_same_outputs(ours.outputs_, theirs.outputs_)
    assert all(torch.equal(losses[0][name], value) for name, value in losses[1].items())
    if not train:
        for mine, other in zip(ours.predict(batch), theirs.predict(batch), strict=True):
            np.testing.assert_array_equal(mine.score, other.score)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("host", HOSTS)
def test_a_video_without_sound_gets_the_hosts_outputs(host, train):
    theirs, ours = _host(host).train(train), _hearing(host, audio_dropout=0.0).train(train)
    ours.set_feature_stats({"audio": (torch.full((3,), 2.0), torch.ones(3))})
    batch = _batch(ours, audible=(False, True))
    outputs = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        outputs.append(model(batch))
    _assert_same_outputs(*outputs, rows=slice(0, 1))
    assert not torch.equal(outputs[0].logits[0][1], outputs[1].logits[0][1])
    zeros = replace(batch, streams={**batch.streams, "audio": torch.zeros_like(batch.streams["audio"])})
    outputs = []
    for model in (ours, theirs):
        torch.manual_seed(1)
        outputs.append(model(zeros))
    _assert_same_outputs(*outputs)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("fused_heads", ["both", "classification", "regression"])
def test_only_the_chosen_heads_hear(host, fused_heads):
    theirs, ours = _host(host).eval(), _hearing(host, fused_heads=fused_heads).eval()
    batch = _batch(ours)
    heard, plain = ours(batch), theirs(batch)
    assert torch.equal(heard.logits[0], plain.logits[0]) == (fused_heads == "regression")
    assert torch.equal(heard.offsets[0], plain.offsets[0]) == (fused_heads == "classification")
    if host == "tridet":
        assert torch.equal(heard.start[0], plain.start[0]) == (fused_heads == "classification")


def test_dropped_sound_is_not_heard_and_only_in_training():
    model = _hearing("actionformer", audio_dropout=1.0, drop_path=0.0)
    batch = _batch(model)
    louder = replace(batch, streams={**batch.streams, "audio": 3 * batch.streams["audio"]})
    assert torch.equal(model(batch).logits[0], model(louder).logits[0])
    model.eval()
    assert not torch.equal(model(batch).logits[0], model(louder).logits[0])
    some = _hearing("actionformer", audio_dropout=0.5)
    torch.manual_seed(0)
    heard = some._heard(torch.ones(1000, 3, 4)).float().mean()
    assert 0.4 < heard < 0.6


@pytest.mark.parametrize(
    ("host", "changes"),
    [
        ("actionformer", {}),
        ("actionformer", {"gate": "time", "symmetric": True, "audio_window": 0}),
        ("actionformer", {"gate": "scalar", "hierarchy": False, "fused_heads": "regression", **EVERY_LEVEL}),
        ("tridet", {"fused_heads": "classification", "symmetric": True}),
    ],
)
def test_gradients_reach_every_parameter(host, changes):
    model = _hearing(host, drop_path=0.0, audio_dropout=0.0, **changes)
    batch = _batch(model)
    with torch.no_grad():  # a ReLU that is shut by chance at width 16 has no gradient
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    every_parameter_learns(model, batch)


def test_a_batch_without_any_sound_trains():
    model = _hearing("actionformer", drop_path=0.0)
    batch = _batch(model, audible=(False, False))
    model.loss(model(batch), batch)["loss"].backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("window", [5, 0])
def test_padding_further_changes_nothing(window):
    model = _hearing("actionformer", audio_window=window, symmetric=True).eval()
    batch = _batch(model, count=37)
    longer = collate([_sample(0, count=37), _sample(1, count=60)], model.inputs, train=True)
    for ours, theirs in zip(model(batch).logits, model(longer).logits, strict=True):
        shared = min(ours.shape[-1], theirs.shape[-1])
        torch.testing.assert_close(ours[:1, :, :shared], theirs[:1, :, :shared])


def test_bfloat16_autocast_trains():
    def make():
        return _hearing("actionformer", drop_path=0.0, audio_dropout=0.0, symmetric=True)

    trains_in_bfloat16(make, _batch(make()))


def test_sound_is_brought_to_the_pictures_times():
    """VGGish: a vector per 0.96 s; the first and the last hold beyond their centres, where index would stretch."""
    rgb = VideoFeatures(
        video="v",
        features=np.zeros((40, 4), np.float32),
        grid=SnippetGrid(stride_s=0.5, window_s=1.0, count=40),
        duration_s=20.5,
    )
    sound_grid = SnippetGrid(stride_s=0.96, window_s=0.96, count=21)
    sound = VideoFeatures(
        video="v", features=sound_grid.centers_s[:, None].repeat(3, 1), grid=sound_grid, duration_s=20.5
    )
    aligned = on_one_grid({"rgb": rgb, "audio": sound})["audio"]
    assert aligned.features.shape == (40, 3)
    times = np.clip(rgb.grid.centers_s, sound_grid.centers_s[0], sound_grid.centers_s[-1])
    np.testing.assert_allclose(aligned.features[:, 0], times, atol=1e-5)


def _trained(model, steps, *, lr):
    """Each step sees four other videos: they are too many to be learnt by heart."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr)
    for step in range(steps):
        batch = _batch(model, range(1000 + 4 * step, 1004 + 4 * step), audible=(True,) * 4)
        losses = model.loss(model(batch), batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
    return model.eval()


def _right(model, seeds):
    """Share of unseen instances whose best overlapping detection has the right class."""
    samples = [_sample(seed) for seed in seeds]
    found = model.predict(collate(samples, model.inputs, train=False))
    right = []
    for sample, detections in zip(samples, found, strict=True):
        for start_s, end_s, label in zip(
            sample.instances.start_s, sample.instances.end_s, sample.instances.label, strict=True
        ):
            center = (detections.start_s + detections.end_s) / 2
            inside = detections[(center > start_s) & (center < end_s)]
            right.append(len(inside) > 0 and inside.label[0] == label)
    return float(np.mean(right))


@pytest.mark.parametrize(
    ("host", "steps", "lr"),
    [("actionformer", 40, 4e-3), pytest.param("tridet", 60, 4e-3, marks=pytest.mark.full)],
)
def test_what_is_only_audible_is_learnt_by_hearing_alone(host, steps, lr):
    unseen, settings = range(100, 120), {"width": 32, "drop_path": 0.0}
    hears = _trained(_hearing(host, audio_dropout=0.2, **settings), steps, lr=lr)
    deaf = _trained(_host(host, **settings), steps, lr=lr)
    assert _right(hears, unseen) > 0.9
    assert _right(deaf, unseen) < 0.75


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"streams": {"rgb": 4}}, "a stream of sound"),
        ({"streams": {"audio": 3, "rgb": 4}}, "named after another"),
        ({"audio_window": 4}, "audio_window"),
        ({"audio_heads": 3}, "audio_heads"),
        ({"gate": "open"}, "channel or time"),
        ({"fused_heads": "none"}, "both or classification"),
        ({"audio_dropout": 1.5}, "audio_dropout"),
        ({"projection": {"rgb": 8, "audio": 8}}, "rgb"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, text):
    with pytest.raises(ConfigError, match=text):
        _hearing("actionformer", **changes)


def test_the_host_may_project_its_own_streams():
    model = _hearing(
        "actionformer", streams={"rgb": 4, "flow": 2, "audio": 3}, projection={"rgb": 8, "flow": 8}, audio_dropout=0.0
    )
    assert model.inputs.optional == ("audio",)
    assert dict(model.inputs.streams) == {"rgb": 4, "flow": 2, "audio": 3}
    assert model.streams.width == 16
