"""`tal train`: a recipe to a model package."""

import contextlib
import ctypes
import json
import logging
import multiprocessing
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tal.errors import ConfigError, PackageError, TalError
from tal.pipelines.train_derive import Derived, derive, needs_stats
from tal.pipelines.train_recipe import read_recipe, recipe_from, recipe_parser
from tal.pipelines.train_settings import Recipe
from tal.registry import METHODS

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from torch import Tensor

    from tal.methods.augment import FeatureStats
    from tal.methods.base import Method
    from tal.pipelines.train_samples import TrainingData

_log = logging.getLogger("tal.train")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """What a training run gives.

    Args:
        method: With the weights that are kept, on the CPU.
        recipe: With everything derived.
        metrics: Of the validation, and how long an epoch took.
        detections: Of the validation videos.
    """

    method: "Method"
    recipe: Recipe
    metrics: Mapping[str, float]
    detections: Mapping[str, Any]


def train(recipe: Recipe, out: Path, *, resume: bool = False, command: str = "") -> Trained:
    """Train and write OUT/model (the package), checkpoints, logs, recipe.yaml, data.json and metrics.json.

    Args:
        recipe: See `tal.pipelines.train_recipe`.
        out: The run's folder; it must not hold a run yet, unless `resume`.
        resume: Go on from the last checkpoint in `out`.
        command: What the person typed, for the model card.

    Raises:
        TalError: the folder holds a run, another process trains in it, there is nothing to resume, or the data does not
            fit the recipe, or is not what the run was started on.
    """
    from tal.package import save_package
    from tal.pipelines.train_finish import card, choose_thresholds, detect
    from tal.pipelines.train_folder import claimed
    from tal.pipelines.train_samples import open_data

    _check_accelerator(recipe.trainer.accelerator)
    data = open_data(recipe.data)
    derived = derive(recipe, data)
    _check_devices(recipe, data)
    with claimed(out, derived.recipe, data, resume=resume):
        for note in (*data.notes, *derived.notes):
            _log.info("%s", note)
        trained = fit(derived, data, out, resume=resume)
        judged = data.validation if len(data.validation) else data.train
        detections = trained.detections or detect(trained.method, judged)
        truth = {record.video: record.instances for record in judged.records}
        save_package(
            out / "model",
            method=recipe.method,
            model=trained.method,
            features=data.specs,
            layouts={name: each.layout for name, each in recipe.data.features.items() if each.layout is not None},
            thresholds={} if data.text else choose_thresholds(detections, truth, trained.method.classes),
            text=data.text,
            card=card(trained.recipe, data, trained.metrics, command),
        )
        (out / "metrics.json").write_text(json.dumps(dict(trained.metrics), indent=2) + "\n", encoding="utf-8")
    return trained


def _check_devices(recipe: Recipe, data: "TrainingData") -> None:
    """Refuse more processes than videos: each has a share of both splits."""
    for what, videos in (("training", data.train), ("validation", data.validation)):
        if 0 < len(videos) < recipe.trainer.devices:
            raise ConfigError(
                f"trainer.devices of {recipe.trainer.devices} for {len(videos)} {what} videos",
                expected=f"{len(videos)} devices at most",
                cause="every process has a share of both splits",
            )


def _check_accelerator(name: str) -> None:
    """Refuse what this machine has not, before anything is written."""
    import torch

    if name == "gpu" and not torch.cuda.is_available():
        raise ConfigError(
            f"trainer.accelerator {name}, and torch finds no GPU here",
            expected="auto or cpu on this machine",
            todo="see `tal info` for what torch and the driver say",
        )


