"""Image models of timm on single frames: DINOv2 and DINOv3, ViT, ConvNeXt, ResNet, Swin and the like.

`timm:MODEL` or `timm:MODEL.TAG`, as timm itself names models and their weights. Size, crop, interpolation, mean and
deviation are those of the weights' own data config. The feature is the model's own pooled vector before its classifier;
tokens are the places of `forward_features`, class and register tokens left out.

    model                               pixels   C      tokens
    vit_small_patch14_dinov2.lvd142m    518      384    1369 (37 x 37)
    vit_base_patch14_dinov2.lvd142m     518      768    1369
    vit_small_patch16_dinov3.lvd1689m   256      384    256 (16 x 16)
    vit_large_patch16_dinov3.lvd1689m   256      1024   256
    convnext_base.fb_in22k_ft_in1k      288      1024   81 (9 x 9)
    resnet50.a1_in1k                    288      2048   81

A clip is one frame; the stride is 0.5 s unless told otherwise.
"""

import math
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.extras import load_extra
from tal.backbones.frames import checked_interpolation, frame_clip
from tal.backbones.hub import quick_hub
from tal.backbones.weights import FILE, RANDOM, downloading, fit, hash_of, quiet, random_model, read_state, seeded
from tal.errors import TalError
from tal.video.base import Resize


class TimmBackbone(Backbone):
    """A timm model without its classifier."""

    def __init__(self, network: nn.Module, spec: BackboneSpec) -> None:
        super().__init__()
        self.network: Any = network
        self.spec = spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 1, 3, H, W) normalised -> (B, C) float32."""
        features: Tensor = self.network(clips[:, 0])
        return features.float()

    def tokens(self, clips: Tensor) -> Tensor:
        """See `Backbone.tokens`."""
        return self.places(self.network.forward_features(clips[:, 0]), len(clips))

    def places(self, value: Any, clips: int) -> Tensor:
        """See `Backbone.places`; class and register tokens are left out."""
        if isinstance(value, Tensor) and value.ndim == 4 and getattr(self.network, "output_fmt", "") == "NHWC":
            return value.flatten(1, 2)
        tokens = super().places(value, clips)
        more = getattr(self.network, "num_prefix_tokens", 0)
        return tokens[:, more:] if isinstance(value, Tensor) and value.ndim == 3 else tokens


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> TimmBackbone:
    """Build MODEL or MODEL.TAG of timm; without TAG the weights that timm prefers. See `load_backbone`.

    Args:
        model: As timm names it.
        weights: None for the published ones, a file in timm's layout (with the classifier or without), or "random".
        stride_s: Of the snippets; 0.5 s if None.
        resize_mode: See `tal.video.base.Resize`.

    Raises:
        TalError: no such model or tag, weights that cannot be loaded, or preprocessing that is not supported.
    """
    timm: Any = load_extra("timm", "timm")
    architecture, _, tag = model.partition(".")
    if not timm.is_model(architecture):
        raise _unknown("model", architecture, timm.list_models())
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise _unknown(f"weights of timm:{architecture}", tag, tags)
    if weights is None and not tags:
        raise TalError(f"timm:{architecture} has no published weights", todo="give --weights FILE")
    published = timm.get_pretrained_cfg(model).to_dict() if timm.get_pretrained_cfg(model) else {}
    name = f"timm:{architecture}" + (f".{published['tag']}" if published.get("tag") else "")
    clip = frame_clip(stride_s)
    network, source = _network(timm, name.partition(":")[2], name, weights, published.get("classifier"))
    config = timm.data.resolve_data_config({}, pretrained_cfg=published, model=network)
    spec = BackboneSpec(
        name=name,
        weights=source,
        weights_hash=hash_of(network),
        **clip,
        resize=_resize(config, resize_mode, name),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        width=_width(network, config["input_size"], name),
    )
    return TimmBackbone(network, spec)


def _network(timm: Any, model: str, name: str, weights: Path | str | None, classifier: Any) -> tuple[nn.Module, str]:
    """The model without classifier, and where its weights are from."""
    if weights is None:
        with downloading(name), quick_hub(), quiet():
            return timm.create_model(model, pretrained=True, num_classes=0), model.partition(".")[2] or "published"

    def build() -> Any:
        return timm.create_model(model, pretrained=False, num_classes=0)

    if weights == RANDOM:
        return random_model(build, name), RANDOM
    network = seeded(build)
    heads = tuple(f"{head}." for head in ([classifier] if isinstance(classifier, str) else classifier or ()))
    known = network.state_dict()
    state = read_state(Path(weights))
    kept = {key: value for key, value in state.items() if key in known or not heads or not key.startswith(heads)}
    fit(network, kept, Path(weights))
    return network, FILE


def _resize(config: dict[str, Any], mode: Literal["fast", "reference"], name: str) -> Resize:
    """timm's rule: scale the shorter side to size / crop_pct and take the centre, or squash the frame."""
    channels, height, width = config["input_size"]
    rule, share = config["crop_mode"], config["crop_pct"]
    if channels != 3 or rule not in ("center", "squash") or (rule == "center" and height != width):
        raise TalError(
            f"preprocessing of {name}: {channels} x {height} x {width} by {rule!r}",
            expected="3 channels by 'center' or 'squash'",
        )
    scaled = math.floor(height / share), math.floor(width / share)
    return Resize(
        short_side=scaled[0] if rule == "center" else None,
        exact=scaled if rule == "squash" else None,
        crop=(height, width),
        interpolation=checked_interpolation(config["interpolation"], name),
        mode=mode,
    )


def _width(network: nn.Module, size: tuple[int, int, int], name: str) -> int:
    """Length of a frame's vector, measured on one blank picture.

    Raises:
        TalError: the model gives no vector.
    """
    with torch.inference_mode():
        features = network.eval()(torch.zeros(1, *size))
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise TalError(f"{name} gives no pooled vector", todo="choose another model")
    return features.shape[1]


def _unknown(kind: str, name: str, known: list[str]) -> TalError:
    """The error for a name among hundreds: only the closest are shown."""
    close = get_close_matches(name, known, n=5, cutoff=0.5)
    return TalError(
        f"unknown timm {kind} {name!r}",
        expected="one of " + ", ".join(sorted(known)) if len(known) <= 20 else "one of timm.list_models()",
        todo=f"did you mean {' or '.join(close)}?" if close else "",
    )
