"""Video models of Hugging Face's transformers: VideoMAE, V-JEPA 2, TimeSformer, and X-CLIP's vision tower.

`transformers:ORGANISATION/NAME` is a published model; `transformers:FAMILY` (videomae, vjepa2, timesformer, xclip) is
one's own, with `--weights FOLDER` in Hugging Face's layout (config.json and .safetensors). Code from a hub and pickled
weights are never run.

    family       frames   per s    stride   pixels of   C                      tokens (224 pixels; V-JEPA 2: 256)
    videomae     16       7.5      4        224   224   384, 768, 1024, 1280   1568 (8 x 14 x 14)
    vjepa2       64       4        2        256   292   1024, 1280, 1408       8192 (32 x 16 x 16)
    timesformer  8        0.9375   1        224   224   768                    1568 (8 x 14 x 14)
    xclip        8        0.8      1        224   224   512, 768               392 (8 x 7 x 7) of 768 or 1024 channels

A model's own config decides frames and size where they differ, and its preprocessor's config, where there is one, the
picture. Clips of TimeSformer and X-CLIP are spread over 8.5 and 10 s, as these were trained. The pooled vector is what
the family's classifier sees: VideoMAE the mean of all places (normalised in fine-tuned models), TimeSformer the class
token, X-CLIP the video's embedding beside text; V-JEPA 2, whose classifier is another network, the mean of all places.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.extras import load_extra
from tal.backbones.transformers_models import FAMILIES, PUBLISHED, Family
from tal.backbones.transformers_weights import Source, load_network, read_preprocessing
from tal.backbones.weights import hash_of
from tal.errors import TalError, unknown_name
from tal.video.base import Resize


class TransformersBackbone(Backbone):
    """A video model of transformers.

    Args:
        network: What `_Tower` made of it.
        spec: What it wants to see.
    """

    root = "network.model"

    def __init__(self, network: "_Tower", spec: BackboneSpec) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, clip_frames, 3, H, W) normalised -> (B, C) float32."""
        features: Tensor = self.network(clips)
        return features.float()

    def tokens(self, clips: Tensor) -> Tensor:
        """See `Backbone.tokens`."""
        return self.places(self.network.last(clips), len(clips))

    def places(self, value: Any, clips: int) -> Tensor:
        """See `Backbone.places`; class tokens are left out."""
        first = value[0] if isinstance(value, tuple | list) else value
        if isinstance(first, Tensor) and first.ndim == 3:
            first = self.network.ordered(first)
        return super().places(first, clips)


class _Tower(nn.Module):
    """One family's model, from clips to its last places and from these to a vector."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def last(self, clips: Tensor) -> Tensor:
        """(B, frames, 3, H, W) -> (B, N, C), class tokens and all."""
        raise NotImplementedError

    def ordered(self, tokens: Tensor) -> Tensor:
        """(B, N, C) as the model has them -> without class tokens, in the order of time, rows, columns."""
        return tokens

    def forward(self, clips: Tensor) -> Tensor:
        """(B, frames, 3, H, W) -> (B, C)."""
        return self.last(clips).mean(dim=1)


class _VideoMAE(_Tower):
    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model.classifier = nn.Identity()

    def last(self, clips: Tensor) -> Tensor:
        tokens: Tensor = self.model.videomae(clips).last_hidden_state
        return tokens

    def forward(self, clips: Tensor) -> Tensor:
        mean = super().forward(clips)
        return mean if self.model.fc_norm is None else self.model.fc_norm(mean)


class _VJEPA2(_Tower):
    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.model.predictor = nn.Identity()

    def last(self, clips: Tensor) -> Tensor:
        tokens: Tensor = self.model(clips, skip_predictor=True).last_hidden_state
        return tokens


class _Timesformer(_Tower):
    def last(self, clips: Tensor) -> Tensor:
        tokens: Tensor = self.model(clips).last_hidden_state
        return tokens

    def ordered(self, tokens: Tensor) -> Tensor:
        config = self.model.config
        if tokens.shape[1] != 1 + config.num_frames * _places(config):
            return tokens
        return tokens[:, 1:].unflatten(1, (-1, config.num_frames)).transpose(1, 2).flatten(1, 2)  # From places first.

    def forward(self, clips: Tensor) -> Tensor:
        return self.last(clips)[:, 0]


class _XCLIP(_Tower):
    """The towers that see: each frame's, then the one over time."""

    def __init__(self, model: Any) -> None:
        names = ("vision_model", "visual_projection", "mit")
        super().__init__(nn.ModuleDict({name: getattr(model, name) for name in names}))
        self._with_class_token = 1 + _places(model.config.vision_config)

    def last(self, clips: Tensor) -> Tensor:
        tokens: Tensor = self.model["vision_model"](clips.flatten(0, 1)).last_hidden_state
        return tokens

    def ordered(self, tokens: Tensor) -> Tensor:
        return tokens[:, 1:] if tokens.shape[1] == self._with_class_token else tokens

    def forward(self, clips: Tensor) -> Tensor:
        frames = self.model["vision_model"](clips.flatten(0, 1)).pooler_output
        seen = self.model["visual_projection"](frames).unflatten(0, clips.shape[:2])
        features: Tensor = self.model["mit"](seen).pooler_output
        return features


