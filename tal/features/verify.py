"""Is what stands in a store whole, and does it make sense? Damaged files, senseless numbers, videos that leak."""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tal.annotations.findings import Finding
from tal.console import track
from tal.errors import FeatureError, GridError
from tal.features.base import VideoFeatures
from tal.features.records import FAILED, read_failure
from tal.features.store import FeatureStore

_AT_ONCE = 4
_PARTS = 8
_PROJECTED = 256
_SAME_LENGTH = 0.05
_CLOSE = 0.25


@dataclass(frozen=True, kw_only=True)
class _Sketch:
    """What is kept of a video to find its like.

    Args:
        duration_s: Of the video.
        means: (_PARTS * _PROJECTED,) features of its eighths, projected.
        spread: How far its snippets are from their mean, root of the mean squared distance.
    """

    duration_s: float
    means: NDArray[np.float32]
    spread: float


def verify(
    store: FeatureStore,
    *,
    durations_s: Mapping[str, float | None] | None = None,
    subsets: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Read everything in a store.

    Args:
        store: To be read; nothing is changed.
        durations_s: Video -> duration that annotations state; the store's own is always compared.
        subsets: Video -> split; then videos of different splits that look like one video are found.

    Returns:
        Findings of the kinds damaged_record, damaged_array, lost_array, not_finite, all_zero, constant, grid_mismatch
        and near_duplicate.
    """
    findings = list(_leftovers(store))
    sketches: dict[str, _Sketch] = {}

    def examined(video: str) -> tuple[list[Finding], _Sketch | None]:
        return _examined(store, video, (durations_s or {}).get(video), sketch=bool(subsets and video in subsets))

    ids = readable_ids(store)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for video, (found, sketch) in track(
            zip(ids, pool.map(examined, ids), strict=True), "verifying", total=len(ids)
        ):
            findings += found
            if sketch is not None:
                sketches[video] = sketch
    return findings + near_duplicates(sketches, subsets or {})


def readable_ids(store: FeatureStore) -> Sequence[str]:
    """Ids of the finished videos; without the packed ones where an index of theirs is damaged."""
    try:
        return store.ids()
    except FeatureError:
        return store.loose_ids()


def _leftovers(store: FeatureStore) -> Iterator[Finding]:
    """Records without an array, and failures and indexes that cannot be read."""
    try:
        store.packed.refresh()
    except FeatureError as error:
        yield Finding(kind="damaged_record", message=error.given, cause=error.cause)
    names = set(os.listdir(store.folder))
    for name in sorted(names):
        path = store.folder / name
        if name.endswith(FAILED):
            try:
                read_failure(path)
            except FeatureError as error:
                yield Finding(kind="damaged_record", message=error.given, cause=error.cause)
        elif name.endswith(".json") and name != "spec.json" and f"{name[: -len('.json')]}.npy" not in names:
            yield Finding(
                kind="lost_array", message=f"{path} stands without its array", cause="the .npy file was removed"
            )


def _examined(
    store: FeatureStore, video: str, duration_s: float | None, *, sketch: bool
) -> tuple[list[Finding], _Sketch | None]:
    """Findings about one video by itself, and what is kept to compare it."""
    try:
        store.record(video)
    except FeatureError as error:
        return [Finding(kind="damaged_record", video=video, message=error.given, cause=error.cause)], None
    try:
        loaded = store.load(video)
    except FeatureError as error:
        kind = "not_finite" if "NaN or infinite" in error.given else "damaged_array"
        return [Finding(kind=kind, video=video, message=f"{video}: {error.given}", cause=error.cause)], None
    found = [*_senseless(loaded), *_out_of_step(loaded, duration_s)]
    return found, _sketch(loaded) if sketch else None


def _senseless(loaded: VideoFeatures) -> Iterator[Finding]:
    """Zeros and constants, which no network gives for moving pictures."""
    video, rows = loaded.video, loaded.features.reshape(len(loaded.features), -1)
    zero = int((~rows.any(axis=1)).sum())
    if zero:
        first = int(np.argmin(rows.any(axis=1)))
        message = f"{video}: {zero} of {len(rows)} snippets are all zero, first snippet {first}"
        yield Finding(kind="all_zero", video=video, message=message, cause="black frames, or a network that failed")
    elif len(rows) > 1 and not np.ptp(rows, axis=0).any():
        message = f"{video}: all {len(rows)} snippets are the same"
        yield Finding(kind="constant", video=video, message=message, cause="a still picture, or frames that repeat")


def _out_of_step(loaded: VideoFeatures, stated_s: float | None) -> Iterator[Finding]:
    for duration_s, who in ((loaded.duration_s, "its record"), (stated_s, "the annotations")):
        if duration_s is None:
            continue
        try:
            loaded.grid.check_duration(duration_s, name=f"{loaded.video}, compared with {who}")
        except GridError as error:
            yield Finding(kind="grid_mismatch", video=loaded.video, message=error.given, cause=error.cause)


def _sketch(loaded: VideoFeatures) -> _Sketch:
    rows = loaded.features.reshape(len(loaded.features), -1)
    edges = np.linspace(0, len(rows), _PARTS + 1)
    parts = [rows[int(first) : max(int(first) + 1, int(stop))] for first, stop in pairwise(edges)]
    means = np.stack([part.mean(axis=0) for part in parts])
    spread = float(np.sqrt(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean()))
    duration_s = loaded.duration_s if loaded.duration_s is not None else loaded.grid.end_s
    return _Sketch(duration_s=duration_s, means=_projected(means).ravel(), spread=spread)


def _projected(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, C) to at most (n, 256) with distances kept to a few percent (Johnson and Lindenstrauss, random signs)."""
    width = rows.shape[1]
    if width <= _PROJECTED:
        return rows
    signs = np.random.default_rng(0).integers(0, 2, (width, _PROJECTED), dtype=np.int8) * 2 - 1
    return (rows @ signs.astype(np.float32) / np.sqrt(_PROJECTED)).astype(np.float32)


def near_duplicates(sketches: Mapping[str, _Sketch], subsets: Mapping[str, str]) -> list[Finding]:
    """Videos of different splits that are probably one video: re-encoded, resized, uploaded twice.

    Two videos of about one length (5 %) are, where their features, eighth by eighth, are closer to each other than a
    quarter of how far each one's snippets are from their own mean. The rule is ours; a copy whose ends were cut off
    is not found by it.
    """
    order = sorted(sketches, key=lambda video: sketches[video].duration_s)
    durations_s = np.array([sketches[video].duration_s for video in order])
    found = []
    for at, video in enumerate(order):
        mine = sketches[video]
        stop = int(np.searchsorted(durations_s, mine.duration_s * (1 + _SAME_LENGTH), side="right"))
        split = subsets[video].lower()
        others = [each for each in order[at + 1 : stop] if subsets[each].lower() != split]
        for other in others:
            theirs = sketches[other]
            if mine.means.shape != theirs.means.shape:
                continue
            apart = float(np.sqrt(((mine.means - theirs.means) ** 2).sum() / _PARTS))
            spread = min(mine.spread, theirs.spread)
            if apart <= _CLOSE * spread:
                message = (
                    f"{video} ({subsets[video] or 'no split'}) and {other} ({subsets[other] or 'no split'}) are nearly "
                    f"the same: {apart:.3g} apart, where each one's own snippets are {spread:.3g} apart"
                )
                found.append(Finding(kind="near_duplicate", video=video, message=message, cause="one video twice"))
    return found
