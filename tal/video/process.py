"""A decoder's process as seen from outside: it is asked, waited for only so long, and ended where it misbehaves."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError, VideoError
from tal.video.base import DecoderError
from tal.video.worker import LENGTH

PATIENCE = 30.0
"""How many times the duration of what is asked for, and of two seconds more, an answer may take."""

_START_S = 180.0  # to import a decoder's libraries on a busy machine
_LOOK_S = 0.2  # from one look at a process's memory to the next
_PIPE_BYTES = 1 << 20
_LEAST_MEMORY_BYTES = 2 << 30
_OPENED_BYTES_PER_S = 150e6


class WorkerEndedError(Exception):
    """The process is gone: it crashed, or was ended for standing still or for taking too much memory."""


def memory_limit(workers: int = 1) -> int:
    """Bytes that each of so many processes may take: a share of half the machine's memory, at least 2 GiB."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_LEAST_MEMORY_BYTES, physical // 2 // max(1, workers))


def opening_s(path: Path | str) -> float:
    """How many seconds of video opening a file counts as, which may mean to read it through."""
    size = 0
    with suppress(OSError, ValueError):
        size = os.stat(path).st_blocks * 512  # a file may claim to be longer than what is there
    return 2.0 + size / _OPENED_BYTES_PER_S


def error_of(told: dict[str, str], path: str, stage: str, name: str) -> TalError:
    """The error that the other side ran into, from its answer.

    Args:
        told: What stands under "error".
        path: The file.
        stage: Where the error itself tells none.
        name: What messages call the decoder.
    """
    parts = dict(told)
    kind = parts.pop("kind")
    if kind == "use":
        return TalError(**parts)
    if kind == "other":
        return DecoderError(path, stage, f"{name} fails: {parts['reason']}")
    make = DecoderError if kind == "decoder" else VideoError
    return make(path, parts.pop("stage"), parts.pop("reason"), **parts)


class WorkerProcess:
    """A process of `tal.video.worker`. Starts when it is asked, again after it was ended, and dies with this process.

    One reader at a time uses it.

    Args:
        memory_bytes: End it when it takes more; None for `memory_limit()`.

    Raises:
        OSError: from `load`, where no process can be started.
    """

    def __init__(self, *, memory_bytes: int | None = None) -> None:
        self._limit_bytes = memory_limit() if memory_bytes is None else memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._life = self._memory = -1
        self._map: mmap.mmap | None = None
        self._target = ""
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return None if self._process is None else self._process.pid

    def load(self, target: str) -> None:
        """Have a decoder's library loaded; starts the process where there is none.

        Args:
            target: "module:Reader", or "module:function".
        """
        if self._closed:
            raise WorkerEndedError("was ended")
        if self._process is None:
            self._start()
            if self._closed:  # meanwhile, by another thread that saw no process to kill
                self.end()
                raise WorkerEndedError("was ended")
        if self._target != target:
            self.send(op="load", target=target)
            answer = self.receive(_START_S)
            if "error" in answer:
                raise WorkerEndedError(
                    f"cannot be loaded: {answer['error'].get('reason', answer['error'].get('given'))}"
                )
            self._target = target

    def _start(self) -> None:
        life, self._life = os.pipe()
        try:
            self._memory = _memory_file()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tal.video.worker", str(life), str(self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(life, self._memory),
                process_group=0,  # Ctrl-C is for us; the process ends with us
            )
        except OSError:
            self._forget()
            raise
        finally:
            os.close(life)
        with suppress(OSError, AttributeError):
            fcntl.fcntl(self._out(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def send(self, **request: Any) -> None:
        """Make a request; see `tal.video.worker`."""
        if self._process is None or self._process.stdin is None:
            raise WorkerEndedError("was ended")
        text = json.dumps(request).encode()
        try:
            self._process.stdin.write(LENGTH.pack(len(text)) + text)
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise WorkerEndedError(self._how_it_ended()) from None

    def receive(self, patience_s: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            WorkerEndedError: none came in time, or none will come any more; the process is ended.
        """
        deadline = time.monotonic() + patience_s
        (length,) = LENGTH.unpack(self._filled(LENGTH.size, deadline, patience_s))
        answer: dict[str, Any] = json.loads(self._filled(length, deadline, patience_s))
        return answer

    def data(self, shape: Iterable[int], dtype: type[np.generic], patience_s: float) -> NDArray[Any]:
        """The array whose bytes follow an answer."""
        array = np.empty(tuple(shape), dtype)
        self._fill(array.reshape(-1).view(np.uint8).data, time.monotonic() + patience_s, patience_s)
        return array

    def share(self, size: int) -> int:
        """Have at least so many bytes of memory that both sides see; returns how many there are."""
        if self._map is None or len(self._map) < size:
            os.ftruncate(self._memory, size)
            self._map = mmap.mmap(self._memory, size)
        return len(self._map)

    def shared(self, place: int, shape: Iterable[int]) -> NDArray[np.uint8]:
        """A copy of the bytes at a place of the shared memory."""
        shape = tuple(shape)
        if self._map is None:
            raise WorkerEndedError("was ended")
        return np.frombuffer(self._map, np.uint8, int(np.prod(shape)), place).reshape(shape).copy()

    def _filled(self, count: int, deadline: float, patience_s: float) -> bytes:
        data = bytearray(count)
        self._fill(memoryview(data), deadline, patience_s)
        return bytes(data)

    def _fill(self, view: memoryview, deadline: float, patience_s: float) -> None:
        descriptor = self._out()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while len(view):
            while not poll.poll(1000 * min(_LOOK_S, max(0.0, deadline - time.monotonic()))):
                self._check_memory()
                if time.monotonic() >= deadline:
                    self.end()
                    raise WorkerEndedError(f"stood still for {patience_s:.3g} s and was ended")
            count = os.readv(descriptor, [view])
            if not count:
                raise WorkerEndedError(self._how_it_ended())
            view = view[count:]

    def _check_memory(self) -> None:
        """What the shared memory holds counts as well."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):  # No such file on this system, or the process is gone.
            return
        taken = pages * os.sysconf("SC_PAGE_SIZE")
        if taken > self._limit_bytes:
            self.end()
            gib = 1 << 30
            raise WorkerEndedError(
                f"took {taken / gib:.1f} GiB of memory and was ended (limit {self._limit_bytes / gib:.1f})"
            )

    def _out(self) -> int:
        if self._process is None or self._process.stdout is None:
            raise WorkerEndedError("was ended")
        return self._process.stdout.fileno()

    def _how_it_ended(self) -> str:
        process = self._process
        if process is None:
            return "was ended"
        with suppress(subprocess.TimeoutExpired):
            process.wait(1.0)
        code = process.poll()
        self.end()
        return f"crashed (signal {-code})" if code is not None and code < 0 else f"ended with code {code}"

    def end(self) -> None:
        """Kill the process; the next `load` starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # A request that was never read.
                        pipe.close()
        self._forget()

    def close(self) -> None:
        """Kill the process for good; may be called while another thread waits for it."""
        self._closed = True
        process = self._process
        if process is not None:
            process.kill()

    def _forget(self) -> None:
        for descriptor in (self._life, self._memory):
            if descriptor >= 0:
                os.close(descriptor)
        self._life = self._memory = -1
        self._map, self._target = None, ""


def _memory_file() -> int:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("tal frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
