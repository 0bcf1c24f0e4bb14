"""Decoding actors, and what a network sees of them: one stream of chunks."""

import queue
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tal.console import set_up_logging
from tal.errors import TalError
from tal.features.cluster.place import Place
from tal.features.decoding import BackgroundDecoder, Chunk, DecodeSettings, Ended
from tal.features.extractor import joint_state
from tal.features.store import FeatureStore
from tal.features.transfer import Arriving, Transfer

_AHEAD_ITEMS = 3
_AHEAD_VIDEOS = 2
_PULSE_S = 1.0
_STARTS = 5
_ATTEMPTS = 1000  # more than a decoder makes at a video before another actor gets it

Item = Chunk | Ended


class Decoder:
    """An actor that decodes one video after the other, as far ahead as somebody asks for what comes of it.

    Args:
        folders: Output of the backbone -> folder of its store.
        settings: How videos are decoded; frames stay on the CPU.
        place: What its node must see.
    """

    def __init__(self, folders: Mapping[str, Path], settings: DecodeSettings, place: Place) -> None:
        self._folders, self._settings, self._place = folders, settings, place
        self._videos: queue.SimpleQueue[tuple[str, Path]] = queue.SimpleQueue()
        self._source: BackgroundDecoder | None = None
        self._items: Iterator[Item] | None = None
        self._expected = 0

    def ready(self) -> str:
        """The node's id, once this process can work.

        Raises:
            TalError: its node is not fit for this run.
        """
        import ray

        if self._items is None:
            set_up_logging()
            self._place.check()
            torch.set_num_threads(1)
            stores = {output: FeatureStore.open(folder) for output, folder in self._folders.items()}
            self._source = BackgroundDecoder(
                iter(self._videos.get, None), self._settings, state=partial(joint_state, stores), workers=1
            )
            self._items = iter(self._source)
        return str(ray.get_runtime_context().get_node_id())

    def begin(self, video: str, path: Path) -> None:
        """Have a video decoded after those before."""
        self._videos.put((video, path))
        self._expected += 1

    def next(self) -> tuple[Item, Any, float] | None:
        """The next chunk or end of a video, with a chunk's pixels as an array; None if there is none to come.

        The third value sums the time in which decoders worked.
        """
        if not self._expected or self._source is None or self._items is None:
            return None
        item = next(self._items)
        if isinstance(item, Ended):
            self._expected -= 1
            return item, None, self._source.busy_s
        pixels = item.frames.pixels.numpy()
        bare = Arriving(pixels=torch.empty(0))
        return replace(item, info=replace(item.info, times_s=np.empty(0)), frames=bare), pixels, self._source.busy_s


@dataclass(kw_only=True, eq=False)
class _Line:
    """What is asked of one decoding actor.

    Args:
        actor: Its handle; where it ends, another takes its place.
        node: Where it lives; None until it is ready.
        asked: References of answers, in their order; of `ready` alone while `node` is None.
        videos: Begun and not ended, in their order -> which time this network has it.
        busy_s: How long it has worked, as it last said.
        starts: How often it ended before it was ready.
    """

    actor: Any
    node: str | None = None
    asked: deque[Any] = field(default_factory=deque)
    videos: dict[str, int] = field(default_factory=dict)
    busy_s: float = 0.0
    starts: int = 0


class StoppedError(Exception):
    """The run is to end now."""


