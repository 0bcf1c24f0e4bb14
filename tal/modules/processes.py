"""What losses need to know of the other processes where training is distributed (DDP).

DDP averages the processes' gradients. A loss that is a sum over a batch divided by some count of the same batch is
therefore that of all the processes' batches as one if every process divides by the count's mean over the processes.
"""

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
