"""What `tal localize`, `tal report` and `tal demo` share: predictions and videos to a page."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tal.annotations.records import Annotations, VideoRecord
from tal.console import track
from tal.errors import VideoError
from tal.evaluation import Evaluation
from tal.report.data import Media, Miss, Report, ReportVideo
from tal.report.judge import best_threshold, worst_misses
from tal.report.media import media_of
from tal.report.page import drawable
from tal.report.thumbnails import strip_times, thumbnails
from tal.segments import Segments
from tal.video import probe, safe_name
from tal.video.base import VideoInfo

_LOG = logging.getLogger(__name__)

MEDIA_FOLDER = "media"
STRIPS = 24
"""Up to so many videos get a strip of frames above the timeline."""

STRIP_LIMIT_S = 3600.0
"""And only those up to this long: frames of a long video take long to decode."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The page's heading."""

    title: str
    subtitle: str = ""


def build_report(
    predictions: Mapping[str, Segments],
    *,
    page: Path,
    look: Shown,
    paths: Mapping[str, Path] | None = None,
    truth: Annotations | None = None,
    evaluation: Evaluation | None = None,
    embed_mb: float = 0.0,
    facts: Iterable[tuple[str, str]] = (),
    threshold: float | None = None,
) -> Report:
    """A page's data from predictions, with the media files that it needs beside it.

    Args:
        predictions: Video -> detections.
        page: Where the page will be; links are relative to it, re-encoded videos go to the folder media beside it.
        look: The heading.
        paths: Video -> file; videos without one are shown as a timeline alone.
        truth: Ground truth; videos that it does not know are not judged.
        evaluation: Metrics and per-class AP for a dataset.
        embed_mb: See `tal.report.media.media_of`.
        facts: What made the predictions.
        threshold: Where the slider stands at first; None: the highest F1 if there is ground truth, else 0.
    """
    paths = paths or {}
    records = {} if truth is None else truth.videos
    infos, notes = _probed(paths)
    copies = {video: page.parent / MEDIA_FOLDER / f"{safe_name(video)}.mp4" for video in infos}
    media, unplayable = media_of(infos, page, copies, embed_mb=embed_mb)
    notes |= {video: f"cannot be played: {reason}" for video, reason in unplayable.items()}
    strips = _strips(infos) if len(predictions) <= STRIPS else {}
    videos = [
        _video(video, rows, records.get(video), infos.get(video), media.get(video), notes.get(video, ""))
        for video, rows in predictions.items()
    ]
    videos = [replace(each, strip=strips.get(each.video, ())) for each in videos]
    start = best_threshold(videos) if threshold is None else threshold
    return Report(
        title=look.title,
        subtitle=look.subtitle,
        facts=dict(facts),
        videos=videos,
        threshold=start,
        metrics={} if evaluation is None else _headline(evaluation),
        per_class={} if evaluation is None else _per_class(evaluation),
        misses=_with_thumbnails(worst_misses(videos, start), videos, infos),
    )


def _probed(paths: Mapping[str, Path]) -> tuple[dict[str, VideoInfo], dict[str, str]]:
    infos, notes = {}, {}
    for video, path in track(paths.items(), "videos", total=len(paths)):
        try:
            infos[video] = probe(path)
        except VideoError as error:
            notes[video] = f"{error.stage} failed: {error.reason}"
    return infos, notes


def _video(
    video: str,
    rows: Segments,
    record: VideoRecord | None,
    info: VideoInfo | None,
    media: Media | None,
    note: str,
) -> ReportVideo:
    shown, truth = drawable(rows), None if record is None else drawable(record.instances)
    left_out = len(rows) - len(shown) + (0 if record is None or truth is None else len(record.instances) - len(truth))
    if left_out:
        _LOG.warning("%s: %d segments are not shown: times that do not rise, or NaN", video, left_out)
    ends = [float(part.end_s.max()) for part in (shown, truth) if part]
    known = info.duration_s if info is not None else record.duration_s if record is not None else None
    return ReportVideo(
        video=video,
        duration_s=max(ends, default=0.0) if known is None else known,
        predictions=shown,
        truth=truth,
        media=media,
        note=note,
    )


def _strips(infos: Mapping[str, VideoInfo]) -> dict[str, tuple[tuple[float, str], ...]]:
    strips = {}
    for video, info in track(infos.items(), "thumbnails", total=len(infos)):
        if info.duration_s <= STRIP_LIMIT_S:
            times = strip_times(info.duration_s)
            strips[video] = tuple(zip(times, _pictures(Path(info.path), times), strict=False))
    return strips


def _with_thumbnails(misses: list[Miss], videos: list[ReportVideo], infos: Mapping[str, VideoInfo]) -> tuple[Miss, ...]:
    """Each video is opened once, for all of its misses."""
    pictures: dict[int, str] = {}
    for position in sorted({miss.video_idx for miss in misses}):
        info = infos.get(videos[position].video)
        rows = [row for row, miss in enumerate(misses) if miss.video_idx == position]
        if info is not None:
            times = [(misses[row].start_s + misses[row].end_s) / 2 for row in rows]
            pictures |= dict(zip(rows, _pictures(Path(info.path), times), strict=False))
    return tuple(replace(miss, thumbnail=pictures.get(row, "")) for row, miss in enumerate(misses))


def _pictures(path: Path, times_s: list[float]) -> list[str]:
    try:
        return thumbnails(path, times_s)
    except VideoError as error:
        _LOG.warning("no thumbnails: %s", error.given)
        return []


def _headline(evaluation: Evaluation) -> dict[str, float]:
    """mAP, then mAP per threshold."""
    return {name: value for name, value in evaluation.metrics.items() if name.startswith("mAP")}


def _per_class(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    return {
        name: {metric: value for metric, value in values.items() if metric.startswith("AP@")}
        for name, values in evaluation.per_class.items()
    }
