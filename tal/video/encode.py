"""Frames and sound to an H.264 mp4 that every player and browser opens."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from tal.errors import VideoError
from tal.video.container import open_container

if TYPE_CHECKING:
    from av.container import InputContainer

_TICKS_PER_S = 90_000
_LARGEST_RATE_DENOMINATOR = 1001  # 30000/1001 and the like stay exact
_AAC_FRAME = 1024
_GAP_S = 0.05  # sound that starts later than this after what came before leaves a silence
_BATCH_FRAMES = 32
_LAYOUTS = {1: "mono", 2: "stereo"}


class VideoWriter:
    """Writes H.264 (yuv420p, BT.601, limited range) and, if asked, AAC into an mp4 with its index in front.

    A context manager. The file appears under its name only when the block ends without an error; until then it is a
    hidden file beside it, which is removed on an error.

    Args:
        path: The mp4 to write; its folder must exist.
        width: Pixels, even.
        height: Pixels, even.
        fps: Frames per second; frame i is shown at i / fps exactly.
        audio_rate: Samples per second of the sound; None for a silent file.
        audio_channels: 1 or 2.
        crf: x264's quality, 0 (lossless) to 51.
        preset: x264's speed.
        threads: Of the encoder; 0 lets it choose.

    Raises:
        VideoError: stage "encode": an odd size, a rate that is not positive, or what the encoder or the disk refuses.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        width: int,
        height: int,
        fps: float | Fraction,
        audio_rate: int | None = None,
        audio_channels: int = 1,
        crf: int = 23,
        preset: str = "veryfast",
        threads: int = 1,
    ) -> None:
        self.path = Path(path)
        self.width, self.height = width, height
        if width <= 0 or height <= 0 or width % 2 or height % 2:
            raise VideoError(
                self.path,
                "encode",
                f"a size of {width}x{height}",
                cause="H.264 with 4:2:0 colour needs an even width and height",
                todo=f"use {max(2, width // 2 * 2)}x{max(2, height // 2 * 2)}",
            )
        if not fps > 0:
            raise VideoError(self.path, "encode", f"a rate of {fps} frames per second, which is not positive")
        self.fps = Fraction(fps).limit_denominator(_LARGEST_RATE_DENOMINATOR)
        # One tick divides a frame's length exactly and is at most 1/90000 s.
        per_second = self.fps.numerator * -(-_TICKS_PER_S // self.fps.numerator)
        self._time_base = Fraction(1, per_second)
        self._ticks_per_frame = int(per_second / self.fps)
        self._last_pts = -self._ticks_per_frame
        self._samples_written = 0
        self._pending: NDArray[np.float32] = np.empty((audio_channels, 0), np.float32)
        self._reformatter = VideoReformatter()
        self._part = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        try:
            self._add_streams(audio_rate, audio_channels, crf, preset, threads)
            self._container.start_encoding()  # opens the file
        except (OSError, av.FFmpegError) as error:
            self._discard()
            todo = "see that the folder exists and is writable"
            raise VideoError(self.path, "encode", str(error), todo=todo) from error

    def _add_streams(self, audio_rate: int | None, channels: int, crf: int, preset: str, threads: int) -> None:
        video = self._container.add_stream("libx264", rate=self.fps)
        video.width, video.height, video.pix_fmt = self.width, self.height, "yuv420p"
        video.codec_context.time_base = self._time_base
        video.codec_context.thread_count = threads
        video.codec_context.gop_size = max(1, round(2 * self.fps))
        video.codec_context.colorspace = Colorspace.ITU601
        video.codec_context.color_range = ColorRange.MPEG
        video.options = {"crf": str(crf), "preset": preset, "bf": "0"}  # without B-frames, decoding order is time order
        self._video = video
        self._audio = None
        if audio_rate is not None:
            self._audio = self._container.add_stream("aac", rate=audio_rate, layout=_LAYOUTS[channels])
            self._audio.bit_rate = min(64_000, 2 * audio_rate) * channels

    @property
    def audio_position(self) -> int:
        """Samples of sound given so far."""
        return self._samples_written + self._pending.shape[1]

    def write(self, frame: NDArray[np.uint8], *, time_s: float | None = None) -> None:
        """Append one frame.

        Args:
            frame: (height, width, 3) uint8 RGB.
            time_s: When it is shown; default one frame's length after the one before. Later than the one before.

        Raises:
            VideoError: another shape or type than announced, or what the encoder or the disk refuses.
        """
        expected = (self.height, self.width, 3)
        if frame.shape != expected or frame.dtype != np.uint8:
            raise VideoError(
                self.path, "encode", f"a frame of {frame.shape} {frame.dtype}, where {expected} uint8 was announced"
            )
        pts = self._last_pts + self._ticks_per_frame if time_s is None else round(time_s / self._time_base)
        self._last_pts = max(pts, self._last_pts + 1) if self._last_pts >= 0 else max(pts, 0)
        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
        )
        picture.pts, picture.time_base = self._last_pts, self._time_base
        picture.duration = self._ticks_per_frame
        self._mux(self._video, picture)

    def write_audio(self, samples: NDArray[np.float32]) -> None:
        """Append sound.

        Args:
            samples: (N,), or (channels, N); float, within [-1, 1] (clipped).

        Raises:
            VideoError: no sound was announced, another number of channels, or what the encoder or the disk refuses.
        """
        if self._audio is None:
            raise VideoError(self.path, "encode", "sound for a file without sound", todo="give audio_rate")
        planes = np.asarray(samples, np.float32)
        planes = planes[None] if planes.ndim == 1 else planes
        if planes.ndim != 2 or len(planes) != len(self._pending):
            given, announced = planes.shape, len(self._pending)
            raise VideoError(self.path, "encode", f"sound of shape {given}, where {announced} channels were announced")
        pending = np.concatenate([self._pending, planes.clip(-1, 1)], axis=1)
        whole = pending.shape[1] // _AAC_FRAME * _AAC_FRAME
        for first in range(0, whole, _AAC_FRAME):
            self._write_sound(self._audio, pending[:, first : first + _AAC_FRAME])
        self._pending = pending[:, whole:]

    def _write_sound(self, stream: av.AudioStream, planes: NDArray[np.float32]) -> None:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format="fltp", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = stream.rate, Fraction(1, stream.rate)
        frame.pts = self._samples_written
        self._samples_written += planes.shape[1]
        self._mux(stream, frame)

    def _mux(self, stream: av.VideoStream | av.AudioStream, frame: av.VideoFrame | av.AudioFrame | None) -> None:
        try:
            self._container.mux(stream.encode(frame))  # type: ignore[arg-type]
        except (OSError, av.FFmpegError) as error:
            raise VideoError(self.path, "encode", str(error)) from error

    def _finish(self) -> None:
        if self._last_pts < 0:
            raise VideoError(self.path, "encode", "no frame was written")
        self._mux(self._video, None)
        if self._audio is not None:
            if self._pending.shape[1]:
                self._write_sound(self._audio, self._pending)
            self._mux(self._audio, None)
        try:
            self._container.close()
            with self._part.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(self._part, self.path)
        except (OSError, av.FFmpegError) as error:
            raise VideoError(self.path, "encode", str(error)) from error

    def _discard(self) -> None:
        with suppress(OSError):  # the file is thrown away; the error that matters is under way
            self._container.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._finish()
            except BaseException:
                self._discard()
                raise
        else:
            self._discard()


