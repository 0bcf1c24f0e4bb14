"""What losses need to know of the other processes where training is distributed (DDP).

DDP averages the processes' gradients. A loss that is a sum over a batch divided by some count of the same batch is
therefore that of all the processes' batches as one if every process divides by the count's mean over the processes.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def process_count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def mean_over_processes(count: Tensor) -> Tensor:
    """The mean of a count, any shape, over the processes; without gradient. Every process has to call it."""
    if process_count() == 1:
        return count.detach()
    count = count.detach().float().clone()
    dist.all_reduce(count)
    return count / process_count()


def rows_of_all_processes(rows: Tensor) -> Tensor:
    """(N, ...) rows of this process, of which each has its own N -> those of all, the same in every process.

    Gradients reach this process's own rows, times the number of processes, by which DDP divides: where every process
    computes one and the same loss of all rows, together they train as one process. Every process has to call it.
    """
    processes = process_count()
    if processes == 1:
        return rows
    counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(processes)]
    dist.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    padded = rows.new_zeros(int(max(counts)), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in range(processes)]
    dist.all_gather(parts, padded)
    parts = [part[: int(count)] for part, count in zip(parts, counts, strict=True)]
    if rows.requires_grad:
        parts[dist.get_rank()] = rows.detach() + processes * (rows - rows.detach())
    return torch.cat(parts)
