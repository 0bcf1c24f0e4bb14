"""Videos for benchmarks: H.264 of a chosen size, length and distance of keyframes, made on the spot."""

from pathlib import Path

import av
import numpy as np

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
"""Name -> (width, height)."""
GOPS = (12, 250)
FPS = 30


def make_video(path: Path, size: tuple[int, int], *, seconds: float, gop: int, seed: int = 0) -> Path:
    """A texture that moves behind a picture that flickers, so that there is something to decode: 30 fps, B-frames.

    Args:
        path: Where; its folder is made as needed.
        size: (width, height).
        seconds: Length.
        gop: Frames from one keyframe to the next.
        seed: Another one gives another texture and another way of moving.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    rng = np.random.default_rng(seed)
    texture = rng.integers(0, 256, (height // 8 + 1, width // 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)[:height]
    speed = 2 + seed % 5
    with av.open(str(path), "w") as container:
        options = {"crf": "23", "preset": "veryfast", "x264-params": "scenecut=0"}
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size, stream.max_b_frames = gop, 2
        for number in range(round(seconds * FPS)):
            left = speed * number % width
            picture = texture[:, left : left + width].copy()
            picture[height // 3 : height // 2, left // 2 : left // 2 + 80] = 255 - number % 256
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path
