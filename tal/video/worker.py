"""A process that decodes: `python -m tal.video.worker LIFE MEMORY`; `tal.video.process` is its other side.

A message, both ways, is eight bytes that hold its length, and JSON. Requests and their answers:

    load   target "module:Reader"            {}; loads the decoder's library
    open   path, settings of the reader      {"info", "decoder", "bytes"} and the frames' times as bytes
    start  number, method, settings          none: from now on this pass over the video can be asked for frames
    next   number, place, size               {"shape", "times_s", "losses", "shared", "took_s"}, or {"end", "losses"}
    call   number, settings                  none: the same for what is loaded where that is a function; `next` then
                                             brings {"values"}, or {"shape", "took_s"} and float32 numbers as bytes
    drop   number                            none
    close                                    {}

Pixels lie at byte `place` of the memory that both sides share (`size` bytes in all), or follow the answer where they do
not fit there. `losses` are those since the answer before. What a request runs into stands in its answer as {"error"}.

LIFE is a pipe that the other side never writes to: when it dies the system closes the pipe and ends this process, even
one that a decoder keeps from running Python. MEMORY is the shared memory's file.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError, VideoError
from tal.registry import Entry
from tal.video.base import DecoderError, Frames, Resize, VideoReader

LENGTH = struct.Struct("<Q")


def main(words: list[str]) -> int:
    """Answer requests on standard input until it ends."""
    life, memory = map(int, words)
    _end_with_the_other_side(life)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What a library prints must not come between.
    server = _Server(out, memory)
    while (header := sys.stdin.buffer.read(LENGTH.size)) and len(header) == LENGTH.size:
        server.serve(json.loads(sys.stdin.buffer.read(*LENGTH.unpack(header))))
    return 0


def _end_with_the_other_side(life: int) -> None:
    """Also be the first to go where memory runs out."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(life, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        if os.read(life, 1) == b"":
            sys.exit(1)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


class _Server:
    """One open video at most, and the passes over it."""

    def __init__(self, out: IO[bytes], memory: int) -> None:
        self._out, self._memory = out, memory
        self._shared: mmap.mmap | None = None
        self._make: Any = None
        self._reader: VideoReader | None = None
        self._passes: dict[int, Iterator[Any]] = {}
        self._told = 0

    def serve(self, request: dict[str, Any]) -> None:
        try:
            getattr(self, f"_{request.pop('op')}")(**request)
        except Exception as error:  # noqa: BLE001 - whatever a decoder throws ends its video, not this process
            self._answer({"error": _described(error)})

    def _answer(self, values: dict[str, Any], data: NDArray[np.generic] | None = None) -> None:
        text = json.dumps(values).encode()
        self._out.write(LENGTH.pack(len(text)) + text)
        if data is not None:
            self._out.write(_as_bytes(data).data)
        self._out.flush()

    def _load(self, target: str) -> None:
        self._make = Entry(target, "").load()
        if hasattr(self._make, "version"):
            self._make.version()  # Tells where it cannot be used.
        self._answer({})

    def _open(self, path: str, resize: dict[str, Any] | None, **settings: Any) -> None:
        self._shut()
        reader: VideoReader = self._make(path, resize=None if resize is None else _resize(resize), **settings)
        self._reader, self._told = reader, 0
        times_s = reader.info.times_s
        facts = {name: value for name, value in vars(reader.info).items() if name not in ("times_s", "audio")}
        audio = None if reader.info.audio is None else asdict(reader.info.audio)
        answer = {"info": {**facts, "audio": audio}, "decoder": reader.decoder, "bytes": times_s.nbytes}
        self._answer(answer, times_s)

    def _start(self, number: int, method: str, settings: dict[str, Any]) -> None:
        self._passes[number] = self._frames(method, settings)

    def _call(self, number: int, settings: dict[str, Any]) -> None:
        self._passes[number] = iter(self._make(**settings))

    def _frames(self, method: str, settings: dict[str, Any]) -> Iterator[Frames]:
        """Begins to work when it is first asked, so that its errors are answers to that."""
        found = getattr(self._reader, method)(**settings)
        if isinstance(found, Frames):
            yield found
        else:
            yield from found

    def _next(self, number: int, place: int, size: int) -> None:
        began = time.monotonic()
        item = next(self._passes.get(number, iter(())), None)
        took_s = time.monotonic() - began
        if item is None:
            self._passes.pop(number, None)
            self._answer({"end": True, "losses": self._new_losses()})
        elif isinstance(item, Frames):
            self._tell_frames(item, place, size, took_s)
        elif isinstance(item, np.ndarray):
            self._answer({"shape": item.shape, "took_s": took_s}, item.astype(np.float32, copy=False))
        else:
            self._answer({"values": item, "took_s": took_s})

    def _tell_frames(self, frames: Frames, place: int, size: int, took_s: float) -> None:
        pixels = frames.pixels if isinstance(frames.pixels, np.ndarray) else frames.pixels.cpu().numpy()
        shared = self._fill(place, size, pixels)
        facts = {"shape": pixels.shape, "times_s": frames.times_s.tolist(), "took_s": took_s}
        self._answer({**facts, "losses": self._new_losses(), "shared": shared}, None if shared else pixels)

    def _new_losses(self) -> list[str]:
        losses = [] if self._reader is None else self._reader.losses[self._told :]
        self._told += len(losses)
        return losses

    def _fill(self, place: int, size: int, pixels: NDArray[np.uint8]) -> bool:
        """Whether the pixels have been put at their place in the shared memory."""
        if place + pixels.nbytes > size:
            return False
        if self._shared is None or len(self._shared) != size:
            self._shared = mmap.mmap(self._memory, size)
        if pixels.size:
            np.copyto(np.frombuffer(self._shared, np.uint8, pixels.nbytes, place), _as_bytes(pixels))
        return True

    def _drop(self, number: int) -> None:
        self._passes.pop(number, None)

    def _close(self) -> None:
        self._shut()
        self._answer({})

    def _shut(self) -> None:
        self._passes.clear()
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def _resize(values: dict[str, Any]) -> Resize:
    """Of plain values: JSON has no tuples."""
    plain: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in values.items()}
    return Resize(**plain)


def _as_bytes(data: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(data).reshape(-1).view(np.uint8)


def _described(error: Exception) -> dict[str, str]:
    """What `tal.video.process` makes the same error of again."""
    if isinstance(error, VideoError):
        kind = "decoder" if isinstance(error, DecoderError) else "video"
        return {"kind": kind, "stage": error.stage, "reason": error.reason, "cause": error.cause, "todo": error.todo}
    if isinstance(error, TalError):
        parts = {"given": error.given, "expected": error.expected, "cause": error.cause, "todo": error.todo}
        return {"kind": "use", **parts}
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return {"kind": "other", "reason": f"{type(error).__name__}: {lines[0]}"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
