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

CLIP_FRAMES = 9  # the first only shows what changed in the second
FPS = 7.5
STRIDE_FRAMES = 2
SIZE = (72, 96)
MEAN = (0.5, 0.5, 0.5)
STD = (0.25, 0.25, 0.25)
WIDTH = 128

_WEIGHTS = "tiny.safetensors"
_CHANNELS = (24, 48, 96, 96)


class TinyNetwork(nn.Module):
    """What a frame shows plus what changed since the one before, convolved over the picture, then over time.

    Pooling is over the picture's width only: where a figure stands does not matter, how high its parts are does.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third, fourth = _CHANNELS
        self.look = nn.Conv2d(3, 2 * first, 5, stride=3, padding=2, bias=False)
        with torch.no_grad():
            self.look.weight[first:] *= 3  # changes from frame to frame are smaller than contrasts within one
        self.picture = nn.Sequential(
            nn.BatchNorm2d(first),
            nn.ReLU(),
            _block(first, second, kernel=3, stride=2),  # (48, 12, 16)
            _block(second, third, kernel=3, stride=2),  # (96, 6, 8)
            _block(third, fourth, kernel=3, stride=1),
        )
        self.project = nn.Linear(fourth * 6 * 2, WIDTH)
        self.time = nn.Sequential(
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(), nn.Conv1d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()
        )
        self.mix = nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 9, 3, 72, 96) normalised -> (B, 128)."""
        return self.summary(self.frames(clips))

    def frames(self, clips: Tensor) -> Tensor:
        """(B, T + 1, 3, 72, 96) -> (B, 128, T), a vector for every frame but the first, from it and the one before."""
        B, T = clips.shape[0], clips.shape[1] - 1
        still, moving = (
            self.look(clips.flatten(0, 1)).unflatten(0, (B, T + 1)).chunk(2, dim=2)
        )  # (B, T + 1, 24, 24, 32)
        seen = still[:, 1:] + moving[:, 1:] - moving[:, :-1]
        rows = self.picture(seen.flatten(0, 1))  # (B * T, 96, 6, 8)
        pooled = torch.cat([rows.mean(dim=3), rows.amax(dim=3)], dim=1).flatten(1)
        return functional.relu(self.project(pooled)).view(B, T, WIDTH).transpose(1, 2)

    def summary(self, frames: Tensor) -> Tensor:
        """(B, 128, T) -> (B, 128): mean, maximum and middle of the frames' vectors after convolutions over time."""
        T = frames.shape[2]
        timed = frames + self.time(frames)
        middle = timed[:, :, (T - 1) // 2 : T // 2 + 1].mean(dim=2)
        return self.mix(torch.cat([timed.mean(dim=2), timed.amax(dim=2), middle], dim=1))


def _block(width_in: int, width_out: int, *, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(width_in, width_out, kernel, stride=stride, padding=kernel // 2, bias=False)
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
