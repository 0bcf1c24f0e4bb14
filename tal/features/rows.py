"""Rows: features of one video on their way into a store, piece by piece, in memory that does not grow."""

import hashlib
import io
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tal.atomic import TEMPORARY
from tal.errors import FeatureError
from tal.features.base import FeatureSpec
from tal.features.checks import checked
from tal.features.files import hold, writing
from tal.features.fingerprint import Fingerprint
from tal.timeline import SnippetGrid
from tal.version import STORE_SCHEMA

_BLOCK_VALUES = 1 << 20
_BLOCK_BYTES = 1 << 20

Finish = Callable[[Path, dict[str, Any]], bool]


class SourceChangedError(FeatureError):
    """The video's file was written to while its features were made."""

    stage = "decode"


class Rows:
    """A video's features in a temporary file of the store's folder, until `commit`. Made by `FeatureStore.writing`.

    Leaving the `with` block, or `close`, without `commit` removes what was written. One thread at a time.

    Args:
        folder: Of the store.
        video: The id.
        spec: Of the store.
        finish: Puts the whole file and its record in their place; returns whether they are stored now.
    """

    def __init__(self, folder: Path, video: str, spec: FeatureSpec, finish: Finish) -> None:
        self.video, self.count = video, 0
        self._spec, self._finish = spec, finish
        self._row: tuple[int, ...] | None = None
        with writing(folder):
            self._path, self._file = _temporary(folder)

    def __enter__(self) -> "Rows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def append(self, features: NDArray[np.floating]) -> None:
        """Write the next rows.

        Args:
            features: (n, C) or (n, tokens, C), finite, n may be 0; stored in the spec's dtype. Read in blocks: may be
                a memory map.

        Raises:
            FeatureError: NaN, infinity (also from rounding to float16), another width or other tokens than before.
            WriteError: the folder cannot be written.
        """
        if not len(features):
            return
        name = f"features of {self.video} as {self._spec.dtype}"
        if self._row is not None and features.shape[1:] != self._row:
            raise FeatureError(f"{name}: rows of shape {features.shape[1:]}", expected=f"{self._row}, as those before")
        step = max(1, _BLOCK_VALUES // max(1, features[0].size))
        for first in range(0, len(features), step):
            with np.errstate(over="ignore"):
                block = np.ascontiguousarray(features[first : first + step], dtype=self._spec.dtype)
            checked(block, name=name, width=self._spec.width, first_idx=self.count)
            with writing(self._path):
                if self._row is None:
                    self._row = features.shape[1:]
                    self._file.write(self._header())
                self._file.write(block.data)
            self.count += len(block)

    def commit(
        self,
        grid: SnippetGrid,
        *,
        duration_s: float,
        source: Mapping[str, Any],
        losses: Sequence[str] = (),
    ) -> bool:
        """Finish the video with the rows so far. See `FeatureStore.write`.

        Raises:
            FeatureError: no rows, a grid of another count.
            SourceChangedError: the file is not what its fingerprint said when it was opened.
            WriteError: the folder cannot be written.
        """
        name = f"features of {self.video}"
        if grid.count != self.count:
            raise FeatureError(f"{name}: {self.count} rows", expected=f"{grid.count}, as the grid says")
        if self._row is None:
            raise FeatureError(f"{name}: no rows", expected="at least one snippet")
        _check_unchanged(self.video, source)
        with writing(self._path):
            self._file.seek(0)
            self._file.write(self._header())
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.seek(0)
            digest = hashlib.sha256()
            while block := self._file.read(_BLOCK_BYTES):
                digest.update(block)
        record = {
            "schema": STORE_SCHEMA,
            "id": self.video,
            "grid": asdict(grid),
            "duration_s": duration_s,
            "source": dict(source),
            "losses": list(losses),
            "array": {"shape": [self.count, *self._row], "dtype": self._spec.dtype, "sha256": digest.hexdigest()},
        }
        try:
            return self._finish(self._path, record)
        finally:
            self.close()

    def close(self) -> None:
        """Remove what was not committed."""
        if not self._file.closed:
            with suppress(OSError):  # what a full disk still had to take; it is not needed any more
                self._file.close()
            with suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _header(self) -> bytes:
        """Of the npy file with the rows so far; numpy keeps room for the count, so that its length never changes."""
        header = io.BytesIO()
        shape = (self.count, *(self._row or ()))
        described = {"descr": np.dtype(self._spec.dtype).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, described)
        return header.getvalue()


def _temporary(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file that others leave alone while this process lives; see `files.remove_abandoned`."""
    path = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(6)}"
    file = path.open("xb+")
    hold(file, wait=True)
    return path, file


def _check_unchanged(video: str, source: Mapping[str, Any]) -> None:
    """Refuse features of a file that was written to meanwhile; one that is out of reach by now cannot be told."""
    try:
        unchanged = Fingerprint.from_dict(source).unchanged(Path(source["path"]))
    except (OSError, KeyError):
        return
    if not unchanged:
        raise SourceChangedError(
            f"{source['path']} changed while its features were made",
            cause="it is still being copied or recorded",
            todo=f"run again when the file of video {video} is whole",
        )
