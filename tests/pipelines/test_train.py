"""Training end to end on synthetic features: learns, resumes exactly, survives interruption, refuses what is wrong."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.cli import main
from tal.errors import ConfigError, FeatureError, GridError, PackageError, TalError
from tal.methods.actionformer import ActionFormer
from tal.package import load_model
from tal.pipelines.train import kept_weights, train
from tal.pipelines.train_data import EpochOrder, LocalizerData
from tal.pipelines.train_derive import derive
from tal.pipelines.train_module import LocalizerModule, parameter_groups
from tal.pipelines.train_recipe import build_recipe, read_recipe, write_recipe
from tal.pipelines.train_samples import feature_stats, open_data, read_video_scores

from .conftest import recipe_values, write_data


def _weights(out):
    return kept_weights(out / "checkpoints" / "last.ckpt", "actionformer")


def _assert_same(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def test_learns_and_writes_everything(data_folder, tmp_path):
    recipe = build_recipe(recipe_values(data_folder, max_epochs=20, validate_every=10))
    out = tmp_path / "run"
    trained = train(recipe, out, command="tal train this")
    assert trained.metrics["mAP"] > 0.5
    written = {"checkpoints", "data.json", "logs", "metrics.json", "model", "recipe.yaml"}
    assert {path.name for path in out.iterdir()} == written
    assert json.loads((out / "metrics.json").read_text())["mAP"] == trained.metrics["mAP"]
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}

    package = load_model(out / "model")
    assert package.classes == ("jump", "squat")
    assert all(0 < value < 1 for value in package.thresholds.values())
    assert package.layouts["rgb"].stride_frames == 2
    assert "tal train this" in package.card
    assert "2 classes: jump, squat" in package.card
    _assert_same(package.model.state_dict(), _weights(out))

    rows = list(csv.DictReader((out / "logs" / "version_0" / "metrics.csv").open()))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 20
    assert losses[-1] < losses[0] / 2
    assert sum(bool(row["mAP"]) for row in rows) == 2
    assert list((out / "logs" / "version_0").glob("events.out.tfevents*"))


def test_same_seed_same_weights_and_other_seed_others(recipe, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(replace(recipe, trainer=replace(recipe.trainer, seed=seed, max_epochs=2)), tmp_path / name)
    _assert_same(_weights(tmp_path / "a"), _weights(tmp_path / "b"), rtol=0, atol=0)
    apart = _weights(tmp_path / "a")["embed.conv.0.weight"] - _weights(tmp_path / "c")["embed.conv.0.weight"]
    assert apart.abs().max() > 1e-3


class _Stop(Exception):  # noqa: N818
    pass


def _stop_after(monkeypatch, epochs):
    """Make training die in the epoch after `epochs`, before its first step."""
    from tal.pipelines.train_module import LocalizerModule

    original = LocalizerModule.on_train_epoch_start

    def dying(self):
        if self.current_epoch == epochs:
            raise _Stop
        original(self)

    monkeypatch.setattr(LocalizerModule, "on_train_epoch_start", dying)


def test_resumed_run_equals_an_uninterrupted_one(data_folder, tmp_path, monkeypatch):
    """From an epoch's end, with workers; from within an epoch, and without workers, elsewhere."""
    values = recipe_values(data_folder, max_epochs=4, validate_every=2, workers=2)
    values["model"]["drop_path"] = 0.3
    values["windows"] = {"augmentation": {"noise": 0.1, "speed": 1.2}}
    recipe = build_recipe(values)
    whole = train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch:
        # Every epoch is saved: saving waits for twenty times what the last save took.
        patch.setattr("tal.pipelines.train_checkpoints.PATIENCE", 0.0)
        _stop_after(patch, 2)
        with pytest.raises(_Stop):
            train(recipe, tmp_path / "cut")
    resumed = train(recipe, tmp_path / "cut", resume=True)
    _assert_same(_weights(tmp_path / "whole"), _weights(tmp_path / "cut"), rtol=0, atol=0)
    assert resumed.metrics["mAP"] == whole.metrics["mAP"]


