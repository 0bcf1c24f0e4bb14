"""What there is to say of an original implementation, and how its weights fill a method of ours."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tal.errors import ConfigError, PackageError
from tal.features.layout import Layout
from tal.methods.base import Method

Settings = Mapping[str, Mapping[str, Any]]
"""An original's settings by section, complete."""

ENTRIES = ("state_dict_ema", "state_dict", "model")
"""Where checkpoints hold their weights, the best first: originals evaluate the moving average where they keep one."""

OURS_ONLY = r"^(positives\.value|streams\.standardize\..*)$"
"""Entries that originals keep elsewhere (the running number of positives) or do not have."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """What an original's settings say of its outputs and its features, as far as they do.

    Args:
        outputs: How many classes the network tells apart.
        fps, stride_frames, window_frames: Of the features; None where each video or the user says it.
        rows: Every video is resampled to so many rows; None for rows at a stride.
        prefix: Of the features' files.
        name: Of the data set.
    """

    outputs: int
    fps: float | None = None
    stride_frames: float | None = None
    window_frames: float | None = None
    rows: int | None = None
    prefix: str = ""
    name: str = ""

    def layout(self) -> Layout:
        """The features' layout."""
        if self.rows is not None:
            return Layout(resampled_to=self.rows, prefix=self.prefix, name=self.name)
        return Layout(
            stride_frames=self.stride_frames,
            window_frames=self.window_frames,
            fps=self.fps,
            prefix=self.prefix,
            name=self.name,
        )


