"""tiny: a small video network for the built-in benchmark, whose weights ship with the package.

Trained by tools/train_tiny.py on playground videos of seeds that neither demo nor tests use. It knows the playground's
figures and nothing else; on real video it is a stand-in for trying the pipeline.
"""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.weights import FILE, RANDOM, hash_of, load_file, random_model, seeded
from tal.errors import TalError
from tal.video.base import Resize

CLIP_FRAMES = 9
FPS = 7.5
STRIDE_FRAMES = 2
SIZE = (72, 96)
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
WIDTH = 128

_WEIGHTS = "tiny.safetensors"
_GREY = 0.25 / 3  # of a channel's deviation: back to brightness in [0, 1]
_CONTRAST = 20.0


class TinyNetwork(nn.Module):
    """Convolutions over maps of what changes from frame to frame, brightness alone: a figure is what moves.

    From frames themselves a network of this size learns nothing in minutes; from changes it does, and it pays with
    knowing less where the camera moves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            _block(CLIP_FRAMES - 1, 32, stride=1),  # (32, 36, 48)
            _block(32, 64, stride=2),
            _block(64, 64, stride=2),
            _block(64, 64, stride=2),  # (64, 5, 6)
        )
        self.summary = nn.Linear(64 * 5 * 6, WIDTH)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 9, 3, 72, 96) normalised -> (B, 128)."""
        return self.features(changes(clips))

    def features(self, maps: Tensor) -> Tensor:
        """(B, 8, 36, 48) -> (B, 128)."""
        features: Tensor = self.summary(self.look(maps).flatten(1))
        return features


def changes(clips: Tensor) -> Tensor:
    """How much brightness changes from each frame to the next, at half the size, on a logarithmic scale.

    Args:
        clips: (B, T, 3, H, W) normalised.

    Returns:
        (B, T - 1, H / 2, W / 2), 0 where nothing changes.
    """
    grey = clips.sum(dim=2) * _GREY
    return torch.log1p(_CONTRAST * functional.avg_pool2d((grey[:, 1:] - grey[:, :-1]).abs(), 2))


def _block(width_in: int, width_out: int, *, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width_out), nn.ReLU())


class Tiny(Backbone):
    """`TinyNetwork` with its spec."""

    def __init__(self, network: TinyNetwork, spec: BackboneSpec) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 9, 3, 72, 96) normalised -> (B, 128) float32."""
        features: Tensor = self.network(clips)
        return features.float()


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> Tiny:
    """Build the network; see `load_backbone`. `weights` None gives those that ship with the package.

    Raises:
        TalError: a model's name (there is only one), or weights that cannot be loaded.
    """
    if model:
        raise TalError(f"backbone 'tiny:{model}'", expected="tiny, which has no variants")
    if weights == RANDOM:
        network, source = random_model(TinyNetwork, "tiny"), RANDOM
    else:
        network, source = seeded(TinyNetwork), "shipped" if weights is None else FILE
        if weights is None:
            with as_file(files("tal.backbones").joinpath(_WEIGHTS)) as path:
                load_file(network, path)
        else:
            load_file(network, Path(weights))
    if not isinstance(network, TinyNetwork):
        raise TypeError(type(network))
    spec = BackboneSpec(
        name="tiny",
        weights=source,
        weights_hash=hash_of(network),
        clip_frames=CLIP_FRAMES,
        fps=FPS,
        stride_s=STRIDE_FRAMES / FPS if stride_s is None else stride_s,
        resize=Resize(exact=SIZE, interpolation="bilinear", mode=resize_mode),
        mean=MEAN,
        std=STD,
        width=WIDTH,
    )
    return Tiny(network, spec)
