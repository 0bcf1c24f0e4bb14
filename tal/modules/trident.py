"""Trident head: ends as expected distances under a distribution over the positions around a point (TriDet)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.heads import ClassificationHead


class BoundaryHeads(nn.Module):
    """Logits per position and class that an instance starts there, and that it ends there.

    They see the features detached: boundaries do not shape the pyramid.

    Args:
        in_width, width, outputs, layers, kernel_size, prior_prob, empty: As in `ClassificationHead`.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        outputs: int,
        *,
        layers: int = 3,
        kernel_size: int = 3,
        prior_prob: float = 0.01,
        empty: Sequence[int] = (),
    ) -> None:
        super().__init__()
        for name in ("start", "end"):
            head = ClassificationHead(
                in_width, width, outputs, layers=layers, kernel_size=kernel_size, prior_prob=prior_prob, empty=empty
            )
            self.add_module(name, head)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level (B, C, T_l) -> starts and ends, per level (B, K, T_l)."""
        detached = [x.detach() for x in levels]
        start, end = (self.get_submodule(name)(detached, masks) for name in ("start", "end"))
        return start, end


def trident_offsets(
    start: Tensor, end: Tensor, centers: Tensor, row: Tensor, position: Tensor, label: Tensor
) -> Tensor:
    """Distances to start and end of chosen (window, position, class) triples (TriDet, section 3.3, equations 5 to 7).

    The start is one of the position itself and the `bins` before it, with the probability that the softmax of boundary
    logits there plus the position's own `centers` gives; the distance is its expectation. Ends likewise, after the
    position. Beyond the sequence boundary logits are 0, as in the reference implementation.

    Args:
        start: (B, K, T) boundary logits of one level; likewise end.
        centers: (B, 2 * (bins + 1), T), for the start from the farthest position to the nearest, for the end from the
            nearest on.
        row, position, label: int64 of one shape S.

    Returns:
        S + (2,), each in [0, bins], in strides of the level.
    """
    bins = centers.shape[1] // 2 - 1
    steps = torch.arange(bins + 1, device=start.device)
    index = (row[..., None], label[..., None], position[..., None] + steps)  # S + (bins + 1,)
    left = F.pad(start.float(), (bins, 0))[index]
    right = F.pad(end.float(), (0, bins))[index]
    own_left, own_right = centers.float()[row, :, position].unflatten(-1, (2, bins + 1)).unbind(-2)
    distances = torch.stack([bins - steps, steps], dim=-1).float()  # (bins + 1, 2)
    spread = torch.stack([(left + own_left).softmax(-1), (right + own_right).softmax(-1)], dim=-1)
    return (spread * distances).sum(-2)
