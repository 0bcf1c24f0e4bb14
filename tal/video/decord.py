"""The reader over decord, for those who need its frames.

decord 0.6.0 loses memory, stands still on some broken files and crashes on others: `open_video` runs it in a process of
its own, where all of that ends with the process, and the file's reading with one error.
"""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError
from tal.video.base import Resize
from tal.video.indexed import IndexedReader

if TYPE_CHECKING:
    from torch import Tensor


class DecordReader(IndexedReader):
    """Frames of one video; see `tal.video.indexed.IndexedReader`.

    Args:
        path: The file.
        resize: Size of the delivered frames.
        stream_idx: None: decord reads FFmpeg's best video stream and no other.
        threads: Of the decoder; 0 lets it choose.
        device: "cpu"; there is no other here.

    Raises:
        VideoError: the file cannot be opened, or decord fails or finds other frames.
        TalError: decord is not usable here, another device, or a chosen stream.
    """

    needs_process = True

    def __init__(
        self,
        path: Path | str,
        *,
        resize: Resize | None = None,
        stream_idx: int | None = None,
        threads: int = 0,
        device: str = "cpu",
    ) -> None:
        self.decoder = self.version()
        if device != "cpu" or stream_idx is not None:
            raise TalError(f"decord on {device!r}, stream {stream_idx}", expected="cpu, and the best stream (None)")
        super().__init__(path, resize=resize, stream_idx=None)
        import decord

        self._errors = (decord.DECORDError, RuntimeError, IndexError)
        try:
            self._open = decord.VideoReader(os.fspath(path), num_threads=threads)
            self._first_s = float(self._open.get_frame_timestamp(0)[0])
        except self._errors as error:
            raise self._failed("open", f"fails: {_reason(error)}") from error
        self._check_count(len(self._open))

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

        numbers = idx.tolist()
        try:
            pixels = self._open.get_batch(numbers).asnumpy()
            raw_s = [float(self._open.get_frame_timestamp(number)[0]) for number in numbers]
        except self._errors as error:
            raise self._failed("decode", f"fails: {_reason(error)}") from error
        times_s = self.info.start_s + np.array(raw_s, np.float64) - self._first_s
        return torch.from_numpy(pixels).permute(0, 3, 1, 2), times_s


def _reason(error: Exception) -> str:
    """decord's message without the places in its source."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text.rpartition("Check failed: ")[2] or text
