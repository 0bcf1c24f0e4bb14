"""Decoding in the order of time: packet by packet, so that a bad one is recorded and skipped, with exact seeks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np

from tal.errors import VideoError
from tal.video.container import choose_stream, error_text, open_container, packets
from tal.video.nearest import TIE_S, nearest_idx

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from tal.video.base import VideoInfo
    from tal.video.scan import Index

Timed = tuple[float, "VideoFrame"]

_LONGEST_DISORDER = 16  # frames; H.264 and HEVC reorder over no more
_WORTH_A_SEEK = 16  # frames between here and a keyframe ahead that decoding on would cost
_MOST_LOSSES = 1000
_CAN_SKIP = {"h264", "hevc"}  # codecs whose decoder can leave out frames that no other refers to


class Decoding:
    """One run of a decoder over the file, forwards; seeks where that saves decoding and lands where the index says."""

    def __init__(self, info: VideoInfo, index: Index, losses: list[str], threads: int) -> None:
        self._info, self._index, self._losses, self._threads = info, index, losses, threads
        self._keys_s = (index.keyframes[:, 1] - index.start) * index.time_base_s
        self._exact = index.seekable
        self._announced = info.times_s
        self._needed: NDArray[np.bool_] | None = None
        self._untouched = True
        self._error = ""
        self._open()

    def _open(self) -> None:
        self._container = open_container(self._info.path)
        self._stream = choose_stream(self._container, self._info.path, self._info.stream_idx)
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._threads
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
        far = np.searchsorted(self._info.times_s, start_s) > _WORTH_A_SEEK
        for time_s, frame in self._from_key(start_s) if far else self._from_first():
            if end_s is not None and time_s >= end_s:
                return
            if time_s >= start_s:
                yield time_s, frame

    def nearest(self, wanted_s: NDArray[np.float64]) -> Iterator[Timed]:
        """For each of the sorted times the frame with the nearest time, the earlier one of two."""
        if not len(wanted_s):
            return
        self._skip_all_but(wanted_s)
        first_s = float(wanted_s[0])
        near = _Neighbours(self._from_key(first_s) if self._worth_a_seek(0.0, first_s) else self._from_first())
        for time_s in map(float, wanted_s):
            if near.after is not None and self._worth_a_seek(near.after[0], time_s):
                near = _Neighbours(self._from_key(time_s))
            frame = near.to(time_s)
            if self._needed is not None and (self._error or self._losses):
                # What stands in for a lost frame may have been left out, and what refers to it looks different.
                self._skip_none()
                near = _Neighbours(self._from_key(time_s))
                frame = near.to(time_s)
            yield frame

    def _skip_all_but(self, wanted_s: NDArray[np.float64]) -> None:
        """Let the decoder leave out frames that are not nearest to a wanted time and that no other frame refers to."""
        if self._info.codec not in _CAN_SKIP or self._index.pictures_in_order or self._losses:
            return
        times_s = self._info.times_s
        needed = np.zeros(len(times_s), np.bool_)
        needed[nearest_idx(times_s, wanted_s)] = True
        self._needed, self._announced = needed, times_s[needed]

    def _skip_none(self) -> None:
        self._needed, self._announced = None, self._info.times_s
        self._stream.codec_context.skip_frame = "DEFAULT"

    def _worth_a_seek(self, now_s: float, time_s: float) -> bool:
        """Whether many frames lie between here and the last keyframe before the time."""
        key = int(np.searchsorted(self._keys_s, time_s, side="right")) - 1
        if not self._exact or key < 0 or self._keys_s[key] <= now_s:
            return False
        here, there = np.searchsorted(self._info.times_s, (now_s, self._keys_s[key]))
        return bool(there - here > _WORTH_A_SEEK)

    def _from_first(self) -> Iterator[Timed]:
        """All frames in order."""
        if not self._untouched:
            self.close()
            self._open()
        self._untouched = False
        frames = self._ordered(self._decoded(packets(self._container, self._stream)), 0)
        first = next(frames, None)
        if first is None:
            reason = self._error or "no packet gives a frame"
            todo = "copy or download it again"
            raise VideoError(self._info.path, "decode", reason, cause="a damaged file", todo=todo)
        return chain((first,), frames)

    def _from_key(self, time_s: float) -> Iterator[Timed]:
        """Frames in order, from a keyframe at or before the time; from the first one where seeking is not exact."""
        frames = self._sought(time_s) if self._exact else None
        if frames is not None:
            return frames
        self._exact = False
        return self._from_first()

    def _sought(self, time_s: float) -> Iterator[Timed] | None:
        key = int(np.searchsorted(self._keys_s, time_s, side="right")) - 1
        if key < 0:
            return None
        self._untouched = False
        for target in self._index.keyframes[key, ::-1]:  # pts, where containers seek by it; else dts
            try:
                self._container.seek(int(target), stream=self._stream)
                source = packets(self._container, self._stream)
                first = next(source, None)
            except av.error.FFmpegError:
                continue
            landed = -1 if first is None or first.pts is None else self._key_at(first.pts)
            if first is None or not 0 <= landed <= key:
                continue
            key_s = self._keys_s[landed]
            position = int(np.searchsorted(self._announced, key_s))
            decoded = (each for each in self._decoded(chain((first,), source)) if each[0] >= key_s)
            frames = self._ordered(decoded, position)
            head = next(frames, None)
            return chain((head,), frames) if head is not None and head[0] == key_s else None
        return None

    def _key_at(self, pts: int) -> int:
        key = int(np.searchsorted(self._index.keyframes[:, 1], pts))
        return key if key < len(self._keys_s) and self._index.keyframes[key, 1] == pts else -1

    def _ordered(self, decoded: Iterator[Timed], position: int) -> Iterator[Timed]:
        """Frames in the order of their times.

        A frame goes out at once if its time is the next one that the packets announced; otherwise it waits for those
        before it, at most 16 frames long.

        Args:
            decoded: Frames as the decoder gives them.
            position: Of the first one among the announced times.
        """
        announced = self._announced
        times: list[tuple[float, int]] = []
        pictures: dict[int, VideoFrame] = {}

        def pop() -> Timed:
            nonlocal position
            time_s, number = heappop(times)
            self._lose_frames(announced[position : np.searchsorted(announced, time_s)])
            position = max(position, int(np.searchsorted(announced, time_s, side="right")))
            return time_s, pictures.pop(next(iter(pictures)) if self._index.pictures_in_order else number)

        for number, (time_s, frame) in enumerate(decoded):
            heappush(times, (time_s, number))
            pictures[number] = frame
            while times and (
                len(times) > _LONGEST_DISORDER or position >= len(announced) or times[0][0] <= announced[position]
            ):
                yield pop()
        while times:
            yield pop()
        self._lose_frames(announced[position:])

    def _decoded(self, source: Iterable[Packet[VideoStream]]) -> Iterator[Timed]:
        """Frames as the decoder gives them, with their times."""
        given, index = 0, self._index
        for frame in self._pictures(source):
            stamp = given if not index.stamped else frame.pts if frame.pts is not None else frame.dts
            if stamp is None:
                self._lose("a frame without a time stamp")
                continue
            given += 1
            yield (stamp - index.start) * index.time_base_s, frame

    def _pictures(self, source: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        """What the decoder makes of the packets; one that fails is recorded and skipped."""
        context = self._stream.codec_context
        try:
            for packet in source:
                if self._needed is not None:
                    context.skip_frame = "DEFAULT" if self._is_needed(packet.pts) else "NONREF"
                yield from self._attempt(packet)
        except av.error.FFmpegError as error:
            self._error = error_text(error)
            self._lose(f"reading stopped early: {self._error}")
        yield from self._attempt(None)

    def _attempt(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        """Frames that come out when the packet goes in; several threads tell of an error some packets later."""
        try:
            return self._stream.codec_context.decode(packet)
        except av.error.FFmpegError as error:
            self._error = error_text(error)
            return []

    def _is_needed(self, pts: int | None) -> bool:
        if pts is None or self._needed is None:
            return True
        time_s = (pts - self._index.start) * self._index.time_base_s
        position = int(np.searchsorted(self._info.times_s, time_s))
        return position >= len(self._needed) or bool(self._needed[position])

    def _lose_frames(self, times_s: NDArray[np.float64]) -> None:
        for time_s in times_s[:_MOST_LOSSES]:
            self._lose(f"frame at {time_s:.3f} s: {self._error or 'no picture came out of its packet'}")

    def _lose(self, what: str) -> None:
        if len(self._losses) < _MOST_LOSSES and what not in self._losses:
            self._losses.append(what)


class _Neighbours:
    """The frames before and after a time that moves on."""

    def __init__(self, frames: Iterator[Timed]) -> None:
        self._frames = frames
        self._before = next(frames)
        self.after = next(frames, None)

    def to(self, time_s: float) -> Timed:
        """The frame nearest to the time."""
        while self.after is not None and self.after[0] <= time_s:
            self._before, self.after = self.after, next(self._frames, None)
        if self.after is None or time_s - self._before[0] <= self.after[0] - time_s + TIE_S:
            return self._before
        return self.after
