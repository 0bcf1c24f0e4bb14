"""A function's signature and docstring as a command line: the words that a person types become its arguments.

Parameters before the `*` are words in their place, the others are options. `X | None` may be left out, `list[X]` takes
one or more words, `tuple[X, ...]` words or numbers with commas between them, `Literal` lists its values, a `bool` that
is off by default is a flag. Help comes from the docstring. A function that takes `**options` gets those that the
caller of `parse` names, fields of a dataclass.
"""

import argparse
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from tal.errors import ConfigError

LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Further options of a command: fields of a dataclass, which declares their types and describes them.

    Args:
        owner: Whose options they are, for the help.
        of: The dataclass.
        names: The fields.
        defaults: Field -> what it is if not given, for the help.
        choices: Field -> the values that it may have, where the type does not say.
        about: Field, or parameter of the function -> what it means here, in place of its own description.
    """

    owner: str
    of: type
    names: Sequence[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


def parse(
    function: Callable[..., Any], name: str, words: Sequence[str], further: Fields | None = None
) -> dict[str, Any]:
    """The function's arguments, and "log_level", from the words of a command line.

    Args:
        function: What the command calls.
        name: The command.
        words: What was typed after it.
        further: Options for a function that takes `**options`; those that are not given are left out.

    Raises:
        SystemExit: code 2 after a message about a wrong word, code 0 after --help.
        TypeError: the function has a parameter that a command line cannot give.
    """
    documentation = inspect.getdoc(function) or ""
    parser = _Parser(
        prog=f"tal {name}",
        description=documentation.partition("\n\nArgs:")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    hints, described = get_type_hints(function), _described(documentation)
    described |= further.about if further is not None else {}
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            _add(parser, parameter, hints[parameter.name], described.get(parameter.name, ""))
    if further is not None:
        _add_fields(parser, further)
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="What is told while it runs.")
    given = vars(parser.parse_args(_with_dashes(words)))
    kept = {key: None if value == [] else value for key, value in given.items()}
    return {key: value for key, value in kept.items() if value is not argparse.SUPPRESS}


class _Parser(argparse.ArgumentParser):
    """A parser that names the option that was probably meant."""

    def error(self, message: str) -> NoReturn:
        wrong = message.partition("unrecognized arguments: ")[2].split()
        known = [option for action in self._actions for option in action.option_strings]
        close = [each for word in wrong for each in get_close_matches(word.partition("=")[0], known, n=1)]
        super().error(message + (f" (did you mean {' or '.join(close)}?)" if close else ""))


def _add_fields(parser: argparse.ArgumentParser, further: Fields) -> None:
    """The fields as a group of their own; what is not given does not appear among the arguments."""
    group = parser.add_argument_group(f"options of {further.owner}") if further.names else parser
    hints, described = get_type_hints(further.of), _all_described(further.of)
    for name in further.names:
        parameter = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=argparse.SUPPRESS)
        about, default = further.about.get(name, described.get(name, "")), further.defaults.get(name)
        if default not in (None, "", False, ()):
            shown = " ".join(f"{each:g}" if isinstance(each, float) else str(each) for each in _many(default))
            about += f" (default: {shown})"
        _add(group, parameter, hints[name], about, further.choices.get(name))


def _many(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _all_described(of: type) -> dict[str, str]:
    """`_described` of a class and of those that it extends."""
    found: dict[str, str] = {}
    for each in reversed(of.__mro__):
        found |= _described(inspect.cleandoc(each.__doc__ or ""))
    return found


def _add(
    parser: argparse._ActionsContainer,
    parameter: inspect.Parameter,
    hint: Any,
    about: str,
    choices: Sequence[str] | None = None,
) -> None:
    """One parameter as a word in its place, or as an option."""
    option = parameter.kind is parameter.KEYWORD_ONLY
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    about = about.replace("%", "%%")
    if hint is bool and option and default in (False, argparse.SUPPRESS):
        parser.add_argument(_dashed(parameter.name), action="store_true", help=about, default=default)
        return
    if default not in (None, "", argparse.SUPPRESS):
        about += f" (default: {default})"
    given: dict[str, Any] = {"help": about, **_kind(hint), "default": default}
    if choices:
        given |= {"choices": choices}
    if option:
        given |= {"required": required, "dest": parameter.name}
        if "choices" not in given:
            given["metavar"] = "FILE" if parameter.name == "json" else _metavar(given["type"])
        if given.get("action") is _Listed:
            given |= {"type": str, "element": _kind(hint)["type"]}
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
    if get_origin(hint) is tuple:
        return {"type": get_args(hint)[0], "nargs": "+", "action": _Listed}
    if get_origin(hint) is Literal:
        return {"type": type(get_args(hint)[0]), "choices": get_args(hint)}
    return {"type": hint}


class _Listed(argparse.Action):
    """Words that may each hold several values, with commas between them: 0.5 0.75 or 0.5,0.75."""

    def __init__(self, *, element: Callable[[str], Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.element = element

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        parts = [part.strip() for word in values for part in word.strip("[]").split(",") if part.strip()]
        try:
            found = tuple(self.element(part) for part in parts)
        except ValueError:
            kind = {"float": "numbers", "int": "whole numbers"}.get(self.element.__name__, "values")
            raise ConfigError(
                f"{option_string} {' '.join(values)}", expected=f"{kind}, as 0.5 0.75 or 0.5,0.75"
            ) from None
        setattr(namespace, self.dest, found)


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
