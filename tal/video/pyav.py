"""The reader over PyAV, whose wheel carries FFmpeg."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np
from numpy.typing import ArrayLike

from tal.errors import TalError, VideoError
from tal.video.base import Frames, Resize
from tal.video.container import choose_stream, error_text, open_container, packets
from tal.video.convert import Converter
from tal.video.scan import scan

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

    from tal.video.base import VideoInfo
    from tal.video.scan import Index

Timed = tuple[float, "VideoFrame"]

_LONGEST_DISORDER = 16  # frames; H.264 and HEVC reorder over no more


class PyAVReader:
    """Frames of one video; see `tal.video.base.VideoReader`. Every call decodes in a pass of its own.

    Args:
        path: The file.
        resize: Size of the delivered frames.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.

    Raises:
        VideoError: the file cannot be opened, or holds no video that can be decoded.
    """

    def __init__(self, path: Path | str, *, resize: Resize | None = None, stream_idx: int | None = None) -> None:
        self.info, self._index = scan(path, stream_idx=stream_idx)
        self.losses: list[str] = []
        self._converter = Converter(self.info, resize)
        self._passes: list[_Pass] = []

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
        wanted = (number / fps for number in count())
        with self._pass() as decoding:
            yield from self._batched(decoding.nearest(_until(wanted, end_s)), batch_frames)

    def _batched(self, frames: Iterable[Timed], batch_frames: int) -> Iterator[Frames]:
        if batch_frames < 1:
            raise TalError(f"batches of {batch_frames} frames", expected="at least one")
        pixels = np.empty((batch_frames, *self._converter.shape), np.uint8)
        times_s: list[float] = []
        last: VideoFrame | None = None
        for time_s, frame in frames:
            if len(times_s) == batch_frames:
                yield Frames(pixels=pixels, times_s=np.array(times_s))
                previous, pixels, times_s = pixels, np.empty_like(pixels), []
                if frame is last:
                    pixels[0] = previous[-1]
            elif frame is last:
                pixels[len(times_s)] = pixels[len(times_s) - 1]
            if frame is not last:
                self._converter.write(frame, pixels[len(times_s)])
            times_s.append(time_s)
            last = frame
        if times_s:
            yield Frames(pixels=pixels[: len(times_s)], times_s=np.array(times_s))

    def _pass(self) -> _Pass:
        self._passes = [each for each in self._passes if each.open]
        self._passes.append(_Pass(self.info, self._index, self.losses))
        return self._passes[-1]

    def close(self) -> None:
        """Free the decoder."""
        for each in self._passes:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _until(times_s: Iterable[float], end_s: float) -> Iterator[float]:
    """The times before the end, and the first in any case."""
    for number, time_s in enumerate(times_s):
        if number and time_s >= end_s:
            return
        yield time_s


class _Pass:
    """One run of a decoder over the file."""

    def __init__(self, info: VideoInfo, index: Index, losses: list[str]) -> None:
        self._info, self._index, self._losses = info, index, losses
        self._container = open_container(info.path)
        self._stream = choose_stream(self._container, info.path, info.stream_idx)
        self._stream.thread_type = "AUTO"
        self.open = True

    def close(self) -> None:
        if self.open:
            self.open = False
            self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def between(self, start_s: float, end_s: float | None) -> Iterator[Timed]:
        """Frames with start_s <= time < end_s."""
        for time_s, frame in self._ordered():
            if end_s is not None and time_s >= end_s:
                return
            if time_s >= start_s:
                yield time_s, frame

    def nearest(self, wanted_s: Iterable[float]) -> Iterator[Timed]:
        """For each of the sorted times the frame with the nearest time, the earlier one of two."""
        frames = self._ordered()
        before = next(frames)
        after = next(frames, None)
        for time_s in wanted_s:
            while after is not None and after[0] <= time_s:
                before, after = after, next(frames, None)
            yield before if after is None or time_s - before[0] <= after[0] - time_s else after

    def _ordered(self) -> Iterator[Timed]:
        """Frames in the order of their times.

        A frame goes out at once if its time is the next one that the packets announced; otherwise it waits for those
        before it, at most 16 frames long.
        """
        announced, position = self._info.times_s, 0
        times: list[tuple[float, int]] = []
        pictures: dict[int, VideoFrame] = {}
        oldest: deque[int] = deque()

        def pop() -> Timed:
            time_s, which = heappop(times)
            return time_s, pictures.pop(oldest.popleft() if self._index.pictures_in_order else which)

        for number, (time_s, frame) in enumerate(self._decoded()):
            heappush(times, (time_s, number))
            pictures[number] = frame
            if self._index.pictures_in_order:
                oldest.append(number)
            while times and (
                len(times) > _LONGEST_DISORDER or position >= len(announced) or times[0][0] <= announced[position]
            ):
                position = int(np.searchsorted(announced, times[0][0], side="left")) + 1
                yield pop()
        while times:
            yield pop()

    def _decoded(self) -> Iterator[Timed]:
        """Frames as the decoder gives them; a packet that fails is recorded and skipped."""
        given, index = 0, self._index
        for frame in self._pictures():
            if not index.stamped:
                ticks = given
            else:
                stamp = frame.pts if frame.pts is not None else frame.dts
                if stamp is None:
                    self._lose("a frame without a time stamp")
                    continue
                ticks = stamp - index.start
            given += 1
            yield ticks * index.time_base_s, frame
        if not given:
            reason = self._losses[0] if self._losses else "no packet gives a frame"
            raise VideoError(
                self._info.path, "decode", reason, cause="a damaged file", todo="copy or download it again"
            )

    def _pictures(self) -> Iterator[VideoFrame]:
        context = self._stream.codec_context
        try:
            for number, packet in enumerate(packets(self._container, self._stream)):
                try:
                    frames = packet.decode()
                except av.error.FFmpegError as error:
                    self._lose(f"packet {number} ({self._place(packet.pts)}): {error_text(error)}")
                    continue
                yield from frames
        except av.error.FFmpegError as error:
            self._lose(f"reading stopped early: {error_text(error)}")
        try:
            yield from context.decode(None)
        except av.error.FFmpegError as error:
            self._lose(f"the last frames: {error_text(error)}")

    def _place(self, pts: int | None) -> str:
        return "no time stamp" if pts is None else f"{(pts - self._index.start) * self._index.time_base_s:.3f} s"

    def _lose(self, what: str) -> None:
        if what not in self._losses:
            self._losses.append(what)
