"""FeatureStore: a folder of features of one spec, written so that no finished video is ever lost or half there.

STORE/spec.json         all that decides the numbers; one per store
STORE/NAME.npy          (T, C) or (T, tokens, C)
STORE/NAME.json         id, grid, duration, source, losses, array hash; written last: the video is finished
STORE/NAME.failed.json  stage, error, attempts
STORE/packed/           many videos in few files; see packed.py. A video's own files count before packed ones.
"""

import hashlib
import io
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError
from tal.features.base import FeatureSpec, VideoFeatures
from tal.features.checks import checked
from tal.features.files import locked, read_json, remove_abandoned, sync, write_json, writing
from tal.features.foreign import missing
from tal.features.layout import Layout
from tal.features.packed import Packed
from tal.features.records import FAILED, Failure, file_stem, is_of, read_failure, read_record, same_source, video_of
from tal.features.rows import Rows
from tal.timeline import SnippetGrid

__all__ = ["Failure", "FeatureStore", "State"]

State = Literal["done", "failed", "replaced", "damaged", "new"]

Found = TypeVar("Found")

_LOG = logging.getLogger(__name__)

_SPEC = "spec.json"
_RESTORE = (
    "put back its spec.json from a copy of the store, or from a store made with the same settings; without one, "
    "extract into another folder"
)


