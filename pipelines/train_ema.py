"""A running mean of the weights, which is what is validated and kept."""

from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn


class WeightMean(Callback):
    """Exponential moving average of a module's full state (buffers too), updated after every step.

    mean <- decay * mean + (1 - decay) * state; what is not floating point is copied. Validation runs with the mean in
    place of the state. A constant decay is ActionFormer's rule (happyharrycn/actionformer_release, ModelEma): the mean
    then starts from the initial weights and forgets them only over 1 / (1 - decay) steps.

    Args:
        decay: In [0, 1).
        warm_up: Let the decay rise with the number n of steps, as min(decay, (1 + n) / (10 + n)), so that a short
            training forgets the initial weights as well.
    """

    def __init__(self, decay: float, *, warm_up: bool = False) -> None:
        self.decay, self.warm_up = decay, warm_up
        self.steps = 0
        self.mean: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start from the module's state, or go on with the restored mean."""
        state = _method(pl_module).state_dict()
        self.mean = {
            name: self.mean.get(name, tensor).detach().to(tensor.device, copy=True) for name, tensor in state.items()
        }

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Move the mean towards the state."""
        self.update(_method(pl_module))

    @torch.no_grad()
    def update(self, method: nn.Module) -> None:
        """One step of the mean."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps)) if self.warm_up else self.decay
        state = method.state_dict()
        smooth = [name for name, tensor in state.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.mean[name] for name in smooth], [state[name] for name in smooth], 1 - decay)
        for name in state.keys() - smooth:
            self.mean[name].copy_(state[name])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the mean in place."""
        self.exchange(_method(pl_module))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the state back."""
        self.exchange(_method(pl_module))

    @torch.no_grad()
    def exchange(self, method: nn.Module) -> None:
        """Swap the mean and the module's state; twice is nothing."""
        for name, tensor in method.state_dict().items():
            held = tensor.clone()
            tensor.copy_(self.mean[name])
            self.mean[name].copy_(held)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"steps": self.steps, "mean": dict(self.mean)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.steps, self.mean = state_dict["steps"], dict(state_dict["mean"])


def _method(module: LightningModule) -> nn.Module:
    return cast(nn.Module, module.method)
