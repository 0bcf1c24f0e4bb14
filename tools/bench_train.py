"""An ActionFormer training step of THUMOS14 size against the same step with the original's attention.

    python tools/bench.py train [--snippets 2304] [--batch 2] [--width 512] [--steps 5] [--device cpu]

The baseline is the same network, losses and optimiser with two things done as the original code does them: local
attention over overlapping chunks (the sliding chunks of Longformer, Beltagy et al. 2020, section 3.1: queries and keys
copied into chunks of twice the reach, scores of whole chunks, then skewed into bands), and layer norm composed of
elementary operations. Steps of both are taken in turn in one run; medians and their ratio are printed, of elapsed time
and, on a CPU, of the processor time of all threads, which other work on the machine disturbs less.
"""

import argparse
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tal.methods.base import Method, Sample
from tal.methods.batching import collate
from tal.pipelines.train_derive import method_config
from tal.pipelines.train_module import parameter_groups
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.pipelines.train_settings import OptimSettings
from tal.registry import METHODS
from tal.segments import Segments
from tal.timeline import SnippetGrid

RECIPE = "thumos14/actionformer_i3d"


def chunked_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, *, window: int, position_bias: Tensor | None = None
) -> Tensor:
    """What `tal.ops.local_attention` computes, by sliding chunks; T has to be a multiple of 2 * (window // 2)."""
    b, h, t, d = query.shape
    reach = window // 2
    q, k, v = (x.reshape(b * h, t, d) for x in (query / d**0.5, key, value))
    scores = _banded_scores(q, k, reach)  # (B*H, T, window)
    lowered = torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -1e4).transpose(1, 2)  # (B, T, 1)
    key_bias = _banded_scores(torch.ones_like(lowered), lowered, reach)
    scores = scores.view(b, h, t, window) + key_bias[:, None]
    if position_bias is not None:
        scores = scores + position_bias[:, None]
    probabilities = scores.softmax(-1).masked_fill(~mask.transpose(1, 2)[:, None], 0.0)
    return _banded_sum(probabilities.view(b * h, t, window), v, reach).view(b, h, t, d)


