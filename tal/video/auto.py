"""Which decoder for which video: the rules of `--decoder auto`, in one place.

On a CPU PyAV comes first whatever the video: it leaves out frames that nothing refers to and scales while it converts.
Seconds of video per second of processor time, one thread, 20 s of H.264 at 30 fps scaled to 112 pixels, two figures:
keyframes every 12 and every 250 frames (`python tools/bench.py decode`; see docs/performance.md):

    sampled at    video     PyAV          torchcodec    decord
    2 fps         360p      84, 144       101, 117      29, 28
    2 fps         720p      26, 46        29, 34        11, 12
    8 fps         720p      20, 34        15, 21        3.6, 5.1
    30 fps        360p      45, 66        39, 53        11, 12
    30 fps        720p      16, 21        8.3, 9.2      2.1, 2.2

torchcodec wins by a fifth where keyframes are as close as the wanted frames, which a header does not tell, and loses by
more elsewhere. The GPU's decoder is worth its setting up for large pictures, sampled densely, for long enough: below
that, torchcodec's own measurements (540p: CPU five times as fast; 1080p: GPU two to three times) speak for the CPU.
Not measured by us: no machine with such a GPU was at hand.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import av

from tal.video.container import choose_stream, open_container

_ON_CPU = ("pyav", "torchcodec", "decord")
_GPU_CODECS = frozenset({"h264", "hevc", "av1", "vp9"})
_GPU_LEAST_PIXELS = 1280 * 720
_GPU_LEAST_S = 10.0
_GPU_LEAST_DENSITY = 0.2  # of the frames: below, leaving out frames saves the CPU more


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file's header says, without reading packets; 0 where it says nothing."""

    codec: str
    width: int
    height: int
    duration_s: float
    average_fps: float


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A decoder, and where it runs."""

    decoder: str
    device: str = "cpu"

    def __str__(self) -> str:
        return self.decoder if self.device == "cpu" else f"{self.decoder} on {self.device}"


def header(path: Path | str) -> Header:
    """Facts of a video by which a decoder is chosen; takes milliseconds.

    Raises:
        VideoError: the file cannot be opened, or holds no video.
    """
    with open_container(path) as container:
        stream = choose_stream(container, path, None)
        context = stream.codec_context
        return Header(
            codec=context.codec.canonical_name,
            width=context.width,
            height=context.height,
            duration_s=(container.duration or 0) / av.time_base,
            average_fps=float(stream.average_rate or 0),
        )


def attempts(decoder: str, device: str, usable: Collection[str], facts: Header | None, fps: float) -> list[Attempt]:
    """The decoders to try, one after the other.

    Args:
        decoder: "auto", or the one that was asked for. torchcodec on a GPU is followed by torchcodec on the CPU.
        device: Where the network runs.
        usable: Decoders that can be used here.
        facts: Of the video; only "auto" needs them.
        fps: At which frames are sampled.
    """
    on_gpu = [Attempt(decoder="torchcodec", device=device)] if device.startswith("cuda") else []
    if decoder != "auto":
        return [*(on_gpu if decoder == "torchcodec" else []), Attempt(decoder=decoder)]
    first = on_gpu if "torchcodec" in usable and facts is not None and _suits_gpu(facts, fps) else []
    return [*first, *(Attempt(decoder=name) for name in _ON_CPU if name in usable)]


def _suits_gpu(facts: Header, fps: float) -> bool:
    density = fps / facts.average_fps if facts.average_fps else 1.0
    return (
        facts.codec in _GPU_CODECS
        and facts.width * facts.height >= _GPU_LEAST_PIXELS
        and facts.duration_s >= _GPU_LEAST_S
        and density >= _GPU_LEAST_DENSITY
    )
