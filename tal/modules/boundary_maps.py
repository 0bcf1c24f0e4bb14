"""The network of BMN: a base, boundary probabilities per snippet, and a map of scores of all segments."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.ops.boundary_matching import Layout, SamplingMatrix, convolve_segments, map_cells, sampling_matrix


class GroupedConvs(nn.Module):
    """Layers of grouped convolution and ReLU, without normalisation: what BMN calls its base module.

    Args:
        in_width, width: C before and after.
        layers, kernel_size, groups: Of the convolutions.
    """

    def __init__(self, in_width: int, width: int, *, layers: int = 2, kernel_size: int = 3, groups: int = 4) -> None:
        super().__init__()
        widths = [in_width, *[width] * layers]
        self.conv = nn.ModuleList(
            nn.Conv1d(before, after, kernel_size, padding=kernel_size // 2, groups=groups)
            for before, after in pairwise(widths)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C_in, T), mask (B, 1, T) -> (B, C, T), zero where the mask is False."""
        for conv in self.conv:
            x = F.relu(conv(x)) * mask
        return x


class BoundaryHead(nn.Module):
    """How likely an instance starts, and ends, at each snippet (the temporal evaluation module).

    Args:
        width: C.
        groups: Of the hidden convolution.
        shared: One hidden layer for both in place of one each (a switch of OpenTAD).
    """

    def __init__(self, width: int, *, groups: int = 4, shared: bool = False) -> None:
        super().__init__()
        heads = 1 if shared else 2
        self.hidden = nn.ModuleList(nn.Conv1d(width, width, 3, padding=1, groups=groups) for _ in range(heads))
        self.score = nn.ModuleList(nn.Conv1d(width, 2 // heads, 1) for _ in range(heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, 2, T) logits: start, end."""
        found = [score(F.relu(hidden(x))) for hidden, score in zip(self.hidden, self.score, strict=True)]
        return torch.cat(found, dim=1)


class SegmentMap(nn.Module):
    """Scores of every segment (the proposal evaluation module), on the sparse boundary-matching layer.

    `place`, `start_idx` and `last_idx`, (M,), say where each segment stands in the flattened map, and what it is.

    Outside of the segments that exist, the original's map has the features of no samples at all, biases; its 3x3
    convolutions see them at the border, so they stand here too.

    Args:
        width: C of what it reads.
        snippets: T.
        layout, durations: Of the map, see `tal.ops.boundary_matching.map_cells`.
        reduced: C that is sampled.
        hidden: Channels after the convolution over samples.
        out: Channels of the two-dimensional layers.
        layers, kernel_size: Of these.
        samples, per_sample, extension, end: See `tal.ops.boundary_matching.sampling_matrix`.
    """

    place: Tensor
    start_idx: Tensor
    last_idx: Tensor
    filling: Tensor

    def __init__(
        self,
        width: int,
        snippets: int,
        *,
        layout: Layout = "start_end",
        durations: int | None = None,
        reduced: int = 256,
        hidden: int = 512,
        out: int = 128,
        layers: int = 2,
        kernel_size: int = 3,
        samples: int = 32,
        per_sample: int = 3,
        extension: float = 0.5,
        end: Literal["after", "last"] = "after",
    ) -> None:
        super().__init__()
        self.snippets, self.cells = snippets, map_cells(snippets, layout, durations)
        self._sampling = {"samples": samples, "per_sample": per_sample, "extension": extension, "end": end}
        self._matrix: SamplingMatrix | None = None
        for name, column in {**self.cells._asdict(), "filling": self.cells.filling()}.items():
            if name != "shape":
                self.register_buffer(name, torch.from_numpy(column), persistent=False)
        self.reduce = nn.Conv1d(width, reduced, 3, padding=1)
        self.sampled = nn.Conv1d(reduced, hidden, samples)  # over a segment's samples, applied before they are drawn
        self.shrink = nn.Linear(hidden, out)
        self.smooth = nn.ModuleList(nn.Conv2d(out, out, kernel_size, padding=kernel_size // 2) for _ in range(layers))
        self.score = nn.Conv2d(out, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, 2, rows, columns) logits: regression of the tIoU, classification by it."""
        x = F.relu(self.reduce(x))  # (B, reduced, T)
        bias = self.sampled.bias
        x = convolve_segments(x, self.sampled.weight, self._sampling_matrix())  # (M + 1, B, hidden)
        x = F.relu(self.shrink(F.relu(x if bias is None else x + bias)))  # (M + 1, B, out)
        x = x.index_select(0, self.filling).permute(1, 2, 0)  # (B, out, rows * columns)
        x = x.unflatten(2, self.cells.shape).contiguous()
        for conv in self.smooth:
            x = F.relu(conv(x))
        return self.score(x)

    def _sampling_matrix(self) -> SamplingMatrix:
        """On the weights' device; made when it is first needed, and no buffer: nothing to save or to send."""
        if self._matrix is None:
            self._matrix = sampling_matrix(self.cells, self.snippets, **self._sampling)  # type: ignore[arg-type]
        if self._matrix.rows.weight.device != self.filling.device:
            self._matrix = self._matrix.to(self.filling.device)
        return self._matrix