def test_ctrl_c_within_a_validation_loses_nothing(data_folder, tmp_path, monkeypatch):
    recipe = build_recipe(recipe_values(data_folder, max_epochs=3, validate_every=1))
    train(recipe, tmp_path / "whole")
    with monkeypatch.context() as patch:
        validated = LocalizerModule.validation_step

        def interrupted(self, batch, index):
            signal.raise_signal(signal.SIGINT)
            patch.setattr(LocalizerModule, "validation_step", validated)
            return validated(self, batch, index)

        patch.setattr(LocalizerModule, "validation_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "cut")
    train(recipe, tmp_path / "cut", resume=True)
    _assert_same(_weights(tmp_path / "whole"), _weights(tmp_path / "cut"), rtol=0, atol=0)


def test_resuming_a_finished_run_changes_nothing(recipe, tmp_path):
    train(recipe, tmp_path / "run")
    before = _weights(tmp_path / "run")
    elsewhere = replace(recipe, trainer=replace(recipe.trainer, workers=1))
    train(elsewhere, tmp_path / "run", resume=True)
    _assert_same(before, _weights(tmp_path / "run"), rtol=0, atol=0)


def test_a_second_run_into_the_same_folder_is_refused(recipe, tmp_path):
    train(replace(recipe, trainer=replace(recipe.trainer, max_epochs=2)), tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds a run"):
        train(recipe, tmp_path / "run")
    with pytest.raises(ConfigError, match=r"max_epochs: 2 and 3"):
        train(recipe, tmp_path / "run", resume=True)
    with pytest.raises(ConfigError, match="no run to resume"):
        train(recipe, tmp_path / "other", resume=True)


def test_a_run_that_was_stopped_before_it_saved_begins_again(recipe, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    write_recipe(derive(recipe, open_data(recipe.data)).recipe, run / "recipe.yaml")
    with pytest.raises(PackageError, match="train without --resume"):
        train(recipe, run, resume=True)
    assert train(recipe, run).metrics


def test_checkpoints_that_are_none(recipe, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    write_recipe(derive(recipe, open_data(recipe.data)).recipe, run / "recipe.yaml")
    last = run / "checkpoints" / "last.ckpt"
    with pytest.raises(PackageError, match="there is no checkpoint"):
        train(recipe, run, resume=True)
    for content in (b"", b"not a checkpoint", b"\x80\x04}."):
        last.write_bytes(content)
        with pytest.raises(PackageError, match="no checkpoint of tal train"):
            train(recipe, run, resume=True)
    torch.save({"method": "tridet", "callbacks": {"WeightMean": {"mean": {}}}, "processes": []}, last)
    with pytest.raises(PackageError, match="checkpoint of tridet"):
        train(recipe, run, resume=True)
    torch.save({"method": "actionformer", "callbacks": {"WeightMean": {"mean": Exception}}}, last)
    with pytest.raises(PackageError, match="no checkpoint of tal train"):
        train(recipe, run, resume=True)


@pytest.fixture
def forking(monkeypatch):
    """Processes that are forked have torch and all else loaded; more than one thread they must not have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield multiprocessing.get_context("fork")
    torch.set_num_threads(threads)


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.full)])
def test_two_processes_train_as_one_with_twice_the_batch(data_folder, tmp_path, forking, monkeypatch, start_method):
    """The weights of two processes after two epochs; the losses of every method are compared elsewhere.

    Users' processes are spawned.
    """
    _start_by(start_method, monkeypatch)
    values = recipe_values(data_folder, max_epochs=2, devices=2, validate_every=2)
    values["optim"]["lr"] = 1e-3
    out = tmp_path / "two"
    trained = train(build_recipe(values), out)
    assert "mAP" in trained.metrics

    single = recipe_values(data_folder, max_epochs=2, validate_every=2)
    single["optim"] |= {"lr": 2e-3, "batch_size": 4}  # the learning rate is multiplied by the number of processes
    train(build_recipe(single), tmp_path / "one")
    rows = list(csv.DictReader((out / "logs" / "version_0" / "metrics.csv").open()))
    assert len([row for row in rows if row["train/loss"]]) == 2
    two, one = _weights(out), _weights(tmp_path / "one")
    moved = one["embed.conv.0.weight"] - _initial(single)["embed.conv.0.weight"]
    apart = one["embed.conv.0.weight"] - two["embed.conv.0.weight"]
    assert moved.abs().max() > 1e-4
    assert apart.norm() < 1e-3 * moved.norm()


def test_what_one_of_two_processes_ends_with_is_raised(data_folder, tmp_path, forking, monkeypatch):
    def broken(*_):  # in the forked processes
        raise GridError("features of another length", todo="extract them again")

    _start_by("fork", monkeypatch)
    monkeypatch.setattr(LocalizerModule, "training_step", broken)
    with pytest.raises(TalError, match=r"^features of another length\n  what to do: extract them again$"):
        train(build_recipe(recipe_values(data_folder, max_epochs=2, devices=2)), tmp_path / "run")


def _start_by(method, monkeypatch):
    from lightning.pytorch.strategies import DDPStrategy

    def strategy(**settings):
        assert settings["start_method"] == "spawn"
        return DDPStrategy(**settings | {"start_method": method})

    monkeypatch.setattr("lightning.pytorch.strategies.DDPStrategy", strategy)


def _initial(values):
    from tal.pipelines.train import build_method

    recipe = build_recipe(values)
    data = open_data(recipe.data)
    return build_method(derive(recipe, data), feature_stats(data.train)).state_dict()


def _main(words, log):
    """The command in this process, which it ends; what it tells goes to a file."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os._exit(main(words))


def test_interrupted_run_keeps_its_last_checkpoint(data_folder, tmp_path, forking):
    path, out, log = tmp_path / "recipe.yaml", tmp_path / "run", tmp_path / "log"
    write_recipe(build_recipe(recipe_values(data_folder, max_epochs=5000, validate_every=0)), path)
    process = forking.Process(target=_main, args=(["train", str(path), "--out", str(out)], log))
    process.start()
    deadline = time.monotonic() + 120
    while not (out / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    process.join(120)
    told = log.read_text()
    assert process.exitcode == 130, told
    assert "interrupted" in told
    assert "Traceback" not in told
    assert _weights(out)
    assert not (out / "model").exists()


def test_mixed_precision_trains(data_folder, tmp_path):
    recipe = build_recipe(recipe_values(data_folder, max_epochs=2, precision="bf16", validate_every=0))
    trained = train(recipe, tmp_path / "run")
    assert all(tensor.dtype == torch.float32 for tensor in trained.method.state_dict().values())
    assert np.isfinite(trained.metrics["mAP"])


def _spoilt(tmp_path, spoil):
    return build_recipe(recipe_values(write_data(tmp_path / "spoilt", spoil=spoil)))


@pytest.mark.parametrize(
    ("spoil", "error", "text"),
    [
        (lambda index, x: x[:, :4] if index == 2 else x, FeatureError, "width|wide|4"),
        (lambda index, x: np.where(np.arange(6) == 1, np.nan, x) if index == 2 else x, FeatureError, "NaN"),
        (lambda index, x: x[:30] if index == 2 else x, GridError, "30 snippets"),
        (lambda index, x: x.astype(object) if index == 2 else x, FeatureError, "plain|pickle"),
    ],
)
def test_features_that_do_not_fit_are_refused(tmp_path, spoil, error, text):
    with pytest.raises(error, match=text):
        train(_spoilt(tmp_path, spoil), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()


def test_features_that_stop_before_the_instances_are_refused_without_durations_too(tmp_path):
    folder = write_data(tmp_path / "cut", spoil=lambda index, x: x[:20] if index == 2 else x)
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    for entry in content["database"].values():
        del entry["duration"]
    path.write_text(json.dumps(content))
    with pytest.raises(GridError, match=r"video2, rgb .*: 20 snippets"):
        train(build_recipe(recipe_values(folder)), tmp_path / "run")


def test_missing_features_are_refused_or_skipped(recipe, data_folder, tmp_path):
    (data_folder / "features" / "video1.npy").unlink()
    with pytest.raises(FeatureError, match="1 of 6 videos have no features: video1"):
        open_data(recipe.data)
    data = open_data(replace(recipe.data, missing="skip"))
    assert len(data.train) == 5
    assert "1 train videos have no features and are left out: video1" in " ".join(data.notes)


def test_videos_may_lack_an_optional_stream(recipe, data_folder, tmp_path):
    rgb, folder = recipe.data.features["rgb"], tmp_path / "sound"
    folder.mkdir()
    for path in sorted((data_folder / "features").glob("*.npy"))[1:]:
        np.save(folder / path.name, np.load(path)[:, :2] + 5)
    both = {"rgb": rgb, "sound": replace(rgb, folder=folder)}
    with pytest.raises(FeatureError, match="1 of 6 videos have no features: video0"):
        open_data(replace(recipe.data, features=both))
    both["sound"] = replace(both["sound"], optional=True)
    data = open_data(replace(recipe.data, features=both))
    assert "1 train videos have no sound, and are used without: video0" in " ".join(data.notes)
    assert [set(sample.streams) for sample in data.train[:2]] == [{"rgb"}, {"rgb", "sound"}]
    assert set(data.fold([0]).validation[0].streams) == {"rgb"}
    everything = torch.cat([sample.streams["sound"] for sample in data.train[1:]])
    torch.testing.assert_close(feature_stats(data.train).mean["sound"], everything.mean(0))


def test_subset_that_does_not_exist(recipe):
    with pytest.raises(ConfigError, match="no subset 'test'") as error:
        open_data(replace(recipe.data, validation_subsets=("test",)))
    assert "'training' (6 videos)" in str(error.value)
    assert len(open_data(replace(recipe.data, train_subsets=("Training",))).train) == 6


def test_auto_settings_follow_the_data(data_folder, tmp_path):
    values = recipe_values(data_folder)
    for section, name in (("model", "branch_layers"), ("model", "train_snippets"), ("model", "init_loss_norm")):
        values[section][name] = "auto"
    values["trainer"]["max_epochs"] = "auto"
    recipe = build_recipe(values)
    derived = derive(recipe, open_data(recipe.data))
    assert derived.config.branch_layers == 2  # instances of 6 to 12 snippets
    assert derived.config.train_snippets % 4 == 0
    assert 60 <= derived.config.train_snippets <= 92
    assert derived.config.init_loss_norm == 18  # two videos of three instances, three points each
    assert derived.recipe.trainer.max_epochs == 101
    assert derived.recipe.auto == ()
    assert set(derived.reasons) >= set(recipe.auto)


def test_auto_where_nothing_can_be_derived(data_folder):
    recipe = build_recipe(recipe_values(data_folder), ["--optim.lr", "auto"])
    with pytest.raises(ConfigError, match=r"auto for optim\.lr"):
        derive(recipe, open_data(recipe.data))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["train"], "needs a recipe"),
        (["train", "--out", "x"], "needs a recipe"),
        (["train", "nothing"], "unknown recipe"),
        (["explain", "own_data", "--trainer.epochs", "3"], "did you mean --trainer.max_epochs"),
    ],
)
def test_misuse_is_told_and_exits_2(words, text, capsys):
    assert main(words) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--help"], ["thumos14/actionformer_i3d", "--help"]])
def test_help_tells_the_methods_settings(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", *words])
    assert not stop.value.code
    told = capsys.readouterr().out
    for option in ("RECIPE", "--model.width", "--optim.lr", "--data.annotations", "--resume", "--log-level"):
        assert option in told


def test_only_weights_of_layers_decay(recipe):
    built = ActionFormer(derive(recipe, open_data(recipe.data)).config)
    decayed, kept = parameter_groups(built, recipe.optim)
    names = {id(parameter): name for name, parameter in built.named_parameters()}
    assert len(decayed["params"]) + len(kept["params"]) == len(names)
    assert all(names[id(each)].endswith("weight") and each.ndim >= 2 for each in decayed["params"])
    assert all(each.squeeze().ndim <= 1 for each in kept["params"])


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_process_has_its_own_share(processes):
    orders = [EpochOrder(13, batch_size=2, seed=3, rank=rank, processes=processes) for rank in range(processes)]
    for order in orders:
        order.set_epoch(4)
    shares = [[video for epoch, video in order if epoch == 4] for order in orders]
    assert len({len(share) for share in shares}) == 1
    assert all(len(order) == len(share) for order, share in zip(orders, shares, strict=True))
    videos = [video for share in shares for video in share]
    assert len(set(videos)) == len(videos) == 13 // (2 * processes) * 2 * processes
    again = EpochOrder(13, batch_size=2, seed=3, processes=processes)
    again.set_epoch(5)
    assert [video for _, video in again] != shares[0]


def test_less_than_a_batch_is_used_whole():
    assert len(EpochOrder(3, batch_size=16, seed=0)) == 3


def test_loaders_are_independent_of_memory(recipe):
    batches = []
    for memory_gib in (0.0, 1.0):
        settings = replace(recipe, data=replace(recipe.data, memory_gib=memory_gib))
        data = open_data(settings.data)
        inputs = derive(settings, data)
        loaders = LocalizerData(data, settings, ActionFormer(inputs.config).inputs, None)
        batches.append(list(loaders.train_dataloader()))
        assert len(batches[-1]) == loaders.steps_per_epoch(1) == 3
    for first, second in zip(*batches, strict=True):
        assert first.videos == second.videos
        torch.testing.assert_close(first.streams["rgb"], second.streams["rgb"])


def test_feature_stats_are_those_of_all_snippets(recipe):
    data = open_data(recipe.data)
    stats = feature_stats(data.train)
    rows = np.concatenate([sample.streams["rgb"].numpy() for sample in data.train]).astype(np.float64)
    np.testing.assert_allclose(stats.mean["rgb"].numpy(), rows.mean(0), atol=1e-5)
    np.testing.assert_allclose(stats.std["rgb"].numpy(), rows.std(0), atol=1e-5)


def test_video_scores(tmp_path):
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({"v": {"b": 0.25, "a": 0.5}}))
    torch.testing.assert_close(read_video_scores(path, ("a", "b"))["v"], torch.tensor([0.5, 0.25]))
    with pytest.raises(FeatureError, match="'c'"):
        read_video_scores(path, ("a", "c"))


def test_shipped_recipe_reads_the_data_it_names(tmp_path, monkeypatch):
    """A relative path is seen from the working directory."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TalError, match=r"data/thumos14/annotations\.json"):
        open_data(build_recipe(read_recipe("thumos14/actionformer_i3d")).data)
