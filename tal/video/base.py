"""What every decoder gives: facts about a video, and frames with their times."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import VideoError


class DecoderError(VideoError):
    """A decoder that fails at a video which another one may be able to read."""


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """Facts of the audio stream."""

    codec: str
    sample_rate: int
    channels: int
    duration_s: float | None


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """Facts of one video stream, from its packets, without decoding pictures.

    Times are the video's time: pts minus the first frame's pts, so 0 is the first frame.

    Args:
        path: The file.
        container: Short name of the format.
        stream_idx: The chosen stream (FFmpeg's best video stream unless asked otherwise).
        codec, pix_fmt, bit_depth: As coded.
        coded_width, coded_height: Pixels as stored.
        width, height: Pixels as shown: after the sample aspect ratio and the rotation.
        rotation_deg: Clockwise turn that the reader applies: 0, 90, 180 or 270.
        sample_aspect_ratio: Width of a stored pixel divided by its height.
        frame_count: Frames that the packets announce.
        start_s: Raw pts of the first frame, seconds: what a player that seeks on raw pts adds.
        duration_s: End of the last frame, video time.
        average_fps: frame_count / duration_s.
        variable_rate: Frame distances differ by more than rounding.
        times_s: (frame_count,) sorted frame times.
        audio: The audio stream's facts, None without sound.
        notes: What a reader should know: pts out of order, unreadable packets, HDR shown as 8 bit.
    """

    path: str
    container: str
    stream_idx: int
    codec: str
    pix_fmt: str
    bit_depth: int
    coded_width: int
    coded_height: int
    width: int
    height: int
    rotation_deg: int
    sample_aspect_ratio: float
    frame_count: int
    start_s: float
    duration_s: float
    average_fps: float
    variable_rate: bool
    times_s: NDArray[np.float64] = field(repr=False)
    audio: AudioInfo | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Resize:
    """The size that frames are delivered in.

    Args:
        short_side: Scale so that the shorter side has this many pixels; None with `exact`.
        exact: (height, width) regardless of aspect; None with `short_side`.
        crop: (height, width) centre crop after scaling; None for none.
        interpolation: Of the scaling.
        mode: "fast" converts colour and scales in one step inside the decoder's library; "reference" converts at full
            size and then resizes as the backbone's own preprocessing does, by torchvision, within one level of 255.
        antialias: Of mode "reference": torchvision's video models were trained without, everything else with.
    """

    short_side: int | None = None
    exact: tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mode: Literal["fast", "reference"] = "fast"
    antialias: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """N frames and their times.

    Args:
        pixels: (N, H, W, 3) uint8 RGB; a tensor where a GPU decoded them, which stays there.
        times_s: (N,) seconds of video time.
    """

    pixels: NDArray[np.uint8]
    times_s: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.times_s)

    def __repr__(self) -> str:
        span = f", {self.times_s[0]:.3f} to {self.times_s[-1]:.3f} s" if len(self) else ""
        return f"Frames({len(self)} of {self.pixels.shape[2]}x{self.pixels.shape[1]}{span})"


class VideoReader(Protocol):
    """One open video. Memory does not grow with the video's length. Usable as a context manager.

    `losses` says, after reading, what could not be decoded (one line each); `decoder` names it with its version.
    """

    info: VideoInfo
    losses: list[str]
    decoder: str

    def batches(self, batch_frames: int, *, start_s: float = 0.0, end_s: float | None = None) -> Iterator[Frames]:
        """All frames with start_s <= time < end_s, in order, at most `batch_frames` at a time.

        Raises:
            VideoError: nothing could be decoded.
        """

    def at(self, times_s: ArrayLike) -> Frames:
        """The frame nearest to each time, in the order asked; decoded in one sorted pass."""

    def sampled(self, fps: float, batch_frames: int) -> Iterator[Frames]:
        """Frames at 0, 1/fps, 2/fps, ... up to the end, each the frame with the nearest pts.

        `times_s` are the true times of the delivered frames; a frame is repeated where the video is sparser.
        """

    def close(self) -> None:
        """Free the decoder."""

    def __enter__(self) -> "VideoReader": ...

    def __exit__(self, *exc: object) -> None: ...
