"""FeatureStore: a folder of features of one spec, written so that no finished video is ever lost or half there.

STORE/spec.json         all that decides the numbers; one per store
STORE/NAME.npy          (T, C) or (T, tokens, C)
STORE/NAME.json         id, grid, duration, source, losses, array hash; written last: the video is finished
STORE/NAME.failed.json  stage, error, attempts
"""

import hashlib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError
from tal.features.base import FeatureSpec, VideoFeatures
from tal.features.checks import checked
from tal.features.files import locked, read_json, remove_abandoned, write_atomic, write_json, writing
from tal.features.fingerprint import Fingerprint
from tal.features.foreign import missing
from tal.features.layout import Layout
from tal.timeline import SnippetGrid
from tal.version import STORE_SCHEMA
from tal.video.ids import safe_name

State = Literal["done", "failed", "replaced", "new"]

_SPEC = "spec.json"
_FAILED = ".failed"
_BLOCK_VALUES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video whose features could not be made.

    Args:
        video: The id.
        stage: "open", "probe", "decode", "network", "store".
        error: One line.
        attempts: How often it was tried.
        source: Path and fingerprint of the file, where it could be read at all.
    """

    video: str
    stage: str
    error: str
    attempts: int = 1
    source: Mapping[str, Any] = field(default_factory=dict)


class FeatureStore:
    """A `FeatureSource` that can be written. Made by `create` or `open`; needs no torch."""

    def __init__(self, folder: Path, spec: FeatureSpec) -> None:
        self.folder, self.spec = folder, spec
        self.layout: Layout | None = None

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, {self.spec.backbone}, width {self.spec.width})"

    @classmethod
    def create(cls, folder: Path | str, spec: FeatureSpec) -> "FeatureStore":
        """Make a store, or open the one that is there if it has the same spec.

        Raises:
            FeatureError: the folder holds a store of another spec (both are shown), or other files.
            WriteError: the folder cannot be written.
        """
        folder = Path(folder)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder):
                if not (folder / _SPEC).exists():
                    _refuse_strangers(folder)
                    write_json(folder / _SPEC, spec.as_dict())
            remove_abandoned(folder)
        store = cls.open(folder)
        different = spec.differences(store.spec)
        if spec.dtype != store.spec.dtype:
            different["dtype"] = (spec.dtype, store.spec.dtype)
        if different:
            rows = [f"{name}: asked for {ours!r}, stored {theirs!r}" for name, (ours, theirs) in different.items()]
            raise FeatureError(
                f"{folder} holds features of another spec:\n    " + "\n    ".join(rows),
                expected="one spec per store",
                todo="choose another folder, or the settings that the store was made with",
            )
        return store

    @classmethod
    def open(cls, folder: Path | str) -> "FeatureStore":
        """Open a store to read.

        Raises:
            FeatureError: no store there, or one that another version of tal wrote.
        """
        folder = Path(folder)
        values = read_json(folder / _SPEC)
        if values is None:
            raise FeatureError(f"{folder} is no feature store", expected=f"a folder with {_SPEC}")
        return cls(folder, FeatureSpec.from_dict(values))

    def ids(self) -> Sequence[str]:
        """Ids of the finished videos, sorted."""
        names = {path.name for path in self.folder.iterdir()}
        records = (
            self._json(name.removesuffix(".npy") + ".json")
            for name in names
            if name.endswith(".npy") and name.removesuffix(".npy") + ".json" in names
        )
        return sorted(record["id"] for record in records if record is not None)

    def record(self, video: str) -> dict[str, Any] | None:
        """What is known of a finished video: its json; None if it is not finished."""
        name = _name(video)
        return self._json(f"{name}.json") if (self.folder / f"{name}.npy").exists() else None

    def failure(self, video: str) -> Failure | None:
        """Why a video has no features, if that was recorded."""
        values = self._json(f"{_name(video)}{_FAILED}.json")
        return None if values is None else _failure(values)

    def failures(self) -> list[Failure]:
        """All recorded failures, sorted by id."""
        found = (self._json(path.name) for path in self.folder.glob(f"*{_FAILED}.json"))
        return sorted((_failure(each) for each in found if each is not None), key=lambda each: each.video)

    def state(self, video: str, path: Path) -> State:
        """Where a video stands: "done", "failed", "new", or "replaced": done or failed from another file than `path`.

        A file that cannot be read is not told from the recorded one; opening it will say what is wrong.
        """
        record = self.record(video)
        failure = None if record is not None else self._json(f"{_name(video)}{_FAILED}.json")
        known = record or failure
        if known is None:
            return "new"
        with suppress(OSError, KeyError):
            if not Fingerprint.from_dict(known["source"]).matches(path):
                return "replaced"
        return "done" if record else "failed"

    def load(self, video: str, *, duration_s: float | None = None, fps: float | None = None) -> VideoFeatures:
        """One video's features as float32, with their grid; see `FeatureSource.load`. `fps` is not needed here."""
        record = self.record(video)
        if record is None:
            raise self._missing(video)
        path = self.folder / f"{_name(video)}.npy"
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != record["array"]["sha256"]:
            raise FeatureError(
                f"{path} is not the array that its record describes",
                cause="the file was changed or damaged after it was written",
                todo=f"remove {path.name} and run tal extract again",
            )
        array = np.load(io.BytesIO(data), allow_pickle=False)
        features = checked(array, name=str(path), width=self.spec.width)
        grid = SnippetGrid(**record["grid"])
        if grid.count != len(features):
            raise FeatureError(f"{path}: {len(features)} rows", expected=f"{grid.count}, as its record says")
        if duration_s is not None:
            grid.check_duration(duration_s, name=f"features of {video}")
        return VideoFeatures(video=video, features=features, grid=grid, duration_s=record["duration_s"])

    def write(
        self,
        video: str,
        features: NDArray[np.floating],
        grid: SnippetGrid,
        *,
        duration_s: float,
        source: Mapping[str, Any],
        losses: Sequence[str] = (),
    ) -> bool:
        """Finish a video.

        Args:
            video: The id.
            features: (T, C) or (T, tokens, C), finite; stored in the spec's dtype. Read in blocks: may be a memory map.
            grid: Its count is T.
            duration_s: The video's duration.
            source: Facts of the file that can go into json, with its fingerprint's entries (`Fingerprint.as_dict`).
            losses: What the decoder could not read, one line each.

        Returns:
            Whether these features are stored now; False where another process finished the same file first.

        Raises:
            FeatureError: NaN, infinity (also from rounding to float16), another width, or a grid of another count.
            WriteError: the folder cannot be written.
        """
        if grid.count != len(features):
            raise FeatureError(f"features of {video}: {len(features)} rows", expected=f"{grid.count}, as the grid says")
        if not len(features):
            raise FeatureError(f"features of {video}: no rows", expected="at least one snippet")
        for first_idx, block in _blocks(features, self.spec.dtype):
            name = f"features of {video} as {self.spec.dtype}"
            checked(block, name=name, width=self.spec.width, first_idx=first_idx)
        record = {
            "schema": STORE_SCHEMA,
            "id": video,
            "grid": asdict(grid),
            "duration_s": duration_s,
            "source": dict(source),
            "losses": list(losses),
            "array": {"shape": list(features.shape), "dtype": self.spec.dtype},
        }
        return self._commit(_name(video), features, record)

    def record_failure(self, video: str, *, stage: str, error: str, source: Mapping[str, Any] | None = None) -> Failure:
        """Write down that a video could not be done; counts the attempts.

        Raises:
            WriteError: the folder cannot be written.
        """
        path = self.folder / f"{_name(video)}{_FAILED}.json"
        with writing(path):
            before = self.failure(video)
            attempts = 1 if before is None else before.attempts + 1
            failure = Failure(video=video, stage=stage, error=error, attempts=attempts, source=dict(source or {}))
            values = asdict(failure)
            write_json(path, {"schema": STORE_SCHEMA, "id": values.pop("video"), **values})
        return failure

    def _commit(self, name: str, features: NDArray[np.floating], record: dict[str, Any]) -> bool:
        """Array, then record, under the store's lock.

        Another process may have finished the same file meanwhile: its features stay. If it was another file, the old
        record goes before the new array comes, so that a record never stands beside an array that is not its own.
        """
        array, mark = self.folder / f"{name}.npy", self.folder / f"{name}.json"
        with writing(array), locked(self.folder):
            before = read_json(mark) if array.exists() else None
            if before is not None and _same_source(before, record):
                return False
            mark.unlink(missing_ok=True)
            write_atomic(array, lambda file: record["array"].update(sha256=_save(file, features, self.spec.dtype)))
            write_json(mark, record)
            (self.folder / f"{name}{_FAILED}.json").unlink(missing_ok=True)
        return True

    def _json(self, name: str) -> dict[str, Any] | None:
        return read_json(self.folder / name)

    def _missing(self, video: str) -> FeatureError:
        failure = self.failure(video)
        if failure is None:
            return missing(self.folder, video, dict.fromkeys(self.ids()))
        return FeatureError(
            f"no features of video {video!r} in {self.folder}: {failure.stage} failed {failure.attempts} times: "
            f"{failure.error}",
            todo="mend the video, or run tal extract --retry-failed",
        )


