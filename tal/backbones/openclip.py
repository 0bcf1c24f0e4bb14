"""Image towers of open_clip models: one vector per frame, `model.encode_image` without normalisation.

`open_clip:MODEL/PRETRAINED`; without PRETRAINED the first that open_clip lists. Size, crop, interpolation, mean and
deviation are those that open_clip itself preprocesses with. Tokens are the places of the tower's last layer, before the
projection into the space that it shares with text.

    model                pixels   C      tokens
    ViT-B-32             224      512    49 of 768 (7 x 7)
    ViT-B-16             224      512    196 of 768
    ViT-L-14             224      768    256 of 1024
    ViT-H-14             224      1024   256 of 1280
    RN50                 224      1024   49 of 2048
    ViT-SO400M-14-SigLIP 224      1152   256 of 1152

A clip is one frame; the stride is 0.5 s unless told otherwise. The text towers are in `tal.backbones.text`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.frames import checked_interpolation, frame_clip
from tal.backbones.hub import quick_hub
from tal.backbones.weights import FILE, RANDOM, downloading, hash_of, load_file, quiet, random_model, seeded
from tal.errors import TalError, unknown_name
from tal.video.base import Resize


class OpenClipBackbone(Backbone):
    """An open_clip model's image tower."""

    root = "visual"

    def __init__(self, visual: nn.Module, spec: BackboneSpec) -> None:
        super().__init__()
        self.visual: Any = visual
        self.spec = spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 1, 3, H, W) normalised -> (B, C) float32."""
        features = self.visual(clips[:, 0])
        first: Tensor = features[0] if isinstance(features, tuple) else features
        return first.float()

    def tokens(self, clips: Tensor) -> Tensor:
        """See `Backbone.tokens`; class tokens are left out."""
        visual, value = self.visual, clips[:, 0]
        if hasattr(visual, "trunk"):
            return self.places(visual.trunk.forward_features(value), len(clips))
        if hasattr(visual, "layer4"):
            for stage in (visual.stem, visual.layer1, visual.layer2, visual.layer3, visual.layer4):
                value = stage(value)
            return self.places(value, len(clips))
        if getattr(visual, "attn_pool", None) is not None or getattr(visual, "pool_type", "") not in ("tok", "avg"):
            return super().tokens(clips)
        before, visual.output_tokens = visual.output_tokens, True
        try:
            return self.places(visual(value)[1], len(clips))
        finally:
            visual.output_tokens = before

    def places(self, value: Any, clips: int) -> Tensor:
        """See `Backbone.places`; class tokens are left out."""
        trunk = getattr(self.visual, "trunk", self.visual)
        if isinstance(value, Tensor) and value.ndim == 4 and getattr(trunk, "output_fmt", "") == "NHWC":
            return value.flatten(1, 2)
        tokens = super().places(value, clips)
        grid = getattr(trunk, "grid_size", None) or getattr(getattr(trunk, "patch_embed", None), "grid_size", None)
        more = tokens.shape[1] - grid[0] * grid[1] if grid else 0
        return tokens[:, more:] if more > 0 else tokens


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> OpenClipBackbone:
    """Build MODEL or MODEL/PRETRAINED of open_clip; without PRETRAINED the first that open_clip lists.

    A clip is one frame; the stride is 0.5 s unless told otherwise.

    Raises:
        TalError: no such model or weights, weights that cannot be loaded, or preprocessing that is not supported.
    """
    architecture, tag, name = identified(model, weights)
    clip = frame_clip(stride_s)
    network, source = whole_model(architecture, tag, name, weights)
    preprocessing = _preprocessing(network, _published(architecture, tag))
    backbone_spec = BackboneSpec(
        name=name,
        weights=source,
        weights_hash=hash_of(network.visual),
        **clip,
        resize=_resize(preprocessing, resize_mode),
        mean=tuple(preprocessing["mean"]),
        std=tuple(preprocessing["std"]),
        width=_width(network),
    )
    return OpenClipBackbone(network.visual, backbone_spec)


def identified(model: str, weights: Path | str | None) -> tuple[str, str, str]:
    """Architecture, pretrained tag ("" for none) and the full name of MODEL or MODEL/PRETRAINED.

    Raises:
        TalError: no such model or tag, or no published weights where these are wanted.
    """
    import open_clip

    architecture, _, tag = model.partition("/")
    if architecture not in open_clip.list_models():
        raise unknown_name("open_clip model", architecture, open_clip.list_models())
    tags: list[str] = open_clip.list_pretrained_tags_by_model(architecture)
    if tag and tag not in tags:
        raise unknown_name(f"pretrained tag of open_clip:{architecture}", tag, tags)
    if not tag and not tags and weights is None:
        raise TalError(f"open_clip:{architecture} has no published weights", todo="give --weights FILE")
    tag = tag or next(iter(tags), "")
    return architecture, tag, f"open_clip:{architecture}" + f"/{tag}" * bool(tag)


def whole_model(architecture: str, tag: str, name: str, weights: Path | str | None) -> tuple[Any, str]:
    """The whole model, and where its weights are from."""
    import open_clip

    settings = {"pretrained_text": False}  # The tag's weights have the text tower's.
    if weights is None:
        with downloading(name), quick_hub(), quiet():
            return open_clip.create_model(architecture, pretrained=tag, require_pretrained=True, **settings), tag
    settings |= {"force_quick_gelu": bool(_published(architecture, tag).get("quick_gelu", False))}

    def build() -> Any:
        with quiet():
            return open_clip.create_model(architecture, **settings)

    if weights == RANDOM:
        return random_model(build, name), RANDOM
    network = seeded(build)
    load_file(network, Path(weights))
    return network, FILE


def _published(architecture: str, tag: str) -> dict[str, Any]:
    """What open_clip knows of a set of weights: activation, mean, std, interpolation, resize mode."""
    import open_clip

    return dict(open_clip.get_pretrained_cfg(architecture, tag)) if tag else {}


def _preprocessing(network: Any, published: Mapping[str, Any]) -> Mapping[str, Any]:
    """Size, mean, std, interpolation and resize mode as open_clip itself would preprocess."""
    from open_clip.model import get_model_preprocess_cfg
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    built = merge_preprocess_dict(PreprocessCfg(), get_model_preprocess_cfg(network))
    return merge_preprocess_dict(built, dict(published))


def _resize(preprocessing: Mapping[str, Any], mode: Literal["fast", "reference"]) -> Resize:
    size = preprocessing["size"]
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    rule, interpolation = (
        preprocessing["resize_mode"],
        checked_interpolation(preprocessing["interpolation"], "open_clip"),
    )
    if rule not in ("shortest", "squash"):
        raise TalError(f"open_clip preprocessing with {rule!r}", expected="shortest or squash")
    if rule == "squash" or height != width:
        return Resize(exact=(height, width), interpolation=interpolation, mode=mode)
    return Resize(short_side=height, crop=(height, width), interpolation=interpolation, mode=mode)


def _width(network: Any) -> int:
    """Length of an image vector, measured on one blank picture."""
    import torch

    visual = network.visual
    size = visual.image_size
    height, width = (size, size) if isinstance(size, int) else size
    with torch.no_grad():
        features = visual.eval()(torch.zeros(1, 3, height, width))
    return int((features[0] if isinstance(features, tuple) else features).shape[-1])
