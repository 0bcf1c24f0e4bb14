"""Video networks of torchvision; the feature is the pooled vector before the classifier.

Sizes, means and deviations are those of each model's published transforms, clip lengths and rates those that its
published accuracy was measured with (s3d: 64 frames, half of that).

    model                           frames   per s   stride   pixels of   C     tokens
    r3d_18, mc3_18, r2plus1d_18     16       15      8        112  128    512   98 (2 x 7 x 7)
    s3d                             64       15      8        224  256    1024  392 (8 x 7 x 7)
    mvit_v1_b, mvit_v2_s            16       7.5     4        224  256    768   392 (8 x 7 x 7)
    swin3d_t, swin3d_s, swin3d_b    32       15      8        224  256    768, b: 1024   784 (16 x 7 x 7)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.weights import FILE, RANDOM, downloading, hash_of, load_file, random_model, seeded
from tal.errors import unknown_name
from tal.video.base import Resize


@dataclass(frozen=True, kw_only=True)
class _Model:
    """Of one model: the attribute that holds its classifier, the last layer with places, the vector's width, its clip,
    the default stride, and how its layers' outputs lie: (B, C, T, H, W), (B, T, H, W, C) or a class token first.
    """

    head: str
    last: str
    layout: Literal["channels first", "channels last", "class token"] = "channels first"
    width: int
    clip_frames: int
    fps: float
    stride_frames: int


_RESNET = _Model(head="fc", last="layer4", width=512, clip_frames=16, fps=15.0, stride_frames=8)
_MVIT = _Model(head="head", last="norm", layout="class token", width=768, clip_frames=16, fps=7.5, stride_frames=4)
_SWIN = _Model(head="head", last="norm", layout="channels last", width=768, clip_frames=32, fps=15.0, stride_frames=8)

_MODELS = {
    "r3d_18": _RESNET,
    "mc3_18": _RESNET,
    "r2plus1d_18": _RESNET,
    "s3d": _Model(head="classifier", last="features", width=1024, clip_frames=64, fps=15.0, stride_frames=8),
    "mvit_v1_b": _MVIT,
    "mvit_v2_s": _MVIT,
    "swin3d_t": _SWIN,
    "swin3d_s": _SWIN,
    "swin3d_b": replace(_SWIN, width=1024),
}


class TorchvisionBackbone(Backbone):
    """A torchvision video network without its classifier."""

    def __init__(self, network: nn.Module, spec: BackboneSpec, entry: _Model) -> None:
        super().__init__()
        self.network, self.spec, self.token_layer, self._layout = network, spec, entry.last, entry.layout

    def forward(self, clips: Tensor) -> Tensor:
        """(B, clip_frames, 3, H, W) normalised -> (B, C) float32."""
        features: Tensor = self.network(clips.transpose(1, 2))  # (B, 3, clip_frames, H, W)
        return features.float()

    def places(self, value: Any, clips: int) -> Tensor:
        """See `Backbone.places`; class tokens are left out."""
        if isinstance(value, Tensor) and value.ndim == 5 and self._layout == "channels last":
            return value.flatten(1, 3)
        tokens = super().places(value, clips)
        return tokens[:, 1:] if self._layout == "class token" else tokens


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> TorchvisionBackbone:
    """Build one of torchvision's video networks; see `load_backbone`.

    Raises:
        TalError: no such model, or weights that cannot be loaded.
    """
    if model not in _MODELS:
        raise unknown_name("torchvision model", model, _MODELS)
    from torchvision import models

    entry, name = _MODELS[model], f"torchvision:{model}"
    published = models.get_model_weights(model).DEFAULT
    builder = models.get_model_builder(model)
    network, source = _network(builder, name, weights, published)
    setattr(network, entry.head, nn.Identity())
    transforms = published.transforms()
    resize = tuple(transforms.resize_size)
    spec = BackboneSpec(
        name=name,
        weights=source,
        weights_hash=hash_of(network),
        clip_frames=entry.clip_frames,
        fps=entry.fps,
        stride_s=entry.stride_frames / entry.fps if stride_s is None else stride_s,
        resize=Resize(
            short_side=resize[0] if len(resize) == 1 else None,
            exact=(resize[0], resize[1]) if len(resize) == 2 else None,
            crop=tuple(transforms.crop_size),
            interpolation=transforms.interpolation.value,
            mode=resize_mode,
            antialias=False,
        ),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        width=entry.width,
    )
    return TorchvisionBackbone(network, spec, entry)


def _network(
    builder: Callable[..., nn.Module], name: str, weights: Path | str | None, published: Any
) -> tuple[nn.Module, str]:
    """The whole network, and where its weights are from."""
    if weights is None:
        with downloading(name):
            return builder(weights=published), published.name
    if weights == RANDOM:
        return random_model(lambda: builder(weights=None), name), RANDOM
    network = seeded(lambda: builder(weights=None))
    load_file(network, Path(weights))
    return network, FILE
