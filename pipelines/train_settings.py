"""What a recipe may set, as frozen dataclasses that validate themselves; YAML and the command line only fill them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tal.annotations.faults import FaultPolicy
from tal.errors import ConfigError
from tal.features import Layout
from tal.methods.augment import Augmentation


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One stream of features.

    Args:
        folder: A feature store that `tal extract` wrote, or a folder of arrays that others made.
        layout: How a folder that others made is laid out in time; not needed for a store.
        optional: Videos may lack this stream, as films without sound do; for methods that can do without it.
    """

    folder: Path
    layout: Layout | None = None
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class QuerySettings:
    """Sentences and the moments that answer them, in place of instances of classes.

    Args:
        text: Folder with a file of token features per query, such as `tal extract --text` writes; null: nothing is
            asked, instances of classes are learnt.
        text_prefix: What stands before a query's id in a file's name.
        text_key: Name of the array in an npz.
        validation: Annotation file of the validation queries, where they stand in one of their own; then all queries
            of data.annotations are trained on, and the subsets are not looked at.
        max_moments: Of a query with more, so many are drawn in every epoch.
        clip_s: Seconds of the clips that annotated saliency counts in.
        token_dropout: Share of a training query's tokens that is set to zero.
    """

    text: Path | None = None
    text_prefix: str = "qid"
    text_key: str = "last_hidden_state"
    validation: Path | None = None
    max_moments: int = 5
    clip_s: float = 2.0
    token_dropout: float = 0.0

    def __post_init__(self) -> None:
        _require(self.max_moments > 0, f"data.queries.max_moments of {self.max_moments}", "at least 1")
        _require(self.clip_s > 0, f"data.queries.clip_s of {self.clip_s}", "a positive number")
        share = self.token_dropout
        _require(0 <= share < 1, f"data.queries.token_dropout of {share}", "a share in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """What is trained and validated on. Relative paths are seen from the working directory.

    Args:
        annotations: The annotation file.
        format: Its format; "auto" looks at the file.
        features: Stream name -> where its features are. The first stream's time grid is the model's; streams on other
            grids, such as sound, are interpolated to it.
        train_subsets: Splits to train on, as the file names them, whatever their case.
        validation_subsets: Splits to validate on; none: no validation, and thresholds from the training split.
        cleaning: What happens to faulty instances before training; validation is always scored as published.
        protocol: Protocol by which validation is scored.
        variant: The tool whose rules are applied instead of the protocol's official ones (`tal list protocols`).
        tiou: tIoU thresholds of the validation's mAP; empty: the protocol's own.
        missing: A video without features stops the run ("error") or is left out and counted ("skip"); optional streams
            are not asked for.
        video_scores: Video-level class scores from an external classifier, {video: {class: score}} as json.
        queries: What is asked of the videos, for methods that answer sentences.
        memory_gib: Of either split, so much of the features is kept in memory, by every process and worker for itself;
            the rest is read in every epoch.
    """

    annotations: Path
    format: str = "auto"
    features: dict[str, Stream]
    train_subsets: tuple[str, ...] = ("training",)
    validation_subsets: tuple[str, ...] = ("validation",)
    cleaning: FaultPolicy = field(default_factory=FaultPolicy)
    protocol: str = "generic"
    variant: str | None = None
    tiou: tuple[float, ...] = ()
    missing: Literal["error", "skip"] = "error"
    video_scores: Path | None = None
    queries: QuerySettings = field(default_factory=QuerySettings)
    memory_gib: float = 4.0

    def __post_init__(self) -> None:
        _require(bool(self.features), "data.features names no stream", "a stream name with its folder")
        _require(bool(self.train_subsets), "data.train_subsets is empty", "at least one split to train on")
        _require(all(0 < t <= 1 for t in self.tiou), f"data.tiou of {self.tiou}", "thresholds in (0, 1]")
        both = sorted(set(self.train_subsets) & set(self.validation_subsets))
        _require(not both, f"{', '.join(both)} is both trained and validated on", "splits without a common video")


@dataclass(frozen=True, kw_only=True)
class WindowSettings:
    """How training windows are cut from videos.

    Args:
        crop_ratio: Shortest and longest window, as shares of a video that fits into one window; null: all of it.
        trunc: An instance is kept if this share of its length lies in the window; for all windows, if more does.
        choice: "random": one window per video and epoch, at random. "all": every window of a fixed length as in
            inference that holds an instance, in every epoch; for methods that read such windows.
        augmentation: Random changes of the features.
    """

    choice: Literal["random", "all"] = "random"
    crop_ratio: tuple[float, float] | None = (0.9, 1.0)
    trunc: float = 0.5
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        _require(self.choice in ("random", "all"), f"windows.choice of {self.choice!r}", '"random" or "all"')
        _require(0 <= self.trunc <= 1, f"windows.trunc of {self.trunc}", "a share in [0, 1]")
        ratio = self.crop_ratio
        _require(
            ratio is None or 0 < ratio[0] <= ratio[1] <= 1, f"windows.crop_ratio of {ratio}", "0 < first <= second <= 1"
        )


@dataclass(frozen=True, kw_only=True)
class OptimSettings:
    """The optimiser and its learning rate: a linear warm-up, counted in steps, then the schedule.

    Args:
        optimizer: "adamw" shrinks the weights beside the gradient's step, "adam" adds weight_decay * weight to the
            gradient, as older recipes do.
        lr: Highest learning rate, per device; multiplied by the number of devices.
        schedule: After the warm-up, half a cosine down to min_lr, counted in steps; "steps": times lr_factor at every
            milestone; "constant".
        min_lr: Learning rate at the end of the cosine.
        schedule_epochs: Epochs that the cosine is spread over, the warm-up included, for trainings that stop before
            its end; 0: trainer.max_epochs.
        milestones: Epochs, those of the warm-up included, after which the learning rate falls by lr_factor.
        lr_factor: What the learning rate is multiplied by at a milestone.
        weight_decay: Of what `decayed` says.
        decayed: "weights": only the weights of linear and convolution layers; "all": every parameter.
        decay_factors: First part of parameters' names -> factor of their weight decay, such as {base: 10}; the longest
            that fits counts.
        warmup_epochs: Epochs in which the learning rate rises from 0; counted within trainer.max_epochs.
        batch_size: Windows per step and device.
        clip_norm: Largest norm of the gradient; 0: not limited.
        ema_decay: Of the running mean of the weights, which is what is validated and kept; 0: the weights themselves.
        ema_warmup: Let the decay rise from 0, so that a training of a few hundred steps forgets its initial weights.
    """

    optimizer: Literal["adamw", "adam"] = "adamw"
    lr: float = 1e-4
    schedule: Literal["cosine", "steps", "constant"] = "cosine"
    min_lr: float = 1e-8
    schedule_epochs: int = 0
    milestones: tuple[int, ...] = ()
    lr_factor: float = 0.1
    weight_decay: float = 0.05
    decayed: Literal["weights", "all"] = "weights"
    decay_factors: dict[str, float] = field(default_factory=dict)
    warmup_epochs: int = 5
    batch_size: int = 2
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    ema_warmup: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "lr_factor", "batch_size"):
            _require(getattr(self, name) > 0, f"optim.{name} of {getattr(self, name)}", "a positive number")
        for name in ("min_lr", "schedule_epochs", "weight_decay", "warmup_epochs", "clip_norm"):
            _require(getattr(self, name) >= 0, f"optim.{name} of {getattr(self, name)}", "zero or more")
        _require(0 <= self.ema_decay < 1, f"optim.ema_decay of {self.ema_decay}", "a number in [0, 1)")
        falling = [factor for factor in self.decay_factors.values() if factor < 0]
        _require(not falling, f"optim.decay_factors of {self.decay_factors}", "factors of zero or more")
        rising = list(self.milestones) == sorted(set(self.milestones)) and all(m > 0 for m in self.milestones)
        _require(rising, f"optim.milestones of {self.milestones}", "rising numbers of epochs, from 1 on")
        _require(
            bool(self.milestones) == (self.schedule == "steps"),
            f"optim.schedule of {self.schedule} with milestones {self.milestones}",
            "milestones for the schedule of steps, and only for it",
        )
        _require(
            self.schedule == "cosine" or not self.schedule_epochs,
            f"optim.schedule_epochs with the schedule {self.schedule}",
            "the schedule cosine, which alone is spread over epochs",
        )


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How long, where and how exactly.

    Args:
        max_epochs: All epochs, the warm-up included.
        seed: Decides the initial weights, the order of the videos, every window and every dropout.
        accelerator: "auto" takes a GPU where there is one.
        devices: Processes that share the work; over one, gradients and the loss normaliser are averaged (DDP).
        precision: Arithmetic of the network: 32-bit, or mixed with 16-bit brain or half floats.
        workers: Processes that prepare windows; 0: none, which is fastest when the features fit into memory.
        validate_every: Epochs between two validations; 0: none before the end, where the weights that are kept are
            scored in any case.
        checkpoint_minutes: A long epoch is saved on the way after so many minutes without a checkpoint; 0: only at the
            ends of epochs. An interrupted run goes on with --resume as if nothing had been, wherever it was saved.
        keep: Weights that become the model package: those of the last epoch or of the best validation, among which
            the last epoch is only if its number is a multiple of validate_every.
    """

    max_epochs: int = 35
    seed: int = 0
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    precision: Literal["32", "bf16", "16"] = "32"
    workers: int = 0
    validate_every: int = 5
    checkpoint_minutes: float = 10.0
    keep: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        for name in ("max_epochs", "devices"):
            _require(getattr(self, name) > 0, f"trainer.{name} of {getattr(self, name)}", "a positive number")
        for name in ("seed", "workers", "validate_every", "checkpoint_minutes"):
            _require(getattr(self, name) >= 0, f"trainer.{name} of {getattr(self, name)}", "zero or more")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run.

    Args:
        method: Name of the method.
        model: The method's own config; its streams and classes stay empty until the data is known.
        data: See DataSettings; likewise windows, optim and trainer.
        auto: Settings ("model.levels") that are derived from the data because the recipe says "auto".
    """

    method: str
    model: Any
    data: DataSettings
    windows: WindowSettings = field(default_factory=WindowSettings)
    optim: OptimSettings = field(default_factory=OptimSettings)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)
    auto: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.trainer.keep == "best" and not (self.data.validation_subsets and self.trainer.validate_every):
            raise ConfigError(
                "trainer.keep of best without validation",
                expected="data.validation_subsets and trainer.validate_every",
            )
        known = "trainer.max_epochs" not in self.auto
        if known and self.trainer.keep == "best" and self.trainer.validate_every > self.trainer.max_epochs:
            raise ConfigError(
                f"trainer.keep of best with a validation every {self.trainer.validate_every} epochs of "
                f"{self.trainer.max_epochs}",
                expected="trainer.validate_every of trainer.max_epochs at most",
            )
        if known and self.optim.warmup_epochs >= self.trainer.max_epochs:
            raise ConfigError(
                f"{self.optim.warmup_epochs} warm-up epochs of {self.trainer.max_epochs} in all",
                expected="optim.warmup_epochs below trainer.max_epochs, which includes them",
            )
        if known and 0 < self.optim.schedule_epochs < self.trainer.max_epochs:
            raise ConfigError(
                f"optim.schedule_epochs of {self.optim.schedule_epochs} for {self.trainer.max_epochs} epochs",
                expected="trainer.max_epochs or more, or 0",
            )


def _require(holds: bool, given: str, expected: str) -> None:
    if not holds:
        raise ConfigError(given, expected=expected)
