"""Two processes train as one with twice the batch: for every method, the same loss, gradients and normalisers."""

import contextlib
import sys
from pathlib import Path
from unittest import mock

import pytest
import torch
import torch.distributed
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

from tal.registry import METHODS

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from methods_small import WITHOUT_CHANCE, small_batch, small_method

VIDEOS, STEPS = 4, 2


@contextlib.contextmanager
def _nothing_random():
    """What methods draw for their losses differs from place to place, but is the same for every video."""
    with contextlib.ExitStack() as stack:
        for name, highest in (("rand", 1.0), ("randn", 2.0), ("randint", 7.0)):
            stack.enter_context(mock.patch.object(torch, name, _patterned(getattr(torch, name), highest)))
        yield


def _patterned(draw, highest):
    def drawn(*args, **options):
        found = draw(*args, **options)
        places = found[0].numel() if found.dim() > 1 else 1
        pattern = torch.linspace(highest, 0.1 if found.min() >= 0 else -highest, places)
        return found.copy_(
            pattern.view(found[0].shape).expand_as(found) if found.dim() > 1 else pattern.expand_as(found)
        )

    return drawn


def _steps(name, videos, processes):
    """Losses of two plain gradient steps, the gradients of the first, and the buffers after both."""
    method = small_method(name, **WITHOUT_CHANCE).train()
    network = (
        DistributedDataParallel(_Trained(method), find_unused_parameters=True) if processes > 1 else _Trained(method)
    )
    found = {"losses": []}
    for step in range(STEPS):
        network.zero_grad()
        torch.manual_seed(step)
        with _nothing_random():
            loss = network(small_batch(method, videos, seed=step))
        loss.backward()
        mean = loss.detach().clone()
        if processes > 1:
            torch.distributed.all_reduce(mean)
        found["losses"].append(float(mean) / processes)
        named = dict(method.named_parameters())
        found.setdefault("gradients", {key: x.grad.clone() for key, x in named.items() if x.grad is not None})
        with torch.no_grad():
            for parameter in named.values():
                if parameter.grad is not None:
                    parameter -= 0.1 * parameter.grad
    return found | {"buffers": {key: x.clone() for key, x in method.named_buffers()}}


class _Trained(torch.nn.Module):
    """What DDP calls: a forward that ends with the loss."""

    def __init__(self, method):
        super().__init__()
        self.method = method

    def forward(self, batch):
        return self.method.loss(self.method(batch), batch)["loss"]


def _process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {}
    for name in METHODS:
        try:
            found[name] = _steps(name, range(rank, VIDEOS, 2), 2)
        except Exception as error:  # noqa: BLE001  # told by that method's own test
            found[name] = repr(error)
    if rank == 0:
        torch.save(found, folder / "found.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """What two processes find for every method; forked, because loading torch anew takes longer than all of it."""
    folder = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.start_processes(_process, (folder,), nprocs=2, start_method="fork")
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_are_one_with_twice_the_batch(of_two, name):
    two, one = of_two[name], _steps(name, VIDEOS, 1)
    assert isinstance(two, dict), two
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert two["losses"][0] != two["losses"][1]
    for part in ("gradients", "buffers"):
        assert two[part].keys() == one[part].keys()
        for key, value in one[part].items():
            torch.testing.assert_close(
                two[part][key], value, rtol=1e-3, atol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
            )
