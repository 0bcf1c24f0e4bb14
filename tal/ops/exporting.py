"""Graphs that leave Python (`torch.export`, ONNX): when one is being made, and operations that it needs otherwise."""

import torch
import torch.nn.functional as F
from torch import Tensor

_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)


def exporting() -> bool:
    """Whether `torch.export` is looking on. What is padded has been padded by the caller then."""
    return bool(_is_exporting())


def max_pool(x: Tensor, kernel_size: int, stride: int, padding: int) -> Tensor:
    """Max pooling of (B, C, T), of any T in exported graphs too: torch's own fixes T there."""
    if not exporting():
        return F.max_pool1d(x, kernel_size, stride, padding)
    return F.max_pool2d(x[:, :, None], (1, kernel_size), (1, stride), (0, padding))[:, :, 0]
