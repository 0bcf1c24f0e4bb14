"""Decoding sound in the background: examples of many files through one bounded queue."""

import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.audio.base import AudioSpec
from tal.audio.examples import ExampleStream
from tal.audio.reader import RemoteSound, SoundReader
from tal.errors import TalError, VideoError
from tal.features.fingerprint import Fingerprint
from tal.features.store import FeatureStore, State
from tal.video.files import check_file
from tal.video.process import PATIENCE, WorkerProcess, memory_limit

Floats = NDArray[np.float32]

_QUEUE_PIECES = 4

_LOG = logging.getLogger(__name__)


class ExampleReader:
    """One file's sound as examples; afterwards its duration, and what could not be decoded."""

    def __init__(self, sound: SoundReader | RemoteSound, spec: AudioSpec) -> None:
        self._sound, self._spec = sound, spec
        found = sound.found
        self.facts = {key: getattr(found, key) for key in ("codec", "sample_rate", "channels", "start_s")}
        self.losses = sound.losses
        self.duration_s = found.duration_s or 0.0

    def examples(self) -> Iterator[Floats]:
        """(n, example_frames, bands), n may be 0."""
        stream, samples = ExampleStream(self._spec), 0
        for chunk in self._sound.chunks():
            samples += len(chunk)
            yield stream.feed(chunk)
        self.duration_s = self._sound.found.duration_s or samples / self._spec.sample_rate
        yield stream.end()


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """Examples of a video, in order."""

    video: str
    examples: Floats


@dataclass(frozen=True, kw_only=True)
class SoundEnded:
    """A video is through. `state`: how it stood before: "done" and "failed" may have been left alone."""

    video: str
    state: State
    failure: tuple[str, str] | None = None
    losses: tuple[str, ...] = ()
    duration_s: float = 0.0
    source: Mapping[str, Any] = field(default_factory=dict)


class BackgroundSound:
    """Decodes sound in processes, one beside each of our threads, through one bounded queue.

    `waited_s` sums the time in which nothing was there yet, `decode_s` that in which decoders and threads worked.

    Args:
        videos: id -> path.
        spec: Of the backbone.
        store: Asked where a video stands right before it would be decoded.
        retry_failed: Decode also what is recorded as failed.
        threads: Files decoded at once.
        patience: How many times its own duration, and that of two seconds more, a decoder may keep us waiting.
        isolate: False: decode in the threads themselves, which a crash takes down with everything.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        spec: AudioSpec,
        store: FeatureStore,
        *,
        retry_failed: bool,
        threads: int,
        patience: float = PATIENCE,
        isolate: bool = True,
    ) -> None:
        self._spec, self._store, self._retry_failed = spec, store, retry_failed
        self._patience, self._isolate = patience, isolate
        self._queue: queue.Queue[Piece | SoundEnded | None] = queue.Queue(_QUEUE_PIECES * threads)
        self._left, self._take = iter(videos.items()), threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads, "sound")
        self.waited_s, self.decode_s = 0.0, 0.0
        self._processes = [WorkerProcess(memory_bytes=memory_limit(threads)) for _ in range(threads)]
        self._workers: list[Future[None]] = [self._pool.submit(self._work, each) for each in self._processes]

    def __iter__(self) -> Iterator[Piece | SoundEnded]:
        running = len(self._workers)
        while running:
            began = time.monotonic()
            item = self._queue.get()
            self.waited_s += time.monotonic() - began
            if item is None:
                running -= 1
            else:
                yield item
        for worker in self._workers:
            worker.result()

    def close(self) -> None:
        """Stop after the piece in hand; processes are ended."""
        self._stop.set()
        for process in self._processes:
            process.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, process: WorkerProcess) -> None:
        try:
            while not self._stop.is_set():
                with self._take:
                    entry = next(self._left, None)
                if entry is None:
                    return
                self._decode(*entry, process)
        finally:
            process.end()
            self._put(None)

    def _decode(self, video: str, path: Path, process: WorkerProcess) -> None:
        state = self._store.state(video, path)
        if state == "done" or (state == "failed" and not self._retry_failed):
            self._put(SoundEnded(video=video, state=state))
            return
        source: dict[str, Any] = {"path": str(path)}
        try:
            source |= Fingerprint.of(path).as_dict()
            check_file(path)
            with closing(self._opened(path, process)) as reader:
                sound = ExampleReader(reader, self._spec)
                source |= sound.facts
                for examples in self._timed(sound.examples(), reader):
                    self._put(Piece(video=video, examples=examples))
                    if self._stop.is_set():
                        return
        except VideoError as error:
            self._put(SoundEnded(video=video, state=state, failure=(error.stage, error.reason), source=source))
        except TalError as error:
            self._put(SoundEnded(video=video, state=state, failure=("open", str(error)), source=source))
        except OSError as error:
            reason = error.strerror or str(error)
            self._put(SoundEnded(video=video, state=state, failure=("open", reason), source=source))
        else:
            losses, duration_s = tuple(sound.losses), sound.duration_s
            self._put(SoundEnded(video=video, state=state, losses=losses, duration_s=duration_s, source=source))

    def _opened(self, path: Path, process: WorkerProcess) -> SoundReader | RemoteSound:
        """The sound, in a process where there can be one."""
        if self._isolate:
            try:
                return RemoteSound(path, self._spec.sample_rate, worker=process, patience=self._patience)
            except OSError as error:
                self._isolate = False
                _LOG.warning("no process can be started (%s): decoding in threads, which cannot be ended", error)
        return SoundReader(path, self._spec.sample_rate)

    def _timed(self, examples: Iterator[Floats], sound: SoundReader | RemoteSound) -> Iterator[Floats]:
        """The same; the work of both sides is counted."""
        elsewhere_s = sound.worked_s - sound.waited_s
        while True:
            began = time.monotonic()
            piece = next(examples, None)
            before_s, elsewhere_s = elsewhere_s, sound.worked_s - sound.waited_s
            with self._take:
                self.decode_s += time.monotonic() - began + elsewhere_s - before_s
            if piece is None:
                return
            yield piece

    def _put(self, item: Piece | SoundEnded | None) -> None:
        """Wait until there is room, unless the run is over."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
