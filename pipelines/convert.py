"""`tal convert`: a checkpoint of an original implementation to a model package."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tal.checkpoints import read_checkpoint
from tal.errors import ConfigError, PackageError

_LOG = logging.getLogger(__name__)


def convert(
    checkpoint: Path,
    *,
    config: Path,
    out: Path,
    classes: Path | None = None,
    fps: float | None = None,
    stride_frames: float | None = None,
    window_frames: float | None = None,
    stream: str = "features",
    threshold: float = 0.2,
) -> None:
    """Make a model package of an ActionFormer checkpoint as the original code saves it.

    The moving average of the weights is taken where the checkpoint holds one, as the original's evaluation does.
    Nothing in the checkpoint but tensors and plain values is loaded.

    Args:
        checkpoint: File of the original (epoch_034.pth.tar and the like).
        config: The YAML file that it was trained with; what it leaves out is the original's default.
        out: Folder of the model package.
        classes: Class names in the order of the outputs: a text file with one per line, a json list, or annotations
            in ActivityNet style with label_id; without it they are called "class 0", "class 1", ...
        fps: Frames per second of the features, where the YAML leaves it to each video's annotations.
        stride_frames: Frames from one feature to the next, instead of the YAML's feat_stride.
        window_frames: Frames that a feature was computed from, instead of the YAML's num_frames.
        stream: Name of the feature stream; several projected streams are named stream_0, stream_1, ...
        threshold: Score from which a detection is shown; the original has none.
    """
    from tal.methods.actionformer import ActionFormer
    from tal.methods.originals import actionformer_config, load_original, original_settings
    from tal.package import save_package

    written = _read_yaml(config)
    settings = original_settings(written)
    weights, which = read_original(checkpoint)
    names = _numbered(settings["dataset"]["num_classes"]) if classes is None else read_classes(classes)
    model = ActionFormer(actionformer_config(settings, names, stream=stream))
    load_original(model, weights)
    specs, layouts = _features(
        model.inputs.streams,
        settings["dataset"],
        str(written.get("dataset_name", "")),
        fps,
        stride_frames,
        window_frames,
    )
    save_package(
        out,
        method="actionformer",
        model=model.eval(),
        features=specs,
        layouts=layouts,
        thresholds=dict.fromkeys(names, threshold),
        card=_card(checkpoint, config, which, settings),
    )
    _LOG.info("%s: %s of %s, %d classes", out, which, checkpoint.name, len(names))


def read_original(path: Path) -> tuple[dict[str, Any], str]:
    """The weights in an original checkpoint, without the prefix "module.", and the name of the entry they are from.

    Raises:
        PackageError: no such file, not a checkpoint, objects other than tensors in it, or no weights.
    """
    import torch

    found = read_checkpoint(path)
    which = next((k for k in ("state_dict_ema", "state_dict") if isinstance(found, dict) and found.get(k)), None)
    if which is None:
        keys = ", ".join(sorted(map(str, found))[:8]) if isinstance(found, dict) else type(found).__name__
        raise PackageError(
            f"{path} holds no weights of the original code, but {keys}",
            expected="an entry state_dict_ema or state_dict",
            cause="a checkpoint of another program",
        )
    weights = found[which]
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise PackageError(f"{path}: {which} is not a mapping of names to tensors")
    return {str(name).removeprefix("module."): value for name, value in weights.items()}, which


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names in order, from text, a json list, or ActivityNet-style annotations with label_id.

    Raises:
        PackageError: a file that is none of these, no label ids, or one with two names. Numbers that no instance has
            are called "class N".
    """
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else [row.strip() for row in text.splitlines()]
    except (OSError, ValueError) as error:
        raise PackageError(f"class names cannot be read from {path}: {error}") from error
    if isinstance(values, list) and all(isinstance(name, str) for name in values):
        return tuple(name for name in values if name)
    videos = values.get("database") if isinstance(values, dict) else None
    if not isinstance(videos, dict):
        raise PackageError(f"{path} holds no class names", expected="text, a json list, or ActivityNet-style json")
    names: dict[int, str] = {}
    try:
        rows = [row for video in videos.values() for row in video.get("annotations", ())]
        pairs = {(int(row["label_id"]), str(row["label"])) for row in rows}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise PackageError(
            f"{path}: instances without label_id and label ({type(error).__name__}: {error})",
            expected="both in every instance, or a text file with the names in the order of the outputs",
        ) from error
    for label_id, name in sorted(pairs):
        if names.setdefault(label_id, name) != name:
            raise PackageError(f"{path}: label_id {label_id} has two names, {names[label_id]!r} and {name!r}")
    return tuple(names.get(index, f"class {index}") for index in range(max(names, default=-1) + 1))


def _numbered(count: int) -> tuple[str, ...]:
    return ("action",) if count == 1 else tuple(f"class {index}" for index in range(count))


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", expected="the YAML file of the original code") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings", expected="the YAML file of the original code")
    return values


def _features(
    streams: Mapping[str, int],
    dataset: Mapping[str, Any],
    name: str,
    fps: float | None,
    stride_frames: float | None,
    window_frames: float | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spec and layout of every stream."""
    from tal.features.foreign import layout_spec
    from tal.features.layout import Layout

    rate = dataset["default_fps"] if fps is None else fps
    stride = dataset["feat_stride"] if stride_frames is None else stride_frames
    window = dataset["num_frames"] if window_frames is None else window_frames
    prefix = dataset.get("file_prefix") or ""
    if stride > 0:
        layout = Layout(stride_frames=stride, window_frames=window, fps=rate, prefix=prefix, name=name)
    else:
        layout = Layout(resampled_to=dataset["max_seq_len"], prefix=prefix, name=name)
    return (
        {stream: layout_spec(layout, width=width) for stream, width in streams.items()},
        dict.fromkeys(streams, layout),
    )


def _card(checkpoint: Path, config: Path, which: str, settings: Mapping[str, Any]) -> str:
    dataset, levels = settings["dataset"], len(settings["model"]["regression_range"])
    return (
        f"# {checkpoint.stem}\n\n"
        f"ActionFormer, converted from `{checkpoint.name}` ({which}) with the settings of `{config.name}`: "
        f"{dataset['num_classes']} outputs, {levels} levels, training windows of {dataset['max_seq_len']} snippets.\n\n"
        "Data, licence and metric: as published with the checkpoint. The score thresholds were not chosen on data.\n"
    )
