"""A function's signature and docstring as a command line: the words that a person types become its arguments.

Parameters before the `*` are words in their place, the others are options. `X | None` may be left out, `list[X]` takes
one or more words, `Literal` lists its values, a `bool` that is off by default is a flag. Help comes from the docstring.
"""

import argparse
import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

LEVELS = ("debug", "info", "warning", "error")


def parse(function: Callable[..., Any], name: str, words: Sequence[str]) -> dict[str, Any]:
    """The function's arguments, and "log_level", from the words of a command line.

    Raises:
        SystemExit: code 2 after a message about a wrong word, code 0 after --help.
        TypeError: the function has a parameter that a command line cannot give.
    """
    documentation = inspect.getdoc(function) or ""
    parser = argparse.ArgumentParser(
        prog=f"tal {name}",
        description=documentation.partition("\n\nArgs:")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    hints, described = get_type_hints(function), _described(documentation)
    for parameter in inspect.signature(function).parameters.values():
        about = described.get(parameter.name, "").replace("%", "%%")
        _add(parser, parameter, hints[parameter.name], about)
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="What is told while it runs.")
    given = vars(parser.parse_args(_with_dashes(words)))
    return {key: None if value == [] else value for key, value in given.items()}


def _add(parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any, about: str) -> None:
    """One parameter as a word in its place, or as an option."""
    option = parameter.kind is parameter.KEYWORD_ONLY
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    if hint is bool and option and default is False:
        parser.add_argument(_dashed(parameter.name), action="store_true", help=about)
        return
    if default not in (None, ""):
        about += f" (default: {default})"
    given: dict[str, Any] = {"help": about, **_kind(hint), "default": default}
    if option:
        given |= {"required": required, "dest": parameter.name}
        if "choices" not in given:
            given["metavar"] = _metavar(given["type"])
        parser.add_argument(_dashed(parameter.name), **given)
        return
    if not required:
        given["nargs"] = "*" if "nargs" in given else "?"
    if "choices" not in given:
        given["metavar"] = parameter.name.upper()
    parser.add_argument(parameter.name, **given)


def _kind(hint: Any) -> dict[str, Any]:
    """argparse's type, nargs and choices for an annotation."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [each for each in get_args(hint) if each is not type(None)]
        if len(inner) != 1:
            raise TypeError(f"{hint} cannot be given on a command line")
        return _kind(inner[0])
    if get_origin(hint) is list:
        return {**_kind(get_args(hint)[0]), "nargs": "+"}
    if get_origin(hint) is Literal:
        return {"type": type(get_args(hint)[0]), "choices": get_args(hint)}
    return {"type": hint}


def _metavar(kind: Any) -> str:
    return {"int": "N", "float": "X", "Path": "PATH"}.get(getattr(kind, "__name__", ""), "TEXT")


def _dashed(name: str) -> str:
    return "--" + name.replace("_", "-")


def _with_dashes(words: Sequence[str]) -> list[str]:
    """--retry_failed as --retry-failed: options may be typed either way."""
    parts = (word.partition("=") if word.startswith("--") else ("", "", word) for word in words)
    return [name.replace("_", "-") + sign + value for name, sign, value in parts]


def _described(documentation: str) -> dict[str, str]:
    """Argument name -> its text in the docstring's Args section."""
    described: dict[str, str] = {}
    current = ""
    for line in documentation.partition("Args:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if not line.startswith("     "):
            current, _, text = line.strip().partition(":")
            described[current] = text.strip()
        elif current:
            described[current] += " " + line.strip()
    return described
