"""Optical flow between consecutive frames by RAFT (Teed, Deng 2020, arXiv:2003.12039), as torchvision has it.

For the second stream of two-stream networks, which were trained on TV-L1; RAFT in its place is what
v-iashin/video_features does. What becomes of the flow is as the authors of I3D say (deepmind/kinetics-i3d, README): cut
to +-20 pixels per frame, scaled to [-1, 1], the centre kept. It is computed before cropping.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.backbones.weights import FILE, RANDOM, downloading, load_file, random_model, seeded
from tal.errors import unknown_name
from tal.video.base import Resize
from tal.video.resize import plan

MODELS = ("raft_large", "raft_small")
BOUND_PX = 20.0

_MULTIPLE, _SHORTEST, _LONGEST = 8, 128, 1024
_PAIRS = {"cpu": 1, "cuda": 16}


class Flow(nn.Module):
    """RAFT on pairs of frames.

    Args:
        network: One of torchvision's.
        facts: Of its name and weights.
        updates: Refinements of the flow; 12 is torchvision's default.
    """

    def __init__(self, network: nn.Module, facts: Mapping[str, Any], *, updates: int = 12) -> None:
        super().__init__()
        self.network, self.updates = network, updates
        self.facts = {**facts, "flow_updates": updates}

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """How far each pixel of `first` moves until `second`.

        Args:
            first, second: (N, 3, H, W) in [-1, 1].

        Returns:
            (N, 2, H, W) pixels to the right and down.
        """
        height, width = first.shape[2:]
        pads = [*_pads(width), *_pads(height)]
        first, second = (F.pad(frames, pads, mode="replicate") for frames in (first, second))
        flow: Tensor = self.network(first, second, num_flow_updates=self.updates)[-1]
        return flow[:, :, pads[2] : pads[2] + height, pads[0] : pads[0] + width]


class FlowStage:
    """A `FrameStage`: every frame becomes the flow to the next one, every pair computed once.

    The last frame has itself as the next, so that a stream of flow has as many snippets as one of colour. Pairs run in
    batches of one size, the last one filled up, so that the numbers do not depend on how the frames come.

    Args:
        flow: In inference mode, on its device.
        crop: (height, width) of the maps, from the frame's centre.
        pairs: Computed at once; None for a number that suits the device.
    """

    def __init__(self, flow: Flow, crop: tuple[int, int], *, pairs: int | None = None) -> None:
        self._flow, self._crop = flow, crop
        device = next(flow.parameters()).device.type
        self._pairs = _PAIRS.get(device, 1) if pairs is None else pairs
        self._kept: Tensor | None = None

    def feed(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) in [-1, 1] -> (n, 2, height, width) in [-1, 1]; less than a batch of pairs is held back."""
        if self._kept is not None:
            frames = torch.cat([self._kept, frames])
        whole = max(0, len(frames) - 1) // self._pairs * self._pairs
        maps = [self._maps(frames[first : first + self._pairs + 1]) for first in range(0, whole, self._pairs)]
        self._kept = frames[whole:].clone()
        return torch.cat(maps) if maps else frames.new_empty(0, 2, *self._crop)

    def end(self) -> Tensor:
        """The maps of the frames held back, (n, 2, height, width)."""
        if self._kept is None:
            return torch.empty(0, 2, *self._crop)
        left, self._kept = self._kept, None
        filled = torch.cat([left, left[-1:].expand(self._pairs + 1 - len(left), -1, -1, -1)])
        return self._maps(filled)[: len(left)]

    def _maps(self, frames: Tensor) -> Tensor:
        """(pairs + 1, 3, H, W) -> (pairs, 2, height, width)."""
        frames = _centre(frames, (min(frames.shape[2], _LONGEST), min(frames.shape[3], _LONGEST)))
        flow = _centre(self._flow(frames[:-1], frames[1:]), self._crop)
        return flow.clamp(-BOUND_PX, BOUND_PX) / BOUND_PX


def load_flow(model: str, weights: Path | str | None) -> Flow:
    """Build RAFT.

    Args:
        model: "raft_large" or "raft_small".
        weights: None for the published ones, "random" for none, or a local file of torchvision's layout.

    Raises:
        TalError: no such model, or weights that cannot be loaded.
    """
    if model not in MODELS:
        raise unknown_name("optical flow", model, MODELS)
    from torchvision import models

    builder, published = models.get_model_builder(model), models.get_model_weights(model).DEFAULT
    if weights is None:
        with downloading(model):
            network, source = builder(weights=published), published.name
    elif weights == RANDOM:
        network, source = random_model(lambda: builder(weights=None), model), RANDOM
    else:
        network, source = seeded(lambda: builder(weights=None)), FILE
        load_file(network, Path(weights))
    return Flow(network, {"flow": model, "flow_weights": source}).eval()


def _pads(length: int) -> tuple[int, int]:
    """Before and after, up to what RAFT takes."""
    missing = max(_SHORTEST, -(-length // _MULTIPLE) * _MULTIPLE) - length
    return missing // 2, missing - missing // 2


def _centre(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle (height, width), as decoders crop frames."""
    part = plan(maps.shape[2], maps.shape[3], Resize(crop=size))
    return maps[:, :, part.top : part.top + part.height, part.left : part.left + part.width]
