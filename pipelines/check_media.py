"""What is wrong between annotations and the files that belong to them: videos and features."""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import numpy as np

from tal.annotations.findings import Finding
from tal.annotations.records import VideoRecord
from tal.console import track
from tal.errors import FeatureError, GridError, VideoError
from tal.features.base import FeatureSource
from tal.features.foreign import ForeignFolder
from tal.features.store import FeatureStore
from tal.video import open_video, probe
from tal.video.base import VideoInfo

_RATES = (15.0, 24.0, 25.0, 29.97, 30.0, 50.0, 60.0)
_AT_ONCE = 4


@dataclass
class VideoCheck:
    """What was learnt about the videos."""

    findings: list[Finding] = field(default_factory=list)
    durations_s: dict[str, float] = field(default_factory=dict)
    paths: dict[str, Path] = field(default_factory=dict)


def find_files(records: Mapping[str, VideoRecord], files: list[Path], folder: Path) -> VideoCheck:
    """Which file belongs to which video: by stem, or by path below the folder with or without suffix."""
    check = VideoCheck()
    by_name: dict[str, list[Path]] = {}
    for path in files:
        inside = path.relative_to(folder) if path.is_relative_to(folder) else path
        for name in {path.stem, inside.as_posix(), inside.with_suffix("").as_posix()}:
            by_name.setdefault(name, []).append(path)
    for video, record in records.items():
        named = Path(record.path).stem if record.path else ""
        found = by_name.get(video) or by_name.get(named) or []
        if len(found) > 1:
            message = f"{video}: {len(found)} files have this name: {', '.join(map(str, found[:4]))}"
            check.findings.append(Finding(kind="ambiguous_video", video=video, message=message))
        if found:
            check.paths[video] = found[0]
        else:
            message = f"{video}: no video file in {folder}"
            check.findings.append(
                Finding(kind="missing_video", video=video, message=message, cause=_hint(video, by_name))
            )
    return check


def _hint(video: str, names: Mapping[str, object]) -> str:
    """Why a name may not have been found."""
    other = next((name for name in (f"v_{video}", video.removeprefix("v_")) if name in names and name != video), "")
    return f"there is {other}: the files are named with another prefix" if other else ""


