"""A backbone that costs nothing: the mean colours of a clip, or all of its numbers.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from toy_backbone import ToyBackbone
"""

import torch

from tal.backbones.base import Backbone, BackboneSpec
from tal.video.base import Resize


class ToyBackbone(Backbone):
    """Clips of four frames of 8 x 8 pixels.

    Args:
        stride_s: From one clip to the next.
        whole: All 768 numbers of a clip, otherwise its three mean colours.
    """

    def __init__(self, *, stride_s=0.2, whole=False):
        super().__init__()
        self.whole = whole
        self.spec = BackboneSpec(
            name="tiny",
            weights="toy",
            weights_hash="toy",
            clip_frames=4,
            fps=10.0,
            stride_s=stride_s,
            resize=Resize(exact=(8, 8), interpolation="bilinear"),
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            width=768 if whole else 3,
        )
        self.scale = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, clips):
        return clips.flatten(1) if self.whole else clips.mean((1, 3, 4)) * self.scale
