"""logmel: how loud each band of the sound is, on average and at most, in every window. No network, no weights.

What a sound model has to beat, and enough to tell silence, speech and bangs apart.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tal.audio.base import AudioBackbone, AudioSpec
from tal.audio.logmel import LogMel
from tal.errors import TalError

EXAMPLE_FRAMES, STRIDE_S = 96, 0.96


class PooledLogMel(AudioBackbone):
    """Mean, then maximum, of each band over the example's frames."""

    def __init__(self, spec: AudioSpec) -> None:
        super().__init__()
        self.spec = spec

    def forward(self, examples: Tensor) -> Tensor:
        """(B, 96, 64) -> (B, 128)."""
        return torch.cat([examples.mean(dim=1), examples.amax(dim=1)], dim=1)


def build(
    model: str, *, weights: Path | str | None, stride_s: float | None, resize_mode: Literal["fast", "reference"]
) -> PooledLogMel:
    """Build it; see `load_backbone`. The spectrogram, its windows of 0.96 s and their stride are VGGish's.

    Raises:
        TalError: a model's name, or weights: there are none.
    """
    if model:
        raise TalError(f"backbone 'logmel:{model}'", expected="logmel, which has no variants")
    if weights is not None:
        raise TalError(f"weights {str(weights)!r} for logmel", expected="none: it has no weights")
    log_mel = LogMel()
    spec = AudioSpec(
        name="logmel",
        weights="",
        weights_hash="",
        log_mel=log_mel,
        example_frames=EXAMPLE_FRAMES,
        stride_s=STRIDE_S if stride_s is None else stride_s,
        width=2 * log_mel.bands,
    )
    return PooledLogMel(spec)