def transcode_h264(source: Path | str, target: Path | str, *, crf: int = 23, threads: int = 0) -> None:
    """Any readable video to an H.264 mp4 with the same frames, times and sound, as a browser can play it.

    Video time 0 of the source is 0 of the target, so annotations stay true. An odd last row or column is cut off;
    sound becomes AAC with one or two channels, from the first frame to the end of the last. Memory does not grow with
    the video's length.

    Raises:
        VideoError: the source cannot be read, or the target not written.
    """
    from tal.video import open_video

    with open_video(Path(source)) as reader:
        info = reader.info
        width, height = info.width // 2 * 2, info.height // 2 * 2
        with (
            _Sound(Path(source), info.start_s) as sound,
            VideoWriter(
                target,
                width=width,
                height=height,
                fps=info.average_fps,
                audio_rate=sound.rate,
                audio_channels=sound.channels,
                crf=crf,
                threads=threads,
            ) as writer,
        ):
            for batch in reader.batches(_BATCH_FRAMES):
                for pixels, time_s in zip(batch.pixels, batch.times_s, strict=True):
                    writer.write(pixels[:height, :width], time_s=float(time_s))
                sound.pump(writer, until_s=float(batch.times_s[-1]))
            sound.pump(writer, until_s=info.duration_s)


class _Sound:
    """The first sound stream of a file, placed on video time: silence where there is none, nothing before 0."""

    def __init__(self, path: Path, video_start_s: float) -> None:
        self._container: InputContainer = open_container(path)
        self._start_s = video_start_s
        self.rate: int | None = None
        self.channels = 1
        self._blocks: Iterator[tuple[int, NDArray[np.float32]]] = iter(())
        self._held: tuple[int, NDArray[np.float32]] | None = None
        streams = self._container.streams.audio
        if streams and streams[0].rate:
            self.rate = _aac_rate(streams[0].rate)
            self.channels = 2 if streams[0].channels > 1 else 1
            self._blocks = self._decoded(streams[0], self.rate)

    def _decoded(self, stream: av.AudioStream, rate: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """(position in samples on video time, (channels, N) samples)."""
        resampler = av.AudioResampler(format="fltp", layout=_LAYOUTS[self.channels], rate=rate)
        for packet in self._packets(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue  # a damaged packet becomes silence: what follows is placed by its own time
            for frame in frames:
                for block in resampler.resample(frame):
                    if block.time is not None:
                        yield round((block.time - self._start_s) * rate), block.to_ndarray().astype(np.float32)

    def _packets(self, stream: av.AudioStream) -> Iterator[av.Packet[av.AudioStream]]:
        with suppress(av.FFmpegError):  # a file that was cut off: silence to the end
            yield from self._container.demux(stream)

    def pump(self, writer: VideoWriter, *, until_s: float) -> None:
        """Give the writer all sound that begins before `until_s`."""
        written = writer.audio_position
        while self.rate is not None:
            block = self._held or next(self._blocks, None)
            self._held = block
            if block is None or block[0] >= until_s * self.rate:
                return
            position, samples = block
            gap = position - written
            if abs(gap) > _GAP_S * self.rate or not written:
                samples = np.pad(samples, ((0, 0), (gap, 0))) if gap > 0 else samples[:, -gap:]
            writer.write_audio(samples)
            written += samples.shape[1]
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._container.close()


def _aac_rate(rate: int) -> int:
    """The sampling rate that AAC has and that is nearest to the given one."""
    known = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
    return min(known, key=lambda each: abs(each - rate))
