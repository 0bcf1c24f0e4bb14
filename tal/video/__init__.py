"""Video in and out: facts of a file, its frames with their times, and ids. Decoders load when one is used."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tal.registry import Registry
from tal.video.base import AudioInfo, Frames, Resize, VideoInfo, VideoReader
from tal.video.files import SUFFIXES, list_videos
from tal.video.ids import assign_ids, safe_name

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "DECODERS",
    "SUFFIXES",
    "AudioInfo",
    "Frames",
    "Resize",
    "VideoInfo",
    "VideoReader",
    "assign_ids",
    "decoder_version",
    "list_videos",
    "open_video",
    "probe",
    "safe_name",
]

DECODERS = Registry(
    "decoder",
    {
        "pyav": ("tal.video.pyav:PyAVReader", "FFmpeg as PyAV's wheel carries it"),
        "torchcodec": ("tal.video.torchcodec:TorchCodecReader", "torchcodec, on the CPU or on a GPU's own decoder"),
        "decord": ("tal.video.decord:DecordReader", "decord, in a process of its own that can be ended"),
    },
)


def decoder_version(name: str) -> str:
    """A decoder's version with that of its libraries; loads it.

    Raises:
        TalError: no such decoder, or one that cannot be used here, with the reason.
    """
    version: str = DECODERS.load(name).version()
    return version


def probe(path: Path | str, *, stream_idx: int | None = None) -> VideoInfo:
    """Facts of a video, from its packets.

    Args:
        path: The file.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.

    Raises:
        VideoError: the file cannot be opened, or holds no video that can be decoded.
    """
    from tal.video.scan import scan

    return scan(path, stream_idx=stream_idx)[0]


def open_video(
    path: Path | str,
    *,
    resize: Resize | None = None,
    stream_idx: int | None = None,
    decoder: str = "pyav",
    threads: int = 0,
    device: str = "cpu",
    isolate: bool | None = None,
) -> VideoReader:
    """Open a video for reading frames.

    Args:
        path: The file.
        resize: Size of the delivered frames; as shown by a player if None.
        stream_idx: Position of a stream in the file; FFmpeg's best video stream if None.
        decoder: A name in `DECODERS`.
        threads: Of the decoder; 0 lets it choose by the number of cores, which suits one video at a time. One thread
            takes 10 to 25 % less processor time per frame and suits many videos at once.
        device: Where frames are decoded and stay; "cuda" needs the decoder torchcodec.
        isolate: Decode in a process of its own, which is ended if it misbehaves; None: where the decoder needs that.

    Raises:
        VideoError: the file cannot be opened, or holds no video that can be decoded.
        TalError: no such decoder, or a resize that contradicts itself.
    """
    make = DECODERS.load(decoder)
    if getattr(make, "needs_process", False) if isolate is None else isolate:
        from tal.video.remote import RemoteReader

        make = partial(RemoteReader, target=DECODERS[decoder].target, name=decoder)
    reader: VideoReader = make(path, resize=resize, stream_idx=stream_idx, threads=threads, device=device)
    return reader
