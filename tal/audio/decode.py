"""Samples of a video's sound, in the video's time: sample 0 is at the first frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from tal.audio.sound import best_sound
from tal.errors import TalError, VideoError
from tal.video.container import error_text, open_container, packets

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

Samples = NDArray[np.float32]
_Run = tuple[float | None, Samples]

_GAP_S = 0.05
"""Time stamps that differ by less from where the samples end are rounding, not a gap."""


def read_audio(path: Path | str, sample_rate: int, *, start_s: float | None = 0.0) -> Samples:
    """(N,) all samples; see `audio_chunks`."""
    return np.concatenate([np.empty(0, np.float32), *audio_chunks(path, sample_rate, start_s=start_s)])


def audio_chunks(
    path: Path | str,
    sample_rate: int,
    *,
    start_s: float | None = 0.0,
    duration_s: float | None = None,
    chunk_s: float = 10.0,
    losses: list[str] | None = None,
) -> Iterator[Samples]:
    """A file's sound, piece by piece: one channel (the mean of all), resampled.

    Where the sound begins after the first frame, or has gaps, there is silence; what lies before the first frame is
    left out. Packets that cannot be decoded are silent too. Where time stamps jump back, as in joined transport
    streams, the sound goes on from there.

    Args:
        path: The file.
        sample_rate: Samples per second to deliver.
        start_s: Raw pts of the first video frame, `VideoInfo.start_s`: the time of sample 0. None: of the sound's own
            first sample.
        duration_s: Deliver just so much: sound beyond is left out, and silence stands where the sound ends before.
            None: to the sound's end.
        chunk_s: Length of a piece, seconds; the last one is shorter.
        losses: Receives what could not be decoded, one line each.

    Yields:
        (n,) float32 in [-1, 1].

    Raises:
        VideoError: the file cannot be opened; stage "audio" if it has no sound, or none that can be decoded.
    """
    if sample_rate < 1 or chunk_s * sample_rate < 1:
        raise TalError(f"{sample_rate} samples per second in pieces of {chunk_s} s", expected="positive numbers")
    told = [] if losses is None else losses
    with open_container(path) as container:
        placed = _placed(_runs(container, path, sample_rate, told), path, sample_rate, start_s)
        limited = placed if duration_s is None else _lasting(placed, round(duration_s * sample_rate), sample_rate)
        try:
            yield from _pieces(limited, round(chunk_s * sample_rate))
        except (av.error.FFmpegError, ValueError) as error:
            raise VideoError(path, "audio", error_text(error), cause="a damaged file") from error


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


def _lasting(parts: Iterator[Samples], length: int, sample_rate: int) -> Iterator[Samples]:
    """The first `length` samples, then silence up to there, a second at a time."""
    left = length
    for part in parts:
        if left == 0:
            return
        yield part[:left]
        left -= len(part[:left])
    while left:
        yield np.zeros(min(left, sample_rate), np.float32)
        left -= min(left, sample_rate)


def _placed(runs: Iterator[_Run], path: Path | str, sample_rate: int, start_s: float | None) -> Iterator[Samples]:
    """Samples from time `start_s` on, with silence where there are none."""
    delivered, position = 0, 0
    decoded = False
    for time_s, samples in runs:
        decoded = True
        if time_s is not None:
            start_s = time_s if start_s is None else start_s
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


def _runs(container: InputContainer, path: Path | str, sample_rate: int, losses: list[str]) -> Iterator[_Run]:
    """(raw time of the first sample, or None where it goes on from the part before; resampled samples)."""
    stream = best_sound(container, path)
    resampler, form = av.AudioResampler(format="fltp", rate=sample_rate), None
    end_s: float | None = None
    begins = True
    for frame in _frames(container, stream, losses):
        time_s = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        new_form = frame.format.name, frame.layout.name, frame.sample_rate
        gap = end_s is not None and time_s is not None and abs(time_s - end_s) > _GAP_S
        if gap or form not in (None, new_form):
            yield from ((None, part) for part in _mixed(resampler.resample(None)))
            resampler, begins = av.AudioResampler(format="fltp", rate=sample_rate), True
        form = new_form
        known_s = time_s if time_s is not None else (end_s or 0.0)
        for part in _mixed(resampler.resample(frame)):
            yield (known_s if begins else None), part
            begins = False
        end_s = known_s + frame.samples / frame.sample_rate
    yield from ((None, part) for part in _mixed(resampler.resample(None)))


def _frames(container: InputContainer, stream: AudioStream, losses: list[str]) -> Iterator[AudioFrame]:
    """What the decoder makes of the packets; what fails is skipped and leaves a gap."""
    lost = 0
    try:
        for packet in packets(container, stream):
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                lost += 1
        yield from stream.codec_context.decode(None)
    except av.error.FFmpegError as error:  # The file ends here for a reader: what came before is kept.
        losses.append(f"reading the sound stopped early: {error_text(error)}")
    if lost:
        losses.append(f"{lost} packets of the sound could not be decoded: silence in their place")


def _mixed(frames: list[AudioFrame]) -> Iterator[Samples]:
    """The mean of the channels."""
    for frame in frames:
        if frame.samples:
            yield frame.to_ndarray().mean(axis=0, dtype=np.float32)
