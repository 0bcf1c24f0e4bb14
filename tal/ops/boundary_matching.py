"""Features of every segment between two snippets: the boundary-matching layer of BMN (Lin et al. 2019), sparsely.

The original multiplies features with a mask of shape (T, N * T * T), 128 MB for T = 100 and N = 32 samples, almost all
of it zeros, and half of the outcome belongs to segments that end before they start. Here the mask is a sparse matrix
over the segments that exist. As sampling is linear, the convolution that follows it, which sums over the N samples, is
applied to the T snippets first: N * T vectors in place of N * T * T.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix, vstack
from torch import Tensor

Layout = Literal["start_end", "duration_start"]
Ints = NDArray[np.int64]

_BLOCK = 512
"""Segments whose weights are made at once."""


class Cells(NamedTuple):
    """The segments that a map holds, row by row of the map.

    Args:
        shape: Of the map.
        place: (M,) position of each segment in the flattened map.
        start_idx, last_idx: (M,) its first and its last snippet.
    """

    shape: tuple[int, int]
    place: Ints
    start_idx: Ints
    last_idx: Ints

    def filling(self) -> Ints:
        """(rows * columns,) for every place of the map which segment stands there; M where there is none."""
        found = np.full(self.shape[0] * self.shape[1], len(self.place))
        found[self.place] = np.arange(len(self.place))
        return found


def map_cells(snippets: int, layout: Layout, durations: int | None = None) -> Cells:
    """Which segments a map over `snippets` snippets holds.

    Args:
        snippets: T.
        layout: "start_end": (T, T), first snippet by last snippet. "duration_start": (D, T), snippets beyond the first
            one by first snippet.
        durations: D, the longest segment in snippets; None for T.
    """
    longest = snippets if durations is None else durations
    if layout == "start_end":
        shape = (snippets, snippets)
        start, last = np.divmod(np.arange(snippets * snippets), snippets)
    else:
        shape = (longest, snippets)
        beyond, start = np.divmod(np.arange(longest * snippets), snippets)
        last = start + beyond
    place = np.flatnonzero((last >= start) & (last < snippets) & (last - start < longest))
    return Cells(shape, place, start[place], last[place])


class Bags(NamedTuple):
    """A sparse matrix by rows: row i has weight[k] at column[k] for k from first[i] to first[i + 1]."""

    column: Tensor
    first: Tensor
    weight: Tensor

    @classmethod
    def of(cls, matrix: csr_matrix) -> Bags:
        """On the CPU, weights in single precision as the original's mask."""
        return cls(
            torch.from_numpy(matrix.indices.astype(np.int64)),
            torch.from_numpy(matrix.indptr.astype(np.int64)),
            torch.from_numpy(matrix.data.astype(np.float32)),
        )

    def to(self, device: torch.device) -> Bags:
        """On another device."""
        return Bags(*(each.to(device) for each in self))

    def times(self, x: Tensor) -> Tensor:
        """(columns, W) -> (rows, W)."""
        return F.embedding_bag(
            self.column, x, self.first, per_sample_weights=self.weight, mode="sum", include_last_offset=True
        )


