"""Errors that a user can act on: what was given, what was expected, the likely cause, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class TalError(Exception):
    """A mistake in the input or the call. The command line prints it without a traceback and exits with `exit_code`.

    Args:
        given: What is wrong, with the value that was found.
        expected: What would have been right.
        cause: The likely reason.
        todo: What to do next.
    """

    exit_code = 2

    def __init__(self, given: str, *, expected: str = "", cause: str = "", todo: str = "") -> None:
        self.given, self.expected, self.cause, self.todo = given, expected, cause, todo
        super().__init__(given)

    def __str__(self) -> str:
        return "\n".join([self.given, *self.help])

    @property
    def help(self) -> tuple[str, ...]:
        """Lines that say what would have been right, why it is not, and what to do; indented."""
        parts = (("expected", self.expected), ("likely cause", self.cause), ("what to do", self.todo))
        return tuple(f"  {name}: {text}" for name, text in parts if text)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[TalError], args: tuple[object, ...], state: dict[str, object]) -> TalError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class VideoError(TalError):
    """A video that cannot be used.

    Args:
        path: The file.
        stage: Where it failed: "open", "probe", "decode", "seek" or "encode".
        reason: One line, in the decoder's or our words.
    """

    def __init__(self, path: Path | str, stage: str, reason: str, *, cause: str = "", todo: str = "") -> None:
        self.path, self.stage, self.reason = str(path), stage, reason
        super().__init__(f"{path}: {stage} failed: {reason}", cause=cause, todo=todo)


class AnnotationError(TalError):
    """An annotation or prediction file that cannot be read as what it was said to be."""


class GridError(TalError):
    """Features whose time grid does not fit the video or the model."""


class FeatureError(TalError):
    """Features that are missing, damaged, or not those that were asked for."""


class PackageError(TalError):
    """A model package or checkpoint that cannot be used."""


class ConfigError(TalError):
    """A setting outside its range, or settings that contradict each other."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> TalError:
    """The error for a name that is not in a list, with the closest names there are."""
    names = sorted(known)
    folded = {each.casefold(): each for each in names}
    close = [folded[each] for each in get_close_matches(name.casefold(), folded, n=3, cutoff=0.5)]
    todo = f"did you mean {' or '.join(close)}?" if close else ""
    return TalError(f"unknown {kind} {name!r}", expected="one of " + ", ".join(names), todo=todo)
