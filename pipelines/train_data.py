"""Windows of training videos in batches, as a Lightning DataModule.

Every random choice is a function of (seed, epoch, video): neither the number of worker processes nor an interruption
changes what an epoch holds.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from tal.methods.augment import FeatureStats, augment_sample
from tal.methods.base import Batch, Inputs, Sample
from tal.methods.batching import clip_instances, collate, resize_sample, window_sample
from tal.pipelines.train_samples import Samples, TrainingData
from tal.pipelines.train_settings import Recipe, WindowSettings


class EpochOrder(Sampler[tuple[int, int]]):
    """(epoch, video) of one process's share of an epoch, in an order drawn from (seed, epoch).

    Every process gets equally many; what does not divide by processes times batch size is left out of that epoch, as
    the original does, unless there is less than one batch.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.processes, self.epoch = rank, processes, 0
        whole = batch_size * processes
        self.used = count // whole * whole if count >= whole else count // processes * processes

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        for video in order[: self.used][self.rank :: self.processes]:
            yield self.epoch, int(video)

    def __len__(self) -> int:
        return self.used // self.processes


class Windows(Dataset[Sample]):
    """Training windows: resized or cropped, then augmented."""

    def __init__(
        self, samples: Samples, inputs: Inputs, settings: WindowSettings, stats: FeatureStats | None, seed: int
    ) -> None:
        self.samples, self.inputs, self.settings, self.stats, self.seed = samples, inputs, settings, stats, seed

    def __getitem__(self, where: tuple[int, int]) -> Sample:
        epoch, video = where
        rng = np.random.default_rng((self.seed, epoch, video))
        sample, trunc = self.samples[video], self.settings.trunc
        if self.inputs.resize_to is not None:
            sample = clip_instances(resize_sample(sample, self.inputs.resize_to), trunc)
        sample = window_sample(sample, self.inputs.train_snippets, trunc, self.settings.crop_ratio, rng)
        if self.stats is None:
            return sample
        return augment_sample(sample, self.settings.augmentation, self.stats, self.inputs.train_snippets, rng)


class WholeVideos(Dataset[Sample]):
    """Validation videos, uncut."""

    def __init__(self, samples: Samples, inputs: Inputs) -> None:
        self.samples, self.inputs = samples, inputs

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, video: int) -> Sample:
        sample = self.samples[video]
        return sample if self.inputs.resize_to is None else resize_sample(sample, self.inputs.resize_to)


class LocalizerData(LightningDataModule):
    """The loaders of a recipe's videos.

    Args:
        data: The videos.
        recipe: Batch size, windows, seed, workers.
        inputs: What the method reads.
        stats: Of the training split; None where nothing is augmented.
    """

    def __init__(self, data: TrainingData, recipe: Recipe, inputs: Inputs, stats: FeatureStats | None) -> None:
        super().__init__()
        self.data, self.recipe, self.inputs, self.stats = data, recipe, inputs, stats

    def steps_per_epoch(self, processes: int) -> int:
        """Optimiser steps of every process in an epoch."""
        order = EpochOrder(len(self.data.train), batch_size=self.recipe.optim.batch_size, seed=0, processes=processes)
        return -(-len(order) // self.recipe.optim.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of random windows."""
        rank, processes = _place()
        trainer, optim = self.recipe.trainer, self.recipe.optim
        order = EpochOrder(
            len(self.data.train), batch_size=optim.batch_size, seed=trainer.seed, rank=rank, processes=processes
        )
        if self.trainer is not None:  # workers begin to fetch a resumed epoch before the trainer announces it
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            order.set_epoch(progress.processed)
        windows = Windows(self.data.train, self.inputs, self.recipe.windows, self.stats, trainer.seed)
        return self._loader(windows, order, optim.batch_size, train=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the validation videos, one at a time."""
        rank, processes = _place()
        videos = WholeVideos(self.data.validation, self.inputs)
        return self._loader(videos, range(rank, len(videos), processes), 1, train=False)

    def _loader(
        self, samples: Dataset[Sample], order: EpochOrder | range, batch_size: int, *, train: bool
    ) -> DataLoader[Batch]:
        workers = self.recipe.trainer.workers
        loader = DataLoader(
            samples,
            sampler=cast("Sampler[int]", order),
            batch_size=batch_size,
            collate_fn=partial(collate, inputs=self.inputs, train=train),
            num_workers=workers,
            generator=torch.Generator(),  # of its own: loading draws nothing from the stream that dropout draws from
            persistent_workers=train and workers > 0,
            pin_memory=torch.cuda.is_available() and self.recipe.trainer.accelerator != "cpu",
        )
        return cast("DataLoader[Batch]", loader)


def _place() -> tuple[int, int]:
    """(rank, number of processes)."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