class FeatureStore:
    """A `FeatureSource` that can be written. Made by `create` or `open`; needs no torch."""

    def __init__(self, folder: Path, spec: FeatureSpec) -> None:
        self.folder, self.spec = folder, spec
        self.layout: Layout | None = None
        self.packed = Packed(folder)

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
        values = read_json(folder / _SPEC, todo=_RESTORE)
        if values is None:
            raise FeatureError(f"{folder} is no feature store", expected=f"a folder with {_SPEC}")
        return cls(folder, FeatureSpec.from_dict(values))

    def ids(self) -> Sequence[str]:
        """Ids of the finished videos, sorted. One look at the folder; only records of very long ids are opened."""
        own = self.loose_ids()  # before the packed ones: what is packed in between is then found twice, not missed
        return sorted({*own, *self.packed.ids()})

    def loose_ids(self, *, finished: bool = True) -> list[str]:
        """Ids of the videos that have files of their own; those that are not finished too, if asked."""
        names = {name for name in os.listdir(self.folder) if not name.startswith(".")}
        stems = {name.removesuffix(".npy") for name in names if name.endswith(".npy")}
        records = {name.removesuffix(".json") for name in names if name.endswith(".json") and not name.endswith(FAILED)}
        found = stems & records if finished else (stems | records) - {_SPEC.removesuffix(".json")}
        return sorted(filter(None, map(self._id, found)))

    def record(self, video: str) -> dict[str, Any] | None:
        """What is known of a finished video: its json; None if it is not finished.

        Raises:
            FeatureError: the json is damaged.
        """
        own = self._own_record(video)
        return self.packed.record(video) if own is None else own

    def _own_record(self, video: str) -> dict[str, Any] | None:
        path = os.path.join(self.folder, file_stem(video))
        return read_record(Path(f"{path}.json")) if os.path.exists(f"{path}.npy") else None

    def _source(self, video: str) -> Mapping[str, Any] | None:
        """What the record of a finished video says of its file, at least its fingerprint; opens no tar."""
        own = self._own_record(video)
        return self.packed.source(video) if own is None else own["source"]

    def contents(self, video: str) -> tuple[dict[str, Any], bytes, str]:
        """(record, content of the npy file, what to call it in messages) of a finished video, not compared yet.

        Raises:
            FeatureError: not finished, or the json is damaged.
        """
        path, record = self.folder / f"{file_stem(video)}.npy", self._own_record(video)
        if record is not None:
            with suppress(FileNotFoundError):  # packed in between
                return record, path.read_bytes(), str(path)
        packed = self.packed.contents(video)
        if packed is None:
            raise self._missing(video)
        return packed

    def failure(self, video: str) -> Failure | None:
        """Why a video has no features, if that was recorded.

        Raises:
            FeatureError: the json is damaged.
        """
        return read_failure(self.folder / f"{file_stem(video)}{FAILED}")

    def failures(self) -> list[Failure]:
        """All recorded failures, sorted by id; a damaged one is told and left out."""
        found = []
        for name in os.listdir(self.folder):
            if name.endswith(FAILED):
                try:
                    found.append(read_failure(self.folder / name))
                except FeatureError as error:
                    _LOG.warning("%s", error.given)
        return sorted((each for each in found if each is not None), key=lambda each: each.video)

    def state(self, video: str, path: Path) -> State:
        """Where a video stands, so that only "done" and, unless it is to be tried again, "failed" are left alone.

        "replaced": done or failed from another file than `path`. "damaged": a record that cannot be read. A file that
        cannot be read is not told from the recorded one; opening it will say what is wrong. One that failed because
        there was no file is "new" when there is.
        """
        try:
            source = self._source(video)
            if source is not None and is_of(source, path, touched=True) is not False:
                return "done"
            failure = self.failure(video)
        except FeatureError as error:
            _LOG.warning("%s: its features are made anew", error.given)
            return "damaged"
        if failure is None:
            return "new" if source is None else "replaced"
        same = is_of(failure.source, path, touched=False)
        if same is None and source is None:  # it failed when there was no file
            return "new" if path.is_file() and os.access(path, os.R_OK) else "failed"
        return "failed" if same else "replaced"

    def load(self, video: str, *, duration_s: float | None = None, fps: float | None = None) -> VideoFeatures:
        """One video's features as float32, with their grid; see `FeatureSource.load`. `fps` is not needed here."""
        record, data, name = self.contents(video)
        if hashlib.sha256(data).hexdigest() != record["array"]["sha256"]:
            raise FeatureError(
                f"{name} is not the array that its record describes",
                cause="the file was changed or damaged after it was written",
                todo=f"remove {file_stem(video)}.json beside it and run tal extract again"
                if name.endswith(".npy") and ".tar: " not in name
                else "get the tar from a copy",
            )
        array = np.load(io.BytesIO(data), allow_pickle=False)
        features = checked(array, name=name, width=self.spec.width)
        grid = SnippetGrid(**record["grid"])
        if grid.count != len(features):
            raise FeatureError(f"{name}: {len(features)} rows", expected=f"{grid.count}, as its record says")
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
        with self.writing(video) as rows:
            rows.append(features)
            return rows.commit(grid, duration_s=duration_s, source=source, losses=losses)

    def writing(self, video: str) -> Rows:
        """Begin a video whose features come piece by piece, in memory that does not grow with its length:

            with store.writing(video) as rows:
                rows.append(features)  # (n, C) or (n, tokens, C), as often as needed
                rows.commit(grid, duration_s=..., source=..., losses=...)

        Nothing is seen of them before `commit`, and nothing is left without it.

        Raises:
            WriteError: the folder cannot be written.
        """
        return Rows(self.folder, video, self.spec, lambda path, record: self._commit(file_stem(video), path, record))

    def record_failure(self, video: str, *, stage: str, error: str, source: Mapping[str, Any] | None = None) -> Failure:
        """Write down that a video could not be done, unless another process finished it; counts the attempts.

        Raises:
            WriteError: the folder cannot be written.
        """
        path = self.folder / f"{file_stem(video)}{FAILED}"
        with writing(path), locked(self.folder):
            before = _readable(self.failure, video)
            attempts = 1 if before is None else before.attempts + 1
            failure = Failure(video=video, stage=stage, error=error, attempts=attempts, source=dict(source or {}))
            record = _readable(self.record, video)
            if record is None or not same_source(record["source"], failure.source):
                write_json(path, failure.as_dict())
        return failure

    def _commit(self, stem: str, temporary: Path, record: dict[str, Any]) -> bool:
        """Array, then record, under the store's lock.

        Another process may have finished the same file meanwhile: its features stay. If it was another file, the old
        record goes before the new array comes, so that a record never stands beside an array that is not its own.
        """
        array, mark = self.folder / f"{stem}.npy", self.folder / f"{stem}.json"
        with writing(array), locked(self.folder):
            before = _readable(self.record, record["id"])
            if before is not None and same_source(before["source"], record["source"]):
                return False
            mark.unlink(missing_ok=True)
            temporary.replace(array)
            sync(self.folder)
            write_json(mark, record)
            (self.folder / f"{stem}{FAILED}").unlink(missing_ok=True)
        return True

    def _id(self, stem: str) -> str | None:
        """The id of the video that has these files; None where only a damaged record would tell it."""
        video = video_of(stem)
        if video is not None:
            return video
        try:
            record = read_record(self.folder / f"{stem}.json")
        except FeatureError as error:
            _LOG.warning("%s", error.given)
            return None
        return None if record is None else str(record["id"])

    def _missing(self, video: str) -> FeatureError:
        failure = self.failure(video)
        if failure is None:
            return missing(self.folder, video, dict.fromkeys(self.ids()))
        return FeatureError(
            f"no features of video {video!r} in {self.folder}: {failure.stage} failed {failure.attempts} times: "
            f"{failure.error}",
            todo="mend the video, or run tal extract --retry-failed",
        )


def _readable(read: Callable[[str], Found | None], video: str) -> Found | None:
    """What `read` finds; None for a damaged json too, which is about to be written over."""
    with suppress(FeatureError):
        return read(video)
    return None


def _refuse_strangers(folder: Path) -> None:
    strangers = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if strangers:
        raise FeatureError(
            f"{folder} is no feature store, and not empty: {', '.join(strangers[:3])}{', ...' * (len(strangers) > 3)}",
            expected="an empty or new folder, or a store",
        )
