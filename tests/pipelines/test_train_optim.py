"""Optimisers and schedules against torch's own, and the published settings of every method in their terms."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LinearLR, MultiStepLR, SequentialLR

from tal.errors import ConfigError
from tal.pipelines.train import train
from tal.pipelines.train_module import LocalizerModule, learning_rate, parameter_groups
from tal.pipelines.train_recipe import build_recipe
from tal.pipelines.train_settings import OptimSettings

from .conftest import recipe_values

STEPS = 7

PUBLISHED = {
    "tridet thumos14": ({"warmup_epochs": 20, "weight_decay": 0.025}, 40),
    "tridet activitynet": (
        {"lr": 1e-3, "min_lr": 5e-5, "warmup_epochs": 10, "weight_decay": 0.04, "clip_norm": 0.4},
        15,
    ),
    "temporalmaxer thumos14": ({"warmup_epochs": 5}, 65),
    "mrav_ff epic": ({"min_lr": 5e-5, "warmup_epochs": 5}, 40),
    "mrav_ff thumos14": ({"warmup_epochs": 20, "weight_decay": 0.025}, 50),
    "asl ego4d": ({"warmup_epochs": 5, "weight_decay": 0.05}, 15),
    "actionformer multithumos": ({"schedule_epochs": 65}, 45),
    "bmn activitynet": (
        {
            "optimizer": "adam",
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "decayed": "all",
            "schedule": "steps",
            "milestones": [7],
            "warmup_epochs": 0,
            "batch_size": 16,
            "clip_norm": 0,
            "ema_decay": 0,
        },
        9,
    ),
    "bmn opentad": (
        {
            "optimizer": "adam",
            "lr": 1e-3,
            "weight_decay": 1e-4,
            "decayed": "all",
            "decay_factors": {"embed": 10},
            "schedule": "steps",
            "milestones": [7],
            "warmup_epochs": 0,
            "clip_norm": 1.0,
            "ema_decay": 0,
        },
        10,
    ),
    "moment_detr and denoiseloc qvhighlights": (
        {
            "lr": 1e-4,
            "weight_decay": 1e-4,
            "decayed": "all",
            "schedule": "constant",
            "warmup_epochs": 0,
            "batch_size": 32,
            "clip_norm": 0.1,
            "ema_decay": 0,
        },
        200,
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings_are_expressible(data_folder, name):
    optim, epochs = PUBLISHED[name]
    values = recipe_values(data_folder, max_epochs=epochs)
    values["optim"] = optim
    recipe = build_recipe(values)
    for key, value in optim.items():
        found = getattr(recipe.optim, key)
        assert (list(found) if isinstance(found, tuple) else found) == value


def _torch_rates(settings, epochs, warmup_steps):
    """The learning rates of all steps by torch's schedulers, warm-up included."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=settings.lr)
    after = (settings.schedule_epochs or epochs) * STEPS - warmup_steps
    chosen = {
        "cosine": lambda: CosineAnnealingLR(optimizer, after, eta_min=settings.min_lr),
        "steps": lambda: MultiStepLR(
            optimizer, [epoch * STEPS - warmup_steps for epoch in settings.milestones], settings.lr_factor
        ),
        "constant": lambda: ConstantLR(optimizer, 1.0),
    }[settings.schedule]
    if not warmup_steps:
        scheduler = chosen()
    else:
        rising = LinearLR(optimizer, 1e-8 / settings.lr, 1.0, total_iters=warmup_steps - 1)
        scheduler = SequentialLR(optimizer, [rising, chosen()], [warmup_steps])
    rates = []
    for _ in range(epochs * STEPS):
        rates.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup_epochs", [0, 2])
@pytest.mark.parametrize(
    "schedule",
    [
        {"schedule": "cosine", "min_lr": 0.1},
        {"schedule": "cosine", "min_lr": 0.0, "schedule_epochs": 15},
        {"schedule": "steps", "milestones": (5,)},
        {"schedule": "steps", "milestones": (4, 6, 9), "lr_factor": 0.5},
        {"schedule": "constant"},
    ],
)
def test_schedules_are_torchs(schedule, warmup_epochs):
    settings = OptimSettings(lr=0.5, warmup_epochs=warmup_epochs, **schedule)
    ours = [learning_rate(step, settings, STEPS, 10) for step in range(10 * STEPS)]
    np.testing.assert_allclose(ours, _torch_rates(settings, 10, warmup_epochs * STEPS), rtol=1e-6, atol=1e-9)
    assert max(ours) == pytest.approx(0.5)


