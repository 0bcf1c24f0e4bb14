"""Spans to begin with: ground truth blurred by noise in training, noise alone in inference.

DenoiseLoc (Xu et al. 2024, arXiv:2304.02934, section 3.2) in the form of its code; the schedule is that of Nichol and
Dhariwal (2021), the padding with random spans that of DiffusionDet (Chen et al. 2023).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from tal.errors import ConfigError

Kind = Literal["gaussian", "grid", "learned"]
STEPS = 1000
_OFFSET = 0.008
_LARGEST_BETA = 0.999
_PADDING_SPREAD = 1 / 6
_SHORTEST = 1e-4
_WHOLE = (0.5, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class SpanDraws:
    """What is random about the training spans of B videos.

    Args:
        step: (B,) int64 in [0, STEPS), how much noise.
        noise: (B, Q, 2) standard normal.
        padding: (B, Q, 2) standard normal, of which the rows after a video's ground truth are used.
        kept: Per video, the ground truths that are used where there are more than Q of them; None for all.
    """

    step: Tensor
    noise: Tensor
    padding: Tensor
    kept: tuple[Tensor | None, ...]


class SpanNoise(nn.Module):
    """Blurs spans as the forward process of diffusion does.

    Args:
        queries: Q, spans per video.
        scale: Of the signal against noise of deviation 1; values beyond it are cut off.
    """

    signal: Tensor
    blur: Tensor

    def __init__(self, queries: int, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise ConfigError(f"snr_scale of {scale}", expected="a positive number")
        self.queries, self.scale = queries, scale
        kept = kept_variance()
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("blur", (1 - kept).sqrt().float(), persistent=False)

    def draw(self, counts: Sequence[int]) -> SpanDraws:
        """Draws for videos with so many ground truths, from torch's CPU generator."""
        shape = (len(counts), self.queries, 2)
        return SpanDraws(
            step=torch.randint(STEPS, shape[:1], device="cpu"),
            noise=torch.randn(shape, device="cpu"),
            padding=torch.randn(shape, device="cpu"),
            kept=tuple(
                torch.randperm(count, device="cpu")[: self.queries].sort().values if count > self.queries else None
                for count in counts
            ),
        )

    @torch.no_grad()
    def blurred(self, truth: Sequence[Tensor], draws: SpanDraws) -> Tensor:
        """Training spans.

        Args:
            truth: Per video (N, 2) centre and width, in fractions of the video. A video without any is given its whole.
            draws: From `draw`.

        Returns:
            (B, Q, 2) centre and width in [0, 1].
        """
        device = self.signal.device
        rows = zip(truth, draws.padding.to(device), draws.kept, strict=True)
        clean = torch.stack([self._filled(*row) for row in rows])  # (B, Q, 2)
        step, noise = draws.step.to(device), draws.noise.to(device)
        signal, blur = self.signal[step, None, None], self.blur[step, None, None]
        return self.to_fractions(signal * (2 * clean - 1) * self.scale + blur * noise)

    def _filled(self, truth: Tensor, padding: Tensor, kept: Tensor | None) -> Tensor:
        """(Q, 2) ground truth, then random spans about the middle."""
        truth = truth.to(padding) if len(truth) else padding.new_tensor([_WHOLE])
        if kept is not None:
            truth = truth[kept.to(truth.device)]
        spans = padding * _PADDING_SPREAD + 0.5
        spans = torch.cat([spans[:, :1], spans[:, 1:].clamp(min=_SHORTEST)], dim=1)
        return torch.cat([truth, spans[len(truth) :]])

    def to_fractions(self, noise: Tensor) -> Tensor:
        """Noise cut off at the scale, mapped to [0, 1]."""
        return (noise.clamp(-self.scale, self.scale) / self.scale + 1) / 2

    def gaussian(self, seed: int) -> Tensor:
        """(Q, 2) centre and width of inference's spans, decided by the seed alone."""
        generator = torch.Generator("cpu").manual_seed(seed)
        noise = torch.randn(self.queries, 2, generator=generator, device="cpu")
        return self.to_fractions(noise)


def kept_variance() -> Tensor:
    """(STEPS,) float64, the share of the signal's variance that is left after every step of the cosine schedule."""
    place = torch.linspace(0, 1, STEPS + 1, dtype=torch.float64, device="cpu")
    ideal = torch.cos((place + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2
    return (ideal[1:] / ideal[:-1]).clamp(1 - _LARGEST_BETA, 1).cumprod(0)


def grid_spans(queries: int) -> Tensor:
    """(Q, 2) centre and width: windows of 1, 1/2, 1/4, ... of the video that overlap by half, the longest first.

    The original has no such spans; the paper's ablation names a uniform grid, the layout is ours.
    """
    rows: list[tuple[float, float]] = []
    width = 1.0
    while len(rows) < queries:
        places = round(2 / width) - 1
        rows += [((place + 1) * width / 2, width) for place in range(places)]
        width /= 2
    return torch.tensor(rows[:queries], device="cpu")


class FirstSpans(nn.Module):
    """The spans that refinement begins with.

    Args:
        queries: Q.
        scale: See SpanNoise.
        denoise: Training begins with blurred ground truth; otherwise with what inference begins with.
        kind: Inference begins with noise ("gaussian"), with the same windows for every video ("grid"), or with learned
            ones, as Sparse R-CNN does ("learned", only without `denoise`, which would never train them).
        seed: Of inference's noise, the same for every video, so that no result depends on a batch's make-up.

    Raises:
        ConfigError: an unknown kind, or learned spans that nothing trains.
    """

    fixed: Tensor

    def __init__(self, queries: int, *, scale: float, denoise: bool, kind: Kind, seed: int) -> None:
        super().__init__()
        if kind not in get_args(Kind):
            raise ConfigError(f"first_spans {kind!r}", expected=" or ".join(f'"{each}"' for each in get_args(Kind)))
        if denoise and kind == "learned":
            raise ConfigError(
                "first_spans learned with denoise",
                expected='"gaussian" or "grid", or denoise false',
                cause="training on blurred ground truth never sees the learned spans",
            )
        self.denoise, self.kind = denoise, kind
        self.noise = SpanNoise(queries, scale)
        if kind == "learned":
            self.learned = nn.Parameter(torch.tensor([_WHOLE]).repeat(queries, 1))
        else:
            fixed = self.noise.gaussian(seed) if kind == "gaussian" else grid_spans(queries)
            self.register_buffer("fixed", fixed, persistent=False)

    def forward(self, videos: int, truth: Sequence[Tensor] | None) -> Tensor:
        """Spans of so many videos, (B, Q, 2) centre and width in fractions of the video.

        Args:
            videos: B.
            truth: Per video (N, 2) centre and width; what training with `denoise` needs.
        """
        if self.training and self.denoise:
            if truth is None:
                raise ConfigError("training on blurred ground truth without any", expected="a batch with targets")
            return self.noise.blurred(truth, self.noise.draw([len(each) for each in truth]))
        if self.kind == "learned":
            return self.learned.expand(videos, -1, -1)
        if self.training and self.kind == "gaussian":
            drawn = torch.randn(videos, *self.fixed.shape, device="cpu").to(self.fixed)
            return self.noise.to_fractions(drawn)
        return self.fixed.expand(videos, -1, -1)
