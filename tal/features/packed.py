"""Packed videos of a store: many in one tar, for stores with more videos than a file system likes to list.

STORE/packed/000000.tar    NAME.npy and NAME.json of many videos, as they would stand in the store; uncompressed
STORE/packed/000000.json   ids, where in the tar each one's record and array are, and the fingerprints of their files,
                           so that resuming opens no tar; written last: the tar counts
"""

import io
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tal.errors import FeatureError
from tal.features.files import json_bytes, json_object, read_json, write_json
from tal.features.records import file_stem
from tal.version import STORE_SCHEMA

FOLDER = "packed"
_BLOCK = 512
_FINGERPRINT = ("size", "mtime_ns", "edges_hash")
_REBUILD = "remove it and run tal extract --pack STORE, which makes it anew from the .tar beside it"


class Packed:
    """Reads the packed videos of a store; notices what other processes pack meanwhile.

    Args:
        store: Folder of the store.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store / FOLDER
        self._forget()

    def _forget(self) -> None:
        self._names: tuple[str, ...] = ()
        self._rows: dict[str, tuple[int, int]] = {}  # id -> (number in _names, row of its places)
        self._places: list[NDArray[np.int64]] = []  # (N, 4): offset and size of record and array
        self._sources: list[list[list[Any] | None]] = []  # values of `_FINGERPRINT`

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # a process that gets a copy reads the indexes itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder = state["folder"]
        self._forget()

    def ids(self) -> Iterable[str]:
        """Ids of the packed videos.

        Raises:
            FeatureError: an index is damaged.
        """
        self.refresh()
        return self._rows.keys()

    def record(self, video: str) -> dict[str, Any] | None:
        """The record of a packed video; None if it is not packed.

        Raises:
            FeatureError: the tar or its index is damaged.
        """
        found = self._find(video)
        return None if found is None else self._record(*found)

    def source(self, video: str) -> dict[str, Any] | None:
        """The fingerprint in the record of a packed video, {} if it has none; None if the video is not packed.

        Raises:
            FeatureError: an index is damaged.
        """
        at = self._at(video)
        if at is None:
            return None
        values = self._sources[at[0]][at[1]]
        return {} if values is None else dict(zip(_FINGERPRINT, values, strict=True))

    def contents(self, video: str) -> tuple[dict[str, Any], bytes, str] | None:
        """(record, content of the npy file, what to call it in messages) of a packed video; None if it is not packed.

        Raises:
            FeatureError: the tar or its index is damaged.
        """
        found = self._find(video)
        if found is None:
            return None
        tar, places = found
        return self._record(tar, places), _read(tar, places[2:]), f"{tar}: {file_stem(video)}.npy"

    def refresh(self) -> None:
        """Read indexes that are new."""
        try:
            names = tuple(sorted(name for name in os.listdir(self.folder) if _is_index(name)))
        except FileNotFoundError:
            names = ()
        if names == self._names:
            return
        rows: dict[str, tuple[int, int]] = {}
        indexes = [_read_index(self.folder / name) for name in names]
        for number, index in enumerate(indexes):
            rows.update((video, (number, row)) for row, video in enumerate(index.ids))
        self._places = [np.array(index.places, np.int64).reshape(-1, 4) for index in indexes]
        self._sources = [index.sources for index in indexes]
        self._rows, self._names = rows, names

    def _find(self, video: str) -> tuple[Path, list[int]] | None:
        """(tar, offset and size of record and array)."""
        at = self._at(video)
        if at is None:
            return None
        tar = (self.folder / self._names[at[0]]).with_suffix(".tar")
        return tar, [int(value) for value in self._places[at[0]][at[1]]]

    def _at(self, video: str) -> tuple[int, int] | None:
        """(number of the tar, row in its index)."""
        if video not in self._rows:
            self.refresh()
        return self._rows.get(video)

    def _record(self, tar: Path, places: list[int]) -> dict[str, Any]:
        try:
            return json_object(_read(tar, places[:2]))
        except ValueError as error:
            raise FeatureError(
                f"{tar} is damaged at byte {places[0]}: {error}",
                expected="a video's record",
                cause="the tar was changed, or its index is another tar's",
                todo=f"get the tar from a copy; if it is whole, {_REBUILD}",
            ) from error


@dataclass(kw_only=True)
class Index:
    """What a tar holds.

    Args:
        ids: Of the videos.
        places: For each, offset and size of its record, offset and size of its array.
        sources: For each, size, time and hash of its file; None where the record has none.
    """

    ids: list[str] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    sources: list[list[Any] | None] = field(default_factory=list)

    def add(self, record: Mapping[str, Any], place: list[int]) -> None:
        """One more video."""
        source = record["source"]
        self.ids.append(record["id"])
        self.places.append(place)
        self.sources.append([source[key] for key in _FINGERPRINT] if source.keys() >= set(_FINGERPRINT) else None)

    def write(self, path: Path) -> None:
        """The tar beside `path` counts from now on."""
        write_json(path, {"schema": STORE_SCHEMA, **asdict(self)}, indent=None)


def write_tar(file: IO[bytes], videos: Iterable[tuple[dict[str, Any], bytes]]) -> Index:
    """Write videos, (record, content of the npy file), as a tar."""
    index = Index()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for record, array in videos:
            stem, text = file_stem(record["id"]), json_bytes(record)
            at_array = _add(tar, f"{stem}.npy", array)
            at_record = _add(tar, f"{stem}.json", text)
            index.add(record, [at_record, len(text), at_array, len(array)])
    return index


def index_tar(tar: Path) -> None:
    """Write the index of a tar from its content.

    Raises:
        FeatureError: not a tar that `write_tar` made.
    """
    index = Index()
    try:
        with tarfile.open(tar) as opened:
            arrays = {}
            for member in opened:
                if member.name.endswith(".npy"):
                    arrays[member.name.removesuffix(".npy")] = [member.offset_data, member.size]
                    continue
                record = json_object(_read(tar, [member.offset_data, member.size]))
                index.add(record, [member.offset_data, member.size, *arrays[member.name.removesuffix(".json")]])
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise FeatureError(
            f"{tar} is no tar of packed videos: {error}", todo="get it from a copy, or remove it"
        ) from error
    index.write(tar.with_suffix(".json"))


def shards(folder: Path) -> Iterator[tuple[Path, bool]]:
    """(tar, whether it has an index), in the order in which they were written."""
    names = set(os.listdir(folder))
    for name in sorted(names):
        if name.endswith(".tar") and not name.startswith("."):
            yield folder / name, f"{name.removesuffix('.tar')}.json" in names


def _is_index(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> int:
    """Add a file; returns where its data begin."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    return tar.offset - -(-len(data) // _BLOCK) * _BLOCK


def _read(tar: Path, place: list[int]) -> bytes:
    try:
        with tar.open("rb", buffering=0) as file:
            file.seek(place[0])
            data = file.read(place[1])
    except OSError as error:
        raise FeatureError(f"{tar} cannot be read: {error.strerror or error}") from error
    if len(data) != place[1]:
        raise FeatureError(f"{tar} ends before byte {sum(place)}", cause="it was cut off", todo="get it from a copy")
    return data


def _read_index(path: Path) -> Index:
    values = read_json(path, todo=_REBUILD) or {}
    try:
        if values.pop("schema") != STORE_SCHEMA:
            raise ValueError("written by another version of tal")
        index = Index(**values)
        if not len(index.ids) == len(index.places) == len(index.sources):
            raise ValueError(f"{len(index.ids)} ids, {len(index.places)} places, {len(index.sources)} sources")
        np.array(index.places, np.int64).reshape(len(index.ids), 4)
    except (KeyError, ValueError, TypeError) as error:
        raise FeatureError(f"{path} is damaged: {error}", expected="the index of a tar", todo=_REBUILD) from error
    return index
