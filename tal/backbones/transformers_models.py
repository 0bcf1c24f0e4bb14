"""What is known, without a network, of transformers' video models: architectures by published name, clips, pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One kind of model.

    Args:
        config, model: Classes of transformers.
        frames, size: Attributes of the (vision) config: frames of a clip, pixels of a picture's side.
        vision: Attribute of the config that holds the vision tower's; "" for the config itself.
        spread_s: Clips spread over a time: seconds from the first frame to one step after the last; None with `fps`.
        fps: Frame rate of a clip.
        stride_frames: Of the snippets, unless told otherwise.
        enlarged: The shorter side is scaled to this times the size before the centre is cropped.
        mean, std: Per channel, for values in [0, 1].
    """

    config: str
    model: str
    frames: str = "num_frames"
    size: str = "image_size"
    vision: str = ""
    fps: float | None = None
    spread_s: float | None = None
    stride_frames: int = 1
    enlarged: float = 1.0
    mean: tuple[float, float, float] = _IMAGENET[0]
    std: tuple[float, float, float] = _IMAGENET[1]


# By `model_type` of the config. Rates are those of training: on Kinetics at 30 frames per second VideoMAE takes every
# 4th frame and TimeSformer 8 x 32 or 16 x 16; X-CLIP spreads its frames over 10 s; V-JEPA 2 takes 4 per second.
FAMILIES: Mapping[str, Family] = {
    "videomae": Family(config="VideoMAEConfig", model="VideoMAEForVideoClassification", fps=7.5, stride_frames=4),
    "vjepa2": Family(
        config="VJEPA2Config",
        model="VJEPA2Model",
        frames="frames_per_clip",
        size="crop_size",
        fps=4.0,
        stride_frames=2,
        enlarged=256 / 224,
    ),
    "timesformer": Family(
        config="TimesformerConfig",
        model="TimesformerModel",
        spread_s=256 / 30,
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
    ),
    "xclip": Family(config="XCLIPConfig", model="XCLIPModel", vision="vision_config", spread_s=10.0),
}


def _vit(width: int, layers: int, heads: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
    }


_SMALL, _BASE, _LARGE, _HUGE = _vit(384, 12, 6), _vit(768, 12, 12), _vit(1024, 24, 16), _vit(1280, 32, 16)
_TUNED, _PRETRAINED = {"use_mean_pooling": True}, {"use_mean_pooling": False}


def _vjepa2(width: int, layers: int, heads: int, frames: int, size: int, mlp_ratio: float = 4.0) -> dict[str, Any]:
    shape = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "mlp_ratio": mlp_ratio}
    return {**shape, "frames_per_clip": frames, "crop_size": size}


def _xclip(patch: int, frames: int, *, large: bool = False, size: int = 224) -> dict[str, Any]:
    mit = 768 if large else 512
    vision = {**(_LARGE if large else _BASE), "patch_size": patch, "num_frames": frames, "image_size": size}
    vision |= {"mit_hidden_size": mit, "mit_intermediate_size": 4 * mit, "mit_num_attention_heads": mit // 64}
    text = {"hidden_size": mit, "intermediate_size": 4 * mit, "num_attention_heads": mit // 64}
    return {"projection_dim": mit, "vision_config": vision, "text_config": text}


_HIGH = {"num_frames": 16, "image_size": 448}

# Published name -> (family, what of its config is not the family's default).
PUBLISHED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "MCG-NJU/videomae-small-finetuned-kinetics": ("videomae", _SMALL | _TUNED),
    "MCG-NJU/videomae-small-finetuned-ssv2": ("videomae", _SMALL | _TUNED),
    "MCG-NJU/videomae-base": ("videomae", _BASE | _PRETRAINED),
    "MCG-NJU/videomae-base-ssv2": ("videomae", _BASE | _PRETRAINED),
    "MCG-NJU/videomae-base-finetuned-kinetics": ("videomae", _BASE | _TUNED),
    "MCG-NJU/videomae-base-finetuned-ssv2": ("videomae", _BASE | _TUNED),
    "MCG-NJU/videomae-large": ("videomae", _LARGE | _PRETRAINED),
    "MCG-NJU/videomae-large-finetuned-kinetics": ("videomae", _LARGE | _TUNED),
    "MCG-NJU/videomae-huge-finetuned-kinetics": ("videomae", _HUGE | _TUNED),
    "facebook/vjepa2-vitl-fpc64-256": ("vjepa2", _vjepa2(1024, 24, 16, 64, 256)),
    "facebook/vjepa2-vith-fpc64-256": ("vjepa2", _vjepa2(1280, 32, 16, 64, 256)),
    "facebook/vjepa2-vitg-fpc64-256": ("vjepa2", _vjepa2(1408, 40, 22, 64, 256, 48 / 11)),
    "facebook/vjepa2-vitg-fpc64-384": ("vjepa2", _vjepa2(1408, 40, 22, 64, 384, 48 / 11)),
    "facebook/vjepa2-vitl-fpc16-256-ssv2": ("vjepa2", _vjepa2(1024, 24, 16, 16, 256)),
    "facebook/vjepa2-vitl-fpc32-256-diving48": ("vjepa2", _vjepa2(1024, 24, 16, 32, 256)),
    "facebook/timesformer-base-finetuned-k400": ("timesformer", {}),
    "facebook/timesformer-base-finetuned-k600": ("timesformer", {}),
    "facebook/timesformer-base-finetuned-ssv2": ("timesformer", {}),
    "facebook/timesformer-hr-finetuned-k400": ("timesformer", _HIGH),
    "facebook/timesformer-hr-finetuned-k600": ("timesformer", _HIGH),
    "facebook/timesformer-hr-finetuned-ssv2": ("timesformer", _HIGH),
    "microsoft/xclip-base-patch32": ("xclip", _xclip(32, 8)),
    "microsoft/xclip-base-patch32-16-frames": ("xclip", _xclip(32, 16)),
    "microsoft/xclip-base-patch16": ("xclip", _xclip(16, 8)),
    "microsoft/xclip-base-patch16-16-frames": ("xclip", _xclip(16, 16)),
    "microsoft/xclip-large-patch14": ("xclip", _xclip(14, 8, large=True)),
    "microsoft/xclip-large-patch14-16-frames": ("xclip", _xclip(14, 16, large=True, size=336)),
}
