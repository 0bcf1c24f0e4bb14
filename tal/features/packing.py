"""Packing finished videos of a store into tars, its own or another store's. May be killed at any time and run again."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tal.console import track
from tal.errors import FeatureError
from tal.features.files import hold, locked, remove_abandoned, write_atomic, writing
from tal.features.packed import FOLDER, Index, index_tar, shards, write_tar
from tal.features.records import file_stem, read_record
from tal.features.store import FeatureStore

SHARD_BYTES = 1 << 30
SHARD_VIDEOS = 10_000
_REMOVED_AT_ONCE = 100

_Entry = tuple[dict[str, Any], bytes]


@dataclass(kw_only=True)
class Packing:
    """What was done.

    Args:
        packed: How many videos were packed now.
        known: How many were packed before.
        tars: How many tars were written.
        damaged: Videos that were left as they are, and what is wrong with them.
    """

    packed: int = 0
    known: int = 0
    tars: int = 0
    damaged: dict[str, str] = field(default_factory=dict)


def pack(
    store: FeatureStore, out: Path | None = None, *, shard_bytes: int = SHARD_BYTES, shard_videos: int = SHARD_VIDEOS
) -> Packing:
    """Pack the finished videos of a store.

    Args:
        store: It may be written to meanwhile: what is finished later is packed another time.
        out: Another store that gets them; if None, they are packed in their own store, and their own files removed as
            soon as the tar is on the disk.
        shard_bytes, shard_videos: A tar is closed when it holds that much.

    Raises:
        FeatureError: `out` is of another spec; another process packs.
        WriteError: the folder cannot be written.
    """
    target = store if out is None else FeatureStore.create(out, store.spec)
    result = Packing()
    with _packing(target.folder / FOLDER) as folder:
        for tar, has_index in shards(folder):
            if not has_index:
                index_tar(tar)  # a process was killed right before it wrote the index
        videos = store.loose_ids() if out is None else store.ids()
        contents = _contents(store, target, videos, result)
        number = max((int(tar.stem) for tar, _ in shards(folder) if tar.stem.isdecimal()), default=-1)
        entry = next(contents, None)
        while entry is not None:
            number += 1
            path = folder / f"{number:06d}.tar"
            part = _Part(contents, entry, shard_bytes, shard_videos)
            with writing(path):
                write_atomic(path, part.write)
                part.index.write(path.with_suffix(".json"))
            result.packed += len(part.index.ids)
            result.tars += 1
            entry = part.left
            if out is None:
                _remove_packed(store, part.index.ids)
        if out is None:
            _remove_packed(store, [video for video in store.loose_ids(finished=False) if video not in result.damaged])
    return result


class _Part:
    """One tar: takes from `contents` until it is full; `left` is the entry that did not fit."""

    def __init__(
        self, contents: Iterator[tuple[dict[str, Any], bytes]], first: Any, most_bytes: int, most: int
    ) -> None:
        self._contents, self._most_bytes, self._most = contents, most_bytes, most
        self.left: _Entry | None = first
        self.index = Index()

    def write(self, file: IO[bytes]) -> None:
        self.index = write_tar(file, self._taken())

    def _taken(self) -> Iterator[_Entry]:
        size = count = 0
        while self.left is not None and (not count or (size < self._most_bytes and count < self._most)):
            size += len(self.left[1])
            count += 1
            yield self.left
            self.left = next(self._contents, None)


def _contents(store: FeatureStore, target: FeatureStore, videos: Sequence[str], result: Packing) -> Iterator[_Entry]:
    """(record, content of the npy file) of the videos that are whole and not packed in `target` yet."""
    for video in track(videos, "packing", total=len(videos)):
        try:
            record, array, name = store.contents(video)
            known = target.packed.record(video)
        except FeatureError as error:
            result.damaged[video] = error.given
            continue
        if hashlib.sha256(array).hexdigest() != record["array"]["sha256"]:
            result.damaged[video] = f"{name} is not the array that its record describes"
        elif known == record:
            result.known += 1
        else:
            yield record, array


def _remove_packed(store: FeatureStore, videos: list[str]) -> None:
    """Remove the own files of packed videos, where they are still those that were packed."""
    for first in range(0, len(videos), _REMOVED_AT_ONCE):
        with writing(store.folder), locked(store.folder):
            for video in videos[first : first + _REMOVED_AT_ONCE]:
                path = store.folder / f"{file_stem(video)}.json"
                packed = store.packed.record(video)
                with suppress(FeatureError):
                    loose = read_record(path)
                    if packed is not None and (loose is None or loose == packed):
                        path.unlink(missing_ok=True)
                        path.with_suffix(".npy").unlink(missing_ok=True)


@contextmanager
def _packing(folder: Path) -> Iterator[Path]:
    """Be the only process that packs into this folder.

    Raises:
        FeatureError: another one does.
    """
    with writing(folder):
        folder.mkdir(exist_ok=True)
        file = (folder / ".lock").open("ab")
    with file:
        if hold(file, wait=False) is False:
            raise FeatureError(f"{folder}: another process is packing", todo="wait for it, or let it be the only one")
        remove_abandoned(folder)
        yield folder
