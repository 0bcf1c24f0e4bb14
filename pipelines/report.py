"""`tal report`: one html page of predictions, for a run or a whole dataset."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from tal.annotations import read_annotations
from tal.annotations.records import Annotations
from tal.annotations.results import read_results
from tal.annotations.subsets import in_subset
from tal.errors import TalError
from tal.evaluation import evaluate
from tal.pipelines.reporting import Shown, build_report
from tal.registry import PROTOCOLS
from tal.report.page import write_report
from tal.segments import Segments, check_threshold
from tal.video import list_videos

_LOG = logging.getLogger(__name__)


def report(
    *,
    predictions: Path,
    out: Path,
    annotations: Path | None = None,
    videos: list[Path] | None = None,
    protocol: str = "generic",
    subset: str | None = None,
    title: str | None = None,
    threshold: float | None = None,
    embed_mb: float = 0.0,
) -> None:
    """Make one html page: player beside timeline, table, and with annotations metrics, per-class AP, worst misses.

    The page works from the disk, without a network. Videos that browsers cannot play are re-encoded to a folder media
    beside it.

    Args:
        predictions: ActivityNet results JSON, as tal localize writes it, or CSV.
        out: The page, such as report.html.
        annotations: Ground truth, in any format that tal evaluate reads.
        videos: Video files, and folders that are searched for them; found by id, which is the file's stem.
        protocol: How the metrics are computed; see tal list protocols.
        subset: The split, if not the protocol's own.
        title: The heading; the predictions' file name if not given.
        threshold: Where the score slider stands at first; the highest F1 if not given.
        embed_mb: The page holds the videos themselves if together they have at most this many megabytes.
    """
    check_threshold(threshold)
    found = read_results(predictions)
    truth = evaluation = None
    if annotations is not None:
        truth = read_annotations(annotations)
        evaluation = evaluate(protocol, truth, found, subset=subset)
        split = in_subset(truth, subset or PROTOCOLS.load(protocol).subset)
        found = _of_split(found, split, truth)
    if not found:
        raise TalError(f"{predictions} holds no videos to show", expected="at least one")
    paths = _files_of(found, videos or [])
    page = build_report(
        found,
        page=out,
        look=Shown(title=title or predictions.stem, subtitle=f"{len(found)} videos" if len(found) > 1 else ""),
        paths=paths,
        truth=truth,
        evaluation=evaluation,
        embed_mb=embed_mb,
        facts={
            "predictions": str(predictions),
            **({} if annotations is None else {"annotations": str(annotations), "protocol": protocol}),
        }.items(),
        threshold=threshold,
    )
    write_report(out, page)
    print(out)


def _of_split(found: Mapping[str, Segments], split: Mapping[str, object], truth: Annotations) -> dict[str, Segments]:
    """The videos of the split, also those without predictions: what they miss belongs on the page."""
    return {video: found.get(video, Segments.empty(truth.classes)) for video in split}


def _files_of(found: Mapping[str, Segments], videos: list[Path]) -> dict[str, Path]:
    """Video -> file, by stem or name with suffix; one that has no file is shown without a player."""
    if not videos:
        return {}
    files = list_videos(videos)
    by_stem, by_name = {path.stem: path for path in files}, {path.name: path for path in files}
    paths = {video: by_name.get(video) or by_stem.get(video) for video in found}
    known = {video: path for video, path in paths.items() if path is not None}
    if len(known) < len(found):
        _LOG.warning("%d of %d videos have no file among those given", len(found) - len(known), len(found))
    return known