def _blocks(features: NDArray[np.floating], dtype: str) -> Iterator[tuple[int, NDArray[np.floating]]]:
    """First row and rows as `dtype`, a few MiB at a time."""
    rows = max(1, _BLOCK_VALUES // max(1, features[0].size))
    for first in range(0, len(features), rows):
        with np.errstate(over="ignore"):
            yield first, np.ascontiguousarray(features[first : first + rows], dtype=dtype)


def _save(file: IO[bytes], features: NDArray[np.floating], dtype: str) -> str:
    """Write what numpy.save would; returns the SHA-256 of the whole file."""
    header = io.BytesIO()
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": features.shape}
    np.lib.format.write_array_header_1_0(header, described)
    digest = hashlib.sha256()
    for data in itertools.chain([header.getvalue()], (block.tobytes() for _, block in _blocks(features, dtype))):
        digest.update(data)
        file.write(data)
    return digest.hexdigest()


def _name(video: str) -> str:
    """The id's file name without suffix; never that of the spec, nor, having no dot, of another video's failure."""
    name = safe_name(video).replace(".", "%2E")
    return f"%{ord(name[0]):02X}{name[1:]}" if name.lower() == "spec" else name


def _failure(values: Mapping[str, Any]) -> Failure:
    return Failure(
        video=values["id"],
        stage=values["stage"],
        error=values["error"],
        attempts=values["attempts"],
        source=values["source"],
    )


def _same_source(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return all(before["source"].get(key) == after["source"].get(key) for key in ("size", "edges_hash"))


def _refuse_strangers(folder: Path) -> None:
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise FeatureError(
            f"{folder} is no feature store, and not empty: {', '.join(strangers[:3])}{', ...' * (len(strangers) > 3)}",
            expected="an empty or new folder, or a store",
        )
