"""What a page's player loads: the video itself where browsers play it, otherwise a copy in H.264."""

import base64
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from tal.errors import VideoError
from tal.report.data import Media
from tal.video.base import VideoInfo

_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm", ".mkv": "video/webm"}
_EIGHT_BIT_ONLY = {"h264": {".mp4", ".m4v", ".mov", ".mkv"}, "vp8": {".webm", ".mkv"}}
_ANY_DEPTH = {"vp9": {".mp4", ".webm", ".mkv"}, "av1": {".mp4", ".webm", ".mkv"}}


def plays_in_browsers(info: VideoInfo) -> bool:
    """Whether a Chromium or Firefox without extra codecs shows this file as the reader does.

    H.264 with 8 bits and 4:2:0 colour, VP8, VP9 and AV1, in the containers that carry them on the web. HEVC, MPEG-4
    part 2 and 10-bit H.264 are not.
    """
    suffix = Path(info.path).suffix.lower()
    if suffix in _EIGHT_BIT_ONLY.get(info.codec, ()):
        return info.codec != "h264" or info.pix_fmt in ("yuv420p", "yuvj420p")
    return suffix in _ANY_DEPTH.get(info.codec, ())


def link(video: Path, page: Path) -> str:
    """The link from a page to a file, relative and percent-encoded: any name works, whatever it holds."""
    try:
        relative = Path(os.path.relpath(video.absolute(), page.absolute().parent)).as_posix()
    except ValueError:  # another drive
        return video.absolute().as_uri()
    return quote(os.fsencode(relative), safe="/")


def data_uri(data: bytes, kind: str) -> str:
    """The bytes as a link that holds them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def playable_file(info: VideoInfo, copy: Path) -> Path:
    """The file that a browser can play: the video itself, or its H.264 copy, made if it is not there yet.

    Args:
        info: The video.
        copy: Where the copy goes. Its name is extended by a hash of the source's path, size and time of change, so that
            another or a changed video of the same id never shows an old film.

    Raises:
        VideoError: it can be neither played nor re-encoded.
    """
    path = Path(info.path)
    if plays_in_browsers(info):
        return path
    from tal.video.encode import transcode_h264

    copy = copy.with_name(f"{copy.stem}-{_fingerprint(path)}{copy.suffix}")
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        transcode_h264(path, copy)
    return copy


def _fingerprint(path: Path) -> str:
    state = path.stat()
    facts = b"\0".join([os.fsencode(path.resolve()), str(state.st_size).encode(), str(state.st_mtime_ns).encode()])
    return sha256(facts).hexdigest()[:12]


def media_of(
    infos: Mapping[str, VideoInfo], page: Path, copies: Mapping[str, Path], *, embed_mb: float
) -> tuple[dict[str, Media], dict[str, str]]:
    """What the player loads for each video, and for those that cannot be shown the reason.

    Args:
        infos: id -> facts.
        page: The page's own place, which links are relative to.
        copies: id -> where the H.264 copy goes if one is needed; see `playable_file`.
        embed_mb: All videos are held in the page itself if together they have at most this many megabytes.
    """
    files: dict[str, Path] = {}
    failed: dict[str, str] = {}
    for video, info in infos.items():
        try:
            files[video] = playable_file(info, copies[video])
        except VideoError as error:
            failed[video] = error.reason
    embedded = sum(path.stat().st_size for path in files.values()) <= embed_mb * 1e6
    media = {}
    for video, path in files.items():
        kind = _TYPES.get(path.suffix.lower(), "video/mp4")
        src = data_uri(path.read_bytes(), kind) if embedded else link(path, page)
        media[video] = Media(src=src, offset_s=infos[video].start_s if path == Path(infos[video].path) else 0.0)
    return media, failed
