"""The command table, and the one way in which a command is run; nothing else is loaded before a command is chosen."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any

from tal.registry import Registry
from tal.version import VERSION

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Sequence

COMMANDS = Registry(
    "command",
    {
        "demo": ("tal.pipelines.demo:demo", "the whole job on the built-in benchmark, ending with a report"),
        "extract": ("tal.pipelines.extract:extract", "videos to features: batched, resumable, failures recorded"),
        "train": ("tal.pipelines.train:train", "train a localizer from a recipe"),
        "explain": ("tal.pipelines.explain:explain", "show a recipe's settings, with those derived from the data"),
        "localize": ("tal.pipelines.localize:localize", "what happens when: detections, subtitles and a page"),
        "evaluate": ("tal.pipelines.evaluate:evaluate", "score predictions by a benchmark's official protocol"),
        "check": ("tal.pipelines.check:check", "find what is wrong with a dataset before training does"),
        "report": ("tal.pipelines.report:report", "one html page: player, timeline, metrics, worst misses"),
        "export": ("tal.pipelines.export:export", "predictions to csv, subtitles and other formats"),
        "convert": ("tal.pipelines.convert:convert", "an original checkpoint to a model package"),
        "playground": ("tal.pipelines.playground:playground", "render the built-in benchmark"),
        "list": ("tal.pipelines.list:list_", "models, backbones, protocols, recipes"),
        "info": ("tal.pipelines.info:info", "what this machine can do"),
    },
)

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 finished with failures or findings, 2 misuse."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_help())
        return 0
    if words[0] == "--version":
        print(f"tal {VERSION}")
        return 0
    from tal.errors import TalError

    try:
        return _run(COMMANDS.load(words[0]), words[0], words[1:])
    except TalError as error:
        print(f"tal: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\ntal: interrupted; finished work is kept", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in _FULL_DISK:
            print(f"tal: the disk is full: {error.filename or error}; finished work is kept", file=sys.stderr)
            return 2
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            print(f"tal: not permitted: {error}", file=sys.stderr)
            return 2
        raise


def _help() -> str:
    width = max(len(name) for name in COMMANDS)
    rows = "\n".join(f"  {name:<{width}}  {entry.about}" for name, entry in COMMANDS.items())
    return (
        f"usage: tal COMMAND ...\n\nUnderstanding actions in video.\n\n{rows}\n\n"
        "tal COMMAND --help tells a command's arguments. tal --version tells the version."
    )


def _run(function: Callable[..., int | None], name: str, words: list[str]) -> int:
    """Parse `words` by the function's signature and docstring, and call it.

    Parameters before the `*` are positional (a list takes one or more words), the others are options. A command that
    has a `run_words` attribute parses its words itself, because its options depend on them.
    """
    from tal.console import set_up_logging

    own_parser = getattr(function, "run_words", None)
    if own_parser is not None:
        set_up_logging()
        return own_parser(words) or 0
    arguments = parse(function, name, words)
    set_up_logging(arguments.pop("log_level"))
    return function(**arguments) or 0


def parse(function: Callable[..., Any], name: str, words: Sequence[str]) -> dict[str, Any]:
    """The function's arguments from the words of a command line."""
    import inspect
    from typing import get_args, get_origin, get_type_hints

    from jsonargparse import ArgumentParser

    documentation = inspect.getdoc(function) or ""
    parser = ArgumentParser(prog=f"tal {name}", description=documentation.split("\n\nArgs:")[0])
    parameters = inspect.signature(function).parameters.values()
    positional = [each for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    hints, described = get_type_hints(function), _described(documentation)
    for each in positional:
        lists = [kind for kind in (hints[each.name], *get_args(hints[each.name])) if get_origin(kind) is list]
        many = bool(lists)
        kind = get_args(lists[0])[0] if many else hints[each.name]
        optional = each.default is not each.empty
        nargs: dict[str, Any] = {"nargs": "*" if optional else "+"} if many else {"nargs": "?"} if optional else {}
        default = {"default": each.default} if optional else {}
        parser.add_argument(each.name, type=kind, help=described.get(each.name), **nargs, **default)
    plain = _add_own_options(parser, [each for each in parameters if each not in positional], hints, described)
    skipped: set[str | int] = {*(each.name for each in positional), *plain}
    parser.add_function_arguments(function, skip=skipped, fail_untyped=True)
    levels = ["debug", "info", "warning", "error"]
    parser.add_argument("--log_level", choices=levels, default="info", help="what is told while it runs")
    values = parser.instantiate_classes(parser.parse_args(_with_underscores(words)))
    return dict(values.as_dict())


def _add_own_options(
    parser: Any, options: Sequence[inspect.Parameter], hints: dict[str, Any], described: dict[str, str]
) -> set[str]:
    """Lists as options of one or more words, and booleans that are off by default as flags; returns their names."""
    from typing import get_args, get_origin

    added: set[str] = set()
    for each in options:
        kinds = [kind for kind in (hints[each.name], *get_args(hints[each.name])) if get_origin(kind) is list]
        if not kinds and not (hints[each.name] is bool and each.default is False):
            continue
        given: dict[str, Any] = {"action": "store_true"}
        if kinds:
            given = {"nargs": "+", "type": get_args(kinds[0])[0]}
            given |= {"required": True} if each.default is each.empty else {"default": each.default}
        parser.add_argument(f"--{each.name}", help=described.get(each.name), **given)
        added.add(each.name)
    return added


def _with_underscores(words: Sequence[str]) -> list[str]:
    """--retry-failed as --retry_failed: options may be typed either way."""
    parts = (word.partition("=") if word.startswith("--") else ("", "", word) for word in words)
    return [name.replace("-", "_").replace("__", "--", 1) + sign + value for name, sign, value in parts]


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


if __name__ == "__main__":
    sys.exit(main())
