"""Backbones, one file per family: frames or sound in, vectors out. torch loads when one is built."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal

from tal.errors import TalError
from tal.registry import BACKBONES

if TYPE_CHECKING:
    from pathlib import Path

    from tal.audio.base import AudioBackbone
    from tal.backbones.base import Backbone, Precision

__all__ = ["load_backbone", "of_frames"]


def load_backbone(
    name: str,
    *,
    weights: Path | str | None = None,
    device: str = "cpu",
    stride_s: float | None = None,
    resize_mode: Literal["fast", "reference"] = "fast",
    tokens: bool = False,
    layers: Sequence[str] = (),
    dtype: Precision = "float32",
    compile: bool = False,  # noqa: A002
    flow_weights: Path | str | None = None,
) -> Backbone | AudioBackbone:
    """Build a backbone in inference mode; that of vggish and logmel is one of sound, see `tal.features.audio`.

    Args:
        name: FAMILY or FAMILY:MODEL, e.g. "tiny", "open_clip:ViT-B-16/laion2b_s34b_b88k", "torchvision:r3d_18".
        weights: None for the published ones, "random" for none (features then carry no knowledge), or a local file
            (.safetensors, or .pt read without unpickling objects).
        device: Where it runs.
        stride_s: Snippet stride in place of the backbone's own, seconds.
        resize_mode: See `tal.video.base.Resize`.
        tokens: A vector for every place that the network looks at, in place of their pooled one.
        layers: Several outputs at once: names of the network's modules as its library calls them, e.g. "layer3" or
            "blocks.11", each pooled over its places unless `tokens`; "features" is what the network gives at its end.
        dtype: Of the computation; what comes out is float32.
        compile: Run the network through torch.compile: a minute at the start, less time per clip.
        flow_weights: Of the optical flow that i3d:flow computes; like `weights`, and random beside random ones.

    Raises:
        TalError: no such family, model or layer, weights that cannot be loaded, or a stride that is no whole number of
            frames.
    """
    if resize_mode not in ("fast", "reference"):
        raise TalError(f"resize mode {resize_mode!r}", expected='"fast" or "reference"')
    family, _, model = name.partition(":")
    build = BACKBONES.load(family)
    settings: dict[str, Any] = {"weights": weights, "stride_s": stride_s, "resize_mode": resize_mode}
    if flow_weights is not None:
        if "flow_weights" not in signature(build).parameters:
            raise TalError(f"{family} takes no weights of optical flow", expected="them with i3d:flow")
        settings["flow_weights"] = flow_weights
    backbone: Backbone | AudioBackbone = build(model, **settings)
    backbone = backbone.eval().requires_grad_(False)
    if tokens or layers or dtype != "float32" or compile:
        from tal.backbones.adapted import Adapted

        backbone = of_frames(backbone)
        backbone = Adapted(backbone, tokens=tokens, layers=layers, dtype=dtype, compiled=compile).eval()
    return backbone.to(device)


def of_frames(backbone: Backbone | AudioBackbone) -> Backbone:
    """The same backbone, if it is one of frames.

    Raises:
        TalError: it is one of sound.
    """
    from tal.backbones.base import Backbone

    if not isinstance(backbone, Backbone):
        raise TalError(
            f"{backbone.spec.name} is a backbone of sound",
            expected="one of frames, for what is asked of it here",
            todo="make features of sound with tal extract, pooled and in float32",
        )
    return backbone
