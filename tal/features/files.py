"""Writing so that a file is either whole or not there, and that two processes do not mix their halves."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tal.atomic import TEMPORARY, replacing
from tal.errors import FeatureError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOG = logging.getLogger(__name__)

_ABANDONED_S = 3600.0
_told: set[str] = set()


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


def write_json(path: Path, values: dict[str, Any], *, indent: int | None = 1) -> None:
    """`write_atomic` of a JSON object."""
    write_atomic(path, lambda file: file.write(json_bytes(values, indent=indent)))


def json_bytes(values: dict[str, Any], *, indent: int | None = 1) -> bytes:
    """What `write_json` writes."""
    text = json.dumps(values, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    return text.encode("utf-8", "surrogateescape")


def read_json(path: Path, *, todo: str) -> dict[str, Any] | None:
    """The JSON object in `path`; None if there is no such file.

    Args:
        path: The file.
        todo: What a person can do about a damaged one.

    Raises:
        FeatureError: not a JSON object, or not readable.
    """
    try:
        values = json_object(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise FeatureError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise FeatureError(
            f"{path} is damaged: {error}", expected="the JSON object that tal wrote", todo=todo
        ) from error
    return values


def json_object(data: bytes) -> dict[str, Any]:
    """The inverse of `write_json`.

    Raises:
        ValueError: not a JSON object.
    """
    values = json.loads(data.decode("utf-8", "surrogateescape"))
    if not isinstance(values, dict):
        raise ValueError(f"it holds a {type(values).__name__}")
    return values


def sync(folder: Path) -> None:
    """Return when the names in a folder are on the disk; Windows has no way to ask for that."""
    if fcntl is None:
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system frees it when the process dies.

    Windows and some network file systems have no such locks. There, two processes that finish the same video in the
    same millisecond can leave an array that does not match its record; loading notices, and the log says so once.
    """
    with (folder / ".lock").open("ab") as file:
        if hold(file, wait=True) is None:
            _tell_once(folder)
        yield


def hold(file: IO[bytes] | int, *, wait: bool) -> bool | None:
    """Lock an open file until it is closed.

    Args:
        file: Any open file, or the descriptor of one or of a folder.
        wait: Wait while another process has it.

    Returns:
        Whether it is locked now: False where another process has it, None where there are no locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def remove_abandoned(folder: Path) -> None:
    """Delete temporary files that killed processes left over an hour ago.

    A file that a living process still holds stays, however long ago it was written: a stream's features may come
    slowly. Ages are told by the clock of the folder's file system, not by this machine's.
    """
    files = [Path(entry.path) for entry in os.scandir(folder) if entry.name.startswith(TEMPORARY)]
    if not files:
        return
    now_s = _clock_s(folder)
    for path in files:
        with suppress(OSError), path.open("rb+") as file:
            old = abs(now_s - os.fstat(file.fileno()).st_mtime) > _ABANDONED_S
            if old and hold(file, wait=False) is not False:
                path.unlink()


def _clock_s(folder: Path) -> float:
    """What time the folder's file system gives to what is written now."""
    with (folder / ".lock").open("ab") as file:
        os.utime(file.fileno() if os.utime in os.supports_fd else file.name)
        return os.fstat(file.fileno()).st_mtime


def _tell_once(folder: Path) -> None:
    if str(folder) not in _told:
        _told.add(str(folder))
        _LOG.warning("%s: no file locks on this system: run one process per store", folder)
