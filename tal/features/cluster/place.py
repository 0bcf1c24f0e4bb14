"""Place: what every machine of a cluster must see and have, looked at before it works."""

import os
import secrets
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tal.atomic import TEMPORARY
from tal.errors import TalError
from tal.features.files import hold, writing
from tal.version import VERSION

_PATIENCE_S = 5.0
_LOOKED_AT = 8


@dataclass(frozen=True, kw_only=True)
class Place:
    """Folders and versions of the machine that starts a run.

    Args:
        folder: The one that relative paths count from.
        probes: Files that lie in the stores' folders for as long as the run lasts.
        samples: Some of the videos, as they are named -> bytes.
        versions: Of what decides numbers and formats.
    """

    folder: Path
    probes: Sequence[Path]
    samples: Mapping[Path, int]
    versions: Mapping[str, str]

    def check(self) -> None:
        """See whether this machine is fit; relative paths count from `folder` afterwards.

        Raises:
            TalError: it sees other folders, or has other versions.
        """
        host = socket.gethostname()
        if _versions() != self.versions:
            raise TalError(
                f"{host} has {_listed(_versions())}",
                expected=f"{_listed(self.versions)}, as the machine that started the run",
                todo="install the same versions on every machine: features are to be the same, wherever they are made",
            )
        if self.folder.is_dir():
            os.chdir(self.folder)
        deadline_s = time.monotonic() + _PATIENCE_S
        while missing := [path for path in self.probes if not path.exists()]:
            if time.monotonic() > deadline_s:
                raise TalError(
                    f"{missing[0].parent} on {host} is not the folder of that name on the machine that started the run",
                    expected="a folder that all machines share, by NFS or the like",
                )
            time.sleep(0.1)
        for path, size in self.samples.items():
            if _size(path) != size:
                raise TalError(
                    f"{path} is another file on {host}, or none",
                    expected="videos in folders that all machines share, under one name",
                )


@contextmanager
def marked(folders: Sequence[Path], videos: Sequence[Path]) -> Iterator[Place]:
    """This machine's place, with a probe in each of the folders until the block ends.

    Raises:
        WriteError: a folder cannot be written.
    """
    probes = [folder.absolute() / f"{TEMPORARY}probe-{secrets.token_hex(6)}" for folder in folders]
    with ExitStack() as held:
        for probe in probes:
            with writing(probe):
                hold(held.enter_context(probe.open("xb")), wait=False)  # or it would look abandoned after an hour
            held.callback(_remove, probe)
        yield Place(folder=Path.cwd(), probes=probes, samples=_samples(videos), versions=_versions())


def _samples(videos: Iterable[Path]) -> dict[Path, int]:
    """One video that is there from each of the first folders -> its bytes."""
    found: dict[Path, int] = {}
    folders: set[Path] = set()
    for path in videos:
        if path.parent not in folders and (size := _size(path)) is not None:
            found[path] = size
            folders.add(path.parent)
        if len(found) == _LOOKED_AT:
            break
    return found


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _versions() -> dict[str, str]:
    return {"tal": VERSION, "torch": str(torch.__version__), "numpy": np.__version__}


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
