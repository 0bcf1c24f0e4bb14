"""`tal localize --queries`: the moments of videos that answer sentences, as files and as a page."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from tal.annotations.csv import write_table
from tal.annotations.moment_results import write_moments
from tal.annotations.queries import Asked, read_queries
from tal.console import tell_failed, track
from tal.errors import FeatureError, TalError
from tal.methods.answers import Answer, moment_table
from tal.pipelines.reporting import Shown, build_report
from tal.query_localization import QueryLocalizer
from tal.report.page import write_report
from tal.segments import Segments

_LOG = logging.getLogger(__name__)

MOMENTS, TABLE, PAGE = "predictions.jsonl", "predictions.csv", "report.html"


def localize_queries(
    localizer: QueryLocalizer,
    queries: Path,
    paths: Mapping[str, Path],
    out: Path,
    *,
    subset: str | None,
    embed_mb: float,
    no_report: bool,
) -> int:
    """Answer every query of a file; predictions.jsonl, predictions.csv and a page.

    Args:
        localizer: Ready.
        queries: JSON lines with qid, query and vid, or any annotations with sentences.
        paths: Video -> file; empty where features are read.
        out: Folder for the results.
        subset: Of the annotations.
        embed_mb, no_report: See `tal localize`.

    Returns:
        1 if any video failed, else 0.
    """
    by_video: dict[str, list[Asked]] = {}
    for asked in read_queries(queries, subset=subset):
        by_video.setdefault(asked.query.video, []).append(asked)
    strangers = sorted(set(by_video) - set(paths)) if paths else []
    if strangers:
        raise TalError(
            f"{queries} asks {len(strangers)} videos that are not given: {', '.join(strangers[:5])}",
            expected="a file for each video that is asked",
            cause="ids that are written differently; --id says what a video is called",
        )
    answers: list[Answer] = []
    failed: dict[str, TalError] = {}
    try:
        for video in track(list(by_video), "localize"):
            try:
                answers += _of_video(localizer, video, by_video[video], paths.get(video))
            except TalError as error:
                failed[video] = error
                _LOG.warning("%s: %s", video, error.given)
    finally:  # Ctrl-C keeps what is finished
        write_moments(out / MOMENTS, moment_table(answers))
        _write_csv(out / TABLE, answers)
    if answers and not no_report:
        shown = _by_video(answers)
        look = Shown(
            title=next(iter(shown)) if len(shown) == 1 else f"{len(shown)} videos",
            subtitle=f"{localizer.package.method}, {localizer.package.folder}",
        )
        held = {video: path for video, path in paths.items() if video in shown}
        write_report(out / PAGE, build_report(shown, page=out / PAGE, look=look, paths=held, embed_mb=embed_mb))
    print(f"{len(answers)} queries on {len(by_video) - len(failed)} videos answered: {out / MOMENTS}")
    tell_failed(failed)
    return 1 if failed else 0


def _of_video(localizer: QueryLocalizer, video: str, asked: Sequence[Asked], path: Path | None) -> list[Answer]:
    known = {each.duration_s for each in asked if each.duration_s is not None}
    if len(known) > 1:
        raise FeatureError(f"{video} has durations of {sorted(known)} s", expected="one duration per video")
    return localizer.answer(video, [each.query for each in asked], path, duration_s=next(iter(known), None))


def _write_csv(path: Path, answers: Sequence[Answer]) -> None:
    rows = [
        (each.query.video, start_s, end_s, score, each.query.qid, each.query.text)
        for each in answers
        for start_s, end_s, score in zip(each.start_s.tolist(), each.end_s.tolist(), each.score.tolist(), strict=True)
    ]
    write_table(path, ["video", "start", "end", "score", "qid", "query"], rows)


def _by_video(answers: Sequence[Answer]) -> dict[str, Segments]:
    """Video -> all moments, each named by the sentence that it answers."""
    texts = sorted({each.query.text for each in answers})
    found: dict[str, list[Segments]] = {}
    for each in answers:
        named = Segments.from_names(
            each.start_s, each.end_s, [each.query.text] * len(each), classes=texts, score=each.score
        )
        found.setdefault(each.query.video, []).append(named)
    return {video: Segments.concat(parts).by_score() for video, parts in found.items()}
