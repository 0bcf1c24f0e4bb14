"""What a benchmark's protocol is, as data: a new benchmark declares one and adds no code."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, ClassVar, Self, Union, get_args, get_origin, get_type_hints

import numpy as np

from tal.errors import ConfigError, unknown_name

ANNOTATED_SEGMENTS = "As published, or your own: ActivityNet-style JSON, CSV, ELAN, Label Studio, VIA."
DETECTED_SEGMENTS = "ActivityNet results JSON, as tal localize writes it, or CSV with video, start, end, label, score"


def steps(first: float, last: float, count: int) -> tuple[float, ...]:
    """Evenly spaced thresholds, the very floats that the official evaluators compare with."""
    return tuple(np.linspace(first, last, count).tolist())


def check_thresholds(kind: str, values: tuple[float, ...]) -> None:
    """Refuse thresholds that no overlap reaches, or every one, and those that a mean would count twice.

    Raises:
        ConfigError: none, one outside (0, 1], or one twice.
    """
    if not values or not all(0 < value <= 1 for value in values):
        raise ConfigError(f"{kind} thresholds {values}", expected="at least one, each above 0 and at most 1")
    if len(set(values)) < len(values):
        raise ConfigError(f"{kind} thresholds {values}", expected="each once: a mean would count it twice")


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The rules of another public evaluator of the same benchmark.

    Args:
        settings: The protocol's fields that are different with it.
        source: Its repository and file.
        about: What is different, in one line.
    """

    settings: Mapping[str, Any]
    source: str
    about: str


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What every benchmark's protocol has; each kind of task has a subclass in `tal.datasets.kinds`.

    Args:
        name: As in `tal evaluate NAME`.
        title: The benchmark in words.
        source: Where the protocol is defined.
        variants: Tool -> its rules, where public evaluators differ.
        variant: The tool whose rules are applied instead of the official ones.
    """

    evaluator: ClassVar[str]
    """ "module:function" that scores by a protocol of this kind."""
    options: ClassVar[tuple[str, ...]] = ()
    """Fields that a caller may set; those of the command line too."""
    annotation_files: ClassVar[str]
    """The files of ground truth that are read, in words."""
    prediction_files: ClassVar[str]
    """The files of predictions that are read, in words."""

    name: str
    title: str
    source: str
    variants: Mapping[str, Variant] = field(default_factory=dict)
    variant: str | None = None

    @property
    def open_options(self) -> tuple[str, ...]:
        """`options`, and "variant" where there are any."""
        return (*self.options, *(("variant",) if self.variants else ()))

    def with_options(self, **options: Any) -> Self:
        """The protocol with a caller's choices; a variant's settings come first. None leaves an option as it is.

        Raises:
            ConfigError: an option that the protocol lacks, or a value outside its range.
            TalError: no such variant.
        """
        chosen = {name: value for name, value in options.items() if value is not None}
        unknown = [name for name in chosen if name not in self.open_options]
        if unknown:
            raise ConfigError(
                f"protocol {self.name} has no option {', '.join(unknown)}",
                expected=f"one of {', '.join(self.open_options)}" if self.open_options else "no option",
            )
        variant = chosen.get("variant")
        if variant is not None and variant not in self.variants:
            raise unknown_name(f"variant of {self.name}", variant, self.variants)
        settings = dict(self.variants[variant].settings) if variant is not None else {}
        hints = get_type_hints(type(self))
        return replace(self, **settings | {name: _fitted(hints[name], value) for name, value in chosen.items()})

    def described(self) -> dict[str, Any]:
        """The rules that are applied, as plain values for json."""
        rules = {name: _plain(getattr(self, name)) for name in self.open_options}
        source = self.variants[self.variant].source if self.variant is not None else self.source
        return rules | {"source": source}


def _fitted(hint: Any, value: Any) -> Any:
    """One value, or a list of values, as the tuple that the field holds; words as the path."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    if any(get_origin(kind) is tuple for kind in kinds):
        return (value,) if isinstance(value, str | float | int) else tuple(np.asarray(value).tolist())
    return Path(value) if Path in kinds and isinstance(value, str) else value


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [round(each, 9) if isinstance(each, float) else _plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value
