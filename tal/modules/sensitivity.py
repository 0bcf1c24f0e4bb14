"""Action sensitivity: how much each moment of an instance matters for naming it, and for finding its ends.

Shao et al. 2023 (ICCV, arXiv:2305.15701), sections 3.2 and 3.3. The paper's own code is not public; what the docstrings
call ours is a reconstruction. The authors' variant for Ego4D (JonnyS1226/ego4d_asl, arXiv:2306.09172) has the Gaussians
and no evaluators.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal.modules.masked import MaskedConv

MU_RANGE = (-0.5, 0.5)
SIGMA_MIN = 0.1
_EPS = 1e-6


class ClassSensitivity(nn.Module):
    """Learnt Gaussians over the length of an instance, for each class.

    Naming: one, that starts at the centre; finding the ends: two, that start at them. All start with a deviation of
    one length. The Ego4D variant negates the position and divides it by the level's stride as well, by which all
    weights of coarse levels become the same; here it is the fraction of the instance on every level.

    Args:
        classes: K.
        form: For finding the ends, "sum" of the two (the paper), or "mean_times_class": their mean times the Gaussian
            for naming (the Ego4D variant).
    """

    def __init__(self, classes: int, form: Literal["sum", "mean_times_class"] = "sum") -> None:
        super().__init__()
        self.form = form
        for name, mu in (("cls", 0.0), ("sta", -0.5), ("end", 0.5)):
            self.register_parameter(f"mu_{name}", nn.Parameter(torch.full((classes, 1), mu)))
            self.register_parameter(f"sigma_{name}", nn.Parameter(torch.ones(classes, 1)))

    def forward(self, position: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Sensitivities for naming and for finding the ends.

        Args:
            position: (...) in the instance, -0.5 at its start, 0.5 at its end.
            label: (...) int64, the instance's class; broadcast to `position`.

        Returns:
            Two of (...): the first in (0, 1], the second in (0, 2] as a sum.
        """
        naming, start, end = (self._gaussian(name, position, label) for name in ("cls", "sta", "end"))
        return naming, start + end if self.form == "sum" else naming * (start + end) / 2

    def _gaussian(self, name: str, position: Tensor, label: Tensor) -> Tensor:
        mu, sigma = (self.get_parameter(f"{kind}_{name}")[label, 0] for kind in ("mu", "sigma"))
        return (-((position - mu) ** 2) / (2 * sigma.square()).clamp(min=_EPS)).exp()

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put every mu back into the instance, and every sigma to `SIGMA_MIN` at least.

        Ours, against weights that make the loss small by looking away from it.
        """
        for name, parameter in self.named_parameters():
            if name.startswith("mu"):
                parameter.clamp_(*MU_RANGE)
            else:
                parameter.clamp_(min=SIGMA_MIN)

    def means(self) -> dict[str, Tensor]:
        """Name -> mean over the classes, (): what to watch."""
        return {name: parameter.detach().mean() for name, parameter in self.named_parameters()}


class Evaluator(nn.Module):
    """How good each point is, in (0, 1), from the features around it: a convolution over time, then one per point.

    The paper gives convolution, linear layer and sigmoid; ReLU between them, the width, and one evaluator for all
    levels are ours.

    Args:
        in_width: C of the levels.
        width: C between the two convolutions.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.conv = MaskedConv(in_width, width, 3)
        self.out = MaskedConv(width, 1, 1)

    def forward(self, levels: Sequence[Tensor], masks: Sequence[Tensor]) -> Tensor:
        """Per level (B, C, T_l), mask (B, 1, T_l) -> (B, P), the points of all levels."""
        quality = [self.out(F.relu(self.conv(x, mask)), mask) for x, mask in zip(levels, masks, strict=True)]
        return torch.cat(quality, dim=2)[:, 0].float().sigmoid()


def most_sensitive(sensitivity: Tensor, among: Tensor, share: float) -> Tensor:
    """The points of every instance that matter most.

    Args:
        sensitivity: (G, P) of P points for G instances.
        among: (G, P) bool, the points that an instance has.
        share: As many as this share of them, rounded down, are chosen; one at least, where there is one.

    Returns:
        (G, P) bool.
    """
    rank = sensitivity.masked_fill(~among, float("-inf")).argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    wanted = (among.sum(1, keepdim=True) * share).floor().clamp(min=1)
    return (rank < wanted) & among


def pooled(features: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen points, of length 1.

    Args:
        features: (C, P).
        chosen: (G, P) bool; a row that chooses none gives zeros.

    Returns:
        (G, C).
    """
    with torch.autocast(features.device.type, enabled=False):
        weight = chosen.to(features.dtype)
        return F.normalize(weight @ features.T / weight.sum(1, keepdim=True).clamp(min=1), dim=1)


def contrast(anchors: Tensor, label: Tensor, others: Tensor, temperature: float) -> Tensor:
    """Anchors of one class attract each other, and repel those of other classes and all others.

    -mean_i log(sum_P exp(f_i . x / t) / (sum_P + sum_N)), P_i the other anchors of i's class: the paper's Action
    Sensitive Contrastive Loss (section 3.3), a loss with several positives as in Miech et al. 2020 (MIL-NCE).

    Args:
        anchors: (M, C) of length 1.
        label: (M,) int64.
        others: (R, C) of length 1, which attract nothing.
        temperature: t.

    Returns:
        (). Anchors without another of their class are left out.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        scores = anchors.float() @ torch.cat([anchors, others]).float().T / temperature  # (M, M + R)
    itself = torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    same = F.pad(label[:, None] == label, (0, len(others))) & ~itself
    everything = scores.masked_fill(itself, float("-inf")).logsumexp(1)
    has_one = same.any(1)
    attracted = scores[has_one].masked_fill(~same[has_one], float("-inf")).logsumexp(1)
    return (everything[has_one] - attracted).sum() / has_one.sum().clamp(min=1)
