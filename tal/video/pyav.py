"""The reader over PyAV, whose wheel carries FFmpeg."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np
from numpy.typing import ArrayLike

from tal.errors import TalError
from tal.video.base import Frames, Resize
from tal.video.convert import Converter
from tal.video.decode import Decoding, Timed
from tal.video.scan import scan

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class PyAVReader:
    """Frames of one video; see `tal.video.base.VideoReader`. Every call decodes in a pass of its own.

    Args:
        path: The file.
        resize: Size of the delivered frames.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.
        threads: Of the decoder; 0 lets FFmpeg choose by the number of cores.
        device: "cpu"; there is no other here.

    Raises:
        VideoError: the file cannot be opened, or holds no video that can be decoded.
        TalError: another device.
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
        if device != "cpu":
            raise TalError(f"decoder pyav on {device!r}", expected="cpu", todo="use the decoder torchcodec")
        self.info, self._index = scan(path, stream_idx=stream_idx)
        self.losses: list[str] = []
        self._threads = threads
        self._converter = Converter(self.info, resize)
        self._passes: list[Decoding] = []
        self.decoder = self.version()

    @staticmethod
    def version() -> str:
        """PyAV's version and that of the FFmpeg it carries."""
        return f"pyav {av.__version__}, libavcodec {'.'.join(map(str, av.library_versions['libavcodec']))}"

    def batches(self, batch_frames: int, *, start_s: float = 0.0, end_s: float | None = None) -> Iterator[Frames]:
        """All frames with start_s <= time < end_s, in order, at most `batch_frames` at a time."""
        with self._pass() as decoding:
            yield from self._batched(decoding.between(start_s, end_s), batch_frames)

    def at(self, times_s: ArrayLike) -> Frames:
        """The frame nearest to each time, in the order asked; decoded in one sorted pass."""
        wanted = np.asarray(times_s, np.float64).reshape(-1)
        if not np.isfinite(wanted).all():
            raise TalError(f"frames at {wanted}", expected="finite times in seconds")
        order = np.argsort(wanted, kind="stable")
        pixels = np.empty((len(wanted), *self._converter.shape), np.uint8)
        found_s = np.empty(len(wanted), np.float64)
        last: VideoFrame | None = None
        source = -1
        with self._pass() as decoding:
            for position, (time_s, frame) in zip(order, decoding.nearest(wanted[order]), strict=True):
                if frame is last:
                    pixels[position] = pixels[source]
                else:
                    self._converter.write(frame, pixels[position])
                found_s[position], last, source = time_s, frame, int(position)
        return Frames(pixels=pixels, times_s=found_s)

    def sampled(self, fps: float, batch_frames: int) -> Iterator[Frames]:
        """Frames at 0, 1/fps, 2/fps, ... up to the end, each the frame with the nearest pts."""
        if not (np.isfinite(fps) and fps > 0):
            raise TalError(f"{fps} frames per second", expected="a positive rate")
        end_s = self.info.duration_s - 1e-6
        wanted_s = np.arange(max(1, math.ceil(end_s * fps)), dtype=np.float64) / fps
        with self._pass() as decoding:
            yield from self._batched(decoding.nearest(wanted_s), batch_frames)

    def _batched(self, frames: Iterable[Timed], batch_frames: int) -> Iterator[Frames]:
        if batch_frames < 1:
            raise TalError(f"batches of {batch_frames} frames", expected="at least one")
        pixels = np.empty((batch_frames, *self._converter.shape), np.uint8)
        times_s: list[float] = []
        last: VideoFrame | None = None
        for time_s, frame in frames:
            if len(times_s) == batch_frames:
                yield Frames(pixels=pixels, times_s=np.array(times_s))
                pixels, times_s = np.empty_like(pixels), []
            if frame is last and times_s:
                pixels[len(times_s)] = pixels[len(times_s) - 1]
            else:
                self._converter.write(frame, pixels[len(times_s)])
            times_s.append(time_s)
            last = frame
        if times_s:
            yield Frames(pixels=pixels[: len(times_s)], times_s=np.array(times_s))

    def _pass(self) -> Decoding:
        self._passes = [each for each in self._passes if each.open]
        self._passes.append(Decoding(self.info, self._index, self.losses, self._threads))
        return self._passes[-1]

    def close(self) -> None:
        """Free the decoder."""
        for each in self._passes:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
