"""Size arithmetic: from a frame as stored to the frame as delivered."""

from dataclasses import dataclass

from tal.errors import ConfigError
from tal.video.base import Resize


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to get there, in the picture as shown.

    Args:
        scaled: (height, width) to scale to.
        top, left, height, width: What is kept of that.
    """

    scaled: tuple[int, int]
    top: int
    left: int
    height: int
    width: int


def plan(height: int, width: int, resize: Resize | None) -> Plan:
    """Scaling and cropping for a picture of height x width pixels as shown.

    The arithmetic is torchvision's: the longer side is truncated, the crop's corner is rounded half to even.

    Raises:
        ConfigError: sizes that contradict each other, or a crop beyond the scaled picture.
    """
    check(resize)
    resize = resize or Resize()
    scaled = (height, width)
    if resize.exact is not None:
        scaled = resize.exact
    elif resize.short_side is not None:
        short, long = resize.short_side, int(resize.short_side * max(height, width) / min(height, width))
        scaled = (short, long) if height <= width else (long, short)
    crop = resize.crop or scaled
    if crop[0] > scaled[0] or crop[1] > scaled[1]:
        raise ConfigError(
            f"a crop of {crop[0]}x{crop[1]} (height x width) out of a frame of {scaled[0]}x{scaled[1]}",
            expected="a crop inside the scaled frame",
            todo="raise short_side",
        )
    top, left = round((scaled[0] - crop[0]) / 2), round((scaled[1] - crop[1]) / 2)
    return Plan(scaled=scaled, top=top, left=left, height=crop[0], width=crop[1])


def check(resize: Resize | None) -> None:
    """Refuse a resize that contradicts itself."""
    if resize is None:
        return
    if resize.short_side is not None and resize.exact is not None:
        raise ConfigError(f"both short_side {resize.short_side} and exact {resize.exact}", expected="one of them")
    for size in (resize.exact, resize.crop, (resize.short_side, 1) if resize.short_side is not None else None):
        if size is not None and min(size) < 1:
            raise ConfigError(f"a frame size of {size}", expected="at least 1 pixel")
