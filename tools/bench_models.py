"""Video transformers of the usual sizes with random weights, to measure with."""

from typing import Literal

import torch
from torch import Tensor, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.video.base import Resize

_SIZES = {"B": (12, 768, 12), "L": (24, 1024, 16)}
_CLIP_FRAMES, _SIDE, _PATCH, _TUBE = 16, 224, 16, 2


class Vit(Backbone):
    """16 frames of 224 pixels in tubes of 2x16x16, as VideoMAE has them: 1,568 tokens; computes in bfloat16 on a GPU.

    Args:
        size: "B": 12 layers of 768; "L": 24 of 1,024.
    """

    def __init__(self, size: Literal["B", "L"]) -> None:
        super().__init__()
        layers, width, heads = _SIZES[size]
        tube = (_TUBE, _PATCH, _PATCH)
        self.embed = nn.Conv3d(3, width, tube, tube)
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.spec = BackboneSpec(
            name=f"vit:{size}",
            weights="random",
            weights_hash="",
            clip_frames=_CLIP_FRAMES,
            fps=30.0,
            stride_s=4 / 30,
            resize=Resize(short_side=_SIDE, crop=(_SIDE, _SIDE)),
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            width=width,
        )

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 16, 3, 224, 224) normalised -> (B, width)."""
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=clips.is_cuda):
            tokens = self.embed(clips.transpose(1, 2)).flatten(2).transpose(1, 2)  # (B, 1568, width)
            return self.blocks(tokens).mean(1).float()


def vit(size: Literal["B", "L"]) -> Vit:
    """The model in inference mode."""
    return Vit(size).eval().requires_grad_(False)
