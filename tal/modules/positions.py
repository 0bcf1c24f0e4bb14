"""Where in the sequence: fixed sinusoid encodings."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.ops.exporting import exporting


class SinusoidPositions(nn.Module):
    """Adds sine (even channels) and cosine (odd channels) of the position, divided by sqrt(C) (Vaswani et al. 2017).

    A sequence as long as the table or longer gets the table stretched linearly to its length; an exported network reads
    no more than the table holds. The table is no part of the state dict.
    """

    table: Tensor

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        position = torch.arange(length, dtype=torch.float64)
        channel = torch.arange(width, dtype=torch.float64)
        angle = position / 10000 ** (2 * (channel // 2) / width)[:, None]  # (C, length)
        table = torch.where((channel % 2 == 0)[:, None], angle.sin(), angle.cos()) / width**0.5
        self.register_buffer("table", table.float()[None], persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T), mask (B, 1, T) -> (B, C, T)."""
        T = x.shape[-1]
        if exporting():  # by indices: a slice would say which of them T has to be
            table = self.table.index_select(-1, torch.arange(T, device=x.device))
        elif self.table.shape[-1] < T:
            table = F.interpolate(self.table, T, mode="linear", align_corners=False)
        else:
            table = self.table[..., :T]
        return x + table * mask
