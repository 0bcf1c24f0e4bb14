"""The one way in which a command is run; nothing else is loaded before a command is chosen."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from tal.registry import COMMANDS
from tal.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EROFS, errno.EPERM}
_WRONG_PLACE = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENOENT, errno.ENAMETOOLONG}


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
        if error.errno in _FORBIDDEN:
            print(f"tal: not permitted: {error}", file=sys.stderr)
            return 2
        if error.errno in _WRONG_PLACE:
            print(f"tal: {error.filename2 or error.filename}: {error.strerror}", file=sys.stderr)
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

    A command that has a `run_words` attribute parses its words itself, because its options depend on them.
    """
    from tal.arguments import parse
    from tal.console import set_up_logging

    own_parser = getattr(function, "run_words", None)
    if own_parser is not None:
        set_up_logging()
        return own_parser(words) or 0
    arguments = parse(function, name, words)
    set_up_logging(arguments.pop("log_level"))
    return function(**arguments) or 0


if __name__ == "__main__":
    sys.exit(main())
