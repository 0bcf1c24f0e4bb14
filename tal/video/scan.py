"""Facts of a video from its packets; only the first frame is decoded, for what packets do not tell."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.base import AudioInfo, VideoInfo
from tal.video.container import choose_stream, error_text, open_container, packets

_NO_PTS = -(2**63)
_HDR = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_SMPTE2084, AVCOL_TRC_ARIB_STD_B67
_GUESSED_PTS = {"avi"}  # containers that store decoding order only: FFmpeg's guess of pts may swap neighbours
_ROUNDING_TICKS = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """What a decoder needs besides the facts, to order frames and to seek.

    Args:
        time_base_s: Seconds per tick.
        start: pts (or its stand-in) of the first frame, ticks.
        keyframes: (n, 2) dts and pts of the packets that decoding can start from, ticks, sorted by pts.
        pictures_in_order: The decoder's output order is right and time stamps are only to be sorted; otherwise the
            time stamp that a picture carries is right.
        stamped: Packets carry time stamps; otherwise frames are counted.
        seekable: Seeking lands where the index says.
    """

    time_base_s: float
    start: int
    keyframes: NDArray[np.int64]
    pictures_in_order: bool
    stamped: bool
    seekable: bool


def scan(path: Path | str, *, stream_idx: int | None = None) -> tuple[VideoInfo, Index]:
    """Read all packets once.

    Raises:
        VideoError: stage "open" or "probe", with the reason.
    """
    with open_container(path) as container:
        stream = choose_stream(container, path, stream_idx)
        found = _read_packets(container, stream)
        if not len(found.pts):
            reason = found.error or "the video stream holds no frames"
            raise VideoError(path, "probe", reason, cause="a file that was cut off, or never finished", todo=_AGAIN)
        facts = _Stream.of(stream)
        container_name = container.format.name.split(",")[0]
        audio = _audio(container)
        announced = stream.frames, (container.duration or 0) / av.time_base
        stream_idx = stream.index
    first = _first_frame(path, stream_idx)
    ticks, index, notes = _timeline(found, facts, container_name)
    times_s = np.asarray((ticks - index.start) * index.time_base_s, np.float64)
    last = _last_duration(found, ticks, index.time_base_s, facts.rate) if index.stamped else 1
    duration_s = float((ticks[-1] - index.start + last) * index.time_base_s)
    width, height, turn, shape_notes = _shape(first, facts.sample_aspect_ratio)
    bits = first.format.components[0].bits
    info = VideoInfo(
        path=str(path),
        container=container_name,
        stream_idx=stream_idx,
        codec=facts.codec,
        pix_fmt=first.format.name,
        bit_depth=bits,
        frame_count=len(times_s),
        start_s=index.start * index.time_base_s,
        duration_s=duration_s,
        average_fps=len(times_s) / duration_s,
        variable_rate=_is_variable(times_s, index.time_base_s),
        times_s=times_s,
        audio=audio,
        notes=(*notes, *_cut_off(found, index, duration_s, *announced), *shape_notes, *_colour_notes(first, bits)),
        coded_width=first.width,
        coded_height=first.height,
        width=width,
        height=height,
        rotation_deg=turn,
        sample_aspect_ratio=facts.sample_aspect_ratio,
    )
    return info, index


_AGAIN = "copy or download it again"


@dataclass(frozen=True, kw_only=True)
class _Stream:
    """A stream's facts, kept when its container is closed."""

    codec: str
    tick_s: float
    rate: float
    sample_aspect_ratio: float

    @classmethod
    def of(cls, stream: VideoStream) -> _Stream:
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
        return cls(
            codec=stream.codec_context.codec.canonical_name,
            tick_s=float(stream.time_base or 0) or 1e-6,
            rate=float(rate) if rate else 25.0,
            sample_aspect_ratio=float(ratio) if ratio else 1.0,
        )


@dataclass(kw_only=True)
class _Packets:
    """Columns over the packets, in file order."""

    pts: array[int]
    dts: array[int]
    keyframes: list[tuple[int, int]]
    longest_step: int = 0
    last_duration: tuple[int, int] = (_NO_PTS, 0)
    count: int = 0
    error: str = ""
    jumps: list[int] = field(default_factory=list)


def _read_packets(container: InputContainer, stream: VideoStream) -> _Packets:
    found = _Packets(pts=array("q"), dts=array("q"), keyframes=[])
    try:
        for packet in packets(container, stream, found.jumps):
            found.count += 1
            if packet.is_discard:
                continue
            pts = _NO_PTS if packet.pts is None else packet.pts
            dts = _NO_PTS if packet.dts is None else packet.dts
            found.pts.append(pts)
            found.dts.append(dts)
            if packet.is_keyframe and pts != _NO_PTS and dts != _NO_PTS:
                found.keyframes.append((dts, pts))
            found.last_duration = max(found.last_duration, (pts, packet.duration or 0))
    except av.error.FFmpegError as error:
        found.error = error_text(error)
    return found


