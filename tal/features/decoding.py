"""Decoding in the background: frames of many videos through one bounded queue."""

import queue
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError, TalError, VideoError
from tal.features.fingerprint import Fingerprint
from tal.features.store import FeatureStore, State
from tal.video import Resize, VideoInfo, open_video

CHUNK_FRAMES = 32
_QUEUE_CHUNKS = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """Frames of a video, (N, H, W, 3) uint8, in order; `info` and `source` are the same in every chunk of a video."""

    video: str
    info: VideoInfo
    source: Mapping[str, Any]
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A video is through.

    Args:
        video: The id.
        state: How it stood before: "done" and "failed" were left alone, the others decoded.
        losses: What could not be decoded.
        failure: (stage, reason) where decoding failed.
        source: Facts of the file, with its fingerprint where it could be read.
    """

    video: str
    state: State
    losses: tuple[str, ...] = ()
    failure: tuple[str, str] | None = None
    source: Mapping[str, Any]


class BackgroundDecoder:
    """Decodes videos in threads while the caller does something else.

    Args:
        videos: id -> path.
        resize: Of the delivered frames.
        fps: Sampling rate.
        store: Where a video's state is looked up right before it would be decoded.
        retry_failed: Decode also what is recorded as failed.
        threads: Videos decoded at once.
        decoder: A name in `tal.video.DECODERS`.
        device: Where frames are decoded.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        *,
        resize: Resize,
        fps: float,
        store: FeatureStore,
        retry_failed: bool,
        threads: int,
        decoder: str = "pyav",
        device: str = "cpu",
    ) -> None:
        self._decoder, self._device = decoder, device
        self._resize, self._fps, self._store, self._retry_failed = resize, fps, store, retry_failed
        self._queue: queue.Queue[Chunk | Ended | None] = queue.Queue(_QUEUE_CHUNKS * threads)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._left = iter(videos.items())
        self._take = threading.Lock()
        self._workers: list[Future[None]] = [self._pool.submit(self._work) for _ in range(threads)]
        self.waited_s = 0.0

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
        """Stop after the chunk in hand."""
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
        try:
            state = self._store.state(video, path)
        except FeatureError as error:  # a damaged record is this video's failure, not the run's
            self._put(Ended(video=video, state="new", failure=("store", f"{error.given}; remove it"), source={}))
            return
        if state == "done" or (state == "failed" and not self._retry_failed):
            self._put(Ended(video=video, state=state, source={}))
            return
        source: dict[str, Any] = {"path": str(path)}
        losses: tuple[str, ...] = ()
        failure = None
        try:
            source |= Fingerprint.of(path).as_dict()
            with open_video(path, resize=self._resize, decoder=self._decoder, device=self._device) as reader:
                source |= _facts(reader.info) | {"decoder": reader.decoder}
                for frames in reader.sampled(self._fps, CHUNK_FRAMES):
                    self._put(Chunk(video=video, info=reader.info, source=source, pixels=frames.pixels))
                    if self._stop.is_set():
                        return
                losses = tuple(reader.losses)
        except VideoError as error:
            failure = error.stage, error.reason
        except TalError as error:
            failure = "open", str(error)
        except OSError as error:
            failure = "open", error.strerror or str(error)
        self._put(Ended(video=video, state=state, losses=losses, failure=failure, source=source))

    def _put(self, item: Chunk | Ended | None) -> None:
        """Wait until there is room, unless the run is over."""
        while not self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.1)
                return


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