def _banded_scores(query: Tensor, key: Tensor, reach: int) -> Tensor:
    """(N, T, D) twice -> (N, T, 2 reach + 1) products of every query with the keys around it; -inf beyond the ends."""
    n, t, _ = query.shape
    chunks = [x.unfold(1, 2 * reach, reach).transpose(2, 3).contiguous() for x in (query, key)]  # (N, n, 2r, D)
    whole = torch.einsum("ncxd,ncyd->ncxy", *chunks)  # (N, n, 2r, 2r)
    skewed = F.pad(whole, (0, 0, 0, 1)).view(n, -1, 2 * reach, 2 * reach + 1)  # row x now starts at its diagonal
    band = whole.new_zeros(n, t // reach, reach, 2 * reach + 1)
    band[:, :-1, :, reach:] = skewed[:, :, :reach, : reach + 1]
    band[:, -1, :, reach:] = skewed[:, -1, reach:, : reach + 1]
    band[:, 1:, :, :reach] = skewed[:, :, -(reach + 1) : -1, reach + 1 :]
    if reach > 1:
        band[:, 0, 1:, 1:reach] = skewed[:, 0, : reach - 1, 1 - reach :]
    band = band.view(n, t, 2 * reach + 1)
    corner = torch.ones(reach, reach, dtype=torch.bool, device=band.device).tril()
    band[:, :reach, :reach].masked_fill_(corner.flip(0), float("-inf"))
    band[:, -reach:, -reach:].masked_fill_(corner.flip(1), float("-inf"))
    return band


def _banded_sum(probabilities: Tensor, value: Tensor, reach: int) -> Tensor:
    """(N, T, 2 reach + 1) weights, (N, T, D) values -> (N, T, D)."""
    n, t, d = value.shape
    count, band = t // reach, 2 * reach + 1
    rows = probabilities.view(n, count, reach, band)
    square = F.pad(rows, (0, reach + 1)).view(n, count, -1)[..., :-reach]
    square = square.view(n, count, reach, band + reach)[..., :-1]  # (N, n, r, 3r): each row moved to its own place
    values = F.pad(value, (0, 0, reach, reach)).unfold(1, 3 * reach, reach).transpose(2, 3).contiguous()
    return torch.einsum("ncxy,ncyd->ncxd", square, values).reshape(n, t, d)


def _elementary_norm(self: torch.nn.LayerNorm, x: Tensor) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    spread = (centred**2).mean(dim=1, keepdim=True)
    return centred / torch.sqrt(spread + self.eps) * self.weight[:, None] + self.bias[:, None]


@contextlib.contextmanager
def as_the_original() -> Iterator[None]:
    """The network's local attention and channel norm as the original code computes them."""
    with (
        patch("tal.modules.attention.local_attention", chunked_attention),
        patch("tal.modules.masked.ChannelNorm.forward", _elementary_norm),
    ):
        yield


def make_step(method: Method, snippets: int, batch: int, device: str) -> Callable[[], float]:
    """A function that takes one training step on a fixed synthetic batch and returns its loss."""
    rng = np.random.default_rng(0)
    grid = SnippetGrid(stride_s=4 / 30, window_s=16 / 30, count=snippets)
    starts = rng.uniform(0, grid.end_s - 20, (batch, 15))
    samples = [
        Sample(
            video=f"v{row}",
            streams={
                name: torch.from_numpy(rng.standard_normal((snippets, width), np.float32))
                for name, width in method.inputs.streams.items()
            },
            grid=grid,
            duration_s=grid.end_s,
            instances=Segments(
                start_s=start,
                end_s=start + rng.uniform(0.5, 15, 15),
                label=rng.integers(0, len(method.classes), 15),
                classes=method.classes,
            ),
        )
        for row, start in enumerate(starts)
    ]
    fixed = collate(samples, method.inputs, train=True).to(device)
    optimizer = torch.optim.AdamW(parameter_groups(method, OptimSettings()), lr=1e-4)

    def step() -> float:
        optimizer.zero_grad()
        loss = method.loss(method(fixed), fixed)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def main(argv: Sequence[str]) -> int:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(prog="bench.py train", description=__doc__.partition("\n")[0])
    parser.add_argument("--snippets", type=int, default=2304)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(argv)

    recipe = build_recipe(read_recipe(RECIPE), ["--model.width", str(options.width)])
    classes = tuple(f"class{index}" for index in range(20))
    config = method_config(recipe, {"i3d": 2048}, classes)
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "original": []}
    steps = {}
    for name in seconds:
        torch.manual_seed(0)
        method = METHODS.load(recipe.method)(config).to(options.device).train()
        steps[name] = make_step(method, options.snippets, options.batch, options.device)
    losses: dict[str, float] = {}
    for turn in range(options.steps + 1):
        for name, step in steps.items():
            torch.manual_seed(turn)
            with as_the_original() if name == "original" else contextlib.nullcontext():
                began, used = time.perf_counter(), time.process_time()
                losses[name] = step()
                if turn:  # the first step warms up
                    seconds[name].append((time.perf_counter() - began, time.process_time() - used))
    print(
        f"ActionFormer training step, T={options.snippets}, batch {options.batch}, width {options.width}, "
        f"{options.device}, {torch.get_num_threads()} threads, median of {options.steps}"
    )
    print(f"  loss of the last step: ours {losses['ours']:.5f}, the original's attention {losses['original']:.5f}")
    for column, what in enumerate(("elapsed", "processor time") if options.device == "cpu" else ("elapsed",)):
        ours, original = (median(values[column] for values in seconds[name]) for name in ("ours", "original"))
        print(f"  {what:<15} ours {ours:.3f} s, the original's attention {original:.3f} s, ratio {original / ours:.2f}")
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
