"""Where a store stands: one look at its folder, without opening the records of finished videos."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal.atomic import TEMPORARY
from tal.errors import FeatureError
from tal.features.files import hold
from tal.features.records import FAILED, Failure, read_failure
from tal.features.store import FeatureStore

_RECENT_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Where a store stands.

    Args:
        done: Ids of the finished videos.
        failed: Failures that were recorded and not overcome since.
        in_work: Videos whose features are being written now, by living processes.
        damaged: What cannot be read, one line each.
        bytes: Size of the store.
        finished_s: When each finished video that is not packed was finished, by the file system's clock, sorted.
    """

    done: Sequence[str]
    failed: Sequence[Failure]
    in_work: int
    damaged: Sequence[str]
    bytes: int
    finished_s: Sequence[float]

    def rate(self) -> float | None:
        """Videos a second in the hour before the last one was finished; None where too few were."""
        recent = [time_s for time_s in self.finished_s if time_s > self.finished_s[-1] - _RECENT_S]
        span_s = recent[-1] - recent[0] if recent else 0.0
        return (len(recent) - 1) / span_s if span_s > 0 else None

    def missing(self, videos: Sequence[str]) -> list[str]:
        """Those of `videos` that are neither done nor failed."""
        known = {*self.done, *(failure.video for failure in self.failed)}
        return [video for video in videos if video not in known]

    def as_dict(self, videos: Sequence[str] | None = None) -> dict[str, Any]:
        """Plain values for json.

        Args:
            videos: All that are to be in the store, where that is known.
        """
        rate = self.rate()
        missing = None if videos is None else self.missing(videos)
        left_s = len(missing) / rate if missing is not None and rate else None
        return {
            "done": len(self.done),
            "failed": dict(Counter(failure.stage for failure in self.failed)),
            "failures": [failure.as_dict() for failure in self.failed],
            "in_work": self.in_work,
            "damaged": list(self.damaged),
            "missing": missing,
            "bytes": self.bytes,
            "videos_per_hour": None if rate is None else rate * 3600,
            "left_s": 0.0 if missing == [] else left_s,
        }


def survey(store: FeatureStore) -> Survey:
    """Look at a store. Needs no right to write, and disturbs nobody who works on it."""
    finished_s, size, in_work = [], 0, 0
    failed: list[Failure] = []
    damaged: list[str] = []
    for entry in _entries(store.folder):
        try:
            facts = entry.stat()
        except FileNotFoundError:
            continue  # finished or removed meanwhile
        size += facts.st_size
        if entry.name.startswith(TEMPORARY):
            in_work += _is_held(Path(entry.path))
        elif Path(entry.path).parent == store.packed.folder:
            continue
        elif entry.name.endswith(FAILED):
            try:
                failure = read_failure(Path(entry.path))
            except FeatureError as error:
                damaged.append(error.given)
            else:
                failed += [] if failure is None else [failure]
        elif entry.name.endswith(".json") and entry.name != "spec.json":
            finished_s.append(facts.st_mtime)
    failed_ids = {failure.video for failure in failed}
    return Survey(
        done=[video for video in store.ids() if video not in failed_ids],
        failed=sorted(failed, key=lambda failure: failure.video),
        in_work=in_work,
        damaged=damaged,
        bytes=size,
        finished_s=sorted(finished_s),
    )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Files of a store and of its packed part."""
    for entry in os.scandir(folder):
        if entry.is_dir():
            yield from os.scandir(entry)
        else:
            yield entry


def _is_held(path: Path) -> bool:
    """Whether a living process writes to this temporary file; yes where that cannot be told."""
    try:
        with path.open("rb") as file:
            return hold(file, wait=False) is not True
    except OSError:
        return False
