"""Backbones, one file per family: frames in, vectors out. torch loads when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from tal.errors import TalError
from tal.registry import BACKBONES

if TYPE_CHECKING:
    from pathlib import Path

    from tal.backbones.base import Backbone

__all__ = ["load_backbone"]


def load_backbone(
    name: str,
    *,
    weights: Path | str | None = None,
    device: str = "cpu",
    stride_s: float | None = None,
    resize_mode: Literal["fast", "reference"] = "fast",
) -> Backbone:
    """Build a backbone in inference mode.

    Args:
        name: FAMILY or FAMILY:MODEL, e.g. "tiny", "open_clip:ViT-B-16/laion2b_s34b_b88k", "torchvision:r3d_18".
        weights: None for the published ones, "random" for none (features then carry no knowledge), or a local file
            (.safetensors, or .pt read without unpickling objects).
        device: Where it runs.
        stride_s: Snippet stride in place of the backbone's own, seconds.
        resize_mode: See `tal.video.base.Resize`.

    Raises:
        TalError: no such family or model, weights that cannot be loaded, or a stride that is no whole number of frames.
    """
    if resize_mode not in ("fast", "reference"):
        raise TalError(f"resize mode {resize_mode!r}", expected='"fast" or "reference"')
    family, _, model = name.partition(":")
    settings: dict[str, Any] = {"weights": weights, "stride_s": stride_s, "resize_mode": resize_mode}
    backbone: Backbone = BACKBONES.load(family)(model, **settings)
    return backbone.eval().requires_grad_(False).to(device)
