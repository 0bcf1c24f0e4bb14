"""Recipes: found by name or path, read from YAML, overridden from the command line, written down again."""

import contextlib
from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import yaml

from tal.atomic import write_text
from tal.errors import ConfigError, TalError, unknown_name
from tal.pipelines.packaged import recipe_names, recipe_text
from tal.pipelines.train_settings import DataSettings, OptimSettings, Recipe, TrainerSettings, WindowSettings
from tal.registry import METHODS

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

SECTIONS = {"data": DataSettings, "windows": WindowSettings, "optim": OptimSettings, "trainer": TrainerSettings}
FROM_DATA = ("streams", "classes", "text_width")
AUTO = "auto"
WHERE_IT_RUNS = ("trainer.workers", "trainer.accelerator", "trainer.checkpoint_minutes", "data.memory_gib")
_OWN_AUTO = {
    f"{name}.{entry.name}" for name, section in SECTIONS.items() for entry in fields(section) if entry.default == AUTO
}  # settings that know "auto" themselves


def read_recipe(name_or_path: str) -> dict[str, Any]:
    """The values that a recipe sets.

    Args:
        name_or_path: A name among `recipe_names`, or a YAML file.

    Raises:
        TalError: no such recipe, not YAML, or a setting that does not exist; with the closest names.
    """
    text = _text_of(name_or_path)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"recipe {name_or_path} is not YAML: {error}") from error
    if not isinstance(values, dict) or "method" not in values or "data" not in values:
        raise ConfigError(f"recipe {name_or_path} has no method or no data", expected="a mapping with both")
    _check_keys(values, {"method": str, "model": _config_of(values["method"]), **SECTIONS, "auto": tuple}, "")
    return values


def _text_of(name_or_path: str) -> str:
    path = Path(name_or_path)
    if path.is_file():
        try:
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"recipe {path} is not text", expected="a YAML file") from error
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"no recipe file {path}", todo="check the path, or see `tal list recipes` for names")
    if name_or_path not in recipe_names():
        raise unknown_name("recipe", name_or_path, recipe_names())
    return recipe_text(name_or_path)


def build_recipe(values: Mapping[str, Any], words: Sequence[str] = ()) -> Recipe:
    """A checked recipe from a recipe's values and the words that override them.

    Args:
        values: As `read_recipe` gives them.
        words: Such as ["--optim.lr", "1e-3"].

    Raises:
        TalError: an option that does not exist, or a value of the wrong kind or range.
    """
    parser = recipe_parser(values["method"], prog="tal train")
    return recipe_from(parser, values, words)[0]


def recipe_parser(method: str, *, prog: str, description: str = "") -> "ArgumentParser":
    """A parser whose options are the settings of a recipe of this method."""
    from jsonargparse import ArgumentParser

    usage = f"{prog} RECIPE [options]"
    parser = ArgumentParser(prog=prog, usage=usage, description=description, exit_on_error=False)
    config = _config_of(method)
    parser.add_class_arguments(config, "model", skip={entry.name for entry in fields(config)} & {*FROM_DATA})
    for name, section in SECTIONS.items():
        parser.add_argument(f"--{name}", type=section)
    return parser


