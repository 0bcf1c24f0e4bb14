"""Model packages: a folder that holds all that localizing with a trained method needs.

    model.safetensors   weights and buffers
    config.yaml         schema, method, its settings
    labels.json         class names, and per class the score from which a detection is shown
    features.json       per stream: the spec of the features, and the layout of a folder that others made
    card.md             what it was trained on, how, how good it is
    text.json           what makes the text features of a method that answers queries; only there

Nothing in a package is ever unpickled.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tal.device import choose_device
from tal.errors import ConfigError, FeatureError, PackageError, TalError
from tal.features.base import FeatureSpec
from tal.features.layout import Layout
from tal.features.text import SPEC as TEXT
from tal.features.text import read_text_spec, write_text_spec
from tal.methods.base import Method
from tal.registry import METHODS
from tal.version import PACKAGE_SCHEMA

WEIGHTS, CONFIG, LABELS, FEATURES, CARD = "model.safetensors", "config.yaml", "labels.json", "features.json", "card.md"
_FILES = (WEIGHTS, CONFIG, LABELS, FEATURES, CARD)
_TEXT = "text of the queries"


@dataclass(frozen=True, kw_only=True, eq=False)
class Package:
    """A loaded model package.

    Args:
        method: The method's name in the registry.
        model: In evaluation mode, on the device asked for.
        features: Stream -> spec of the features that it was trained on.
        layouts: Stream -> layout, for features of folders that others made.
        thresholds: Class -> score from which a detection is worth showing.
        card: Text of the model card.
        folder: Where it was loaded from.
        text: Spec of the queries' token features; None where the model is asked nothing.
    """

    method: str
    model: Method
    features: Mapping[str, FeatureSpec]
    layouts: Mapping[str, Layout] = field(default_factory=dict)
    thresholds: Mapping[str, float]
    card: str = ""
    folder: Path
    text: FeatureSpec | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; labels are indices into them."""
        return self.model.classes

    def __repr__(self) -> str:
        streams = ", ".join(f"{name}: {spec.backbone}" for name, spec in self.features.items())
        return f"Package({self.method}, {len(self.classes)} classes, {streams}, from {self.folder})"

    def check_features(self, specs: Mapping[str, FeatureSpec]) -> None:
        """Refuse features other than those that the model was trained on.

        Raises:
            FeatureError: a stream that is missing and not optional, or a spec that differs; both are shown.
        """
        for name, wanted in self.features.items():
            if name not in specs:
                if name in self.model.inputs.optional:
                    continue
                raise FeatureError(
                    f"no features of stream {name!r}, only {', '.join(sorted(specs)) or 'none'}",
                    expected=f"{wanted.backbone}, {wanted.width} channels",
                )
            differences = wanted.differences(specs[name])
            if differences:
                lines = [f"{key}: {theirs!r}, the model's {ours!r}" for key, (ours, theirs) in differences.items()]
                raise FeatureError(
                    f"features of stream {name!r} are not those that the model was trained on",
                    expected="equal specs, but here " + "; ".join(lines),
                    cause="another backbone, other weights, another stride, or another preprocessing",
                    todo="extract features with the model's spec, or train a model on these",
                )


