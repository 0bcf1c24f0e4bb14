"""Writing a file so that it is there whole or not at all."""

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory

from tal.errors import ConfigError

TEMPORARY = ".tmp-"
"""How temporary files begin; what a killed process left of them may be deleted."""


@contextmanager
def replacing(path: Path, *, sync: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; rename it to `path` at the end, remove it if anything fails.

    A device or pipe, such as /dev/stdout, stays what it is: what was written is sent to it at the end.

    Args:
        path: The file to make or replace; its folder is made as needed.
        sync: Return only when file and folder are on the disk.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        with TemporaryDirectory() as folder:
            yield Path(folder, "content")
            with Path(folder, "content").open("rb") as content, path.open("wb") as target:
                copyfileobj(content, target)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}")
    try:
        yield temporary
        if sync:
            _sync(temporary)
        temporary.replace(path)
        if sync:
            _sync(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that the disk refuses names no file
        raise
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text; line ends stay as they are."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def refuse_overwriting(targets: Iterable[Path | str], sources: Iterable[Path | str | None]) -> None:
    """Call it before anything is read: a slip of names must not cost a file of annotations or predictions.

    Raises:
        ConfigError: one of the files to write is one of those that are read.
    """
    read = [Path(source) for source in sources if source is not None and Path(source).exists()]
    for path in map(Path, targets):
        if path.exists() and any(path.samefile(source) for source in read):
            raise ConfigError(f"{path} is a file that is read", expected="another file to write")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
