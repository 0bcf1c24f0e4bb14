"""How many actors a cluster gets: never more than it has room for, unless asked."""

import pytest

from tal.errors import ConfigError
from tal.features.cluster.sizes import choose_sizes


def reserved(sizes):
    """(CPUs, GPUs) of all actors."""
    cpus = sizes.networks * sizes.network_cpus + sum(sizes.decoders) * sizes.decoder_cpus
    return cpus, sizes.networks * sizes.gpus


@pytest.mark.parametrize("nodes", [[(1, 0)], [(2, 0)], [(64, 0)], [(8, 0), (4, 0), (0, 0)], [(16, 1)], [(96, 8)] * 4])
@pytest.mark.parametrize("decoders", [None, 32, 40])
def test_everything_fits(nodes, decoders):
    sizes = choose_sizes(nodes, decoders=decoders)
    cpus, gpus = reserved(sizes)
    assert cpus <= sum(each for each, _ in nodes) + 1e-6
    assert gpus <= sum(each for _, each in nodes)
    assert len(sizes.decoders) == sizes.networks
    assert min(sizes.decoders) >= 1
    assert max(sizes.decoders) - min(sizes.decoders) <= 1
    assert decoders is None or sum(sizes.decoders) == decoders


def test_a_network_on_each_gpu_and_decoders_on_the_other_cores():
    sizes = choose_sizes([(16, 2), (32, 0)])
    assert (sizes.networks, sum(sizes.decoders), sizes.gpus) == (2, 46, 1.0)


def test_several_networks_share_a_gpu():
    assert choose_sizes([(16, 2)], gpus=0.25).networks == 8
    assert choose_sizes([(16, 2)], gpus=0.4).networks == 4


def test_without_gpus_networks_of_four_cores():
    sizes = choose_sizes([(8, 0), (16, 0)])
    assert (sizes.networks, sum(sizes.decoders), sizes.threads) == (6, 24, 4)


def test_gpus_left_alone():
    assert choose_sizes([(8, 2)], gpus=0).gpus == 0


@pytest.mark.parametrize(
    ("nodes", "asked"),
    [
        ([(4, 0)], {"gpus": 1.0}),
        ([(4, 1)], {"networks": 3, "gpus": 0.5}),
        ([(4, 1)], {"gpus": 1.5}),
        ([(4, 1)], {"gpus": -1.0}),
        ([(4, 0)], {"networks": 0}),
        ([(4, 0)], {"networks": 3, "decoders": 2}),
        ([(4, 0)], {"decoders": 0}),
        ([(0, 0)], {}),
    ],
)
def test_what_cannot_be_is_refused(nodes, asked):
    with pytest.raises(ConfigError):
        choose_sizes(nodes, **asked)
