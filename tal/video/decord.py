"""The reader over decord, for those who need its frames. It runs in a process of its own, which can be killed.

decord 0.6.0 loses memory, stands still on some broken files and crashes on others: all of that ends with the process,
and the file's reading with one error.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError
from tal.video.base import Resize
from tal.video.indexed import IndexedReader

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE_S = 60.0
"""How long an answer may take, beside ten times the video's duration."""


class DecordReader(IndexedReader):
    """Frames of one video; see `tal.video.indexed.IndexedReader`.

    Args:
        path: The file.
        resize: Size of the delivered frames.
        stream_idx: None: decord reads FFmpeg's best video stream and no other.
        threads: Of the decoder; 0 lets it choose.
        device: "cpu"; there is no other here.
        patience_s: How long one answer may take; None for `PATIENCE_S` and ten times the duration.

    Raises:
        VideoError: the file cannot be opened, or decord fails, stands still, or finds other frames.
        TalError: decord is not usable here, another device, or a chosen stream.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        resize: Resize | None = None,
        stream_idx: int | None = None,
        threads: int = 0,
        device: str = "cpu",
        patience_s: float | None = None,
    ) -> None:
        self.decoder = self.version()
        if device != "cpu" or stream_idx is not None:
            raise TalError(f"decord on {device!r}, stream {stream_idx}", expected="cpu, and the best stream (None)")
        super().__init__(path, resize=resize, stream_idx=None)
        self._patience_s = PATIENCE_S + 10 * self.info.duration_s if patience_s is None else patience_s
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tal.video.decord_worker", os.fspath(path), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._waiting = bytearray()
        try:
            self._check_count(int(self._answer("open")["frames"]))
        except BaseException:
            self.close()
            raise

    @staticmethod
    def version() -> str:
        """decord's version.

        Raises:
            TalError: it is not installed.
        """
        try:
            return f"decord {metadata.version('decord')}"
        except metadata.PackageNotFoundError:
            raise TalError("decord is not installed", todo="install tal with the extra decord") from None

    def _fetch(self, idx: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.float64]]:
        import torch

        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            raise self._failed("decode", "was ended")
        try:
            pipe.write(json.dumps(idx.tolist()).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            raise self._failed("decode", self._end()) from None
        answer = self._answer("decode")
        shape, times_s = answer["shape"], np.array(answer["times_s"], np.float64)
        pixels = torch.frombuffer(self._read(int(np.prod(shape)), "decode"), dtype=torch.uint8).reshape(shape)
        return pixels.permute(0, 3, 1, 2), self.info.start_s + times_s

    def _answer(self, stage: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._patience_s
        while b"\n" not in self._waiting:
            self._more(deadline, stage)
        line, _, rest = bytes(self._waiting).partition(b"\n")
        self._waiting = bytearray(rest)
        values: dict[str, Any] = json.loads(line)
        if "error" in values:
            raise self._failed(stage, f"fails: {values['error']}")
        return values

    def _read(self, count: int, stage: str) -> bytearray:
        deadline = time.monotonic() + self._patience_s
        while len(self._waiting) < count:
            self._more(deadline, stage)
        data, self._waiting = self._waiting[:count], self._waiting[count:]
        return data

    def _more(self, deadline: float, stage: str) -> None:
        """Wait for some bytes of the process.

        Raises:
            VideoError: it stands still, which ends it, or has ended.
        """
        pipe = self._process.stdout
        if pipe is None or pipe.closed:
            raise self._failed(stage, "was ended")
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.close()
                raise self._failed(stage, f"stood still for {self._patience_s:.0f} s and was ended")
        data = os.read(pipe.fileno(), 1 << 20)
        if not data:
            raise self._failed(stage, self._end())
        self._waiting += data

    def _end(self) -> str:
        code = self._process.wait()
        return f"crashed (signal {-code})" if code < 0 else f"ended with code {code}"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # A request that was never read.
                    pipe.close()
