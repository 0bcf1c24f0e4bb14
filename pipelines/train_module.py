"""A method under Lightning: steps, optimiser, schedule, validation."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from tal.errors import ConfigError
from tal.methods.base import Batch, Method
from tal.pipelines.train_settings import Recipe
from tal.segments import Segments

_WARM_UP_FROM = 1e-8
_DECAYED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

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
        self._detections: dict[str, Segments] = {}

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
        """Keep the detections of a batch of whole videos."""
        self._detections |= zip(batch.videos, self.method.predict(batch), strict=True)

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
        """AdamW and the schedule, stepped after every batch."""
        optim = self.recipe.optim
        lr = optim.lr * self.trainer.world_size
        fused = self.recipe.trainer.precision == "32"  # a fused step unscales mixed gradients after they were clipped
        optimizer = torch.optim.AdamW(parameter_groups(self.method, optim.weight_decay), lr=lr, fused=fused)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share_of_lr)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _share_of_lr(self, step: int) -> float:
        optim = self.recipe.optim
        return (
            learning_rate(
                step,
                lr=optim.lr,
                min_lr=optim.min_lr,
                warmup_steps=optim.warmup_epochs * self.steps_per_epoch,
                all_steps=self.recipe.trainer.max_epochs * self.steps_per_epoch,
            )
            / optim.lr
        )


def learning_rate(step: int, *, lr: float, min_lr: float, warmup_steps: int, all_steps: int) -> float:
    """Linear from nearly 0 to `lr` over the warm-up, then half a cosine down to `min_lr`."""
    if step < warmup_steps:
        return _WARM_UP_FROM + (lr - _WARM_UP_FROM) * step / max(warmup_steps - 1, 1)
    share = min((step - warmup_steps) / max(all_steps - warmup_steps, 1), 1.0)
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * share)) / 2


def parameter_groups(method: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights of linear and convolution layers decay; biases, norms, scales and positions do not."""
    decayed = {id(module.weight) for module in method.modules() if isinstance(module, _DECAYED)}
    parameters = [parameter for parameter in method.parameters() if parameter.requires_grad]
    return [
        {"params": [each for each in parameters if id(each) in decayed], "weight_decay": weight_decay},
        {"params": [each for each in parameters if id(each) not in decayed], "weight_decay": 0.0},
    ]


def _gathered(detections: dict[str, Segments]) -> dict[str, Segments]:
    """The detections of all processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return detections
    parts: list[dict[str, Segments]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, detections)
    return {video: found for part in parts for video, found in part.items()}
