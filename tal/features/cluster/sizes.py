"""How many actors of which size a cluster gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from tal.errors import ConfigError

_CORES_OF_A_NETWORK = 4


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Actors of a run.

    Args:
        networks: Network actors.
        decoders: Decoding actors of each network, the first ones' first where they do not divide evenly.
        gpus: Of each network; 0 on the CPU.
        network_cpus, decoder_cpus: Ray's CPUs that each reserves: they say how many fit on a node, no more.
        threads: Of a network on the CPU.
    """

    networks: int
    decoders: tuple[int, ...]
    gpus: float
    network_cpus: float
    decoder_cpus: float
    threads: int


def choose_sizes(
    nodes: Sequence[tuple[float, float]],
    *,
    networks: int | None = None,
    decoders: int | None = None,
    gpus: float | None = None,
) -> Sizes:
    """Fill a cluster, unless told otherwise.

    With GPUs: a network on each, and a decoder on every core that is left. Without: networks of four cores, or as many
    as the smallest node has, with as many decoders, on the same cores: whoever has nothing to do waits and leaves them
    to the other, so that it does not matter which of the two is the slower one.

    Args:
        nodes: (CPUs, GPUs) of each node.
        networks, decoders: Numbers in all, if given.
        gpus: Per network, if given: a whole number, or a fraction below 1 where several share a GPU; 0 for the CPU.

    Raises:
        ConfigError: numbers that contradict each other, or GPUs that the cluster does not have.
    """
    nodes = [node for node in nodes if node[0] or node[1]]
    if not nodes:
        raise ConfigError("a cluster without CPUs", expected="nodes that Ray may use, with --num-cpus above 0")
    cpus, found = sum(each for each, _ in nodes), sum(each for _, each in nodes)
    gpus = (1.0 if found else 0.0) if gpus is None else gpus
    if not (0 <= gpus <= 1 or gpus == int(gpus) > 0):
        raise ConfigError(f"--gpus-per-actor {gpus}", expected="a fraction up to 1, a whole number, or 0 for the CPU")
    if (networks is not None and networks < 1) or (decoders is not None and decoders < (networks or 1)):
        raise ConfigError(
            f"--network-actors {networks}, --decoders {decoders}",
            expected="at least one network, and a decoder for each: they count the whole cluster's",
        )
    if gpus * (networks or 1) > found:
        raise ConfigError(
            f"{networks or 1} network actors of {gpus:g} GPUs each",
            expected=f"no more than the {found:g} GPUs of the cluster",
            todo="start Ray on the GPU nodes with --num-gpus, or give --gpus-per-actor 0",
        )
    cores = int(max(1, min(_CORES_OF_A_NETWORK, min(each for each, _ in nodes if each))))
    if networks is None:
        fitting = [_on_gpus(each_gpus, gpus) if gpus else int(each // cores) for each, each_gpus in nodes]
        networks = max(1, sum(fitting) if decoders is None else min(sum(fitting), decoders))
    network_cpus = 1.0 if gpus else cores / 2
    if decoders is None:
        decoders = max(networks, int(cpus - networks) if gpus else networks * cores)
    share = (cpus - networks * network_cpus) / decoders
    return Sizes(
        networks=networks,
        decoders=tuple(decoders // networks + (number < decoders % networks) for number in range(networks)),
        gpus=gpus,
        network_cpus=network_cpus if share > 0 else 0.0,
        decoder_cpus=max(0.0, min(1.0 if gpus else 0.5, int(share * 1000) / 1000)),
        threads=cores,
    )


def _on_gpus(found: float, share: float) -> int:
    """Networks on a node's GPUs: one that takes less than a whole GPU does not use two of them."""
    return int(found // share) if share >= 1 else int(found) * int(1 / share + 1e-9)
