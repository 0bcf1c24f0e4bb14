"""A backbone whose features are the frames' own numbers, so that tests know what must come out."""

import pytest
import torch

from tal.backbones.base import Backbone, BackboneSpec
from tal.video.base import Resize


class CountingBackbone(Backbone):
    """Features: of each frame of the clip, the number that `make_video` drew in it."""

    def __init__(self, spec):
        super().__init__()
        self.spec = spec
        self.weight = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.batch_sizes = []

    def forward(self, clips):
        self.batch_sizes.append(len(clips))
        pixels = clips * 0.25 + 0.5  # (B, T, 3, 48, 64) in [0, 1]
        centres = [(2 * bit + 1) * 64 // 20 for bit in range(10)]
        bits = (pixels[:, :, :, 8, centres].mean(dim=2) > 0.5).float()
        return bits @ (2.0 ** torch.arange(10, device=clips.device))


@pytest.fixture
def counting():
    """Builds a `CountingBackbone`."""

    def build(*, clip_frames=4, fps=10.0, stride_s=0.2):
        spec = BackboneSpec(
            name="counting",
            weights="none",
            weights_hash="0",
            clip_frames=clip_frames,
            fps=fps,
            stride_s=stride_s,
            resize=Resize(exact=(48, 64)),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            width=clip_frames,
        )
        return CountingBackbone(spec)

    return build
