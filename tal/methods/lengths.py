"""Networks whose outputs depend on how far a sequence is padded: every window as long as if it were alone.

Normalisation gives padded positions a bias, which kernels over the last valid snippets see, the originals' too: what a
network says of a window's end depends on whether padding follows, and with statistics over time on how much of it. So
that it does not depend on the videos beside it in a batch, windows go through the network by their lengths.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tal.methods.base import Batch
from tal.ops.exporting import exporting

Outputs = TypeVar("Outputs")


def at_own_lengths(network: Callable[[Batch], Outputs], batch: Batch, lengths: Sequence[int]) -> Outputs:
    """What `network` says of every window as if the window were padded to its own length.

    Windows of one length go through the network together.

    Args:
        network: Gives a dataclass whose fields are tensors, (B, ..., T) or (B, K), or tuples of them, one per level.
        batch: Padded to any length.
        lengths: Per window, at least its number of valid snippets.

    Returns:
        The network's outputs of all windows, padded with zeros to the longest.
    """
    if exporting():
        return network(batch)
    parts, rows = [], []
    for length in sorted(set(lengths)):
        row = [index for index, own in enumerate(lengths) if own == length]
        part = batch if len(row) == len(batch) else _rows(batch, row)
        parts.append(network(_cut(part, length)))
        rows += row
    if len(parts) == 1:
        return parts[0]
    order = torch.tensor(rows, device=batch.mask.device).argsort()
    joined: dict[str, Tensor | tuple[Tensor, ...]] = {}
    for field in fields(parts[0]):  # type: ignore[arg-type]
        values = [getattr(part, field.name) for part in parts]
        if isinstance(values[0], Tensor):
            joined[field.name] = _stacked(values)[order]
        else:
            joined[field.name] = tuple(_stacked(level)[order] for level in zip(*values, strict=True))
    return type(parts[0])(**joined)


def few_lengths(lengths: Sequence[int], free: Sequence[bool], *, most: float = math.inf) -> list[int]:
    """Lengths of a batch's windows, made as few as they can be.

    Args:
        lengths: That each window has alone.
        free: Those that may be longer: all the padding that the network sees is there already.
        most: But not longer than this.

    Returns:
        The free ones' longest, or the least other length beyond it, for all that are free.
    """
    common = max((own for own, more in zip(lengths, free, strict=True) if more), default=0)
    others = [own for own, more in zip(lengths, free, strict=True) if not more and common <= own <= most]
    common = min(others, default=common)
    return [common if more else own for own, more in zip(lengths, free, strict=True)]


def _rows(batch: Batch, rows: Sequence[int]) -> Batch:
    """The network's view of some windows."""
    index = torch.tensor(rows, device=batch.mask.device)
    return Batch(
        streams={name: x[index] for name, x in batch.streams.items()},
        mask=batch.mask[index],
        grids=tuple(batch.grids[row] for row in rows),
        durations_s=tuple(batch.durations_s[row] for row in rows),
        videos=tuple(batch.videos[row] for row in rows),
    )


def _cut(batch: Batch, length: int) -> Batch:
    """The batch without what lies beyond `length`."""
    if batch.mask.shape[-1] <= length:
        return batch
    return replace(
        batch,
        streams={name: x[..., :length] for name, x in batch.streams.items()},
        mask=batch.mask[..., :length],
    )


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    longest = max(part.shape[-1] for part in parts)
    return torch.cat([F.pad(part, (0, longest - part.shape[-1])) for part in parts])