def recipe_from(
    parser: "ArgumentParser", values: Mapping[str, Any], words: Sequence[str]
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe, and the values of those options of `parser` that are not a recipe's.

    A setting that says "auto" is noted in `Recipe.auto` and left at its default until the data is known.
    """
    words, auto = _without_auto(words)
    settings = {name: value for name, value in values.items() if name in SECTIONS}
    settings["model"] = dict(values.get("model") or {})
    auto |= set(values.get("auto") or ())
    for name in (*SECTIONS, "model"):
        given = settings.get(name) or {}
        left_open = {key for key, value in given.items() if value == AUTO and f"{name}.{key}" not in _OWN_AUTO}
        auto |= {f"{name}.{key}" for key in left_open}
        settings[name] = {key: value for key, value in given.items() if key not in left_open}
    auto -= set(_named(words))
    with _told_clearly(parser):
        parsed = parser.parse_args(list(words), namespace=parser.parse_object(settings))
        built = vars(parser.instantiate(parsed))
    sections = {name: built.pop(name) for name in ("model", *SECTIONS)}
    return Recipe(method=values["method"], auto=tuple(sorted(auto)), **sections), built


def _named(words: Sequence[str]) -> Iterator[str]:
    """The settings that options name."""
    return (word[2:].partition("=")[0] for word in words if word.startswith("--"))


def _without_auto(words: Sequence[str]) -> tuple[list[str], set[str]]:
    """Words without the options whose value is "auto", and the names of those; a later option wins."""
    kept: list[str] = []
    auto: set[str] = set()
    rest = iter(enumerate(words))
    for position, word in rest:
        name, sign, value = word.partition("=")
        if not name.startswith("--") or name.count(".") != 1 or name[2:] in _OWN_AUTO:
            kept.append(word)
        elif (value if sign else next(iter(words[position + 1 : position + 2]), "")) == AUTO:
            auto.add(name[2:])
            if not sign:
                next(rest)
        else:
            auto.discard(name[2:])
            kept.append(word)
    return kept, auto


@contextlib.contextmanager
def _told_clearly(parser: "ArgumentParser") -> Iterator[None]:
    """jsonargparse's errors as ours."""
    from jsonargparse import ArgumentError as JsonArgumentError

    try:
        yield
    except (ArgumentError, JsonArgumentError) as error:
        text = " ".join(str(error).split())
        close = ""
        if "nrecognized arguments" in text or "not allowed" in text:
            wanted = text.partition("--")[2].split()[0].partition("=")[0] if "--" in text else ""
            known = [action.dest for action in parser._actions]
            names = get_close_matches(wanted, known, n=3, cutoff=0.6)
            close = f"did you mean {' or '.join('--' + name for name in names)}?" if names else ""
        raise ConfigError(text, todo=close or f"see `{parser.prog} RECIPE --help`") from error
    except ValueError as error:  # a nested section that refused its values
        inner: BaseException | None = error
        while inner is not None and not isinstance(inner, TalError):
            inner = inner.__cause__ or inner.__context__
        if inner is None:
            raise
        raise inner from None


def _config_of(method: str) -> type:
    return METHODS.load(method).Config


def _check_keys(values: Mapping[str, Any], kind: Any, where: str) -> None:
    """Refuse keys that `kind`, a dataclass or a mapping of name -> type, does not have, at any depth."""
    hints = kind if isinstance(kind, dict) else get_type_hints(kind)
    known = set(hints) if isinstance(kind, dict) else {entry.name for entry in fields(kind)}
    known -= set(FROM_DATA) if where == "model." else set()
    for key, value in values.items():
        if key not in known:
            close = get_close_matches(str(key), sorted(known), n=3, cutoff=0.5)
            raise ConfigError(
                f"unknown setting {where}{key}",
                expected="one of " + ", ".join(where + name for name in sorted(known)),
                todo=f"did you mean {' or '.join(where + name for name in close)}?" if close else "",
            )
        inner = _dataclass_in(hints[key])
        if inner is None or not isinstance(value, Mapping):
            continue
        origin: Any = get_origin(hints[key])
        if origin is dict:
            for name, entry in value.items():
                if isinstance(entry, Mapping):
                    _check_keys(entry, inner, f"{where}{key}.{name}.")
        else:
            _check_keys(value, inner, f"{where}{key}.")


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a type is or contains."""
    if isinstance(hint, type) and is_dataclass(hint):
        return hint
    return next((found for found in map(_dataclass_in, get_args(hint)) if found), None)


def recipe_values(recipe: Recipe) -> dict[str, Any]:
    """Plain values for YAML; `build_recipe` reads them back to the same recipe."""
    values = {entry.name: _plain(getattr(recipe, entry.name)) for entry in fields(recipe)}
    values["model"] = {name: value for name, value in values["model"].items() if name not in FROM_DATA}
    return values


def write_recipe(recipe: Recipe, path: Path) -> None:
    """Write a recipe down as YAML, atomically."""
    text = yaml.safe_dump(recipe_values(recipe), sort_keys=False, allow_unicode=True)
    write_text(path, text)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def differences(ours: Recipe, theirs: Recipe) -> list[str]:
    """Names of the settings in which two recipes differ, with both values.

    Settings that say where and how fast a run runs, and not what comes out of it, are left aside (`WHERE_IT_RUNS`).
    """
    first, second = _flat(recipe_values(ours)), _flat(recipe_values(theirs))
    return [
        f"{name}: {first.get(name)!r} and {second.get(name)!r}"
        for name in sorted({*first, *second} - {*WHERE_IT_RUNS})
        if first.get(name) != second.get(name)
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