class ClusterSource:
    """Chunks and ends of videos from several decoding actors, each a few items ahead: what they hold is bounded.

    An actor that is lost costs the videos in its hands: they are forgotten here, and `lost` is told. `waited_s` and
    `busy_s` sum the time in which nothing was decoded yet, and that in which actors decoded.

    Args:
        actors: Handles of `Decoder`s; those that are lost are replaced there.
        start: Gives another one.
        device: Where frames are to go.
        take: Gives the next video, or None if there is none now.
        lost: Told of the videos that an actor had, and the node on which it was.
        pulse: Asked every second whether to stop.
    """

    def __init__(
        self,
        actors: MutableSequence[Any],
        device: torch.device,
        *,
        start: Callable[[], Any],
        take: Callable[[], tuple[str, Path] | None],
        lost: Callable[[Sequence[str], str], None],
        pulse: Callable[[], bool],
    ) -> None:
        self._actors, self._start = actors, start
        self._lines = [_Line(actor=actor) for actor in actors]
        self._transfer = Transfer(device)
        self._take, self._lost, self._pulse = take, lost, pulse
        self._times: dict[str, int] = {}
        self._drought_until_s = 0.0
        self.waited_s, self.busy_s = 0.0, 0.0
        for line in self._lines:
            line.asked.append(line.actor.ready.remote())

    def __iter__(self) -> Iterator[Item]:
        """Until every video that was taken has ended, and there is no other.

        Raises:
            StoppedError: the run is to end now.
            TalError: an actor's node is not fit for this run.
        """
        import ray

        looked_s = time.monotonic()
        while True:
            self._fill()
            heads = {line.asked[0]: line for line in self._lines if line.asked and (line.videos or line.node is None)}
            if not any(line.videos for line in self._lines) and not self._waits_for_actors():
                return
            began_s = time.monotonic()
            ready, _ = ray.wait(list(heads), num_returns=1, timeout=_PULSE_S)
            now_s = time.monotonic()
            self.waited_s += now_s - began_s
            if now_s - looked_s > _PULSE_S:
                looked_s = now_s
                if self._pulse():
                    raise StoppedError
            for ref in ready:
                yield from self._received(heads[ref])

    def _waits_for_actors(self) -> bool:
        """Whether nothing can be begun only because no actor is there yet."""
        return all(line.node is None for line in self._lines)

    def _fill(self) -> None:
        """Begin videos where there is room, and ask for what comes of them."""
        for ahead in range(1, _AHEAD_VIDEOS + 1):  # one for each before a second one for any
            for line in self._lines:
                if line.node is None or len(line.videos) >= ahead or time.monotonic() < self._drought_until_s:
                    continue
                taken = self._take()
                if taken is None:
                    self._drought_until_s = time.monotonic() + _PULSE_S
                    continue
                self._times[taken[0]] = self._times.get(taken[0], -1) + 1
                line.videos[taken[0]] = self._times[taken[0]]
                line.actor.begin.remote(*taken)
        for line in self._lines:
            while line.videos and line.node is not None and len(line.asked) < _AHEAD_ITEMS:
                line.asked.append(line.actor.next.remote())

    def _received(self, line: _Line) -> Iterator[Item]:
        """What the oldest answer of a line brings."""
        import ray

        ref = line.asked.popleft()
        try:
            answer = ray.get(ref)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        except ray.exceptions.RayError as error:
            line.starts += line.node is None
            if line.starts >= _STARTS:
                reason = str(error).splitlines()[0]
                raise TalError(f"a decoding actor ended {_STARTS} times before it could work: {reason}") from error
            self._forget(line)
            return
        if line.node is None:
            line.node, line.starts = answer, 0
            return
        if answer is None:
            return
        item, pixels, busy_s = answer
        self.busy_s += busy_s - line.busy_s
        line.busy_s = busy_s
        attempt = item.attempt + _ATTEMPTS * line.videos[item.video]
        if isinstance(item, Ended):
            del line.videos[item.video]
            yield replace(item, attempt=attempt)
        else:
            yield replace(item, attempt=attempt, frames=self._transfer(pixels.copy()))

    def _forget(self, line: _Line) -> None:
        """An actor is lost: have another in its place."""
        import ray

        place = self._actors.index(line.actor)
        ray.kill(line.actor)  # one that is out of reach may live
        line.actor = self._actors[place] = self._start()
        videos, node = list(line.videos), line.node
        line.videos.clear()
        line.asked.clear()
        if node is None:
            time.sleep(_PULSE_S)
        else:
            self._lost(videos, node)
        line.node, line.busy_s = None, 0.0
        line.asked.append(line.actor.ready.remote())
