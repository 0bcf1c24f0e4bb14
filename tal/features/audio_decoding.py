"""Decoding sound in the background: examples of many files through one bounded queue."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.audio import audio_chunks, probe_sound
from tal.audio.base import AudioSpec
from tal.audio.examples import ExampleStream
from tal.errors import TalError, VideoError
from tal.features.fingerprint import Fingerprint
from tal.features.store import FeatureStore, State

Floats = NDArray[np.float32]

_QUEUE_PIECES = 4


class ExampleReader:
    """One file's sound as examples; afterwards its duration, and what could not be decoded."""

    def __init__(self, path: Path, spec: AudioSpec) -> None:
        self._path, self._spec = path, spec
        self._found = probe_sound(path)
        self.facts = {key: getattr(self._found, key) for key in ("codec", "sample_rate", "channels", "start_s")}
        self.losses: list[str] = []
        self.duration_s = self._found.duration_s or 0.0

    def examples(self) -> Iterator[Floats]:
        """(n, example_frames, bands), n may be 0."""
        stream, samples = ExampleStream(self._spec), 0
        for chunk in audio_chunks(
            self._path,
            self._spec.sample_rate,
            start_s=self._found.start_s,
            duration_s=self._found.duration_s,
            losses=self.losses,
        ):
            samples += len(chunk)
            yield stream.feed(chunk)
        self.duration_s = self._found.duration_s or samples / self._spec.sample_rate
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
    """Decodes sound in threads, through one bounded queue.

    `waited_s` sums the time in which nothing was there yet, `decode_s` that in which threads worked.
    """

    def __init__(
        self, videos: Mapping[str, Path], spec: AudioSpec, store: FeatureStore, *, retry_failed: bool, threads: int
    ) -> None:
        self._spec, self._store, self._retry_failed = spec, store, retry_failed
        self._queue: queue.Queue[Piece | SoundEnded | None] = queue.Queue(_QUEUE_PIECES * threads)
        self._left, self._take = iter(videos.items()), threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads, "sound")
        self.waited_s, self.decode_s = 0.0, 0.0
        self._workers: list[Future[None]] = [self._pool.submit(self._work) for _ in range(threads)]

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
        """Stop after the piece in hand."""
        self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with self._take:
                    entry = next(self._left, None)
                if entry is None:
                    return
                self._decode(*entry)
        finally:
            self._put(None)

    def _decode(self, video: str, path: Path) -> None:
        state = self._store.state(video, path)
        if state == "done" or (state == "failed" and not self._retry_failed):
            self._put(SoundEnded(video=video, state=state))
            return
        source: dict[str, Any] = {"path": str(path)}
        try:
            source |= Fingerprint.of(path).as_dict()
            sound = ExampleReader(path, self._spec)
            source |= sound.facts
            for examples in self._timed(sound.examples()):
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

    def _timed(self, examples: Iterator[Floats]) -> Iterator[Floats]:
        """The same, counted as work."""
        while True:
            began = time.monotonic()
            piece = next(examples, None)
            with self._take:
                self.decode_s += time.monotonic() - began
            if piece is None:
                return
            yield piece

    def _put(self, item: Piece | SoundEnded | None) -> None:
        """Wait until there is room, unless the run is over."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return
