"""Families whose library is an extra: loaded when asked for, and one clear error where it is not installed."""

from importlib import import_module
from types import ModuleType

from tal.errors import TalError


def load_extra(module: str, extra: str) -> ModuleType:
    """Import a library that an extra installs.

    Args:
        module: Its name in Python.
        extra: The extra's name, which is the family's too.

    Raises:
        TalError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == module
        raise TalError(
            f"backbones {extra}:MODEL need the library {module}, which "
            + ("is not installed" if absent else f"cannot be imported: {error}"),
            expected=f"the extra {extra}",
            todo=f"pip install 'tal[{extra}]'",
        ) from error