def _network():
    torch.manual_seed(0)
    return nn.ModuleDict({"base": nn.Conv1d(3, 4, 3), "head": nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))})


def _decays(**settings):
    """Parameter's name -> its weight decay."""
    network = _network()
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    groups = parameter_groups(network, OptimSettings(weight_decay=0.5, **settings))
    return {names[id(each)]: group["weight_decay"] for group in groups for each in group["params"]}


def test_what_decays():
    weights = {"base.weight": 0.5, "base.bias": 0, "head.0.weight": 0.5, "head.0.bias": 0}
    assert _decays() == weights | {"head.1.weight": 0, "head.1.bias": 0}
    assert set(_decays(decayed="all").values()) == {0.5}
    assert len(_decays(decayed="all")) == 6
    factors = _decays(decayed="all", decay_factors={"base": 10, "head": 2, "head.1": 0})
    assert factors == {
        "base.weight": 5,
        "base.bias": 5,
        "head.0.weight": 1,
        "head.0.bias": 1,
        "head.1.weight": 0,
        "head.1.bias": 0,
    }
    with pytest.raises(ConfigError, match=r"decay_factors for bas, .*\n?.*base, head"):
        _decays(decay_factors={"bas": 10})


@pytest.mark.parametrize("optimizer", ["adamw", "adam"])
def test_optimizers_are_torchs(data_folder, optimizer):
    values = recipe_values(data_folder)
    values["optim"] = {"optimizer": optimizer, "lr": 1e-2, "weight_decay": 0.3, "decayed": "all", "warmup_epochs": 0}
    network, reference = _network(), _network()
    module = LocalizerModule(network, build_recipe(values), STEPS, dict)
    module._trainer = SimpleNamespace(world_size=2)
    ours = module.configure_optimizers()["optimizer"]
    kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[optimizer]
    theirs = kind(reference.parameters(), lr=2e-2, weight_decay=0.3)
    for _ in range(3):
        for each, stepped in ((network, ours), (reference, theirs)):
            stepped.zero_grad()
            each["head"](each["base"](torch.ones(2, 3, 3))[..., 0]).square().sum().backward()
            stepped.step()
    for mine, wanted in zip(network.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted)


def test_without_a_mean_the_weights_themselves_are_kept(data_folder, tmp_path):
    values = recipe_values(data_folder, max_epochs=2, validate_every=1)
    for warm_up in (False, True):
        values["optim"] = {"lr": 3e-3, "warmup_epochs": 0, "ema_decay": 0, "ema_warmup": warm_up}
        trained = train(build_recipe(values), tmp_path / f"run{warm_up}")
        content = torch.load(tmp_path / f"run{warm_up}" / "checkpoints" / "last.ckpt", weights_only=True)
        for name, value in trained.method.state_dict().items():
            assert torch.equal(value, content["state_dict"][f"method.{name}"]), name


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"milestones": (3,)}, "milestones for the schedule of steps"),
        ({"schedule": "steps"}, "milestones for the schedule of steps"),
        ({"schedule": "steps", "milestones": (3, 2)}, "rising"),
        ({"schedule": "constant", "schedule_epochs": 3}, "cosine"),
        ({"decay_factors": {"base": -1}}, "decay_factors"),
        ({"ema_decay": 1.0}, "ema_decay"),
    ],
)
def test_settings_that_contradict_each_other(settings, text):
    with pytest.raises(ConfigError, match=text):
        OptimSettings(**settings)


def test_a_cosine_that_ends_before_the_training(data_folder):
    values = recipe_values(data_folder, max_epochs=10)
    values["optim"]["schedule_epochs"] = 5
    with pytest.raises(ConfigError, match="schedule_epochs of 5"):
        build_recipe(values)
