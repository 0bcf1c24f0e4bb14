"""Writing so that a file is either whole or not there, and that two processes do not mix their halves."""

import fcntl
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tal.atomic import TEMPORARY, replacing
from tal.errors import FeatureError

_LOG = logging.getLogger(__name__)

_ABANDONED_S = 3600.0


class WriteError(FeatureError):
    """The store's folder cannot be written: full, read-only or gone. Ends a run; finished videos are kept."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write `path` into one clear error.

    Raises:
        WriteError: with the system's reason.
    """
    try:
        yield
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written: {error.strerror or error}",
            expected="a folder that is writable and has space",
            todo="make room or choose another folder, and run again; finished videos are kept",
        ) from error


def write_atomic(path: Path, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it is whole and on the disk, or not there."""
    with replacing(path, sync=True) as temporary, temporary.open("xb") as file:
        fill(file)


def write_json(path: Path, values: dict[str, Any]) -> None:
    """`write_atomic` of a JSON object."""
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None if there is no such file.

    Raises:
        FeatureError: not a JSON object.
    """
    try:
        values = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise FeatureError(f"{path} is not JSON: {error}", todo="remove the file and extract again") from error
    if not isinstance(values, dict):
        raise FeatureError(f"{path} holds a {type(values).__name__}", expected="a JSON object")
    return values


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process dies.

    Some network file systems have no locks. There, two processes that finish the same video in the same millisecond
    can leave an array that does not match its record; loading notices, and the log warns once.
    """
    with (folder / ".lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            _LOG.warning("%s: no file locks here (%s): run one process per store", folder, error.strerror)
        yield


def remove_abandoned(folder: Path) -> None:
    """Delete temporary files that killed processes left over an hour ago."""
    for path in folder.glob(f"{TEMPORARY}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
