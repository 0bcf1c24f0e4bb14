"""Readers over decoders that are asked for frames by their position; times are those of the packets all the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import TalError
from tal.video.base import DecoderError, Frames, Resize
from tal.video.nearest import nearest_idx
from tal.video.resize import plan
from tal.video.scan import scan

if TYPE_CHECKING:
    from torch import Tensor

_TIME_TOLERANCE_S = 1e-3
_FLOAT32_STEP = 2e-7  # decord tells times in float32


class IndexedReader:
    """Frames of one video; see `tal.video.base.VideoReader`.

    The packets say which frames there are and when. A decoder that finds another number of frames, or gives one at
    another time, or fails at one, ends the reading with an error. Pictures are scaled by torchvision; both modes of
    `Resize` differ only where pixels are not square.

    Subclasses set `decoder` and give `_fetch`.

    Args:
        path: The file.
        resize: Size of the delivered frames.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.

    Raises:
        VideoError: the file cannot be opened, or holds no video that can be decoded.
    """

    decoder: str

    def __init__(self, path: Path | str, *, resize: Resize | None, stream_idx: int | None) -> None:
        self.info, _ = scan(path, stream_idx=stream_idx)
        self.losses: list[str] = []
        self._resize = resize or Resize()
        self._plan = plan(self.info.height, self.info.width, resize)

    def _fetch(self, idx: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.float64]]:
        """((n, 3, h, w) uint8 pictures, turned upright; (n,) their raw times) at these ascending positions.

        Raises:
            VideoError: the decoder fails.
        """
        raise NotImplementedError

    def _check_count(self, count: int) -> None:
        """Refuse a decoder that finds other frames than the packets announce."""
        if count != self.info.frame_count:
            raise self._failed("open", f"finds {count} frames, the packets hold {self.info.frame_count}")

    def _failed(self, stage: str, reason: str) -> DecoderError:
        return DecoderError(self.info.path, stage, f"{self.decoder.partition(' ')[0]} {reason}")

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
        pictures, found_s = self._fetch(different)
        times_s = self.info.times_s[different]
        off_s = np.abs(found_s - self.info.start_s - times_s)
        if not (off_s <= _TIME_TOLERANCE_S + _FLOAT32_STEP * times_s).all():
            worst = int(off_s.argmax())
            reason = f"gives the frame of {times_s[worst]:.3f} s at a time {off_s[worst]:.3g} s away"
            raise self._failed("decode", reason)
        pixels = self._resized(pictures)[place]
        # On a GPU a tensor stands in for the array, as `Frames` says.
        delivered = cast("NDArray[np.uint8]", pixels if pixels.is_cuda else pixels.numpy())
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
