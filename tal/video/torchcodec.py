"""The reader over torchcodec, on the CPU or on a GPU's decoder, where frames stay on the GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import TalError, VideoError
from tal.video.base import Frames, Resize
from tal.video.nearest import nearest_idx
from tal.video.resize import plan
from tal.video.scan import scan

if TYPE_CHECKING:
    from torch import Tensor
    from torchcodec.decoders import VideoDecoder

_TIME_TOLERANCE_S = 1e-3


class TorchCodecReader:
    """Frames of one video; see `tal.video.base.VideoReader`.

    Times are those of the packets, as with every decoder; a frame that torchcodec gives at another time ends the
    reading with an error, and so does one that it cannot decode. Pictures are scaled by torchvision.

    Args:
        path: The file.
        resize: Size of the delivered frames; both modes are the same here.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.
        threads: Of the decoder; 0 lets FFmpeg choose by the number of cores.
        device: "cpu", or "cuda", where `Frames.pixels` are tensors on the GPU. What the GPU cannot decode is decoded on
            the CPU, which `info.notes` then says.

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
        self.info, _ = scan(path, stream_idx=stream_idx)
        self.losses: list[str] = []
        self._resize = resize or Resize()
        self._plan = plan(self.info.height, self.info.width, resize)
        self._on_gpu = not device.startswith("cpu")
        self.decoder = f"{self.version()}, {device}"
        self._decoder = _open(path, self.info.stream_idx, threads, device)
        if len(self._decoder) != self.info.frame_count:
            raise VideoError(
                path, "open", f"torchcodec finds {len(self._decoder)} frames, the packets hold {self.info.frame_count}"
            )

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

    def batches(self, batch_frames: int, *, start_s: float = 0.0, end_s: float | None = None) -> Iterator[Frames]:
        """All frames with start_s <= time < end_s, in order, at most `batch_frames` at a time."""
        first = int(np.searchsorted(self.info.times_s, start_s))
        last = self.info.frame_count if end_s is None else int(np.searchsorted(self.info.times_s, end_s))
        yield from self._batched(np.arange(first, last), batch_frames)

    def at(self, times_s: ArrayLike) -> Frames:
        """The frame nearest to each time, in the order asked."""
        wanted = np.asarray(times_s, np.float64).reshape(-1)
        if not np.isfinite(wanted).all():
            raise TalError(f"frames at {wanted}", expected="finite times in seconds")
        return self._frames(nearest_idx(self.info.times_s, wanted))

    def sampled(self, fps: float, batch_frames: int) -> Iterator[Frames]:
        """Frames at 0, 1/fps, 2/fps, ... up to the end, each the frame with the nearest pts."""
        if not (np.isfinite(fps) and fps > 0):
            raise TalError(f"{fps} frames per second", expected="a positive rate")
        wanted_s = np.arange(max(1, math.ceil((self.info.duration_s - 1e-6) * fps)), dtype=np.float64) / fps
        yield from self._batched(nearest_idx(self.info.times_s, wanted_s), batch_frames)

    def _batched(self, idx: NDArray[np.int64], batch_frames: int) -> Iterator[Frames]:
        if batch_frames < 1:
            raise TalError(f"batches of {batch_frames} frames", expected="at least one")
        for first in range(0, len(idx), batch_frames):
            yield self._frames(idx[first : first + batch_frames])

    def _frames(self, idx: NDArray[np.int64]) -> Frames:
        """The frames at these positions, each decoded once."""
        different, place = np.unique(idx, return_inverse=True)
        if not len(different):
            return Frames(pixels=np.empty((0, self._plan.height, self._plan.width, 3), np.uint8), times_s=np.empty(0))
        try:
            found = self._decoder.get_frames_at(different.tolist())
        except (RuntimeError, IndexError) as error:
            raise VideoError(
                self.info.path, "decode", f"torchcodec: {_first_line(error)}", cause="a damaged file"
            ) from error
        times_s = self.info.times_s[different]
        off_s = np.abs(found.pts_seconds.cpu().numpy() - self.info.start_s - times_s)
        if off_s.max() > _TIME_TOLERANCE_S:
            worst = int(off_s.argmax())
            raise VideoError(
                self.info.path,
                "decode",
                f"torchcodec gives the frame of {times_s[worst]:.3f} s at a time {off_s[worst]:.3f} s away",
                cause="time stamps that torchcodec reads in another way",
            )
        pixels = self._resized(found.data)[place]
        # On a GPU a tensor stands in for the array, as `Frames` says.
        delivered = cast("NDArray[np.uint8]", pixels if self._on_gpu else pixels.numpy())
        return Frames(pixels=delivered, times_s=self.info.times_s[idx])

    def _resized(self, pictures: Tensor) -> Tensor:
        """(N, 3, h, w) as decoded, turned upright -> (N, H, W, 3) in the wanted size."""
        from torchvision.transforms.v2 import functional

        shown, wanted = (self.info.height, self.info.width), self._plan
        if self._resize.mode == "reference" and tuple(pictures.shape[2:]) != shown:
            bicubic = functional.InterpolationMode.BICUBIC
            pictures = functional.resize(pictures, list(shown), interpolation=bicubic, antialias=True)
        if tuple(pictures.shape[2:]) != wanted.scaled:
            pictures = functional.resize(
                pictures,
                list(wanted.scaled),
                interpolation=functional.InterpolationMode(self._resize.interpolation),
                antialias=self._resize.antialias,
            )
        cropped = functional.crop(pictures, wanted.top, wanted.left, wanted.height, wanted.width)
        return cropped.permute(0, 2, 3, 1).contiguous()

    def close(self) -> None:
        """Free the decoder."""
        del self._decoder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _open(path: Path | str, stream_idx: int, threads: int, device: str) -> VideoDecoder:
    from torchcodec.decoders import VideoDecoder

    try:
        return VideoDecoder(str(path), stream_index=stream_idx, num_ffmpeg_threads=threads, device=device)
    except (RuntimeError, ValueError) as error:
        raise VideoError(path, "open", f"torchcodec: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _dotted(version: object) -> str:
    return ".".join(map(str, version)) if isinstance(version, list | tuple) else str(version)
