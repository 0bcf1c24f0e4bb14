"""The reader over torchcodec, on the CPU or on a GPU's decoder, where frames stay on the GPU."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError
from tal.video.base import DecoderError, Resize
from tal.video.indexed import IndexedReader

if TYPE_CHECKING:
    from torch import Tensor
    from torchcodec.decoders import VideoDecoder


class TorchCodecReader(IndexedReader):
    """Frames of one video; see `tal.video.indexed.IndexedReader`.

    Args:
        path: The file.
        resize: Size of the delivered frames.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.
        threads: Of the decoder; 0 lets FFmpeg choose by the number of cores.
        device: "cpu", or "cuda", where `Frames.pixels` are tensors on the GPU.

    Raises:
        VideoError: the file cannot be opened, holds no video that can be decoded, or torchcodec finds other frames.
        TalError: torchcodec is not usable here.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        resize: Resize | None = None,
        stream_idx: int | None = None,
        threads: int = 0,
        device: str = "cpu",
    ) -> None:
        self.decoder = f"{self.version()}, {device}"
        super().__init__(path, resize=resize, stream_idx=stream_idx)
        self._open = _opened(path, self.info.stream_idx, threads, device)
        self._check_count(len(self._open))

    @staticmethod
    def version() -> str:
        """torchcodec's version and that of the FFmpeg it found.

        Raises:
            TalError: torchcodec is not installed, or finds no FFmpeg.
        """
        try:
            import torchcodec
            from torchcodec._core import get_ffmpeg_library_versions
        except (ImportError, OSError, RuntimeError) as error:
            raise TalError(
                "torchcodec is not installed" if isinstance(error, ModuleNotFoundError) else f"torchcodec: {error}",
                todo="install tal with the extra torchcodec",
            ) from error
        try:
            libraries = get_ffmpeg_library_versions()
        except (ImportError, OSError, RuntimeError) as error:
            raise TalError(
                f"torchcodec {torchcodec.__version__} finds no FFmpeg",
                cause="FFmpeg's shared libraries are not installed, or not where the system looks for them",
                todo="install FFmpeg, 4 to 8, with its libraries",
            ) from error
        return f"torchcodec {torchcodec.__version__}, libavcodec {_dotted(libraries['libavcodec'])}"

    def _fetch(self, idx: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.float64]]:
        try:
            found = self._open.get_frames_at(idx.tolist())
        except (RuntimeError, IndexError) as error:
            raise self._failed("decode", f"fails: {_first_line(error)}") from error
        return found.data, found.pts_seconds.cpu().numpy()


def _opened(path: Path | str, stream_idx: int, threads: int, device: str) -> VideoDecoder:
    from torchcodec.decoders import VideoDecoder

    try:
        return VideoDecoder(str(path), stream_index=stream_idx, num_ffmpeg_threads=threads, device=device)
    except (RuntimeError, ValueError) as error:
        raise DecoderError(path, "open", f"torchcodec fails: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """The message without the places in torchcodec's source that stand before it."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return re.sub(r"^\w+, \S+\.(?:cpp|h|cu):\d+, ", "", text)


def _dotted(version: object) -> str:
    return ".".join(map(str, version)) if isinstance(version, list | tuple) else str(version)
