"""Frames to the device where the network is, beside what it computes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Arriving:
    """Frames on their way to a device: (N, H, W, 3) uint8. `copied`: when they are there; None where they are."""

    pixels: Tensor
    copied: torch.cuda.Event | None = None

    def here(self) -> Tensor:
        """The frames, for the stream that computes: it waits for them, we do not."""
        if self.copied is not None:
            stream = torch.cuda.current_stream(self.pixels.device)
            stream.wait_event(self.copied)
            self.pixels.record_stream(stream)
        return self.pixels


class Transfer:
    """Sends frames to one device, on a stream of its own. Each thread has its own one.

    Args:
        device: Of the network.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, pixels: NDArray[np.uint8] | Tensor) -> Arriving:
        """Start; frames that a GPU decoded are there when this thread's stream, where they were scaled, is done."""
        frames = pixels if isinstance(pixels, Tensor) else torch.from_numpy(pixels)
        if self._stream is None:
            return Arriving(pixels=frames)
        stream = torch.cuda.current_stream(self._device) if frames.is_cuda else self._stream
        with torch.cuda.stream(stream):
            frames = frames if frames.is_cuda else frames.pin_memory().to(self._device, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record(stream)
        return Arriving(pixels=frames, copied=copied)
