"""Network actors: the local engine's second half, with the stores' writer, fed by decoding actors of its own."""

from collections.abc import Callable, Mapping, MutableSequence, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tal.backbones.base import Backbone, BackboneSpec
from tal.console import set_up_logging
from tal.errors import TalError
from tal.features.clips import sampling_fps
from tal.features.cluster.connection import node_answers
from tal.features.cluster.decoders import ClusterSource, Decoder, StoppedError
from tal.features.cluster.ledger import Outcome
from tal.features.cluster.place import Place
from tal.features.decoding import DecodeSettings
from tal.features.extractor import Run, check_stores, clip_batcher, snippet_grid
from tal.features.store import FeatureStore
from tal.features.summary import Summary
from tal.features.writer import Writer


@dataclass(frozen=True, kw_only=True)
class Task:
    """What all network actors of a run are told.

    Args:
        load: Gives the backbone; its argument `device` tells where.
        folders: Output of the backbone -> folder of its store, absolute.
        place: What every node must see.
        batch_clips, decoder, patience, retry_failed: See `tal.features.extractor.extract`.
        on_gpu: Whether the network runs on its GPU.
        threads: Of the network on the CPU.
        decoder_cpus: Ray's CPUs that a decoding actor reserves.
    """

    load: Callable[..., Backbone]
    folders: Mapping[str, Path]
    place: Place
    batch_clips: int | None
    decoder: str
    patience: float
    retry_failed: bool
    on_gpu: bool
    threads: int
    decoder_cpus: float


class Network:
    """An actor that runs the backbone and writes features.

    It starts its decoding actors itself, so that they end with it.

    Args:
        task: What to do.
        number: Which worker of the ledger this is.
        ledger: The ledger's actor.
        decoders: How many decoding actors it has.
    """

    def __init__(self, task: Task, number: int, ledger: Any, decoders: int) -> None:
        self._task, self._number, self._ledger, self._decoders = task, number, ledger, decoders
        self._backbone: Backbone | None = None
        self._actors: MutableSequence[Any] = []

    def ready(self) -> str:
        """The node's id, once the backbone is there.

        Raises:
            TalError: the node is not fit for this run, or has other weights than the machine that started it.
        """
        import ray

        set_up_logging()
        task = self._task
        task.place.check()
        if self._backbone is None:
            torch.set_num_threads(task.threads)
            device = torch.device("cuda" if task.on_gpu else "cpu")
            self._backbone = task.load(device=str(device))
            check_stores(self._stores(), self._backbone.spec)
            self._actors = [self._decoder(self._backbone.spec) for _ in range(self._decoders)]
        return str(ray.get_runtime_context().get_node_id())

    def shift(self) -> Summary:
        """Work until the ledger has nothing to give. Returns what it took; the videos are told to the ledger.

        Raises:
            WriteError: a store cannot be written.
        """
        import ray

        if self._backbone is None:
            raise TalError("a shift of an actor that is not ready")
        stores = self._stores()
        source = ClusterSource(
            self._actors,
            next(self._backbone.parameters()).device,
            start=partial(self._decoder, self._backbone.spec),
            take=lambda: ray.get(self._ledger.take.remote(self._number)),
            lost=self._lost,
            pulse=lambda: ray.get(self._ledger.stopped.remote()),
        )
        batcher = clip_batcher(self._backbone, self._task.batch_clips)
        writer = Writer(stores, partial(snippet_grid, self._backbone.spec))
        run = Run(batcher, writer, stores)
        told, told_s = None, 0.0
        try:
            with suppress(StoppedError):
                for video in run.videos(source):
                    outcome = _outcome(run.summary, video, run.summary.video_s - told_s)
                    told, told_s = self._ledger.ended.remote(self._number, outcome), run.summary.video_s
        finally:
            writer.close()
        if told is not None:
            ray.get(told)
        return Summary(waited_s=source.waited_s, decode_s=source.busy_s, network_s=batcher.busy_s)

    def _decoder(self, spec: BackboneSpec) -> Any:
        """A decoding actor; it ends with this one."""
        import ray

        task = self._task
        settings = DecodeSettings(
            resize=spec.resize,
            fps=sampling_fps(spec),
            decoder=task.decoder,
            patience=task.patience,
            retry_failed=task.retry_failed,
        )
        actor = ray.remote(Decoder).options(num_cpus=task.decoder_cpus, max_restarts=0)
        return actor.remote(task.folders, settings, task.place)

    def _stores(self) -> dict[str, FeatureStore]:
        return {output: FeatureStore.open(folder) for output, folder in self._task.folders.items()}

    def _lost(self, videos: Sequence[str], node: str) -> None:
        import ray

        ray.get(self._ledger.lost.remote(self._number, videos, blame=lives(node)))


def lives(node: str) -> bool:
    """Whether a node of the cluster is there, whatever Ray believes by now."""
    import ray

    known = next((each for each in ray.nodes() if each["NodeID"] == node), None)
    return known is not None and known["Alive"] and node_answers(known["NodeManagerAddress"], known["NodeManagerPort"])


def _outcome(summary: Summary, video: str, video_s: float) -> Outcome:
    """What became of the video that the run told last."""
    if summary.done and summary.done[-1] == video:
        replaced = bool(summary.replaced) and summary.replaced[-1] == video
        return Outcome(video=video, kind="done", replaced=replaced, video_s=video_s)
    if summary.failed and summary.failed[-1].video == video:
        return Outcome(video=video, kind="failed", failure=summary.failed[-1])
    return Outcome(video=video, kind="skipped")