def _timeline(found: _Packets, facts: _Stream, container: str) -> tuple[NDArray[np.int64], Index, list[str]]:
    """Sorted frame times in ticks, what a decoder needs, and notes."""
    notes = [f"reading stopped early: {found.error}"] if found.error else []
    pts, dts = np.frombuffer(found.pts, np.int64), np.frombuffer(found.dts, np.int64)
    tick_s, stamped, guessed = facts.tick_s, True, container in _GUESSED_PTS
    missing = int((pts == _NO_PTS).sum())
    if missing == 0:
        ticks = np.sort(pts)
    elif not (dts == _NO_PTS).any() and len(np.unique(dts)) == len(dts):
        ticks = np.sort(dts)
        notes.append(f"{missing} of {len(pts)} packets have no pts: frames are timed in decoding order")
        guessed = True
    else:
        ticks, tick_s, stamped = np.arange(len(pts), dtype=np.int64), 1 / facts.rate, False
        notes.append(f"no time stamps: frames are counted at {facts.rate:.6g} per second")
    repeated = int(np.count_nonzero(ticks[1:] == ticks[:-1]))
    if repeated:
        notes.append(f"{repeated} frames share their time with another")
    swapped = guessed and stamped and missing == 0 and bool(np.ptp(pts - dts))
    if swapped:
        notes.append(f"{container} stores no pts: pictures stay in decoding order, their times are sorted")
    for jump in found.jumps:
        notes.append(f"time stamps jump back at packet {jump}: what follows is moved to go on from there")
    keyframes = np.array(sorted(found.keyframes, key=lambda pair: pair[1]), np.int64).reshape(-1, 2)
    seekable = stamped and not swapped and missing == 0 and not found.jumps and len(keyframes) > 0
    index = Index(
        time_base_s=tick_s,
        start=int(ticks[0]),
        keyframes=keyframes,
        pictures_in_order=guessed or not stamped,
        stamped=stamped,
        seekable=seekable,
    )
    return ticks, index, notes


def _last_duration(found: _Packets, ticks: NDArray[np.int64], tick_s: float, rate: float) -> float:
    """Ticks that the last frame is shown: as its packet says, else as those before it, else one frame at the rate."""
    if found.last_duration[1] > 0:
        return found.last_duration[1]
    return float(np.median(np.diff(ticks))) if ticks[-1] > ticks[0] else 1 / (rate * tick_s)


def _cut_off(found: _Packets, index: Index, duration_s: float, frames: int, length_s: float) -> list[str]:
    """A note where the header announces clearly more than there is: lengths are rounded, sound may be longer."""
    end_s = max(0.0, index.start * index.time_base_s) + duration_s
    if frames > found.count:
        return [f"the header announces {frames} frames, {found.count} are there: the file was cut off"]
    if not frames and length_s > 1.2 * end_s + 1:
        return [f"the header announces {length_s:.2f} s, the frames end at {end_s:.2f} s: the file was cut off"]
    return []


def _is_variable(times_s: NDArray[np.float64], tick_s: float) -> bool:
    """Whether the distances differ by more than the rounding of both ends to ticks."""
    if len(times_s) < 3:
        return False
    steps = np.diff(times_s)
    return bool(np.ptp(steps) > _ROUNDING_TICKS * tick_s + 1e-9)


def _first_frame(path: Path | str, stream_idx: int) -> VideoFrame:
    reason = "no packet gives a frame"
    with open_container(path) as container:
        stream = choose_stream(container, path, stream_idx)
        stream.codec_context.thread_count = 1
        try:
            for packet in packets(container, stream):
                try:
                    frames: Sequence[VideoFrame] = packet.decode()
                except av.error.FFmpegError as error:
                    reason, frames = error_text(error), ()
                if frames:
                    return frames[0]
            frames = stream.codec_context.decode(None)
            if frames:
                return frames[0]
        except av.error.FFmpegError as error:
            reason = error_text(error)
    raise VideoError(path, "decode", reason, cause="a damaged file, or a codec that this FFmpeg lacks", todo=_AGAIN)


def _shape(frame: VideoFrame, sample_aspect_ratio: float) -> tuple[int, int, int, list[str]]:
    """Shown width and height, the clockwise turn, and notes."""
    clockwise = -frame.rotation % 360
    turn = round(clockwise / 90) * 90 % 360
    notes = [] if turn == clockwise else [f"a rotation of {clockwise} degrees is shown as {turn}"]
    width, height = max(1, round(frame.width * sample_aspect_ratio)), frame.height
    return (height, width, turn, notes) if turn in (90, 270) else (width, height, turn, notes)


def _colour_notes(frame: VideoFrame, bits: int) -> list[str]:
    hdr = _HDR.get(frame.color_trc)
    if hdr:
        return [f"{bits} bit HDR ({hdr}) is delivered as 8 bit without tone mapping"]
    return [f"{bits} bit is delivered as 8 bit"] if bits > 8 else []


def _audio(container: InputContainer) -> AudioInfo | None:
    stream = container.streams.best("audio")
    if stream is None or stream.codec_context is None:
        return None
    context = container.streams.audio[
        [each.index for each in container.streams.audio].index(stream.index)
    ].codec_context
    length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
    return AudioInfo(
        codec=context.codec.canonical_name,
        sample_rate=context.sample_rate,
        channels=context.channels,
        duration_s=float(length) if length else None,
    )
