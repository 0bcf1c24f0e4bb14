"""Where a file's sound stands in time: beside moving pictures, or alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from av.stream import Disposition

from tal.errors import VideoError
from tal.video import probe
from tal.video.container import open_container

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer


@dataclass(frozen=True, kw_only=True)
class Sound:
    """Facts of a file with sound.

    Args:
        codec, sample_rate, channels: Of the sound as stored.
        start_s: Raw pts of the first video frame, seconds: time 0. None without pictures: time 0 is the first sample.
        duration_s: Of the video. None without pictures: the sound's own, known when it has been read.
    """

    codec: str
    sample_rate: int
    channels: int
    start_s: float | None
    duration_s: float | None


def probe_sound(path: Path | str) -> Sound:
    """Look at a video with sound, or at a file of sound alone (m4a, wav, mp3, ...; a cover picture does not count).

    Raises:
        VideoError: the file cannot be opened, or its video not read; stage "audio" if it has no sound.
    """
    with open_container(path) as container:
        stream = best_sound(container, path)
        context = stream.codec_context
        codec, sample_rate, channels = context.codec.canonical_name, context.sample_rate, context.channels
        pictures = any(not video.disposition & Disposition.attached_pic for video in container.streams.video)
    video = probe(path) if pictures else None
    return Sound(
        codec=codec,
        sample_rate=sample_rate,
        channels=channels,
        start_s=None if video is None else video.start_s,
        duration_s=None if video is None else video.duration_s,
    )


def best_sound(container: InputContainer, path: Path | str) -> AudioStream:
    """FFmpeg's best sound stream.

    Raises:
        VideoError: stage "audio": none, or one of an unknown codec.
    """
    best = container.streams.best("audio")
    if best is None:
        raise VideoError(path, "audio", "no audio", cause="a video without sound")
    stream = next(each for each in container.streams.audio if each.index == best.index)
    if stream.codec_context is None:
        raise VideoError(path, "audio", f"stream {stream.index} is in a codec that FFmpeg does not know")
    return stream
