"""Extraction on many machines with Ray: the local engine, cut in two at the queue between decoding and the network.

A ledger hands out videos. Network actors take them, have them decoded by decoding actors of their own on any node, and
run what the local engine runs: the same batches, writer, stores and records, so that the bytes are the same.

Made of Ray's actors, not of Ray Data, which loses what this room has to keep:
- A video's frames must reach one network in their order, and a video must be written as soon as its last clip is
  through. Ray Data hands rows to any actor of a pool; bringing a video's rows together again is a shuffle, which
  begins when the last video of all is decoded.
- Ray Data retries the tasks of an actor that died, with the input unnamed: a video that ends its worker would end it
  again and again, or end the run. Here it is found, tried once more alone, and recorded.
- A retried task writes again. Here a finished video is left alone, whoever finished it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal.backbones.base import Backbone
from tal.console import track
from tal.errors import TalError
from tal.features.cluster.connection import connected
from tal.features.cluster.ledger import KILLS, Ledger, Outcome
from tal.features.cluster.network import Network, Task, lives
from tal.features.cluster.place import marked
from tal.features.cluster.sizes import Sizes, choose_sizes
from tal.features.fingerprint import Fingerprint
from tal.features.store import FeatureStore
from tal.features.summary import Summary
from tal.video.process import PATIENCE

_LOG = logging.getLogger(__name__)

_POLL_S = 0.25
_START_S = 60.0
_STOP_S = 10.0
_RESTART_S = 1.0
_STARTS = 5


def extract_on_cluster(
    videos: Mapping[str, Path],
    load: Callable[..., Backbone],
    stores: Mapping[str, FeatureStore],
    *,
    address: str | None = None,
    batch_clips: int | None = None,
    retry_failed: bool = False,
    decoders: int | None = None,
    decoder: str = "pyav",
    patience: float = PATIENCE,
    network_actors: int | None = None,
    gpus_per_actor: float | None = None,
) -> Summary:
    """Make the features of many videos on many machines, which see the videos and the stores under the same names.

    May be interrupted or killed at any time, and run again, here or with the local engine. An actor or node that is
    lost costs the videos in its hands, which are done again; a video that ends its worker twice is recorded as failed.

    Args:
        videos: id -> path.
        load: Gives the backbone; its argument `device` is "cpu" or "cuda". Called on every node: must be picklable.
        stores: Output of the backbone -> store; see `create_stores`.
        address: Of the cluster, HOST:PORT, or "auto" for the one that this machine belongs to; None starts Ray with
            this machine's cores.
        decoders, network_actors: Actors in the whole cluster; as many as fit if None. See `choose_sizes`.
        gpus_per_actor: Of each network actor, a fraction where several share a GPU, 0 for the CPU; if None, 1 where
            there are GPUs.
        batch_clips, retry_failed, decoder, patience: See `tal.features.extractor.extract`.

    Raises:
        TalError: no Ray, no cluster, or one whose nodes are not fit for this run.
        FeatureError: stores of another spec.
        WriteError: a store cannot be written; finished videos are kept.
    """
    folders = {output: store.folder.absolute() for output, store in stores.items()}
    with marked(list(folders.values()), list(videos.values())) as place, connected(address) as ray:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        sizes = choose_sizes(
            [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes],
            networks=network_actors,
            decoders=decoders,
            gpus=gpus_per_actor,
        )
        task = Task(
            load=load,
            folders=folders,
            place=place,
            batch_clips=batch_clips,
            decoder=decoder,
            patience=patience,
            retry_failed=retry_failed,
            on_gpu=sizes.gpus > 0,
            threads=sizes.threads,
            decoder_cpus=sizes.decoder_cpus,
        )
        drive = _Drive(ray, videos, stores, task, sizes)
        began_s = time.monotonic()
        try:
            for _ in track(drive.videos(), "extract", total=len(videos)):
                pass
        finally:
            drive.stop()
        summary = drive.summary
        summary.wall_s = time.monotonic() - began_s
        return summary


@dataclass(kw_only=True, eq=False)
class _Worker:
    """A network actor as the driver sees it.

    Args:
        actor: Its handle.
        asked: Its answer to `ready` or `shift`; None while it rests.
        node: Where it lives; None until it is ready.
        again_s: When it may be asked again.
        starts: How often it ended before it was ready.
    """

    actor: Any
    asked: Any
    node: str | None = None
    again_s: float = 0.0
    starts: int = 0


class _Drive:
    """The bookkeeping of one run: actors that are kept at work, and outcomes that come in."""

    def __init__(
        self, ray: Any, videos: Mapping[str, Path], stores: Mapping[str, FeatureStore], task: Task, sizes: Sizes
    ) -> None:
        self._ray, self._videos, self._stores = ray, videos, stores
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._ledger = ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here).remote(dict(videos))
        self._task, self._sizes = task, sizes
        self._network = ray.remote(Network).options(
            num_cpus=sizes.network_cpus, num_gpus=sizes.gpus, max_restarts=0, scheduling_strategy="SPREAD"
        )
        self._workers: list[_Worker] = []
        for number in range(sizes.networks):
            actor = self._actor(number)
            self._workers.append(_Worker(actor=actor, asked=actor.ready.remote()))
        self._known = 0
        self.summary = Summary(decoders=sum(sizes.decoders), device="cuda" if sizes.gpus else "cpu")

    def videos(self) -> Iterator[str]:
        """Ids as they are through, done, skipped or failed.

        Raises:
            TalError: of an actor; it would be every other one's too.
        """
        patient_until_s = time.monotonic() + _START_S
        waiting = finished = False
        while not finished:
            self._keep_at_work(waiting)
            outcomes, waiting, finished = self._ray.get(self._ledger.news.remote(self._known))
            self._known += len(outcomes)
            for outcome in outcomes:
                self._note(outcome)
                yield outcome.video
            if time.monotonic() > patient_until_s and all(worker.node is None for worker in self._workers):
                patient_until_s = float("inf")
                self._tell_waiting()

    def stop(self) -> None:
        """Have the actors leave what they have and remove what is half done; then end them."""
        ray = self._ray
        try:
            ray.get(self._ledger.stop.remote(), timeout=_STOP_S)
            busy = [worker.asked for worker in self._workers if worker.asked is not None and worker.node is not None]
            ray.wait(busy, num_returns=len(busy), timeout=_STOP_S) if busy else None
            for worker in self._workers:
                ray.kill(worker.actor)
            ray.kill(self._ledger)
        except ray.exceptions.RayError as error:
            _LOG.warning("the cluster does not answer any more: %s", str(error).splitlines()[0])

    def _actor(self, number: int) -> Any:
        return self._network.remote(self._task, number, self._ledger, self._sizes.decoders[number])

    def _keep_at_work(self, waiting: bool) -> None:
        """Take the actors' answers; where there is something to do, have those that rest begin."""
        for worker in self._workers:
            if worker.asked is None and waiting and time.monotonic() >= worker.again_s:
                worker.asked = worker.actor.ready.remote() if worker.node is None else worker.actor.shift.remote()
        asked = {worker.asked: worker for worker in self._workers if worker.asked is not None}
        if not asked:
            time.sleep(_POLL_S)
            return
        ready, _ = self._ray.wait(list(asked), num_returns=1, timeout=_POLL_S)
        for ref in ready:
            self._answered(asked[ref], ref)

    def _answered(self, worker: _Worker, ref: Any) -> None:
        exceptions = self._ray.exceptions
        worker.asked = None
        try:
            answer = self._ray.get(ref)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, TalError):
                raise error.cause from None
            raise
        except exceptions.RayError as error:
            self._lost(worker, str(error).splitlines()[0])
            return
        if isinstance(answer, Summary):
            self.summary.waited_s += answer.waited_s / self._sizes.networks
            self.summary.decode_s += answer.decode_s
            self.summary.network_s += answer.network_s / self._sizes.networks
        else:
            worker.node, worker.starts = answer, 0
            worker.asked = worker.actor.shift.remote()

    def _lost(self, worker: _Worker, reason: str) -> None:
        """A network actor ended: its videos are handed out again, and another takes its place."""
        worker.starts += worker.node is None
        if worker.starts >= _STARTS:
            raise TalError(
                f"a network ended {_STARTS} times before it could work: {reason}",
                cause="too little memory for the backbone, or a library that crashes there",
                todo="fewer --network-actors leave more memory for each",
            )
        number = self._workers.index(worker)
        alive = worker.node is not None and lives(worker.node)
        _LOG.warning("a worker was lost%s; its videos are done again (%s)", "" if alive else " with its node", reason)
        self._ray.get(self._ledger.lost.remote(number, None, blame=alive))
        self._ray.kill(worker.actor)  # one that is out of reach may live
        worker.actor = self._actor(number)
        worker.node, worker.again_s = None, time.monotonic() + _RESTART_S

    def _note(self, outcome: Outcome) -> None:
        summary = self.summary
        if outcome.kind == "done":
            summary.done.append(outcome.video)
            summary.video_s += outcome.video_s
            if outcome.replaced:
                summary.replaced.append(outcome.video)
        elif outcome.kind == "skipped":
            summary.skipped.append(outcome.video)
        elif outcome.failure is not None:
            summary.failed.append(outcome.failure)
        elif outcome.kind == "ended":
            self._fail(outcome.video)

    def _fail(self, video: str) -> None:
        """Record a video that ends its worker."""
        path = self._videos[video]
        source: dict[str, Any] = {"path": str(path)}
        try:
            source |= Fingerprint.of(path).as_dict()
        except OSError as error:
            _LOG.warning("%s: %s", path, error.strerror or error)
        reason = f"the worker that had it ended {KILLS} times, out of memory perhaps"
        _LOG.warning("%s: %s", video, reason)
        failures = [
            store.record_failure(video, stage="worker", error=reason, source=source) for store in self._stores.values()
        ]
        self.summary.failed.append(failures[0])

    def _tell_waiting(self) -> None:
        resources: Mapping[str, float] = self._ray.cluster_resources()
        sizes = self._sizes
        _LOG.warning(
            "no worker has started yet: %d networks of %g CPUs and %g GPUs were asked for, the cluster has %s",
            sizes.networks,
            sizes.network_cpus,
            sizes.gpus,
            _listed(resources, ("CPU", "GPU")) or "none of either",
        )


def _listed(resources: Mapping[str, float], names: Sequence[str]) -> str:
    return ", ".join(f"{resources[name]:g} {name}s" for name in names if name in resources)
