"""Decoded frames to RGB in the wanted size, with the turn, the aspect and the colours that the file asks for."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from tal.video.base import Resize, VideoInfo
from tal.video.resize import plan

_QUALITY = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
_GBR = ((1, 0), (2, 1), (0, 2))  # RGB channel, position of its plane


class Converter:
    """Makes RGB pictures out of one video's frames.

    Colours follow the stream's matrix and range tags, BT.601 limited range where there are none, as FFmpeg does; 10 and
    12 bit become 8 bit, HDR without tone mapping.

    In mode "fast" swscale goes from the stored picture to the wanted size in one step. Scaled frames are made in planes
    (twice as fast as packed, with chroma at full resolution); in the stored size the result equals that of
    `ffmpeg -pix_fmt rgb24`.

    Mode "reference" turns the whole picture into RGB first and leaves the rest to torchvision. Measured between both
    modes' features of the same clips (128 pixels, crop 112; ResNet-18 and R3D-18 of random weights, two clips of real
    people, tests/tal/video/test_convert.py): cosine at least 0.99997; after subtracting the features' mean over the
    video, without which random networks see everything alike, at least 0.976.

    Args:
        info: The video's facts.
        resize: Size of the delivered frames, in the picture as shown.
    """

    def __init__(self, info: VideoInfo, resize: Resize | None) -> None:
        self._resize = resize or Resize()
        self._plan = plan(info.height, info.width, resize)
        self._turns = info.rotation_deg // 90
        self._reference = self._resize.mode == "reference"
        shown = (info.height, info.width) if self._reference else self._plan.scaled
        self._size = shown[::-1] if self._turns % 2 else shown
        self._reformatter = VideoReformatter()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of what `write` fills."""
        return self._plan.height, self._plan.width, 3

    def write(self, frame: VideoFrame, out: NDArray[np.uint8]) -> None:
        """Fill `out` (H, W, 3) with the frame's picture."""
        if self._reference:
            out[:] = self._referenced(frame)
            return
        plan = self._plan
        turned = np.rot90(self._scaled(frame, Interpolation[self._resize.interpolation.upper()]), -self._turns)
        out[:] = turned[plan.top : plan.top + plan.height, plan.left : plan.left + plan.width]

    def _scaled(self, frame: VideoFrame, interpolation: Interpolation) -> NDArray[np.uint8]:
        height, width = self._size
        if (frame.height, frame.width) == (height, width):
            flags, pix_fmt = int(Interpolation.BICUBIC), "rgb24"
        else:
            flags, pix_fmt = int(interpolation | _QUALITY), "gbrp"
        scaled = self._reformatter.reformat(frame, width, height, pix_fmt, interpolation=flags, threads=1)
        if pix_fmt == "rgb24":
            plane = scaled.planes[0]
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
            return rows[:height, : width * 3].reshape(height, width, 3)
        rgb = np.empty((height, width, 3), np.uint8)
        for channel, position in _GBR:
            plane = scaled.planes[position]
            rgb[..., channel] = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, :width]
        return rgb

    def _referenced(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Full size, then torchvision's resize and centre crop, as a backbone's own preprocessing does."""
        import torch
        from torchvision.transforms.v2 import functional

        turned = np.ascontiguousarray(np.rot90(self._scaled(frame, Interpolation.BICUBIC), -self._turns))
        picture = torch.from_numpy(turned).permute(2, 0, 1)
        mode = functional.InterpolationMode(self._resize.interpolation)
        if self._plan.scaled != turned.shape[:2]:
            size, antialias = list(self._plan.scaled), self._resize.antialias
            picture = functional.resize(picture, size, interpolation=mode, antialias=antialias)
        plan = self._plan
        cropped = functional.crop(picture, plan.top, plan.left, plan.height, plan.width)
        pixels: NDArray[np.uint8] = cropped.permute(1, 2, 0).numpy()
        return pixels
