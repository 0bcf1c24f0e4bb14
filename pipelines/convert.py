"""`tal convert`: a checkpoint of an original implementation to a model package."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tal.checkpoints import read_checkpoint
from tal.errors import ConfigError, PackageError

if TYPE_CHECKING:
    from tal.features.layout import Layout
    from tal.methods.originals import Described

_LOG = logging.getLogger(__name__)


def convert(
    checkpoint: Path,
    *,
    out: Path,
    config: Path | None = None,
    method: str | None = None,
    classes: Path | None = None,
    fps: float | None = None,
    stride_frames: float | None = None,
    window_frames: float | None = None,
    stream: str = "features",
    threshold: float = 0.2,
) -> None:
    """Make a model package of a checkpoint as the original code of a method saves it.

    The moving average of the weights is taken where the checkpoint holds one, as the original's evaluation does.
    Nothing in the checkpoint but tensors and plain values is loaded.

    Args:
        checkpoint: File of the original (epoch_034.pth.tar and the like).
        out: Folder of the model package.
        config: The YAML or json file that it was trained with; what it leaves out is the original's default. Not needed
            where the original has none, or keeps its settings in the checkpoint.
        method: Whose original it is, by our name; without it the names of the weights tell.
        classes: Class names in the order of the outputs: a text file with one per line, a json list, or annotations
            in ActivityNet style with label_id; without it they are called "class 0", "class 1", ...
        fps: Frames per second of the features, where the original's settings leave it to each video's annotations.
        stride_frames: Frames from one feature to the next, instead of the original's setting.
        window_frames: Frames that a feature was computed from, instead of the original's setting.
        stream: Name of the feature stream; several projected streams are named stream_0, stream_1, ...
        threshold: Score from which a detection is shown; the original has none.
    """
    from tal.features.foreign import layout_spec
    from tal.features.text import tokens_spec
    from tal.methods.originals import ENTRIES, ORIGINALS, Original, find_original
    from tal.package import save_package
    from tal.registry import METHODS

    written = {} if config is None else _read_yaml(config)
    named: Original | None = None if method is None else ORIGINALS.load(method)
    entries = ENTRIES if named is None else named.entries
    held, weights, which = read_original(checkpoint, entries)
    original = find_original(weights) if named is None else named
    if config is None and original.needs_settings:
        raise ConfigError(
            f"no settings for {checkpoint}",
            expected=f"--config with the YAML file that this {original.title} was trained with",
        )
    settings = original.complete(weights, {**held, **written})
    described = original.describe(settings)
    names = _numbered(described.outputs) if classes is None else read_classes(classes)
    model = METHODS.load(original.method)(original.configure(settings, names, stream=stream))
    original.load(model, weights)
    layout = _layout(described, fps, stride_frames, window_frames)
    save_package(
        out,
        method=original.method,
        model=model.eval(),
        features={name: layout_spec(layout, width=width) for name, width in model.inputs.streams.items()},
        layouts=dict.fromkeys(model.inputs.streams, layout),
        thresholds=dict.fromkeys(names, threshold),
        card=_card(original.title, checkpoint, config, which, described.outputs, model.inputs.train_snippets),
        text=None if model.inputs.text is None else tokens_spec(model.inputs.text),
    )
    _LOG.info("%s: %s, %s of %s, %d classes", out, original.title, which, checkpoint.name, len(names))


def read_original(path: Path, entries: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], str]:
    """What an original checkpoint holds beside tensors, its weights, and the name of the entry they are from.

    Args:
        path: The file.
        entries: Where the weights may be, the best first. The prefix "module." of their names is taken off.

    Raises:
        PackageError: no such file, not a checkpoint, objects other than tensors in it, or no weights.
    """
    import torch

    found = read_checkpoint(path)
    which = next((k for k in entries if isinstance(found, dict) and found.get(k)), None)
    if which is None:
        keys = ", ".join(sorted(map(str, found))[:8]) if isinstance(found, dict) else type(found).__name__
        raise PackageError(
            f"{path} holds no weights of the original code, but {keys}",
            expected=f"an entry {' or '.join(entries)}",
            cause="a checkpoint of another program",
        )
    weights = found[which]
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise PackageError(f"{path}: {which} is not a mapping of names to tensors")
    held = {str(name): value for name, value in found.items() if name not in entries}
    return held, {str(name).removeprefix("module."): value for name, value in weights.items()}, which


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
        read = json.loads if path.suffix == ".json" else yaml.safe_load
        values = read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", expected="the YAML file of the original code") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds no settings", expected="the YAML file of the original code")
    return values


def _layout(
    described: Described, fps: float | None, stride_frames: float | None, window_frames: float | None
) -> Layout:
    """The features' layout: what the settings say, but for what the user does."""
    given = {"fps": fps, "stride_frames": stride_frames, "window_frames": window_frames}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if stride_frames is not None:
        changes["rows"] = None
    return replace(described, **changes).layout()


def _card(title: str, checkpoint: Path, config: Path | None, which: str, outputs: int, snippets: int) -> str:
    settings = "its own settings" if config is None else f"the settings of `{config.name}`"
    told = f"{outputs} outputs," if outputs else "moments that answer queries,"
    return (
        f"# {checkpoint.stem}\n\n"
        f"{title}, converted from `{checkpoint.name}` ({which}) with {settings}: {told} "
        f"training windows of {snippets} snippets.\n\n"
        "Data, licence and metric: as published with the checkpoint. The score thresholds were not chosen on data.\n"
    )
