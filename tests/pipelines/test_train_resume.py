"""A run that was killed within an epoch goes on as if nothing had been: weights equal to the last bit."""

import multiprocessing
import os
import signal

import pytest
import torch

from tal.pipelines.train import train
from tal.pipelines.train_checkpoints import Checkpoints
from tal.pipelines.train_recipe import build_recipe

from .conftest import recipe_values, write_data

EPOCHS, STEPS, KILLED_AFTER = 3, 4, 6
"""Four steps in an epoch: the process dies in the second one."""


def _values(folder, **trainer):
    """Everything that draws random numbers is on: windows, augmentation, dropout, dropped paths."""
    values = recipe_values(folder, max_epochs=EPOCHS, validate_every=2, **trainer)
    values["model"] |= {"drop_path": 0.3, "dropout": 0.2}
    values["windows"] = {"augmentation": {"noise": 0.1, "speed": 1.2}}
    values["optim"]["batch_size"] = 2
    return values


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A forked process has one thread for its sums; rounding is the same only if all runs have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine training videos, of which every epoch leaves one out."""
    return write_data(tmp_path_factory.mktemp("data"), videos=12)


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    """An uninterrupted run's checkpoint, and its metrics."""
    out = tmp_path_factory.mktemp("whole") / "run"
    trained = train(build_recipe(_values(folder, workers=0)), out)
    return _checkpoint(out), trained.metrics


def _checkpoint(out):
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


def _assert_equal(first, second, where=""):
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for name, value in first.items():
            _assert_equal(value, second[name], f"{where}.{name}")
    elif isinstance(first, list):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            _assert_equal(*pair, f"{where}[{index}]")
    else:
        assert first == second, where


def _die(recipe, out, how):
    """Train, and send this process a signal after some step; runs in a process of its own."""
    torch.set_num_threads(1)
    at_end = Checkpoints.on_train_batch_end

    def dying(self, trainer, *args):
        at_end(self, trainer, *args)
        if trainer.global_step == KILLED_AFTER:
            os.kill(os.getpid(), how)

    Checkpoints.on_train_batch_end = dying
    try:
        train(recipe, out)
    except KeyboardInterrupt:
        os._exit(130)


@pytest.mark.parametrize(
    ("how", "minutes", "workers", "code", "saved"),
    [
        (signal.SIGKILL, 1e-6, 0, -signal.SIGKILL, KILLED_AFTER),
        (signal.SIGINT, 0.0, 1, 130, KILLED_AFTER + 1),  # the step is finished first
    ],
)
def test_a_killed_run_goes_on_as_if_nothing_had_been(
    folder, whole, tmp_path, monkeypatch, how, minutes, workers, code, saved
):
    monkeypatch.setattr("tal.pipelines.train_checkpoints.PATIENCE", 0.0)
    recipe, out = build_recipe(_values(folder, checkpoint_minutes=minutes, workers=workers)), tmp_path / "run"
    process = multiprocessing.get_context("fork").Process(target=_die, args=(recipe, out, how))
    process.start()
    process.join(60)
    assert process.exitcode == code
    cut = _checkpoint(out)
    assert (cut["epoch"], cut["global_step"]) == (saved // STEPS, saved)
    resumed = train(recipe, out, resume=True)
    again, (checkpoint, metrics) = _checkpoint(out), whole
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "processes", "global_step", "epoch"):
        _assert_equal(again[part], checkpoint[part], part)
    _assert_equal(again["callbacks"]["WeightMean"], checkpoint["callbacks"]["WeightMean"])
    assert resumed.metrics["mAP"] == metrics["mAP"]
    assert resumed.metrics["seconds_per_epoch"] > 0
