"""Decoding in the background: frames of many videos through one bounded queue, each video's decoder under guard."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from tal.errors import FeatureError, TalError, VideoError
from tal.features.fingerprint import Fingerprint
from tal.features.store import State
from tal.features.transfer import Arriving, Transfer
from tal.video import DECODERS, Resize, VideoInfo, VideoReader, decoder_version, open_video
from tal.video.auto import Attempt, attempts, header
from tal.video.base import DecoderError
from tal.video.files import check_file
from tal.video.process import PATIENCE, WorkerProcess, memory_limit
from tal.video.remote import RemoteReader

CHUNK_FRAMES = 32
THREADS = 1
"""Of every decoder on the CPU: what FFmpeg shows in place of damaged parts depends on their number, and so would the
features. Several videos are decoded at once instead, which takes less processor time per frame as well."""

_QUEUE_CHUNKS = 4

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Frames of a video, in order; `info` and `source` are the same in every chunk of one attempt at a video."""

    video: str
    attempt: int
    info: VideoInfo
    source: Mapping[str, Any]
    frames: Arriving


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A video is through.

    Args:
        video: The id.
        attempt: The one that succeeded, or the last one: chunks of those before count for nothing.
        state: How it stood before: "done" and "failed" were left alone, the others decoded.
        losses: What could not be decoded.
        failure: (stage, reason) where decoding failed.
        source: Facts of the file, with its fingerprint where it could be read.
    """

    video: str
    attempt: int = 0
    state: State
    losses: tuple[str, ...] = ()
    failure: tuple[str, str] | None = None
    source: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class DecodeSettings:
    """How videos are decoded.

    Args:
        resize: Of the delivered frames.
        fps: Sampling rate.
        device: Of the network: frames go there.
        decoder: A name in `tal.video.DECODERS`, or "auto"; see `tal.video.auto`.
        patience: How many times its own duration, and that of two seconds more, a decoder may keep us waiting.
        isolate: Decode in processes that can be ended; a GPU decodes in threads all the same.
        retry_failed: Decode also what is recorded as failed.
    """

    resize: Resize
    fps: float
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    decoder: str = "pyav"
    patience: float = PATIENCE
    isolate: bool = True
    retry_failed: bool = False


class BackgroundDecoder:
    """Decodes videos while the caller does something else. `busy_s` sums the time in which decoders worked.

    Args:
        videos: (id, path); the next one is asked for when a decoder is free.
        settings: How.
        state: Where a video stands; asked right before it would be decoded.
        workers: Videos decoded at once.
    """

    def __init__(
        self,
        videos: Iterable[tuple[str, Path]],
        settings: DecodeSettings,
        *,
        state: Callable[[str, Path], State],
        workers: int,
    ) -> None:
        self._settings, self._state = settings, state
        self._isolate = settings.isolate
        self.workers, self.waited_s, self.busy_s = workers, 0.0, 0.0
        self._usable = _usable() if settings.decoder == "auto" else {settings.decoder}
        self._queue: queue.Queue[Chunk | Ended | None] = queue.Queue(_QUEUE_CHUNKS * workers)
        self._stop = threading.Event()
        self._left = iter(videos)
        self._lock = threading.Lock()
        self._processes = [WorkerProcess(memory_bytes=memory_limit(workers)) for _ in range(workers)]
        self._pool = ThreadPoolExecutor(workers, "decode")
        self._workers: list[Future[None]] = [self._pool.submit(self._work, each) for each in self._processes]

    def __iter__(self) -> Iterator[Chunk | Ended]:
        """Chunks of videos, and each video's end. `waited_s` sums the time in which nothing was decoded yet."""
        running = len(self._workers)
        while running:
            began = time.monotonic()
            item = self._queue.get()
            self.waited_s += time.monotonic() - began
            if item is None:
                running -= 1
                continue
            yield item
        for worker in self._workers:
            worker.result()

    def close(self) -> None:
        """Stop at once; processes are ended, threads end after the chunk in hand."""
        self._stop.set()
        for process in self._processes:
            process.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _work(self, process: WorkerProcess) -> None:
        transfer = Transfer(self._settings.device)
        try:
            while not self._stop.is_set():
                with self._lock:
                    entry = next(self._left, None)
                if entry is None:
                    return
                self._decode(*entry, process, transfer)
        finally:
            process.end()
            self._put(None)

    def _decode(self, video: str, path: Path, process: WorkerProcess, transfer: Transfer) -> None:
        try:
            state = self._state(video, path)
        except FeatureError as error:  # a damaged record is this video's failure, not the run's
            self._put(Ended(video=video, state="new", failure=("store", f"{error.given}; remove it"), source={}))
            return
        if state == "done" or (state == "failed" and not self._settings.retry_failed):
            self._put(Ended(video=video, state=state, source={}))
            return
        source: dict[str, Any] = {"path": str(path)}
        tried: list[dict[str, str]] = []
        failure = None
        number = 0
        losses: tuple[str, ...] = ()
        try:
            source |= _fingerprint(path)
            check_file(path)
            for number, attempt in enumerate(self._attempts(path)):
                known = {**source, "tried": list(tried)} if tried else dict(source)
                try:
                    losses = self._read(video, path, number, attempt, known, process, transfer)
                except VideoError as error:
                    failure, source = (error.stage, error.reason), known
                    if not isinstance(error, DecoderError) and error.stage != "decode":
                        break
                    tried.append({"decoder": str(attempt), "stage": error.stage, "error": error.reason})
                    continue
                failure, source = None, known
                break
        except VideoError as error:
            failure = error.stage, error.reason
        except TalError as error:
            failure = "open", str(error)
        except OSError as error:
            failure = "open", error.strerror or str(error)
        ended = Ended(video=video, attempt=number, state=state, losses=losses, failure=failure, source=source)
        self._put(ended)

    def _attempts(self, path: Path) -> list[Attempt]:
        settings = self._settings
        device = str(settings.device)
        needs_facts = settings.decoder == "auto" and device.startswith("cuda")
        facts = header(path) if needs_facts else None
        return attempts(settings.decoder, device, self._usable, facts, settings.fps)

    def _read(
        self,
        video: str,
        path: Path,
        number: int,
        attempt: Attempt,
        source: dict[str, Any],
        process: WorkerProcess,
        transfer: Transfer,
    ) -> tuple[str, ...]:
        """Put a video's chunks into the queue; returns what was lost. `source` receives the facts of the file."""
        settings = self._settings
        with self._opened(path, attempt, process) as reader:
            source |= _facts(reader.info) | {"decoder": reader.decoder}
            left = reader.info.duration_s * settings.fps + CHUNK_FRAMES
            chunks = reader.sampled(settings.fps, CHUNK_FRAMES)
            while not self._stop.is_set():
                began = time.monotonic()
                frames = next(chunks, None)
                if not isinstance(reader, RemoteReader):
                    self._worked(time.monotonic() - began)
                if frames is None:
                    break
                left -= len(frames)
                if left < 0:
                    raise DecoderError(path, "decode", f"{attempt} gives more frames than the video has")
                arriving = transfer(frames.pixels)
                self._put(Chunk(video=video, attempt=number, info=reader.info, source=source, frames=arriving))
            if isinstance(reader, RemoteReader):
                self._worked(reader.worked_s)
            return tuple(reader.losses)

    def _opened(self, path: Path, attempt: Attempt, process: WorkerProcess) -> VideoReader:
        """The reader, in a process where there can be one and frames do not stay on a GPU."""
        settings = self._settings
        if self._isolate and attempt.device == "cpu":
            try:
                return RemoteReader(
                    path,
                    target=DECODERS[attempt.decoder].target,
                    name=attempt.decoder,
                    resize=settings.resize,
                    threads=THREADS,
                    worker=process,
                    patience=settings.patience,
                )
            except OSError as error:
                self._isolate = False
                _LOG.warning("no process can be started (%s): decoding in threads, which cannot be ended", error)
        resize, device = settings.resize, attempt.device
        return open_video(path, resize=resize, decoder=attempt.decoder, device=device, threads=THREADS)

    def _worked(self, seconds: float) -> None:
        with self._lock:
            self.busy_s += seconds

    def _put(self, item: Chunk | Ended | None) -> None:
        """Wait until there is room, unless the run is over."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return


def _fingerprint(path: Path) -> dict[str, Any]:
    """Of a file that can be read; reading anything else might not end."""
    return Fingerprint.of(path).as_dict() if path.is_file() else {}


def _usable() -> set[str]:
    """Decoders that can be used here."""
    found = set()
    for name in DECODERS:
        with suppress(TalError):
            decoder_version(name)
            found.add(name)
    return found


def _facts(info: VideoInfo) -> dict[str, Any]:
    """What a store's record keeps of the video."""
    return {
        "codec": info.codec,
        "width": info.width,
        "height": info.height,
        "frames": info.frame_count,
        "average_fps": info.average_fps,
        "variable_rate": info.variable_rate,
        "start_s": info.start_s,
        "notes": list(info.notes),
    }
