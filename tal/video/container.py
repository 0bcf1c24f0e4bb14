"""Opening a file with FFmpeg, with one clear error for every way in which that fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import av
from av.stream import Discard

from tal.errors import VideoError
from tal.video.files import check_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

Kind = TypeVar("Kind", "VideoStream", "AudioStream")

# Formats in which FFmpeg shows a text as a film, a picture as a film of one frame, or follows a script to other files.
_NOT_VIDEO = {"tty": "a text file", "concat": "a list of other files", "hls": "a playlist", "dash": "a playlist"}
_JUMP_BACK_S = 1.0
_MOST_PIXELS = 1 << 27  # 16K television has 15360x8640; a decoder keeps some twenty frames


def open_container(path: Path | str) -> InputContainer:
    """The open file.

    Raises:
        VideoError: stage "open", with the reason and what to do.
    """
    check_file(Path(path))
    try:
        # "file:" keeps a name such as "concat:..." from being a protocol; the list keeps a file from naming others.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise VideoError(
            path,
            "open",
            "the file ends before its first frame" if isinstance(error, av.error.EOFError) else error_text(error),
            cause="not a video file, or one that was cut off before its index was written",
            todo="play it with another program; if that fails too, copy or download it again",
        ) from error
    name = container.format.name
    kind = _NOT_VIDEO.get(name, "a picture" if name.startswith("image2") or name.endswith("_pipe") else "")
    if kind:
        container.close()
        raise VideoError(path, "open", f"{kind}, not a video", todo="give a video file")
    return container


def choose_stream(container: InputContainer, path: Path | str, stream_idx: int | None) -> VideoStream:
    """The stream at `stream_idx`, or FFmpeg's best video stream. The others are not read any more.

    Raises:
        VideoError: no video stream, or none at that position.
    """
    videos = {stream.index: stream for stream in container.streams.video}
    kinds = [f"{stream.index}: {stream.type}" for stream in container.streams]
    if not videos:
        found = ", ".join(kinds) or "no stream at all"
        cause = "a file with sound or subtitles only" if kinds else "a recording that ended before it began"
        raise VideoError(path, "open", f"no video stream (found {found})", cause=cause, todo="give a video file")
    if stream_idx is not None and stream_idx not in videos:
        reason = f"stream {stream_idx} is not a video stream (found {', '.join(kinds)})"
        raise VideoError(path, "open", reason, todo=f"choose one of {sorted(videos)}")
    best = container.streams.best("video") if stream_idx is None else videos[stream_idx]
    stream = videos[best.index] if best is not None else next(iter(videos.values()))
    if stream.codec_context is None:
        raise VideoError(path, "open", f"stream {stream.index} is in a codec that FFmpeg does not know")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > _MOST_PIXELS:
        reason = f"frames of {width}x{height}, more than {_MOST_PIXELS / 1e6:.0f} million pixels"
        raise VideoError(
            path, "open", reason, cause="a damaged header", todo="make a smaller copy if they are so large"
        )
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


def packets(container: InputContainer, stream: Kind, jumps: list[int] | None = None) -> Iterator[Packet[Kind]]:
    """The stream's packets that hold data; where time stamps jump back, later ones are moved to go on from there.

    Transport streams that were joined start again at other time stamps; everything else passes unchanged.

    Args:
        jumps: Receives the positions of packets at which time stamps jump back.

    Raises:
        av.error.FFmpegError: the container cannot be read any further.
    """
    tick_s = float(stream.time_base or 1)
    offset, last, step = 0, None, 1
    for number, packet in enumerate(container.demux(stream)):
        if packet.size == 0:
            continue
        dts = packet.dts
        if dts is not None:
            if last is not None and (dts + offset - last) * tick_s < -_JUMP_BACK_S:
                offset = last + step - dts
                if jumps is not None:
                    jumps.append(number)
            if offset:
                packet.dts = dts + offset
                packet.pts = None if packet.pts is None else packet.pts + offset
            step = packet.duration or (step if last is None else max(1, dts + offset - last))
            last = dts + offset
        yield packet


def error_text(error: Exception) -> str:
    """FFmpeg's message without number, place and file name."""
    return (getattr(error, "strerror", None) or str(error)).strip()