def fit(derived: Derived, data: "TrainingData", out: Path, *, resume: bool = False) -> Trained:
    """Train, and score the weights that are kept; writes checkpoints and logs under `out`.

    Args:
        derived: The recipe, with all that the data decides.
        data: The videos.
        out: The run's folder.
        resume: Go on from the last checkpoint.
    """
    import torch

    from tal.pipelines.train_checkpoints import BEST, LAST, Checkpoints, Told
    from tal.pipelines.train_data import LocalizerData
    from tal.pipelines.train_ema import WeightMean
    from tal.pipelines.train_finish import Scorer, detect
    from tal.pipelines.train_module import LocalizerModule
    from tal.pipelines.train_processes import OneOfSeveral
    from tal.pipelines.train_queries import QueryScorer
    from tal.pipelines.train_samples import feature_stats

    recipe = derived.recipe
    began_s = time.monotonic()
    stats = feature_stats(data.train) if needs_stats(recipe) else None
    method = build_method(derived, stats)
    loaders = LocalizerData(data, recipe, method.inputs, stats)
    scorer = Scorer.of(recipe, data) if data.text is None else QueryScorer.of(recipe, data)
    module = LocalizerModule(method, recipe, loaders.steps_per_epoch(recipe.trainer.devices), scorer)
    told = Told()
    checkpoints = out / "checkpoints"
    mean = WeightMean(recipe.optim.ema_decay, warm_up=recipe.optim.ema_warmup)
    stop = multiprocessing.get_context("spawn").Event() if recipe.trainer.devices > 1 else None
    saving = Checkpoints(checkpoints, recipe.method, minutes=recipe.trainer.checkpoint_minutes, stop=stop)
    callbacks = [mean, told, saving] if stop is None else [OneOfSeveral(), mean, told, saving]
    trainer = _trainer(recipe, out, callbacks, bool(len(data.validation)))
    last = checkpoints / LAST if resume else None
    if last is not None:
        kept_weights(last, recipe.method)  # refuses what is no checkpoint of ours, before anything is changed
    train_on = partial(trainer.fit, module, loaders, ckpt_path=last, weights_only=True)
    if stop is None:
        _fit(trainer, train_on)
    else:
        _fit_together(trainer, train_on, stop)
    kept = checkpoints / (BEST if recipe.trainer.keep == "best" else LAST)
    method.load_state_dict(kept_weights(kept, recipe.method))
    detections = detect(method.to(trainer.strategy.root_device), data.validation)
    method = method.cpu()
    metrics = dict(scorer(detections)) if detections else {}
    if told.epoch_s:
        metrics["seconds_per_epoch"] = median(told.epoch_s)
    metrics["seconds"] = time.monotonic() - began_s
    torch.set_grad_enabled(True)
    return Trained(method=method, recipe=recipe, metrics=metrics, detections=detections)


def build_method(derived: Derived, stats: "FeatureStats | None") -> "Method":
    """The method with its initial weights, which the recipe's seed decides."""
    import torch

    torch.manual_seed(derived.recipe.trainer.seed)
    method: Method = METHODS.load(derived.recipe.method)(derived.config)
    if stats is not None and derived.recipe.model.standardize:
        method.set_feature_stats({name: (stats.mean[name], stats.std[name]) for name in stats.mean})
    return method


def _trainer(recipe: Recipe, out: Path, callbacks: "list[Callback]", validates: bool) -> "Trainer":
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
    from lightning.pytorch.strategies import DDPStrategy

    from tal.pipelines.train_processes import quiet

    quiet()
    _keep_freed_memory()
    settings, version = recipe.trainer, len(list((out / "logs").glob("version_*")))
    strategy: Any = "auto"
    if settings.devices > 1:
        # A batch may leave parts of a network out, such as those for sound.
        strategy = DDPStrategy(start_method="spawn", process_group_backend=None, find_unused_parameters=True)
    return Trainer(
        accelerator=settings.accelerator,
        devices=settings.devices,
        strategy=strategy,
        precision=_PRECISION[settings.precision],  # type: ignore[arg-type]
        max_epochs=settings.max_epochs,
        gradient_clip_val=recipe.optim.clip_norm or None,
        check_val_every_n_epoch=settings.validate_every or None,
        limit_val_batches=1.0 if validates and settings.validate_every else 0,
        num_sanity_val_steps=0,
        callbacks=callbacks,
        logger=[cls(out, name="logs", version=version) for cls in (CSVLogger, TensorBoardLogger)],
        enable_checkpointing=True,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        use_distributed_sampler=False,
        log_every_n_steps=1_000_000,
    )


