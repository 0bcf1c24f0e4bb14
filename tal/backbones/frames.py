"""What backbones of single frames share."""

from typing import Any, Literal

from tal.errors import TalError

STRIDE_S = 0.5
_FPS = 30.0


def frame_clip(stride_s: float | None) -> dict[str, Any]:
    """`clip_frames`, `fps` and `stride_s` of a clip that is one frame.

    The frame stands for about a thirtieth of a second: at any stride the snippet's centre is where the frame is.

    Raises:
        TalError: a stride that is not positive.
    """
    stride_s = STRIDE_S if stride_s is None else stride_s
    if not stride_s > 0:
        raise TalError(f"snippet stride of {stride_s} s", expected="a positive number of seconds")
    return {"clip_frames": 1, "fps": max(1, round(stride_s * _FPS)) / stride_s, "stride_s": stride_s}


def checked_interpolation(name: str, where: str) -> Literal["bilinear", "bicubic"]:
    """The interpolation's name.

    Raises:
        TalError: one that frames are not scaled by here.
    """
    if name == "bilinear":
        return "bilinear"
    if name == "bicubic":
        return "bicubic"
    raise TalError(f"preprocessing of {where} with {name} interpolation", expected="bilinear or bicubic")