def _places(config: Any) -> int:
    """Places in a frame."""
    return int(config.image_size // config.patch_size) ** 2


_TOWERS: Mapping[str, type[_Tower]] = {
    "videomae": _VideoMAE,
    "vjepa2": _VJEPA2,
    "timesformer": _Timesformer,
    "xclip": _XCLIP,
}


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> TransformersBackbone:
    """Build a published model or one's own; see `load_backbone`.

    Args:
        model: ORGANISATION/NAME, or a family's name.
        weights: None for the published ones, a folder in Hugging Face's layout, a .safetensors file of a model that is
            known here by name, or "random".
        stride_s: Of the snippets; the family's if None.
        resize_mode: See `tal.video.base.Resize`.

    Raises:
        TalError: no such model, weights that cannot be loaded, or preprocessing that is not supported.
    """
    transformers: Any = load_extra("transformers", "transformers")
    if model not in FAMILIES and "/" not in model:
        raise unknown_name("transformers model", model, [*FAMILIES, *PUBLISHED])
    source = Source(name=f"transformers:{model}", model=model, weights=weights)
    loaded, kind, origin = load_network(transformers, source)
    family = FAMILIES[kind]
    tower = _TOWERS[kind](loaded).eval()
    config = getattr(loaded.config, family.vision) if family.vision else loaded.config
    frames = int(getattr(config, family.frames))
    fps = family.fps if family.fps is not None else frames / (family.spread_s or 1.0)
    resize, mean, std = _picture(family, int(getattr(config, family.size)), read_preprocessing(source), resize_mode)
    spec = BackboneSpec(
        name=source.name,
        weights=origin,
        weights_hash=hash_of(tower),
        clip_frames=frames,
        fps=fps,
        stride_s=family.stride_frames / fps if stride_s is None else stride_s,
        resize=resize,
        mean=mean,
        std=std,
        width=int(loaded.config.projection_dim if kind == "xclip" else config.hidden_size),
    )
    return TransformersBackbone(tower, spec)


_INTERPOLATIONS: Mapping[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}


def _picture(
    family: Family, size: int, told: Mapping[str, Any], mode: Literal["fast", "reference"]
) -> tuple[Resize, tuple[float, float, float], tuple[float, float, float]]:
    """Size, mean and deviation: the family's, or those of a preprocessor's config.

    Raises:
        TalError: a size or an interpolation that frames are not made in here, or other than the network's.
    """
    wanted = told.get("size") or {"shortest_edge": int(size * family.enlarged)}
    wanted = {"shortest_edge": wanted} if isinstance(wanted, int) else dict(wanted)
    crop = told.get("crop_size") or size
    crop = (crop, crop) if isinstance(crop, int) else (crop.get("height"), crop.get("width"))
    short, exact = wanted.get("shortest_edge"), (wanted.get("height", 0), wanted.get("width", 0))
    seen = crop if told.get("do_center_crop", True) else exact
    interpolation = _INTERPOLATIONS.get(told.get("resample", 2))
    if seen != (size, size) or interpolation is None or (short is None and 0 in exact):
        raise TalError(
            f"preprocessing of size {wanted}, cropped to {seen}, resampling {told.get('resample', 2)}",
            expected=f"pictures of {size} x {size} pixels, bilinear or bicubic",
            cause="the preprocessor's config of another model",
        )
    resize = Resize(
        short_side=short,
        exact=exact if short is None else None,
        crop=(size, size),
        interpolation=interpolation,
        mode=mode,
    )
    return resize, tuple(told.get("image_mean", family.mean)), tuple(told.get("image_std", family.std))
