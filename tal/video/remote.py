"""RemoteReader: any decoder's reader in a process of its own, so that a crash or a deadlock costs one video."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tal.errors import TalError
from tal.video.base import AudioInfo, DecoderError, Frames, Resize, VideoInfo
from tal.video.process import PATIENCE, WorkerEndedError, WorkerProcess, error_of, opening_s
from tal.video.resize import plan

_AHEAD = 2  # answers that are asked for before they are needed, each with a place in the shared memory


class RemoteReader:
    """Frames of one video, decoded by another process; see `tal.video.base.VideoReader`.

    Args:
        path: The file.
        target: The reader's class, "module:Reader".
        name: What messages call the decoder.
        resize: Size of the delivered frames.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.
        threads: Of the decoder.
        device: Where it decodes; the frames come from there to the CPU.
        worker: A process that is used for one video after another; None for one that ends with this reader.
        patience: How many times the duration of what is asked for, and of two seconds more, may be waited.

    `worked_s` sums the time in which the decoder was at work.

    Raises:
        VideoError: the file cannot be opened, or holds no video that can be decoded.
        DecoderError: the decoder fails, crashes, stands still or takes too much memory; its process is ended.
        OSError: no process can be started.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        target: str,
        name: str,
        resize: Resize | None = None,
        stream_idx: int | None = None,
        threads: int = 0,
        device: str = "cpu",
        worker: WorkerProcess | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._path, self._name, self._resize, self._patience = str(path), name, resize, patience
        self._worker, self._own = worker or WorkerProcess(), worker is None
        self._numbers = itertools.count()
        self._asked: deque[tuple[int, int]] = deque()  # (pass, place), in the order of their answers
        self._received: dict[int, deque[Frames | TalError | None]] = {}
        self._places: list[int] = []
        self._place_bytes = 0
        self._waited_s = self.worked_s = 0.0
        self._open = True
        self.losses: list[str] = []
        settings = {"stream_idx": stream_idx, "threads": threads, "device": device}
        try:
            self._worker.load(target)
            self._send(op="open", path=self._path, resize=None if resize is None else asdict(resize), **settings)
            self._opened()
        except WorkerEndedError as error:
            raise self._ended("open", error) from None
        except BaseException:
            self.close()
            raise
        shape = plan(self.info.height, self.info.width, resize)
        self._frame_bytes = 3 * shape.height * shape.width

    def _opened(self) -> None:
        patience_s = self._patience * opening_s(self._path)
        answer = self._worker.receive(patience_s)
        if "error" in answer:
            raise error_of(answer["error"], self._path, "open", self._name)
        times_s = self._worker.data([answer["bytes"] // 8], np.float64, patience_s)
        facts = answer["info"]
        audio = None if facts["audio"] is None else AudioInfo(**facts["audio"])
        notes = tuple(facts["notes"])
        self.info = VideoInfo(**{**facts, "audio": audio, "notes": notes, "times_s": times_s})
        self.decoder: str = answer["decoder"]

    def batches(self, batch_frames: int, *, start_s: float = 0.0, end_s: float | None = None) -> Iterator[Frames]:
        """All frames with start_s <= time < end_s, in order, at most `batch_frames` at a time."""
        settings = {"batch_frames": batch_frames, "start_s": start_s, "end_s": end_s}
        return self._pass("batches", settings, batch_frames, self.info.duration_s)

    def at(self, times_s: ArrayLike) -> Frames:
        """The frame nearest to each time, in the order asked."""
        wanted = np.asarray(times_s, np.float64).reshape(-1).tolist()
        return next(self._pass("at", {"times_s": wanted}, len(wanted), self.info.duration_s))

    def sampled(self, fps: float, batch_frames: int) -> Iterator[Frames]:
        """Frames at 0, 1/fps, 2/fps, ... up to the end, each the frame with the nearest pts."""
        span_s = min(self.info.duration_s, batch_frames / fps) if fps > 0 else 0.0
        return self._pass("sampled", {"fps": fps, "batch_frames": batch_frames}, batch_frames, span_s)

    def _pass(self, method: str, settings: dict[str, Any], frames: int, span_s: float) -> Iterator[Frames]:
        """What a method of the other side's reader yields.

        Args:
            method, settings: What is called there.
            frames: In a batch, at most.
            span_s: Video time that a batch covers, at most.
        """
        number = next(self._numbers)
        self._make_room(max(1, frames * self._frame_bytes))
        self._send(op="start", number=number, method=method, settings=settings)
        self._received[number] = deque()
        ended = False
        try:
            while not ended:
                self._ask_ahead(number)
                while not self._received[number]:
                    self._receive(self._patience * (2.0 + span_s))
                    self._ask_ahead(number)
                item = self._received[number].popleft()
                if isinstance(item, Frames):
                    yield item
                    continue
                ended = True
                if item is not None:
                    raise item
        finally:
            del self._received[number]
            if not ended and self._open:
                with suppress(DecoderError):
                    self._send(op="drop", number=number)

    def _make_room(self, place_bytes: int) -> None:
        """Places in the shared memory for batches of so many bytes."""
        if place_bytes > self._place_bytes:
            while self._asked:
                self._receive(self._patience * (2.0 + self.info.duration_s))
            self._place_bytes = place_bytes
            self._worker.share(_AHEAD * place_bytes)
            self._places = [number * place_bytes for number in range(_AHEAD)]

    def _ask_ahead(self, number: int) -> None:
        while self._places and sum(asked == number for asked, _ in self._asked) < _AHEAD:
            place = self._places.pop()
            self._send(op="next", number=number, place=place, size=self._worker.share(0))
            self._asked.append((number, place))

    def _receive(self, patience_s: float) -> None:
        """Take the next answer, whichever pass it is for, and free its place."""
        left_s = self._patience * (2.0 + self.info.duration_s) - self._waited_s
        patience_s = max(1e-3, min(patience_s, left_s))
        number, place = self._asked.popleft()
        began = time.monotonic()
        try:
            answer = self._worker.receive(patience_s)
            item = self._item(answer, place, patience_s)
        except WorkerEndedError as error:
            raise self._ended("decode", error) from None
        self._waited_s += time.monotonic() - began
        self.losses += answer.get("losses", ())
        self.worked_s += answer.get("took_s", 0.0)
        self._places.append(place)
        if number in self._received:
            self._received[number].append(item)

    def _item(self, answer: dict[str, Any], place: int, patience_s: float) -> Frames | TalError | None:
        """What an answer says: frames, an error, or that there is no more."""
        if "error" in answer:
            return error_of(answer["error"], self._path, "decode", self._name)
        if "end" in answer:
            return None
        shape, times_s = answer["shape"], np.array(answer["times_s"], np.float64)
        if answer["shared"]:
            return Frames(pixels=self._worker.shared(place, shape), times_s=times_s)
        return Frames(pixels=self._worker.data(shape, np.uint8, patience_s), times_s=times_s)

    def _send(self, **request: Any) -> None:
        if not self._open:
            raise DecoderError(self._path, "decode", f"{self._name} was ended")
        try:
            self._worker.send(**request)
        except WorkerEndedError as error:
            raise self._ended("decode", error) from None

    def _ended(self, stage: str, error: WorkerEndedError) -> DecoderError:
        self._open = False
        self._worker.end()
        return DecoderError(self._path, stage, f"{self._name} {error}")

    def close(self) -> None:
        """Free the decoder; ends a process that is this reader's own."""
        if not self._open:
            return
        if not self._own:
            with suppress(DecoderError, WorkerEndedError):
                while self._asked:
                    self._receive(self._patience * (2.0 + self.info.duration_s))
                self._send(op="close")
                self._worker.receive(self._patience * 2.0)
        else:
            self._worker.end()
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
