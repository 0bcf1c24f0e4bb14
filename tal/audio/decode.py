"""Samples of a video's sound, in the video's time: sample 0 is at the first frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from tal.errors import TalError, VideoError
from tal.video.container import open_container

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer
    from av.packet import Packet

Samples = NDArray[np.float32]

_GAP_S = 0.05
"""Time stamps that differ by less from where the samples end are rounding, not a gap."""


def read_audio(path: Path | str, sample_rate: int, *, start_s: float = 0.0) -> Samples:
    """(N,) all samples; see `audio_chunks`."""
    return np.concatenate([np.empty(0, np.float32), *audio_chunks(path, sample_rate, start_s=start_s)])


def audio_chunks(
    path: Path | str, sample_rate: int, *, start_s: float = 0.0, chunk_s: float = 10.0
) -> Iterator[Samples]:
    """A file's sound, piece by piece: one channel (the mean of all), resampled.

    Where the sound begins after the first frame, or has gaps, there is silence; what lies before the first frame is
    left out. Packets that cannot be decoded are silent too.

    Args:
        path: The file.
        sample_rate: Samples per second to deliver.
        start_s: Raw pts of the first video frame, `VideoInfo.start_s`: the time of sample 0.
        chunk_s: Length of a piece, seconds; the last one is shorter.

    Yields:
        (n,) float32 in [-1, 1].

    Raises:
        VideoError: the file cannot be opened; stage "audio" if it has no sound, or none that can be decoded.
    """
    if sample_rate < 1 or chunk_s * sample_rate < 1:
        raise TalError(f"{sample_rate} samples per second in pieces of {chunk_s} s", expected="positive numbers")
    with open_container(path) as container:
        yield from _pieces(_placed(container, path, sample_rate, start_s), round(chunk_s * sample_rate))


def _pieces(parts: Iterator[Samples], length: int) -> Iterator[Samples]:
    """The same samples in pieces of one length."""
    waiting: list[Samples] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part)
        if count >= length:
            whole = np.concatenate(waiting)
            last = len(whole) - len(whole) % length
            yield from np.split(whole[:last], range(length, last, length))
            waiting, count = [whole[last:]], len(whole) - last
    if count:
        yield np.concatenate(waiting)


def _placed(container: InputContainer, path: Path | str, sample_rate: int, start_s: float) -> Iterator[Samples]:
    """Samples from time `start_s` on, with silence where there are none."""
    delivered, position = 0, 0
    decoded = False
    for time_s, samples in _runs(container, path, sample_rate):
        decoded = True
        if time_s is not None:
            position = round((time_s - start_s) * sample_rate)
        while delivered < position:
            silent = min(sample_rate, position - delivered)
            yield np.zeros(silent, np.float32)
            delivered += silent
        kept = samples[delivered - position :]
        position += len(samples)
        if len(kept):
            yield kept
            delivered = position
    if not decoded:
        raise VideoError(path, "audio", "no packet of the sound could be decoded", cause="a damaged file")


def _runs(container: InputContainer, path: Path | str, sample_rate: int) -> Iterator[tuple[float | None, Samples]]:
    """(raw time of the first sample, or None where it goes on from the part before; resampled samples)."""
    stream = container.streams.best("audio")
    if stream is None:
        raise VideoError(path, "audio", "no audio", cause="a video without sound")
    resampler = av.AudioResampler(format="fltp", rate=sample_rate)
    end_s: float | None = None
    begins = True
    for frame in _frames(container.demux(stream)):
        time_s = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        if end_s is not None and time_s is not None and abs(time_s - end_s) > _GAP_S:
            yield from ((None, part) for part in _mixed(resampler.resample(None)))
            resampler = av.AudioResampler(format="fltp", rate=sample_rate)
            begins = True
        known_s = time_s if time_s is not None else (end_s or 0.0)
        for part in _mixed(resampler.resample(frame)):
            yield (known_s if begins else None), part
            begins = False
        end_s = known_s + frame.samples / frame.sample_rate
    yield from ((None, part) for part in _mixed(resampler.resample(None)))


def _frames(packets: Iterator[Packet]) -> Iterator[AudioFrame]:
    """What the decoder makes of the packets; what fails is skipped and leaves a gap."""
    try:
        for packet in packets:
            try:
                yield from packet.decode()  # type: ignore[misc]
            except av.error.FFmpegError:
                continue
    except av.error.FFmpegError:
        return  # The file ends here for a reader: what came before is kept.


def _mixed(frames: list[AudioFrame]) -> Iterator[Samples]:
    """The mean of the channels."""
    for frame in frames:
        if frame.samples:
            yield frame.to_ndarray().mean(axis=0, dtype=np.float32)
