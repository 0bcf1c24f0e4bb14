"""A method under Lightning: steps, optimiser, schedule, validation."""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from tal.errors import ConfigError
from tal.methods.base import Batch, Method
from tal.methods.inference import predict_whole
from tal.pipelines.train_settings import OptimSettings, Recipe
from tal.segments import Segments

_WARM_UP_FROM = 1e-8
_DECAYED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

_T = TypeVar("_T")
Score = Callable[[Mapping[str, Segments]], Mapping[str, float]]


class LocalizerModule(LightningModule):
    """Trains a method; knows it only through its interface.

    Args:
        method: What is trained.
        recipe: Learning rate, epochs, seed.
        steps_per_epoch: Optimiser steps in an epoch.
        score: Detections of all validation videos -> metrics, "mAP" among them.
    """

    def __init__(self, method: Method, recipe: Recipe, steps_per_epoch: int, score: Score) -> None:
        super().__init__()
        self.method, self.recipe, self.steps_per_epoch, self.score = method, recipe, steps_per_epoch, score
        self._sums: dict[str, Tensor] = {}
        self._restored: dict[str, Any] | None = None
        self._detections: dict[str, Segments] = {}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where every process is in torch's streams of random numbers, and its losses in the epoch so far."""
        own = {"random": _random_state(), "sums": {name: value.cpu() for name, value in self._sums.items()}}
        checkpoint["processes"] = _from_all(own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Hold it until training starts."""
        self._restored = checkpoint["processes"][self.global_rank]

    def on_train_start(self) -> None:
        """Go on within an epoch, if the checkpoint was written within one."""
        if self._restored is not None:
            self._sums = {name: value.to(self.device) for name, value in self._restored["sums"].items()}
            _set_random_state(self._restored["random"])
            self._restored = None

    def on_train_epoch_start(self) -> None:
        """Seed dropout by (seed, epoch, process), so that a resumed run draws what an uninterrupted one does."""
        place = (self.recipe.trainer.seed, self.current_epoch, self.global_rank)
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))
        self._sums = {}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch; its parts are averaged over the epoch."""
        losses = self.method.loss(self.method(batch), batch)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        return losses["loss"]

    def on_train_epoch_end(self) -> None:
        """Log the epoch's mean losses; stop if they are no numbers any more."""
        means = self.mean_losses()
        if not math.isfinite(means["loss"]):
            raise ConfigError(
                f"the loss became {means['loss']} in epoch {self.current_epoch + 1}",
                cause="a learning rate that is too high, or features of very different scales",
                todo="lower optim.lr, set model.standardize, or train with trainer.precision 32",
            )
        self.log_dict({f"train/{name}": value for name, value in means.items()}, sync_dist=True)

    def mean_losses(self) -> dict[str, float]:
        """The losses by name, averaged over this process's steps in the epoch."""
        return {name: float(value) / self.steps_per_epoch for name, value in self._sums.items()}

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation's detections."""
        self._detections = {}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the detections of a batch of whole videos, or their answers to queries."""
        self._detections |= zip(batch.names, predict_whole(self.method, batch), strict=True)

    def on_validation_epoch_end(self) -> None:
        """Score all detections; every process gets the same numbers."""
        detections = _gathered(self._detections)
        if self.trainer.sanity_checking or not detections:
            return
        self.log_dict({name: float(value) for name, value in self.score(detections).items()}, sync_dist=True)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the batch's tensors."""
        return batch.to(device, non_blocking=True)

    def configure_optimizers(self) -> Any:
        """The optimiser and the schedule, stepped after every batch."""
        optim = self.recipe.optim
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[optim.optimizer]
        fused = self.recipe.trainer.precision == "32"  # a fused step unscales mixed gradients after they were clipped
        optimizer = kind(parameter_groups(self.method, optim), lr=optim.lr * self.trainer.world_size, fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share_of_lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _share_of_lr(self, step: int) -> float:
        optim = self.recipe.optim
        return learning_rate(step, optim, self.steps_per_epoch, self.recipe.trainer.max_epochs) / optim.lr


def learning_rate(step: int, optim: OptimSettings, steps_per_epoch: int, max_epochs: int) -> float:
    """The learning rate of a step: from nearly 0 to `optim.lr` over the warm-up, then as the schedule says."""
    warmup_steps = optim.warmup_epochs * steps_per_epoch
    if step < warmup_steps:
        return _WARM_UP_FROM + (optim.lr - _WARM_UP_FROM) * step / max(warmup_steps - 1, 1)
    if optim.schedule == "constant":
        return optim.lr
    if optim.schedule == "steps":
        return optim.lr * optim.lr_factor ** sum(step >= epoch * steps_per_epoch for epoch in optim.milestones)
    all_steps = (optim.schedule_epochs or max_epochs) * steps_per_epoch
    share = min((step - warmup_steps) / max(all_steps - warmup_steps, 1), 1.0)
    return optim.min_lr + (optim.lr - optim.min_lr) * (1 + math.cos(math.pi * share)) / 2


def parameter_groups(method: nn.Module, optim: OptimSettings) -> list[dict[str, Any]]:
    """Parameters by their weight decay, the largest first.

    Where only weights decay, biases, norms, scales and positions do not.

    Raises:
        ConfigError: decay factors of names that no parameter has.
    """
    weights = {id(module.weight) for module in method.modules() if isinstance(module, _DECAYED)}
    groups: dict[float, list[nn.Parameter]] = {}
    unused = set(optim.decay_factors)
    for name, parameter in method.named_parameters():
        prefixes = [each for each in optim.decay_factors if f"{name}.".startswith(f"{each}.")]
        unused -= set(prefixes)
        decays = optim.decayed == "all" or id(parameter) in weights
        factor = optim.decay_factors[max(prefixes, key=len)] if prefixes else 1.0
        if parameter.requires_grad:
            groups.setdefault(optim.weight_decay * factor * decays, []).append(parameter)
    if unused:
        parts = sorted({name.partition(".")[0] for name, _ in method.named_parameters()})
        raise ConfigError(
            f"optim.decay_factors for {', '.join(sorted(unused))}, which begins no parameter's name",
            expected=f"first parts of names, such as {', '.join(parts)}",
        )
    return [{"params": groups[decay], "weight_decay": decay} for decay in sorted(groups, reverse=True)]


def _gathered(detections: dict[str, Segments]) -> dict[str, Segments]:
    """The detections of all processes."""
    return {video: found for part in _from_all(detections) for video, found in part.items()}


def _from_all(own: _T) -> list[_T]:
    """What every process gives, by rank."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    parts = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, own)
    return parts


def _random_state() -> dict[str, Tensor]:
    """Where torch's streams of random numbers are: what dropout and losses draw from."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_initialized() else {})


def _set_random_state(state: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
