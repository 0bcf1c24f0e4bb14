"""Checkpoints of where training is and of the best validation, and lines that tell how training goes."""

import logging
import signal
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, NoReturn, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from tal.pipelines.train_module import LocalizerModule
from tal.pipelines.train_processes import EXIT_CODE

LAST, BEST = "last.ckpt", "best.ckpt"
PATIENCE = 20.0
_AGREE_EVERY = 16

_log = logging.getLogger("tal.train")


class Checkpoints(Checkpoint):
    """Writes `last.ckpt` at the end of epochs and within long ones, `best.ckpt` after the validation with most mAP.

    Files are written to another name and renamed, so that killing the process never leaves half a checkpoint. Saving
    takes at most a twentieth of the time: after a save that took one second, the next waits for twenty; the last epoch
    is always saved. At a first Ctrl-C the step, or the validation that is under way, is finished, and all is saved
    before training ends; a second one ends it at once. Several processes agree on the step; the one that started them
    tells them by `stop`. As a `Checkpoint` it is called after everything else at the end of a batch or an epoch.

    Args:
        folder: Where to.
        method: The method's name, written into the checkpoints.
        minutes: Within an epoch, save after so long without a checkpoint; 0: never.
        stop: Set when several processes are to end; None: this process trains alone.
    """

    def __init__(self, folder: Path, method: str, *, minutes: float = 0.0, stop: Event | None = None) -> None:
        self.folder, self.method, self.minutes, self.stop = folder, method, minutes, stop
        self.best_map, self.best_epoch = -1.0, -1
        self._due_s = 0.0
        self._saved_s = time.monotonic()
        self._noted = False
        self._handler: Any = None

    @property
    def _interrupted(self) -> bool:
        return self._noted if self.stop is None else self.stop.is_set()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say whose checkpoint it is."""
        checkpoint["method"] = self.method

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to wait for Ctrl-C."""
        self._saved_s = time.monotonic()
        if self.stop is None and threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, self._note)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Stop waiting for it."""
        self._let_go()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save what is due within an epoch; at its last step, the end of the epoch does."""
        if trainer.is_last_batch or (trainer.world_size > 1 and trainer.global_step % _AGREE_EVERY):
            return
        stop = self._agreed(trainer, self._interrupted)
        now_s = time.monotonic()
        waited = self.minutes and now_s >= max(self._due_s, self._saved_s + 60 * self.minutes)
        if stop or self._agreed(trainer, bool(waited)):
            self._save_last(trainer)
        if stop:
            self._end()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what is due. Validation, if any, is over by now."""
        found = float(trainer.callback_metrics.get("mAP", -1.0))  # of this epoch's validation or an earlier one
        better = found > self.best_map
        if better:
            self.best_map, self.best_epoch = found, trainer.current_epoch
            self._save(trainer, BEST)
        final = trainer.current_epoch + 1 == trainer.max_epochs
        stop = self._agreed(trainer, self._interrupted)
        if final or stop or self._agreed(trainer, time.monotonic() >= self._due_s):
            self._save_last(trainer)
        if stop:
            self._end()

    def _end(self) -> NoReturn:
        if self.stop is None:
            raise KeyboardInterrupt
        raise SystemExit(EXIT_CODE)

    def _note(self, *_: Any) -> None:
        """The first Ctrl-C."""
        self._noted = True
        self._let_go()

    def _let_go(self) -> None:
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)
            self._handler = None

    def _agreed(self, trainer: Trainer, wanted: bool) -> bool:
        """Whether any process wants it."""
        return wanted if trainer.world_size == 1 else not trainer.strategy.reduce_boolean_decision(not wanted)

    def _save_last(self, trainer: Trainer) -> None:
        began_s = time.monotonic()
        self._save(trainer, LAST)
        self._saved_s = time.monotonic()
        self._due_s = self._saved_s + PATIENCE * (self._saved_s - began_s)

    def _save(self, trainer: Trainer, name: str) -> None:
        partial, path = self.folder / f".{name}.partial", self.folder / name
        try:
            trainer.save_checkpoint(partial)
            if trainer.is_global_zero:
                partial.replace(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            if trainer.is_global_zero:
                partial.unlink(missing_ok=True)
        trainer.strategy.barrier()

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best_map": self.best_map, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.best_map, self.best_epoch = state_dict["best_map"], state_dict["best_epoch"]


class Told(Callback):
    """A log line after every validation and every ten seconds, and the time that each epoch's steps took."""

    _EVERY_S = 10.0

    def __init__(self) -> None:
        self.epoch_s: list[float] = []
        self._told_s = time.monotonic()
        self._began_s: float | None = None
        self._validated = -1

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began_s = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Note the time after an epoch's last step, unless the epoch began before the run was resumed."""
        if trainer.is_last_batch and self._began_s is not None:
            self.epoch_s.append(time.monotonic() - self._began_s)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that this epoch has a metric."""
        self._validated = trainer.current_epoch

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell."""
        epoch, now_s = trainer.current_epoch, time.monotonic()
        if self._validated != epoch and now_s - self._told_s < self._EVERY_S:
            return
        self._told_s = now_s
        loss = cast(LocalizerModule, pl_module).mean_losses()["loss"]
        line = f"epoch {epoch + 1}/{trainer.max_epochs}: loss {loss:.4f}"
        if self._validated == epoch:
            line += f", mAP {float(trainer.callback_metrics.get('mAP', 0.0)):.4f}"
        if self.epoch_s:
            line += f", {self.epoch_s[-1]:.2f} s per epoch"
        if trainer.is_global_zero:
            _log.info("%s", line)
