"""Instance-wise filtering of a span's features by weights made from what is known about the span."""

import torch.nn.functional as F
from torch import Tensor, nn


class DynamicConv(nn.Module):
    """Two linear maps per span, made from its proposal feature, over its bins, and a projection of the outcome.

    Sparse R-CNN (Sun et al. 2021, section 3.2) in one dimension, as DenoiseLoc (Xu et al. 2024) has it.

    Args:
        width: C of spans and features.
        hidden: C between the two maps.
        bins: N per span.
    """

    def __init__(self, width: int, *, hidden: int, bins: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.maps = nn.Linear(width, 2 * width * hidden)
        self.norm_inner = nn.LayerNorm(hidden)
        self.norm_outer = nn.LayerNorm(width)
        self.project = nn.Linear(width * bins, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, proposals: Tensor, features: Tensor) -> Tensor:
        """Proposal features (M, C) and the spans' bins (M, N, C) -> (M, C)."""
        to_inner, to_outer = self.maps(proposals).chunk(2, dim=-1)  # (M, C H) each
        x = features @ to_inner.unflatten(-1, (self.width, self.hidden))  # (M, N, H)
        x = F.relu(self.norm_inner(x))
        x = x @ to_outer.unflatten(-1, (self.hidden, self.width))  # (M, N, C)
        x = F.relu(self.norm_outer(x))
        return F.relu(self.norm(self.project(x.flatten(1))))