def _as_they_are(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return weights


def _nothing(weights: Mapping[str, Tensor]) -> Settings:
    return {}


@dataclass(frozen=True, kw_only=True)
class Original:
    """An original implementation in our terms.

    Args:
        method: Ours, by its name in the registry.
        title: What to call it in words.
        keys: Pattern of a key in its state dict -> ours. "name[i]" is entry i of a parameter along its first axis,
            "{stream i}" the name of our stream number i. The first pattern that matches counts.
        signature: Pattern of a key that its weights have, and those of no original after it in the table.
        settings: What was written (a YAML file's content, or the checkpoint's entries) -> complete settings.
        config: Complete settings, class names, name of the feature stream -> our configuration.
        described: Complete settings -> what they say of outputs and features.
        entries: Where a checkpoint holds the weights, the best first.
        needs_settings: Whether the settings have to be given; otherwise defaults, weights and checkpoint tell them.
        from_weights: State dict -> the settings that its shapes tell, by section; what is written goes before.
        prepared: State dict -> the same with entries split, joined or left out before names are translated.
        ours_only: Pattern of the entries of ours that the original does not save.
        spare: Pattern of the entries that it saves also where its settings make no use of them.
    """

    method: str
    title: str
    keys: tuple[tuple[str, str], ...]
    signature: str
    settings: Callable[[Mapping[str, Any]], Settings]
    config: Callable[[Settings, Sequence[str], str], Any]
    described: Callable[[Settings], Described]
    entries: tuple[str, ...] = ENTRIES
    needs_settings: bool = True
    from_weights: Callable[[Mapping[str, Tensor]], Settings] = _nothing
    prepared: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = _as_they_are
    ours_only: str = OURS_ONLY
    spare: str = r"^$"

    def recognises(self, keys: Iterable[str]) -> bool:
        """Whether a state dict with these keys is of this implementation."""
        return any(re.search(self.signature, key) for key in keys)

    def complete(self, weights: Mapping[str, Tensor], written: Mapping[str, Any]) -> Settings:
        """Complete settings from what was written, what the weights tell, and the original's defaults."""
        told = self.from_weights(weights)
        sections = {name: {**section, **(written.get(name) or {})} for name, section in told.items()}
        return self.settings({**written, **sections})

    def configure(self, settings: Settings, classes: Sequence[str], *, stream: str = "features") -> Any:
        """Our configuration from the original's settings.

        Args:
            settings: Complete ones, from `settings`.
            classes: Class names in the order of the outputs. Several names for a network of one output make it
                class-agnostic.
            stream: Name of the feature stream; several are numbered.

        Raises:
            ConfigError: a setting that has no equal here, or another number of classes.
        """
        with _readable():
            return self.config(settings, classes, stream)

    def describe(self, settings: Settings) -> Described:
        """What the settings say of outputs and features.

        Raises:
            ConfigError: values of kinds that no configuration of the original has.
        """
        with _readable():
            return self.described(settings)

    def load(self, method: Method, weights: Mapping[str, Tensor]) -> None:
        """Fill `method` with the weights of the original code.

        Args:
            method: Of the same configuration.
            weights: The original's state dict, without the prefix "module.".

        Raises:
            PackageError: weights that are missing, too many, or of another shape.
        """
        ours = {name: value.clone() for name, value in method.state_dict().items()}
        streams = tuple(method.inputs.streams)
        filled: dict[str, int] = {}
        unexpected, misshapen = [], []
        for key, value in self.prepared(weights).items():
            name, entry = self.translate(key, streams)
            if name not in ours or (entry is not None and entry >= len(ours[name])):
                if not re.search(self.spare, key):
                    unexpected.append(key)
                continue
            target = ours[name] if entry is None else ours[name][entry]
            if target.numel() != value.numel() or target.squeeze().shape != value.squeeze().shape:
                misshapen.append(f"{key} {tuple(value.shape)} (expected {tuple(target.shape)})")
                continue
            target.copy_(value.reshape(target.shape))
            filled[name] = filled.get(name, 0) + target.numel()
        theirs = [name for name in ours if not re.search(self.ours_only, name)]
        missing = [name for name in theirs if filled.get(name, 0) != ours[name].numel()]
        problems = (("unexpected", unexpected), ("of another shape", misshapen), ("missing", missing))
        if any(names for _, names in problems):
            raise PackageError(
                "these weights do not fit the configuration"
                + "".join(
                    f"\n  {len(names)} {kind}: {', '.join(sorted(names)[:4])}{', ...' if len(names) > 4 else ''}"
                    for kind, names in problems
                    if names
                ),
                expected=f"weights of the original {self.title}, of the same configuration",
                cause="a checkpoint of another method, or settings of another checkpoint",
            )
        method.load_state_dict(ours)

    def translate(self, key: str, streams: tuple[str, ...] = ()) -> tuple[str, int | None]:
        """Our parameter's name, and the entry of it where the original has a parameter per entry; "" if unknown."""
        for pattern, replacement in self.keys:
            name, count = re.subn(pattern, replacement, key)
            if count:
                break
        else:
            return "", None
        name = re.sub(r"\{stream (\d+)\}", lambda match: _nth(streams, int(match[1])), name)
        entry = re.search(r"\[(\d+)\]$", name)
        return (name, None) if entry is None else (name[: entry.start()], int(entry[1]))


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the original's settings cannot be read: {type(error).__name__} {error}",
            expected="values of the kinds that its own configurations have",
        ) from error


def _nth(streams: tuple[str, ...], index: int) -> str:
    return streams[index] if index < len(streams) else ""


def with_defaults(values: Mapping[str, Any], defaults: Settings) -> dict[str, dict[str, Any]]:
    """Settings by section, with defaults where they leave something out.

    Raises:
        ConfigError: sections that are no mappings.
    """
    sections = {name: values.get(name) or {} for name in defaults}
    if not all(isinstance(section, Mapping) for section in sections.values()):
        raise ConfigError("the original's settings", expected=f"mappings under {', '.join(defaults)}")
    return {name: {**each, **sections[name]} for name, each in defaults.items()}


def refuse_others(settings: Settings, fixed: Mapping[tuple[str, str], Any]) -> None:
    """Settings of which only one value is known here, by (section, name).

    Raises:
        ConfigError: another value.
    """
    for (section, key), known in fixed.items():
        if settings[section][key] != known:
            raise ConfigError(f"{section}.{key} of {settings[section][key]!r}", expected=f"{known!r}")


def one_of(section: Mapping[str, Any], key: str, ours: Mapping[Any, Any]) -> Any:
    """Our value of a setting with a few known values.

    Raises:
        ConfigError: another value.
    """
    if section[key] not in ours:
        raise ConfigError(f"{key} of {section[key]!r}", expected=f"one of {', '.join(map(str, ours))}")
    return ours[section[key]]
