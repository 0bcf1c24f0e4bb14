"""Small pictures of a video at given times, as data URIs: a page opened from a disk cannot grab frames itself."""

import io
from collections.abc import Sequence
from pathlib import Path

from tal.report.media import data_uri
from tal.video.base import Resize

HEIGHT = 90
_QUALITY = 72


def thumbnails(path: Path, times_s: Sequence[float], *, height: int = HEIGHT) -> list[str]:
    """JPEG data URIs of the frames nearest to the times, in the order asked.

    Raises:
        VideoError: the video cannot be decoded.
    """
    if not times_s:
        return []
    from PIL import Image

    from tal.video import open_video

    pictures = []
    with open_video(path, resize=Resize(short_side=height, interpolation="bilinear")) as reader:
        for pixels in reader.at(times_s).pixels:
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "JPEG", quality=_QUALITY, optimize=True)
            pictures.append(data_uri(file.getvalue(), "image/jpeg"))
    return pictures


def strip_times(duration_s: float, count: int = 12) -> list[float]:
    """Middles of `count` equal parts of the video, seconds."""
    return [(part + 0.5) * duration_s / count for part in range(count)] if duration_s > 0 else []
