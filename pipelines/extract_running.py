"""Which engine makes the features of a run of tal extract, and the stores that it writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tal.device import cores
from tal.errors import ConfigError
from tal.features.store import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from tal.audio.base import AudioBackbone
    from tal.backbones.base import Backbone
    from tal.features.summary import Summary
    from tal.pipelines.extract_inputs import Inputs

_MOST_DECODERS = 4  # unless asked for more


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """What the engine ray needs.

    Args:
        load: Gives the backbone; its argument `device` tells where. Called on every node.
        address, network_actors, gpus_per_actor: As tal extract has them.
    """

    load: Callable[..., Any]
    address: str | None
    network_actors: int | None
    gpus_per_actor: float | None


def run(
    inputs: Inputs,
    network: Backbone | AudioBackbone,
    out: Path,
    *,
    dtype: Literal["float16", "float32"],
    batch_clips: int | None,
    retry_failed: bool,
    decoders: int | None,
    decoder: str,
    patience: float,
    cluster: Cluster | None = None,
) -> Summary:
    """Make the features that are not there yet.

    Args:
        inputs: The videos; those without a file are recorded as failed.
        network: The backbone, of frames or of sound, on its device.
        out: Folder of the store, or of one store per output.
        dtype, batch_clips, retry_failed: As tal extract has them.
        decoders: As tal extract has them; None for a number that suits the device.
        decoder: As tal extract has it; sound is always decoded by PyAV.
        patience: As tal extract has it.
        cluster: For the engine ray; None for the local one.
    """
    from tal.audio.base import AudioBackbone
    from tal.features import audio, extractor

    if cluster is not None and isinstance(network, AudioBackbone):
        raise ConfigError(
            f"--engine ray with {network.spec.name}",
            expected="a backbone of frames",
            todo="leave --engine out: sound costs little; --shard i/n shares it between machines",
        )
    if isinstance(network, AudioBackbone):
        at_once = _at_once(decoders, network.device.type)
        store = FeatureStore.create(out, audio.audio_feature_spec(network.spec, dtype=dtype))
        stores = {"": store}
        summary = audio.extract_audio(
            inputs.videos,
            network,
            store,
            batch_examples=batch_clips,
            retry_failed=retry_failed,
            decoders=at_once,
            patience=patience,
        )
    elif cluster is not None:
        from tal.features.cluster import extract_on_cluster

        stores = extractor.create_stores(out, network.spec, dtype=dtype)
        summary = extract_on_cluster(
            inputs.videos,
            cluster.load,
            stores,
            address=cluster.address,
            network_actors=cluster.network_actors,
            gpus_per_actor=cluster.gpus_per_actor,
            batch_clips=batch_clips,
            retry_failed=retry_failed,
            decoders=decoders,
            decoder=decoder,
            patience=patience,
        )
    else:
        at_once = _at_once(decoders, next(network.parameters()).device.type)
        stores = extractor.create_stores(out, network.spec, dtype=dtype)
        summary = extractor.extract(
            inputs.videos,
            network,
            stores,
            batch_clips=batch_clips,
            retry_failed=retry_failed,
            decoders=at_once,
            decoder=decoder,
            patience=patience,
        )
    _record_missing(inputs, list(stores.values()), summary, retry_failed)
    return summary


def _at_once(decoders: int | None, device: str) -> int:
    """As asked, or for the device: decoders have one thread each."""
    if decoders is not None:
        return decoders
    return _MOST_DECODERS if device == "cuda" else min(cores(), _MOST_DECODERS)


def _record_missing(inputs: Inputs, stores: list[FeatureStore], summary: Summary, retry_failed: bool) -> None:
    """Videos that were named and have no file fail, unless they were finished when they had one."""
    for video, reason in inputs.missing.items():
        left = [store for store in stores if store.record(video) is None]
        known = [None if retry_failed else store.failure(video) for store in left]
        failures = [
            before or store.record_failure(video, stage="open", error=reason)
            for store, before in zip(left, known, strict=True)
        ]
        if failures:
            summary.failed.append(failures[0])
        else:
            summary.skipped.append(video)
