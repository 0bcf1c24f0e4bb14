"""A file's sound as samples, in this process or under guard in another one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.audio.decode import audio_chunks
from tal.audio.sound import Sound, probe_sound
from tal.video.base import DecoderError
from tal.video.process import PATIENCE, WorkerEndedError, WorkerProcess, error_of, opening_s

Samples = NDArray[np.float32]

_NAME = "the decoder of the sound"
_TARGET = "tal.audio.reader:told"
_CHUNK_S = 10.0
_AHEAD = 2  # answers that are asked for before they are needed


class SoundReader:
    """The samples of one file's sound, in the video's time.

    `found` are its facts, `losses` what could not be decoded, one line each, when all is read.

    Args:
        path: The file.
        sample_rate: Samples per second to deliver.

    Raises:
        VideoError: the file cannot be opened; stage "audio" if it has no sound.
    """

    waited_s = worked_s = 0.0

    def __init__(self, path: Path | str, sample_rate: int) -> None:
        self._path, self._sample_rate = path, sample_rate
        self.found = probe_sound(path)
        self.losses: list[str] = []

    def chunks(self) -> Iterator[Samples]:
        """(n,) samples at a time; see `tal.audio.audio_chunks`."""
        start_s, duration_s = self.found.start_s, self.found.duration_s
        yield from audio_chunks(
            self._path,
            self._sample_rate,
            start_s=start_s,
            duration_s=duration_s,
            chunk_s=_CHUNK_S,
            losses=self.losses,
        )

    def close(self) -> None:
        """Nothing is left open here."""


def told(path: str, sample_rate: int) -> Iterator[dict[str, Any] | Samples]:
    """What the process of a `RemoteSound` tells: facts, samples, losses."""
    reader = SoundReader(path, sample_rate)
    yield asdict(reader.found)
    yield from reader.chunks()
    yield {"losses": reader.losses}


class RemoteSound:
    """A `SoundReader` in another process: a crash or a standstill costs one file.

    Args:
        path: The file.
        sample_rate: Samples per second to deliver.
        worker: The process, which is used for one file after another.
        patience: How many times the duration of what is asked for, and of two seconds more, may be waited.

    `worked_s` sums the time in which the decoder was at work, `waited_s` that in which we waited for it.

    Raises:
        VideoError: the file cannot be opened; stage "audio" if it has no sound.
        DecoderError: the decoder crashes, stands still or takes too much memory; its process is ended.
        OSError: no process can be started.
    """

    def __init__(
        self, path: Path | str, sample_rate: int, *, worker: WorkerProcess, patience: float = PATIENCE
    ) -> None:
        self._path, self._worker, self._patience = str(path), worker, patience
        self._asked = 0
        self.waited_s = self.worked_s = 0.0
        self.losses: list[str] = []
        try:
            worker.load(_TARGET)
            worker.send(op="call", number=0, settings={"path": self._path, "sample_rate": sample_rate})
            self._ask_ahead()
            self.found = Sound(**self._received(patience * opening_s(path)))
        except WorkerEndedError as error:
            raise self._ended("open", error) from None
        except BaseException:
            self.close()
            raise

    def chunks(self) -> Iterator[Samples]:
        """(n,) samples at a time; see `tal.audio.audio_chunks`."""
        duration_s = self.found.duration_s
        most_s = np.inf if duration_s is None else self.waited_s + self._patience * (2.0 + duration_s)
        while True:
            try:
                self._ask_ahead()
                item = self._received(max(1e-3, min(self._patience * (2.0 + _CHUNK_S), most_s - self.waited_s)))
            except WorkerEndedError as error:
                raise self._ended("audio", error) from None
            if isinstance(item, dict):
                self.losses += item["losses"]
                return
            yield item

    def _ask_ahead(self) -> None:
        while self._asked < _AHEAD:
            self._worker.send(op="next", number=0, place=0, size=0)
            self._asked += 1

    def _received(self, patience_s: float) -> Any:
        """Samples, or values."""
        began = time.monotonic()
        answer = self._worker.receive(patience_s)
        self._asked -= 1
        samples = self._worker.data(answer["shape"], np.float32, patience_s) if "shape" in answer else None
        self.waited_s += time.monotonic() - began
        self.worked_s += answer.get("took_s", 0.0)
        if "error" in answer:
            raise error_of(answer["error"], self._path, "audio", _NAME)
        return answer["values"] if samples is None else samples

    def _ended(self, stage: str, error: WorkerEndedError) -> DecoderError:
        self._asked = 0
        self._worker.end()
        return DecoderError(self._path, stage, f"{_NAME} {error}")

    def close(self) -> None:
        """Leave the process ready for another file."""
        try:
            self._worker.send(op="drop", number=0)
            while self._asked:
                answer = self._worker.receive(self._patience * (2.0 + _CHUNK_S))
                self._asked -= 1
                if "shape" in answer:
                    self._worker.data(answer["shape"], np.float32, self._patience * (2.0 + _CHUNK_S))
        except WorkerEndedError:
            self._asked = 0
            with suppress(OSError):
                self._worker.end()
