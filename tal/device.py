"""What this machine computes on. torch is loaded when a device is chosen, not before."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tal.errors import TalError

if TYPE_CHECKING:
    import torch


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(device: str | torch.device) -> torch.device:
    """A device that is there.

    Args:
        device: "cpu", "cuda", "cuda:1" or the like; "auto" takes a GPU if there is one.

    Raises:
        TalError: no such kind of device, or a GPU that this machine does not have.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda" if gpus else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise TalError(f"unknown device {str(device)!r}", expected='"cpu", "cuda" or "cuda:1"') from error
    if chosen.type == "cuda" and (chosen.index or 0) >= gpus:
        raise TalError(
            f"device {str(device)!r} was asked for; torch finds {gpus} GPUs",
            expected="a GPU that torch can use",
            todo="choose the device cpu, or see tal info",
        )
    return chosen