def save_package(
    folder: Path | str,
    *,
    method: str,
    model: Method,
    features: Mapping[str, FeatureSpec],
    thresholds: Mapping[str, float],
    card: str,
    layouts: Mapping[str, Layout] | None = None,
    text: FeatureSpec | None = None,
) -> None:
    """Write a model package, whole or not at all; an older package in its place is replaced.

    Args:
        folder: Where.
        method: The method's name in the registry.
        model: The trained method.
        features: Stream -> spec of the features that it was trained on.
        thresholds: Class -> score from which a detection is worth showing; 0 for classes that are not named.
        card: Model card, Markdown.
        layouts: Stream -> layout, for features of folders that others made.
        text: Spec of the queries' token features, for a method that answers queries.

    Raises:
        PackageError: parts that contradict each other, a folder that holds something else, or a full disk.
    """
    folder = Path(folder)
    layouts = layouts or {}
    METHODS[method]
    _check_streams(model, features, text, str(folder))
    _check_thresholds(thresholds, model.classes, str(folder))
    _check_replaceable(folder)

    settings = _plain(asdict(model.config))
    del settings["classes"]
    config = {"schema": PACKAGE_SCHEMA, "method": method, "config": settings}
    labels = {"classes": list(model.classes), "thresholds": {c: float(thresholds.get(c, 0.0)) for c in model.classes}}
    streams = {
        name: {"spec": spec.as_dict(), "layout": layouts[name].as_dict() if name in layouts else None}
        for name, spec in features.items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    unique = f"{os.getpid()}-{secrets.token_hex(4)}"
    fresh, old = (folder.parent / f".{folder.name}.{kind}-{unique}" for kind in ("new", "old"))
    try:
        fresh.mkdir()
        weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        _save_weights(weights, fresh / WEIGHTS, method)
        (fresh / CONFIG).write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
        (fresh / LABELS).write_text(json.dumps(labels, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (fresh / FEATURES).write_text(json.dumps(streams, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (fresh / CARD).write_text(card, encoding="utf-8")
        if text is not None:
            write_text_spec(fresh / TEXT, text)
        if folder.exists():
            folder.replace(old)
        fresh.replace(folder)
    finally:
        if old.exists() and not folder.exists():
            old.replace(folder)
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(folder: Path) -> None:
    """Refuse a folder that holds anything but a package: all of it would be gone."""
    if not folder.exists():
        return
    names = os.listdir(folder) if folder.is_dir() else [folder.name]
    others = sorted(set(names) - {WEIGHTS, CONFIG, LABELS, FEATURES, CARD, TEXT})
    if others or (names and "schema" not in _settings_in(folder / CONFIG)):
        raise PackageError(
            f"{folder} holds something else than a model package" + (f": {', '.join(others[:5])}" if others else ""),
            expected="a package, which is replaced, an empty folder, or none",
            todo="choose another folder",
        )


def _settings_in(path: Path) -> Mapping[str, Any]:
    """What a yaml file says; nothing if it is none."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _save_weights(weights: dict[str, torch.Tensor], path: Path, method: str) -> None:
    try:
        save_file(weights, path, metadata={"method": method})
    except SafetensorError as error:
        raise PackageError(f"{path.parent.parent}: the package cannot be written: {error}", todo="make room") from error


def load_model(folder: Path | str, device: str | torch.device = "cpu") -> Package:
    """Load a model package.

    Args:
        folder: A folder that `save_package` wrote.
        device: Where the model goes.

    Raises:
        PackageError: not a package, a part missing or damaged, written by a newer version, or weights that do not fit
            the settings.
    """
    folder = Path(folder)
    _check_folder(folder)
    config = _mapping(yaml.safe_load, folder / CONFIG)
    schema = config.get("schema")
    if schema != PACKAGE_SCHEMA:
        newer = isinstance(schema, int) and schema > PACKAGE_SCHEMA
        raise PackageError(
            f"{folder}: a model package of schema {schema!r}",
            expected=f"schema {PACKAGE_SCHEMA}",
            cause="written by a newer version of tal" if newer else "not a config.yaml of a model package",
            todo="update tal" if newer else "",
        )
    labels = _mapping(json.loads, folder / LABELS)
    specs, layouts = _read_features(folder / FEATURES)
    text = read_text_spec(folder / TEXT) if (folder / TEXT).is_file() else None
    thresholds = labels.get("thresholds", {})
    model = _build_model(folder, config, labels.get("classes"))
    _check_streams(model, specs, text, str(folder))
    _check_thresholds(thresholds, model.classes, str(folder))
    _load_weights(model, folder / WEIGHTS, str(config.get("method")))
    return Package(
        method=str(config["method"]),
        model=model.to(choose_device(device)).eval(),
        features=specs,
        layouts=layouts,
        thresholds=thresholds,
        card=(folder / CARD).read_text(encoding="utf-8"),
        folder=folder,
        text=text,
    )


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise PackageError(
            f"{folder} is a file",
            expected="the folder of a model package",
            cause="a checkpoint" if folder.suffix in (".pth", ".pt", ".ckpt", ".tar", ".safetensors") else "",
            todo="tal convert makes a package of an original checkpoint; tal train writes one to OUT/model",
        )
    if not folder.is_dir():
        raise PackageError(f"model package {folder} does not exist", expected="a folder that tal train wrote")
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise PackageError(
            f"{folder} is not a whole model package: {', '.join(missing)} missing",
            expected=", ".join(_FILES),
            cause="another folder, or a copy that was cut short",
            todo=f"use {folder / 'model'}" if (folder / "model" / CONFIG).is_file() else "",
        )


def _mapping(parse: Any, path: Path) -> dict[str, Any]:
    try:
        values = parse(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise PackageError(f"{path} cannot be read: {error}", cause="a damaged file") from error
    if not isinstance(values, dict):
        raise PackageError(f"{path} holds {type(values).__name__}", expected="a mapping")
    return values


def _read_features(path: Path) -> tuple[dict[str, FeatureSpec], dict[str, Layout]]:
    specs, layouts = {}, {}
    for name, entry in _mapping(json.loads, path).items():
        if not isinstance(entry, dict) or not isinstance(entry.get("spec"), dict):
            raise PackageError(f"{path}: stream {name!r} without spec", cause="a damaged file")
        try:
            specs[name] = FeatureSpec.from_dict(entry["spec"])
            if entry.get("layout") is not None:
                layouts[name] = Layout.from_dict(entry["layout"])
        except TalError as error:
            raise PackageError(f"{path}: stream {name!r}: {error}") from error
    return specs, layouts


def _build_model(folder: Path, config: Mapping[str, Any], classes: Any) -> Method:
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise PackageError(f"{folder / LABELS}: classes of {classes!r:.80}", expected="a list of names")
    try:
        method = METHODS.load(str(config.get("method")))
        settings = config.get("config")
        return method(_filled(method.Config, {**(settings if isinstance(settings, dict) else {}), "classes": classes}))
    except TalError as error:
        raise PackageError(f"{folder / CONFIG}: {error}") from error


def _filled(kind: type, values: Mapping[str, Any]) -> Any:
    """A settings dataclass from plain values.

    Raises:
        ConfigError: a name that is not a setting, or a value of the wrong kind.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"settings of {kind.__name__}: {values!r:.80}", expected="a mapping")
    hints = get_type_hints(kind)
    unknown = sorted(set(values) - {entry.name for entry in fields(kind)})
    if unknown:
        raise ConfigError(
            f"settings that {kind.__name__} does not have: {', '.join(unknown)}",
            cause="settings of another method, or written by a newer version of tal",
        )
    nested = {name: _filled(hints[name], value) for name, value in values.items() if is_dataclass(hints[name])}
    try:
        return kind(**{name: nested.get(name, _tuples(value)) for name, value in values.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"settings of {kind.__name__}: {error}", cause="a value of the wrong kind") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Tuples as lists: what safe YAML can write."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _check_streams(model: Method, features: Mapping[str, FeatureSpec], text: FeatureSpec | None, where: str) -> None:
    wanted = dict(model.inputs.streams) | ({} if model.inputs.text is None else {_TEXT: model.inputs.text})
    given = {name: spec.width for name, spec in features.items()} | ({} if text is None else {_TEXT: text.width})
    if wanted != given:
        raise PackageError(
            f"{where}: features with channels {given}, a model with {wanted}",
            expected="the same streams of the same width",
            cause="parts of two packages",
        )


def _check_thresholds(thresholds: Any, classes: tuple[str, ...], where: str) -> None:
    fine = isinstance(thresholds, Mapping) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in thresholds.values()
    )
    unknown = sorted(set(thresholds) - set(classes)) if fine else []
    if not fine or unknown:
        raise PackageError(
            f"{where}: thresholds of unknown classes {unknown}" if fine else f"{where}: thresholds {thresholds!r:.80}",
            expected="a number per class",
        )


def _load_weights(model: Method, path: Path, method: str) -> None:
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise PackageError(
            f"{path} cannot be read: {error}",
            expected="weights in safetensors format",
            cause="a pickled checkpoint under another name" if _is_pickle(path) else "a damaged or truncated file",
            todo="tal convert makes a package of an original checkpoint" if _is_pickle(path) else "copy it again",
        ) from error
    ours = model.state_dict()
    problems = [f"{name} missing" for name in ours if name not in weights]
    problems += [f"{name} unknown" for name in weights if name not in ours]
    problems += [
        f"{name} {tuple(weights[name].shape)}, expected {tuple(value.shape)}"
        for name, value in ours.items()
        if name in weights and weights[name].shape != value.shape
    ]
    if problems:
        raise PackageError(
            f"{path} does not fit the package's settings: {'; '.join(problems[:5])}"
            + (f"; and {len(problems) - 5} more" if len(problems) > 5 else ""),
            expected=f"weights of {method} with the settings in {CONFIG}",
            cause="weights of another method, or of other settings",
        )
    model.load_state_dict(weights)


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