def check_videos(check: VideoCheck, records: Mapping[str, VideoRecord], *, thorough: bool) -> None:
    """Probe and decode every video; findings and durations are added to `check`."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = pool.map(lambda video: list(_examined(video, check, thorough)), check.paths)
        for video, findings in track(zip(check.paths, jobs, strict=True), "checking videos", total=len(check.paths)):
            check.findings += findings
            if video in check.durations_s:
                check.findings += _against_record(records[video], check.durations_s[video])


def _examined(video: str, check: VideoCheck, thorough: bool) -> Iterator[Finding]:
    """Findings about one file by itself."""
    path = check.paths[video]
    try:
        info = probe(path)
        losses, decoded = _decoded(path, thorough)
    except VideoError as error:
        message = f"{video}: {error.path}: {error.stage} failed: {error.reason}"
        yield Finding(kind="undecodable_video", video=video, message=message, cause=error.cause)
        return
    check.durations_s[video] = info.duration_s
    lost = info.frame_count - decoded
    if losses or (thorough and lost > 0):
        told = "; ".join(losses) or f"{lost} of {info.frame_count} frames cannot be decoded"
        yield Finding(kind="damaged_video", video=video, message=f"{video}: {path}: {told}")
    if info.variable_rate:
        yield Finding(
            kind="variable_rate",
            video=video,
            message=f"{video}: variable frame rate, {info.average_fps:.3f} on average; "
            f"frame numbers turned into seconds by it are up to {_drift_s(info):.2f} s off",
            cause="a phone's or a screen's recording; harmless where times, not frame numbers, are used",
        )


def _decoded(path: Path, thorough: bool) -> tuple[list[str], int]:
    """(losses, frames decoded) of the first frame, or of all."""
    decoded = 0
    with open_video(path) as reader:
        for frames in reader.batches(16 if thorough else 1):
            decoded += len(frames)
            if not thorough:
                break
        return list(reader.losses), decoded


def _drift_s(info: VideoInfo) -> float:
    index = np.arange(len(info.times_s))
    return float(np.abs(info.times_s - index / info.average_fps).max(initial=0.0))


def _against_record(record: VideoRecord, duration_s: float) -> Iterator[Finding]:
    """Findings about a video and what the annotations say of it."""
    stated = record.duration_s
    if stated is None or stated <= 0 or abs(stated - duration_s) <= max(0.5, 0.01 * duration_s):
        return
    yield Finding(
        kind="duration_mismatch",
        video=record.video,
        message=f"{record.video}: the annotations say {stated:.2f} s, the video lasts {duration_s:.2f} s",
        cause=_cause(stated, duration_s),
    )


def _cause(stated_s: float, actual_s: float) -> str:
    ratio = stated_s / actual_s if actual_s > 0 else 0.0
    pairs = [(first, second) for first in _RATES for second in _RATES if abs(first / second - 1) > 0.005]
    first, second = min(pairs, key=lambda pair: abs(ratio - pair[0] / pair[1]))
    if abs(ratio / (first / second) - 1) < 0.002:
        return f"frames counted at {first:g} per second and turned into seconds at {second:g}, or the like"
    return "a truncated download, or a part of the video" if ratio > 1 else "a longer version of the video"


def check_features(
    source: FeatureSource, records: Mapping[str, VideoRecord], durations_s: Mapping[str, float], name: str
) -> list[Finding]:
    """Videos without features, damaged ones, and grids that do not fit their videos.

    Args:
        source: The opened folder.
        records: The annotated videos.
        durations_s: Measured durations, which count more than those in the annotations.
        name: The folder, for messages.
    """
    try:
        there = set(source.ids())
    except FeatureError as error:  # the index of packed videos
        return [Finding(kind="damaged_features", message=error.given, cause=error.cause)]
    found = []
    for video, record in track(records.items(), "checking features", total=len(records)):
        if video not in there:
            message, cause = f"{video}: no features in {name}", _why_missing(source, video)
            found.append(Finding(kind="missing_features", video=video, message=message, cause=cause))
            continue
        duration_s = durations_s.get(video, record.duration_s)
        try:
            source.load(video, duration_s=duration_s, fps=record.fps)
        except GridError as error:
            message, cause = f"{video}: {error.given}", error.cause
            found.append(Finding(kind="grid_mismatch", video=video, message=message, cause=cause))
        except FeatureError as error:
            message, cause = f"{video}: {error.given}", error.cause
            found.append(Finding(kind="damaged_features", video=video, message=message, cause=cause))
    return found


def _why_missing(source: FeatureSource, video: str) -> str:
    """What a store recorded about a video that it has no features of."""
    if not isinstance(source, FeatureStore):
        return ""
    try:
        failure = source.failure(video)
    except FeatureError as error:
        return error.given
    return f"extraction failed: {failure.stage}: {failure.error}" if failure else ""


def same_files(paths: Mapping[str, Path]) -> dict[str, str]:
    """Video -> hash, for those whose file has the size of another one's; only these are read."""
    sizes = {video: path.stat().st_size for video, path in paths.items()}
    shared = {size for size, count in Counter(sizes.values()).items() if count > 1}
    digests = {}
    for video in track([video for video, size in sizes.items() if size in shared], "comparing files"):
        digest = sha256()
        with paths[video].open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        digests[video] = digest.hexdigest()
    return digests


def same_features(source: FeatureStore | ForeignFolder, records: Mapping[str, VideoRecord]) -> dict[str, str]:
    """Video -> hash of its features; of others' files, only where another one has the same size."""
    if isinstance(source, ForeignFolder):
        return same_files({video: path for video in records if (path := source.path(video)) is not None})
    digests = {}
    for video in records:
        with suppress(FeatureError):  # damaged: a finding of its own
            record = source.record(video)
            if record is not None:
                digests[video] = str(record["array"]["sha256"])
    return digests
