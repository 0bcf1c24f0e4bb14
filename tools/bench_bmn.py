"""BMN's boundary-matching layer against the dense form of the original: time, and peak memory.

    python tools/bench.py bmn [--snippets 100] [--samples 32] [--widths 128 256] [--batch 1] [--device cpu]

The dense form multiplies features with a mask of shape (T, N * T * T) and convolves the samples; ours is
`tal.ops.boundary_matching`. Both take (B, C, T) to 512 channels per segment, and are compared before anything is timed.
Every form runs in a process of its own, whose peak is counted from before it makes its mask or matrix; on a GPU the
peak is that of the allocator. Medians of wall time. Bars: a fifth of the memory at most, and faster, for inference and
for a training step.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

HIDDEN = 512
MEMORY_BAR = 5.0
FORMS = ("dense", "sparse")


def layer(form: str, snippets: int, samples: int, device: str) -> Callable[[Any, Any], Any]:
    """(B, C, T) and a weight (H, C, N) -> (B, H, M): the convolved samples of every segment that exists."""
    import torch
    import torch.nn.functional as F

    from tal.ops.boundary_matching import convolve_segments, map_cells, sampling_matrix

    cells = map_cells(snippets, "start_end")
    place = torch.from_numpy(cells.place).to(device)
    if form == "sparse":
        matrix = sampling_matrix(cells, snippets, samples=samples).to(torch.device(device))
        return lambda x, weight: convolve_segments(x, weight, matrix)[:-1].permute(1, 2, 0)

    rows = sampling_matrix(cells, snippets, samples=samples, fold=False).rows
    mask = torch.zeros(snippets, samples, snippets * snippets)
    row = torch.repeat_interleave(torch.arange(len(rows.first) - 1), rows.first.diff())
    mask[rows.column, row % samples, torch.from_numpy(cells.place)[row // samples]] = rows.weight
    mask = mask.flatten(1).to(device)

    def dense(x: Any, weight: Any) -> Any:
        sampled = torch.matmul(x, mask).view(*x.shape[:2], samples, snippets, snippets)
        found = F.conv3d(sampled, weight[..., None, None], stride=(samples, 1, 1))
        return found.flatten(2)[..., place]

    return dense


def measure(form: str, width: int, options: argparse.Namespace) -> dict[str, Any]:
    """Time of one form and its peak memory, in this process."""
    import torch

    import tal.ops.boundary_matching  # noqa: F401  # what it imports is not the layer's memory

    torch.manual_seed(0)
    device = options.device
    x = torch.randn(options.batch, width, options.snippets, device=device, requires_grad=True)
    weight = torch.randn(HIDDEN, width, options.samples, device=device).mul_(0.01).requires_grad_()
    before = _peak_bytes(device)
    run = layer(form, options.snippets, options.samples, device)

    def infer() -> Any:
        with torch.no_grad():
            return run(x, weight)

    def step() -> Any:
        x.grad = weight.grad = None
        run(x, weight).square().mean().backward()

    found: dict[str, Any] = {"digest": infer()[..., ::97].flatten()[:64].tolist()}
    for name, function in (("inference", infer), ("step", step)):
        function()
        times = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            function()
            if device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        found[f"{name} s"] = median(times)
        found[f"{name} bytes"] = _peak_bytes(device) - before
    assert x.grad is not None
    found["grad"] = x.grad.flatten()[:64].mul(1e3).tolist()
    return found


def _peak_bytes(device: str) -> int:
    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    import torch

    return torch.cuda.max_memory_allocated()


def main(words: Sequence[str]) -> int:
    """Print both forms side by side; 1 if they differ or a bar is missed."""
    parser = argparse.ArgumentParser(prog="bench.py bmn", description=__doc__.partition("\n")[0])
    parser.add_argument("--snippets", type=int, default=100)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--widths", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    if options.form is not None:
        print(json.dumps(measure(options.form, options.widths[0], options)))
        return 0
    missed = 0
    print(f"T {options.snippets}, N {options.samples}, B {options.batch}, {HIDDEN} channels out, {options.device}")
    print(f"{'C':>5} {'':<10}{'dense':>12}{'ours':>12}{'ratio':>9}")
    for width in options.widths:
        dense, sparse = (_child(form, width, words) for form in FORMS)
        apart = max(abs(a - b) for name in ("digest", "grad") for a, b in zip(dense[name], sparse[name], strict=True))
        for name in ("inference", "step"):
            times, peaks = ([each[f"{name} {unit}"] for each in (dense, sparse)] for unit in ("s", "bytes"))
            faster, smaller = times[0] / times[1], peaks[0] / max(peaks[1], 1)
            print(f"{width:>5} {name:<10}{times[0] * 1e3:>9.0f} ms{times[1] * 1e3:>9.0f} ms{faster:>8.1f}x")
            print(f"{'':>5} {'':<10}{peaks[0] / 1e6:>9.0f} MB{peaks[1] / 1e6:>9.0f} MB{smaller:>8.1f}x")
            missed += faster <= 1 or smaller < MEMORY_BAR
        print(f"{'':>5} largest difference {apart:.1e}")
        missed += apart > 1e-3
    return int(missed > 0)


def _child(form: str, width: int, words: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).with_name("bench.py")), "bmn", *words]
    command += ["--widths", str(width), "--form", form]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
