"""Training steps of THUMOS14 size, ActionFormer's and TriDet's, against the same steps done as the originals do them.

    python tools/bench.py train [--methods actionformer tridet] [--snippets 2304] [--batch 2] [--width 512] [--steps 5]
    python tools/bench.py train --device cuda

The baseline is the same network, losses and optimiser with these things done as the original code does them: local
attention over overlapping chunks (the sliding chunks of Longformer, Beltagy et al. 2020, section 3.1: queries and keys
copied into chunks of twice the reach, scores of whole chunks, then skewed into bands); layer norm composed of
elementary operations; dense layers as one-dimensional convolutions; SGP's five depthwise convolutions one by one;
boundary neighbourhoods of all points and classes before the positive ones are chosen. Steps of both are taken in turn
in one run; medians and their ratio are printed, of elapsed time and, on a CPU, of the processor time of all threads,
which other work on the machine disturbs less.

On a GPU ours computes as --trainer.precision bf16 does, and its network is compiled, which tal train leaves out; the
baseline in 32 bits, as published.
Without a GPU, --device cuda says so and measures nothing.
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
from tal.methods.pyramid import Matched
from tal.methods.tridet import TridentOutputs, TriDet
from tal.modules.masked import Pointwise
from tal.modules.sgp import SgpBlock
from tal.pipelines.train_derive import method_config
from tal.pipelines.train_module import parameter_groups
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.pipelines.train_settings import OptimSettings
from tal.registry import METHODS
from tal.segments import Segments
from tal.timeline import SnippetGrid

RECIPES = {name: f"thumos14/{name}_i3d" for name in ("actionformer", "tridet")}


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


def _plain_pointwise(self: Pointwise, x: Tensor) -> Tensor:
    return F.conv1d(x, self.weight[..., None], self.bias)


def _plain_perceive(self: SgpBlock, x: Tensor) -> Tensor:
    """SGP's sum with every depthwise convolution by itself, those of kernel 1 included."""
    conv = {name: self.get_submodule(name) for name in ("overall", "instant", "narrow", "wide", "gate")}
    overall = F.relu(conv["overall"](x.mean(dim=-1, keepdim=True)))
    return x + conv["instant"](x) * overall + (conv["narrow"](x) + conv["wide"](x)) * conv["gate"](x)


def _plain_pairs(self: TriDet, outputs: TridentOutputs, found: Matched) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Positive pairs, chosen after the neighbourhoods of all points and classes were copied together."""
    answering = (found.wanted > 0) & found.positive[..., None]  # (B, P, K)
    bins = self.config.bins
    left, right, centers = [], [], []
    for start, end, own in zip(outputs.start, outputs.end, outputs.offsets, strict=True):
        left.append(F.pad(start, (bins, 0)).unfold(2, bins + 1, 1).permute(0, 2, 1, 3).contiguous())
        right.append(F.pad(end, (0, bins)).unfold(2, bins + 1, 1).permute(0, 2, 1, 3).contiguous())
        centers.append(own.transpose(1, 2).unflatten(2, (2, bins + 1)))
    row, point, label = answering.nonzero(as_tuple=True)
    own = torch.cat(centers, dim=1)[row, point].float()  # (N, 2, bins + 1)
    near = torch.stack([torch.cat(each, dim=1)[row, point, label] for each in (left, right)], dim=1).float()
    steps = torch.arange(bins + 1, device=near.device, dtype=torch.float32)
    spread = (near + own).softmax(-1)
    return (row, point, label), (spread * torch.stack([bins - steps, steps])).sum(-1)


@contextlib.contextmanager
def as_the_original() -> Iterator[None]:
    """The networks and the loss as the original code computes them."""
    with (
        patch("tal.modules.attention.local_attention", chunked_attention),
        patch("tal.modules.masked.ChannelNorm.forward", _elementary_norm),
        patch("tal.modules.masked.Pointwise.forward", _plain_pointwise),
        patch("tal.modules.masked.convolve", F.conv1d),
        patch("tal.modules.sgp.convolve", F.conv1d),
        patch("tal.modules.sgp.SgpBlock.perceive", _plain_perceive),
        patch("tal.methods.tridet.TriDet._positive_pairs", _plain_pairs),
    ):
        yield


def make_step(method: Method, snippets: int, batch: int, device: str, *, fast: bool = False) -> Callable[[], float]:
    """A function that takes one training step on a fixed synthetic batch and returns its loss.

    Args:
        method: On the device.
        snippets, batch: Size of the batch.
        device: "cpu" or "cuda".
        fast: Mixed precision with 16-bit brain floats, and a compiled network.
    """
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
    network = torch.compile(method) if fast else method

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=fast):
            loss = method.loss(network(fixed), fixed)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        return float(loss.detach())

    return step


def compare(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Print both medians and their ratio, and return the ratios and the relative difference of the losses."""
    recipe = build_recipe(read_recipe(RECIPES[name]), ["--model.width", str(options.width)])
    classes = tuple(f"class{index}" for index in range(20))
    config = method_config(recipe, {"i3d": 2048}, classes)
    seconds: dict[str, list[tuple[float, float]]] = {"ours": [], "original": []}
    steps, losses = {}, {}
    on_gpu = options.device != "cpu"
    for which in seconds:
        torch.manual_seed(0)
        method = METHODS.load(recipe.method)(config).to(options.device).train()
        steps[which] = make_step(
            method, options.snippets, options.batch, options.device, fast=on_gpu and which == "ours"
        )
    for turn in range(options.steps + 1):
        for which, step in steps.items():
            torch.manual_seed(turn)
            with as_the_original() if which == "original" else contextlib.nullcontext():
                began, used = time.perf_counter(), time.process_time()
                losses[which] = step()  # reading the loss waits for the device
                if turn:  # the first step warms up
                    seconds[which].append((time.perf_counter() - began, time.process_time() - used))
    where = torch.cuda.get_device_name() if on_gpu else f"cpu, {torch.get_num_threads()} threads"
    print(
        f"{name} training step, T={options.snippets}, batch {options.batch}, width {options.width}, {where}, "
        f"median of {options.steps}"
    )
    print(f"  loss of the last step: ours {losses['ours']:.5f}, as the original {losses['original']:.5f}")
    found = {"loss": abs(losses["ours"] / losses["original"] - 1)}
    for column, what in enumerate(("elapsed",) if on_gpu else ("elapsed", "processor time")):
        ours, original = (median(values[column] for values in seconds[which]) for which in ("ours", "original"))
        print(f"  {what:<15} ours {ours:.3f} s, as the original {original:.3f} s, ratio {original / ours:.2f}")
        found[what] = original / ours
    return found


def main(argv: Sequence[str]) -> int:
    """Print the comparisons."""
    parser = argparse.ArgumentParser(prog="bench.py train", description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--snippets", type=int, default=2304)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(argv)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here (see `tal info`): nothing is measured")
        return 0
    for name in options.methods:
        compare(name, options)
    return 0


if __name__ == "__main__":
    import sys

    sys.exit(main(sys.argv[1:]))