class SamplingMatrix(NamedTuple):
    """A sparse matrix and its transpose."""

    rows: Bags
    columns: Bags

    def to(self, device: torch.device) -> SamplingMatrix:
        """On another device."""
        return SamplingMatrix(self.rows.to(device), self.columns.to(device))

    def times(self, x: Tensor) -> Tensor:
        """(columns, W) -> (rows, W), computed in single precision; differentiable."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if not (torch.is_grad_enabled() and x.requires_grad):
                return self.rows.times(x)
            product: Tensor = _Product.apply(x, *self.rows, *self.columns)
            return product


class _Product(torch.autograd.Function):
    """The gradient is a product with the transpose: sums in a fixed order, no scattered additions."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *bags: Tensor) -> Tensor:
        ctx.save_for_backward(*bags[3:])
        return Bags(*bags[:3]).times(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (Bags(*ctx.saved_tensors).times(grads[0].contiguous()), *[None] * 6)


def sampling_matrix(
    cells: Cells,
    snippets: int,
    *,
    samples: int = 32,
    per_sample: int = 3,
    extension: float = 0.5,
    end: Literal["after", "last"] = "after",
    fold: bool = True,
) -> SamplingMatrix:
    """What each sample of each segment is made of.

    A segment from its first snippet to `end`, of that length plus one, is extended by the share `extension` on both
    sides; `samples * per_sample` equally spaced positions, both ends among them, are interpolated linearly between
    snippets, and the mean of `per_sample` neighbours is a sample. Beyond the features there are zeros, except that
    positions in (-1, 0) take all of snippet 0: the originals truncate towards zero there.

    Args:
        cells: The segments.
        snippets: T.
        samples, per_sample, extension: As above.
        end: "after": the snippet after the last one (JJBOY/BMN-Boundary-Matching-Network). "last": the last one itself
            (the first release; OpenTAD).
        fold: Over (sample, snippet) pairs, (M + 1, samples * T), the last row empty; otherwise (M * samples, T).
    """
    parts = []
    for low in range(0, len(cells.place), _BLOCK):
        some = slice(low, low + _BLOCK)
        position = _positions(cells.start_idx[some], cells.last_idx[some], samples * per_sample, extension, end)
        parts.append(_weights(position, snippets, samples, per_sample, fold))
    if fold:
        parts.append(csr_matrix((1, samples * snippets)))
    matrix = vstack(parts, format="csr")
    return SamplingMatrix(Bags.of(matrix), Bags.of(matrix.T.tocsr()))


def _positions(start: Ints, last: Ints, count: int, extension: float, end: str) -> NDArray[np.float64]:
    """(M, count) equally spaced positions over each extended segment, in the originals' order of operations."""
    low = start.astype(np.float64)
    high = last + (1.0 if end == "after" else 0.0)
    margin = (high - low + 1) * extension
    low, high = low - margin, high + margin
    step = (high - low) / (count - 1.0) if count > 1 else np.zeros_like(low)
    found: NDArray[np.float64] = low[:, None] + step[:, None] * np.arange(count)
    return found


def _weights(position: NDArray[np.float64], snippets: int, samples: int, per_sample: int, fold: bool) -> csr_matrix:
    """Rows of the sampling matrix for some segments, (M, samples * T) or (M * samples, T)."""
    down = np.trunc(position)
    weight = np.stack([1 - (position - down), position - down])
    snippet = np.stack([down, np.ceil(position)]).astype(np.int64)
    cell, place = np.indices(position.shape)
    here = (snippet >= 0) & (snippet < snippets) & (weight != 0)
    cell, sample, snippet = (np.broadcast_to(each, here.shape)[here] for each in (cell, place // per_sample, snippet))
    if fold:
        index, shape = (cell, sample * snippets + snippet), (len(position), samples * snippets)
    else:
        index, shape = (cell * samples + sample, snippet), (len(position) * samples, snippets)
    return coo_matrix((weight[here] / per_sample, index), shape=shape).tocsr()


def sample_segments(x: Tensor, matrix: SamplingMatrix, samples: int) -> Tensor:
    """The samples themselves, for those who need them unreduced.

    Args:
        x: (B, C, T).
        matrix: Of `sampling_matrix` with `fold=False`.
        samples: N.

    Returns:
        (B, C, N, M).
    """
    batch, width, _ = x.shape
    found = matrix.times(x.permute(2, 0, 1).flatten(1))  # (M * N, B * C)
    return found.view(-1, samples, batch, width).permute(2, 3, 1, 0)


def convolve_segments(x: Tensor, weight: Tensor, matrix: SamplingMatrix) -> Tensor:
    """The convolution of every segment's samples, without the samples.

    Args:
        x: (B, C, T).
        weight: (H, C, N).
        matrix: Of `sampling_matrix`.

    Returns:
        (M + 1, B, H): per segment, then that of a segment without features, zeros.
    """
    batch, width, snippets = x.shape
    hidden, _, samples = weight.shape
    rows = x.permute(2, 0, 1).reshape(1, snippets * batch, width)
    seen = torch.matmul(rows, weight.permute(2, 1, 0))  # (N, T * B, H): what each snippet is as each sample
    found = matrix.times(seen.view(samples * snippets, batch * hidden))
    return found.view(-1, batch, hidden)
