"""`tal export`: predictions to the files of other tools."""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from tal.annotations import elan, label_studio, subtitles
from tal.annotations.results import read_results, write_csv, write_results
from tal.errors import AnnotationError, ConfigError
from tal.segments import Segments
from tal.video.ids import safe_name

_logger = logging.getLogger(__name__)

Results = Mapping[str, Segments]

_ONE_FILE: dict[str, tuple[Callable[[Path, Results], None], str]] = {
    "activitynet": (write_results, ".json"),
    "csv": (write_csv, ".csv"),
    "label-studio": (label_studio.write, ".json"),
}
_FILE_PER_VIDEO: dict[str, tuple[Callable[[Path, str, Segments], None], str]] = {
    "srt": (lambda path, video, rows: subtitles.write_srt(path, rows), ".srt"),
    "vtt": (lambda path, video, rows: subtitles.write_vtt(path, rows), ".vtt"),
    "elan": (elan.write, ".eaf"),
}


def export(
    predictions: Path,
    *,
    to: Literal["csv", "srt", "vtt", "activitynet", "elan", "label-studio"],
    out: Path,
    threshold: float | None = None,
    top: int | None = None,
    videos: list[str] | None = None,
) -> int:
    """Write predictions as files of other tools.

    csv, activitynet and label-studio give one file; srt, vtt and elan one per video, in the folder OUT (or in the file
    OUT, if it has the format's suffix and there is one video).

    Args:
        predictions: ActivityNet results JSON or CSV.
        to: The format.
        out: File or folder to write.
        threshold: Leave out predictions with a lower score.
        top: Keep at most this many of the best predictions per video.
        videos: Only these ids.
    """
    if threshold is not None and not math.isfinite(threshold):  # scores of others may be of any size
        raise ConfigError(f"threshold {threshold}", expected="a finite score")
    results = _chosen(read_results(predictions), predictions, threshold, top, videos)
    count = sum(len(rows) for rows in results.values())
    if to in _ONE_FILE:
        write, suffix = _ONE_FILE[to]
        if out.is_dir():
            out = out / f"{predictions.stem}{suffix}"
        _refuse_overwriting(out, predictions)
        write(out, results)
        _logger.info("%d predictions on %d videos: %s", count, len(results), out)
        return 0
    write_one, suffix = _FILE_PER_VIDEO[to]
    if out.suffix.lower() == suffix and not out.is_dir():
        if len(results) != 1:
            raise ConfigError(
                f"{out} is one file, {predictions} holds {len(results)} videos",
                expected=f"a folder: {to} is written per video",
                todo="name a folder, or choose one video with --videos",
            )
        paths = dict.fromkeys(results, out)
    else:
        paths = {video: out / f"{safe_name(video, dots=True)}{suffix}" for video in results}
    for video, rows in results.items():
        _refuse_overwriting(paths[video], predictions)
        write_one(paths[video], video, rows)
    _logger.info("%d predictions on %d videos: %s", count, len(results), out)
    return 0


def _chosen(
    results: dict[str, Segments], source: Path, threshold: float | None, top: int | None, videos: list[str] | None
) -> dict[str, Segments]:
    unknown = [video for video in videos or () if video not in results]
    if unknown:
        known = ", ".join(list(results)[:10])
        raise AnnotationError(f"{source}: no video {', '.join(unknown)}", expected=f"videos such as {known}")
    if top is not None and top < 1:
        raise ConfigError(f"top {top}", expected="1 or more predictions per video")
    return {
        video: (rows if threshold is None else rows[rows.score >= threshold])[:top]
        for video, rows in results.items()
        if videos is None or video in videos
    }


def _refuse_overwriting(out: Path, source: Path) -> None:
    if out.exists() and out.samefile(source):
        raise ConfigError(f"{out} is the file that is read", expected="another file to write")
