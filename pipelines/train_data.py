"""Windows of training videos in batches, as a Lightning DataModule.

Every random choice is a function of (seed, epoch, window): neither the number of worker processes nor an interruption
changes what an epoch holds.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property, partial
from typing import Any, cast

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from tal.console import track
from tal.errors import ConfigError
from tal.methods.augment import FeatureStats, augment_sample
from tal.methods.base import Batch, Inputs, Sample
from tal.methods.batching import (
    clip_instances,
    collate,
    resize_sample,
    sliding_starts,
    sliding_window,
    window_sample,
)
from tal.pipelines.train_queries import QueryDraws, QuerySamples
from tal.pipelines.train_samples import Samples, TrainingData
from tal.pipelines.train_settings import Recipe, WindowSettings


class EpochOrder(Sampler[tuple[int, int]]):
    """(epoch, window) of one process's share of an epoch, in an order drawn from (seed, epoch).

    Every process gets equally many; what does not divide by processes times batch size is left out of that epoch, as
    the original does, unless there is less than one batch.
    """

    def __init__(self, count: int, *, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.processes, self.epoch = rank, processes, 0
        self._begun = (0, 0)
        whole = batch_size * processes
        self.used = count // whole * whole if count >= whole else count // processes * processes

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before every epoch."""
        self.epoch = epoch

    def resume(self, epoch: int, batches: int) -> None:
        """Go on with an epoch of which so many batches are done."""
        self.epoch, self._begun = epoch, (epoch, batches * self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        done = self._begun[1] if self._begun[0] == self.epoch else 0
        for video in order[: self.used][self.rank :: self.processes][done:]:
            yield self.epoch, int(video)

    def __len__(self) -> int:
        return self.used // self.processes


class Windows(Dataset[Sample]):
    """Training windows: resized, cropped, or all that slide over the videos; then augmented.

    Its length is what an epoch holds: the videos, or all sliding windows with an instance.
    """

    def __init__(
        self, samples: Samples, inputs: Inputs, settings: WindowSettings, stats: FeatureStats | None, seed: int
    ) -> None:
        self.samples, self.inputs, self.settings, self.stats, self.seed = samples, inputs, settings, stats, seed
        self._places = self._sliding() if settings.choice == "all" else None

    def __len__(self) -> int:
        return len(self.samples) if self._places is None else len(self._places)

    def __getitem__(self, where: tuple[int, int]) -> Sample:
        epoch, index = where
        rng = np.random.default_rng((self.seed, epoch, index))
        sample = self._random(index, rng) if self._places is None else self._place(*self._places[index])
        if self.stats is None:
            return sample
        return augment_sample(sample, self.settings.augmentation, self.stats, self.inputs.train_snippets, rng)

    def _random(self, video: int, rng: np.random.Generator) -> Sample:
        sample, trunc = self.samples[video], self.settings.trunc
        if self.inputs.resize_to is not None:
            sample = clip_instances(resize_sample(sample, self.inputs.resize_to), trunc)
        return window_sample(sample, self.inputs.train_snippets, trunc, self.settings.crop_ratio, rng)

    def _place(self, video: int, first_idx: int) -> Sample:
        return sliding_window(self.samples[video], first_idx, self.inputs, self.settings.trunc)

    def _sliding(self) -> list[tuple[int, int]]:
        """(video, first snippet) of every sliding window that holds an instance; reads every video once."""
        if self.inputs.window_snippets is None:
            raise ConfigError(
                "windows.choice of all with a method that reads whole videos",
                expected='"random", or a method with windows of a fixed length',
            )
        places = []
        for video in track(range(len(self.samples)), "windows"):
            sample = self.samples[video]
            for first_idx in sliding_starts(sample.grid.count, self.inputs):
                held = sliding_window(sample, first_idx, self.inputs, self.settings.trunc).instances
                if held is not None and len(held):
                    places.append((video, first_idx))
        if not places:
            raise ConfigError(
                f"no window of {self.inputs.window_snippets} snippets holds more than {self.settings.trunc:g} of an "
                "instance",
                todo="lower windows.trunc, or take longer windows",
            )
        return places


class WholeVideos(Dataset[Sample]):
    """Validation videos, uncut; resized where the method wants them so."""

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

    @cached_property
    def windows(self) -> Windows | QueryDraws:
        """What is trained on."""
        if isinstance(self.data.train, QuerySamples):
            return QueryDraws(self.data.train, self.inputs, self.recipe.data.queries, self.recipe.trainer.seed)
        return Windows(self.data.train, self.inputs, self.recipe.windows, self.stats, self.recipe.trainer.seed)

    def steps_per_epoch(self, processes: int) -> int:
        """Optimiser steps of every process in an epoch."""
        order = EpochOrder(len(self.windows), batch_size=self.recipe.optim.batch_size, seed=0, processes=processes)
        return -(-len(order) // self.recipe.optim.batch_size)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of windows."""
        rank, processes = _place()
        trainer, optim = self.recipe.trainer, self.recipe.optim
        order = EpochOrder(
            len(self.windows), batch_size=optim.batch_size, seed=trainer.seed, rank=rank, processes=processes
        )
        if self.trainer is not None:  # workers begin to fetch a resumed epoch before the trainer announces it
            loop: Any = self.trainer.fit_loop
            done = loop.epoch_loop.batch_progress.current.ready  # all of them at an epoch's end
            order.resume(loop.epoch_progress.current.processed, done % self.steps_per_epoch(processes))
        return self._loader(self.windows, train=True, sampler=order, batch_size=optim.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """This process's share of the validation videos, one at a time; queries in batches, their videos are short."""
        rank, processes = _place()
        videos = WholeVideos(self.data.validation, self.inputs)
        own = range(rank, len(videos), processes)
        asks = isinstance(self.data.validation, QuerySamples)
        batches = _of_one_size(videos, own, self.recipe.optim.batch_size) if asks else [[index] for index in own]
        return self._loader(videos, train=False, batch_sampler=batches)

    def _loader(self, samples: Dataset[Sample], *, train: bool, **order: Any) -> DataLoader[Batch]:
        workers = self.recipe.trainer.workers
        loader = DataLoader(
            samples,
            **order,
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


def _of_one_size(queries: WholeVideos, rows: Iterable[int], at_once: int) -> list[list[int]]:
    """Rows in batches of as many snippets and as many tokens: what DenoiseLoc says depends on the padding of both."""
    sizes = defaultdict(list)
    for row in rows:
        sample = queries[row]
        tokens = 0 if sample.text is None else min(len(sample.text), queries.inputs.text_tokens)
        sizes[min(sample.grid.count, queries.inputs.train_snippets), tokens].append(row)
    return [alike[first : first + at_once] for alike in sizes.values() for first in range(0, len(alike), at_once)]