def _keep_freed_memory() -> None:
    """Have glibc keep freed memory: every step allocates what the last one freed, and new pages cost a fifth of it."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _fit(trainer: "Trainer", train_on: Callable[[], None]) -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        train_on()
    except SystemExit as error:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from error
    if trainer.interrupted:
        raise KeyboardInterrupt


def _fit_together(trainer: "Trainer", train_on: Callable[[], None], stop: Event) -> None:
    """The same in several processes, which this one starts and waits for."""
    from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException

    from tal.pipelines.train_processes import listening, user_error

    def end() -> None:
        for process in getattr(trainer.strategy.launcher, "procs", ()):
            process.kill()

    try:
        with listening(stop, end):
            train_on()
    except (ProcessExitedException, ProcessRaisedException) as error:
        if stop.is_set():
            raise KeyboardInterrupt from error
        if (told := user_error(error)) is not None:
            raise told from error
        raise
    if stop.is_set():  # after the last step
        raise KeyboardInterrupt


def kept_weights(checkpoint: Path, method: str) -> "dict[str, Tensor]":
    """The running mean of the weights in a checkpoint of ours.

    Raises:
        PackageError: missing, damaged, no checkpoint of ours, or of another method.
    """
    import pickle

    import torch

    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        found, mean, _ = content["method"], content["callbacks"]["WeightMean"]["mean"], content["processes"]
    except FileNotFoundError as error:
        raise PackageError(f"there is no checkpoint {checkpoint}", todo="train without --resume") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise PackageError(
            f"{checkpoint} is no checkpoint of tal train: {_first_line(error)}",
            expected="a file that tal train wrote",
            cause="a damaged file, or one from elsewhere",
            todo="train anew in another folder (--out), or delete this one's checkpoints and model",
        ) from error
    if found != method:
        raise PackageError(f"{checkpoint} is a checkpoint of {found}", expected=f"one of {method}")
    return dict(mean)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__


def run_words(words: Sequence[str]) -> int:
    """`tal train RECIPE [--out RUN] [--resume] [--section.setting VALUE ...]`."""
    recipe, options = recipe_of_words(words, "train", _add_options)
    name = words[0]
    out = options["out"] or Path("runs") / Path(name).with_suffix("").name
    trained = train(recipe, out, resume=bool(options["resume"]), command=f"tal train {shlex.join(words)}")
    for metric, value in trained.metrics.items():
        print(f"{metric:<18} {value:.4f}")
    print(f"model package: {out / 'model'}")
    return 0


def recipe_of_words(
    words: Sequence[str], command: str, add_options: "Callable[[Any], None]"
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe that a command line names and overrides, and the command's own options."""
    from tal.console import set_up_logging

    asked = words and words[0] in ("-h", "--help")
    if not words or (words[0].startswith("-") and not asked):
        raise TalError(
            f"tal {command} needs a recipe as its first word",
            expected=f"tal {command} RECIPE [--section.setting VALUE ...]",
            todo="see `tal list recipes` for names, or give a YAML file",
        )
    values = {} if asked else read_recipe(words[0])
    about = f"{_ABOUT[command]} RECIPE is a name (tal list recipes) or a YAML file."
    parser = recipe_parser(values.get("method", "actionformer"), prog=f"tal {command}", description=about)
    levels = ["debug", "info", "warning", "error"]
    parser.add_argument("--log-level", "--log_level", choices=levels, default="info", help="what is told while it runs")
    add_options(parser)
    if asked:
        parser.print_help()
        raise SystemExit(0)
    recipe, options = recipe_from(parser, values, words[1:])
    set_up_logging(options.pop("log_level"))
    return recipe, options


_ABOUT = {
    "train": "Train a localizer from a recipe.",
    "cross_validate": "Train and score it on folds of its training split.",
    "explain": "Show a recipe's settings, with those that its data decides.",
}


def _add_options(parser: Any) -> None:
    parser.add_argument("--out", type=Path | None, default=None, help="the run's folder (default: runs/RECIPE)")
    parser.add_argument("--resume", action="store_true", help="go on from the folder's last checkpoint")


train.run_words = run_words  # type: ignore[attr-defined]
