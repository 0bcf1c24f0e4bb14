"""`tal localize`: what happens when in videos, as files and as a page."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tal.annotations import read_annotations, results, subtitles
from tal.annotations.records import Annotations
from tal.console import meter, tell_failed
from tal.errors import FeatureError, TalError
from tal.pipelines.reporting import Shown, build_report
from tal.report.page import write_report
from tal.segments import Segments, check_threshold
from tal.video import assign_ids, list_videos, safe_name

if TYPE_CHECKING:
    from tal.features.base import FeatureSource
    from tal.localization import Localizer
    from tal.package import Package
    from tal.query_localization import QueryLocalizer

_LOG = logging.getLogger(__name__)

PREDICTIONS, TABLE, PAGE = "predictions.json", "predictions.csv", "report.html"


def localize(
    videos: list[Path] | None = None,
    *,
    model: Path,
    out: Path,
    features: list[str] | None = None,
    threshold: float | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    id: Literal["stem", "path"] = "stem",  # noqa: A002
    annotations: Path | None = None,
    subset: str | None = None,
    weights: list[str] | None = None,
    video_scores: Path | None = None,
    queries: Path | None = None,
    text: Path | None = None,
    whole: bool = False,
    embed_mb: float = 8.0,
    no_report: bool = False,
) -> int:
    """Find what happens when in videos: predictions.json, predictions.csv, subtitles and a page to look at.

    Every output holds the detections that score at least the model's own threshold for their class, chosen on
    validation data; --threshold puts one for all in its place, and --threshold 0 keeps every detection, as
    tal evaluate needs them. Exit code 1 if any video failed; the others are done.

    A model that answers sentences (moment_detr and its kin) needs --queries, and writes predictions.jsonl with the
    moments of each query and the saliency of every snippet, as tal evaluate qvhighlights reads them.

    Args:
        videos: Video files, and folders that are searched for them; may be left out with --features.
        model: Folder of a model package, such as RUN/model.
        out: Folder for the results; files of the same names are replaced.
        features: FOLDER of features to read instead of making them, or STREAM=FOLDER for each stream of the model.
        threshold: Lowest score of a detection, in place of the model's own per class.
        device: Where to run; auto takes a GPU if there is one.
        id: What a video is called: its file's stem, or its path below the folder, with suffix.
        annotations: Ground truth, if there is any, for the page; also names the videos if only features are given.
        subset: Of the annotations: the split whose videos are localized if only features are given.
        weights: Local FILE with the backbone's weights, if the model's features were made with one, or STREAM=FILE for
            each such stream of the model.
        video_scores: Class scores of whole videos from an external classifier, as json {video: {class: score}}; they
            give the detections of a class-agnostic model their classes.
        queries: What is asked of which video: JSON lines with qid, query and vid, as QVHighlights has them, or any
            annotations with sentences.
        text: Folder of the queries' token features, as tal extract --text writes it; without it they are made from the
            sentences.
        whole: Take every video whole, whatever its length, with the method's limit on the number of detections for
            each, as validation and the original implementations do: for scoring. Memory grows with the length;
            without, videos of more than 4096 snippets are taken in parts.
        embed_mb: The page holds the videos themselves if together they have at most this many megabytes.
        no_report: Write no page.
    """
    if not videos and not features:
        raise TalError("neither videos nor features", expected="VIDEO ..., or --features FOLDER")
    if queries is not None:
        given = {"--threshold": threshold, "--annotations": annotations, "--video-scores": video_scores}
        unused = [name for name, value in given.items() if value is not None] + ["--whole"] * whole
        if unused:
            raise TalError(
                f"{', '.join(unused)} with --queries",
                expected="none of them",
                cause="answers to sentences are given whole, by rank, and have no classes",
            )
    elif subset is not None and (videos or annotations is None):
        raise TalError(
            "--subset " + ("with videos" if videos else "without --annotations"),
            expected="--annotations FILE, which says which videos are in the split, and --features FOLDER alone",
        )
    check_threshold(threshold)
    paths = assign_ids(list_videos(videos), videos, id) if videos else {}
    truth = None if annotations is None else read_annotations(annotations)
    from tal.device import choose_device

    if queries is not None:
        from tal.pipelines.localize_queries import localize_queries

        answering = _query_localizer(model, features, str(choose_device(device)), weights, text)
        _make(out)
        return localize_queries(answering, queries, paths, out, subset=subset, embed_mb=embed_mb, no_report=no_report)
    localizer = _localizer(model, features, str(choose_device(device)), weights, video_scores, whole=whole)
    wanted = dict(paths) if paths else dict.fromkeys(_ids_of(localizer, truth, subset))
    localizer.check_scored(wanted)
    _make(out)
    shown: dict[str, Segments] = {}
    failed: dict[str, TalError] = {}
    try:
        with closing(_outcomes(localizer, wanted, truth)) as outcomes:
            for video, outcome in outcomes:
                if isinstance(outcome, TalError):
                    failed[video] = outcome
                else:
                    shown[video] = _above(outcome, localizer.package, threshold)
                    _write_subtitles(out, video, shown[video])  # as they come: a kill loses the tables only
    finally:  # Ctrl-C keeps what is finished
        results.write_results(out / PREDICTIONS, shown)
        results.write_csv(out / TABLE, shown)
    if shown and not no_report:
        report = build_report(
            shown,
            page=out / PAGE,
            look=Shown(title=_title(list(shown)), subtitle=f"{localizer.package.method}, {model}"),
            paths={video: path for video, path in paths.items() if video in shown},
            truth=truth,
            embed_mb=embed_mb,
            facts=_facts(localizer.package, threshold),
            threshold=_slider(localizer.package, threshold),
        )
        write_report(out / PAGE, report)
    _tell(out, shown, failed, page=bool(shown) and not no_report)
    return 1 if failed else 0


def _localizer(
    model: Path,
    features: Sequence[str] | None,
    device: str,
    weights: Sequence[str] | None,
    video_scores: Path | None,
    *,
    whole: bool,
) -> Localizer:
    from tal.localization import Localizer
    from tal.methods.video_scores import read_video_scores
    from tal.package import load_model

    package = load_model(model, device)
    if package.text is not None:
        raise FeatureError(
            f"{model} answers queries, and nothing is asked",
            expected="--queries FILE",
            cause=f"a model of {package.method}, which finds the moments of sentences and knows no classes",
        )
    scores = None if video_scores is None else read_video_scores(video_scores, package.classes)
    sources = _sources(features, package) if features else None
    files = _by_stream("--weights", "FILE", weights, package) if weights else {}
    return Localizer(package, sources=sources, weights=files, video_scores=scores, whole=whole)


def _query_localizer(
    model: Path, features: Sequence[str] | None, device: str, weights: Sequence[str] | None, text: Path | None
) -> QueryLocalizer:
    from tal.features.text import TextFolder
    from tal.package import load_model
    from tal.query_localization import QueryLocalizer, check_answers

    package = load_model(model, device)
    check_answers(package)
    own = [word.removeprefix("text=") for word in weights or () if word.startswith("text=")]
    others = [word for word in weights or () if not word.startswith("text=")]
    return QueryLocalizer(
        package,
        text=None if text is None else TextFolder.like(text, package.text),
        sources=_sources(features, package) if features else None,
        weights=_by_stream("--weights", "FILE", others, package) if others else {},
        text_weights=Path(own[-1]) if own else None,
    )


def _sources(features: Sequence[str], package: Package) -> Mapping[str, FeatureSource]:
    from tal.localization import open_stream

    folders = _by_stream("--features", "FOLDER", features, package)
    return {stream: open_stream(folder, stream, package) for stream, folder in folders.items()}


def _by_stream(option: str, what: str, words: Sequence[str], package: Package) -> dict[str, Path]:
    """Stream -> path, of words STREAM=PATH; of a single PATH where the model has a single stream."""
    if len(words) == 1 and len(package.features) == 1 and "=" not in words[0]:
        return {next(iter(package.features)): Path(words[0])}
    paths = {}
    for word in words:
        stream, sign, path = word.partition("=")
        if not sign or stream not in package.features:
            raise FeatureError(
                f"{option} {word}",
                expected=f"STREAM={what} with a stream among " + ", ".join(package.features),
                cause="the model reads several streams" if len(package.features) > 1 else "",
            )
        paths[stream] = Path(path)
    return paths


def _ids_of(localizer: Localizer, truth: Annotations | None, subset: str | None) -> list[str]:
    """Without videos: those that all needed streams have features of, and that are in the split if one is named."""
    optional = localizer.package.model.inputs.optional
    needed = [source for stream, source in localizer.sources.items() if stream not in optional]
    known = set.intersection(*(set(source.ids()) for source in needed))
    if truth is not None and subset is not None:
        known &= {video for video, record in truth.videos.items() if record.subset.lower() == subset.lower()}
    if not known:
        raise FeatureError(
            "no video has features of every stream" + (f" and is in subset {subset!r}" if subset else ""),
            expected="at least one",
        )
    return sorted(known)


def _make(out: Path) -> None:
    """The folder for the results, before any work is done for it."""
    if out.exists() and not out.is_dir():
        raise TalError(f"--out {out} is a file", expected="a folder, which is made if it does not exist")
    out.mkdir(parents=True, exist_ok=True)


def _outcomes(
    localizer: Localizer, videos: Mapping[str, Path | None], truth: Annotations | None
) -> Generator[tuple[str, Segments | TalError]]:
    """Each video's detections, or what is wrong with it, which is logged."""
    records = {} if truth is None else truth.videos
    with meter("localize", len(videos)) as progress:
        outcomes = localizer.detect_many(
            videos,
            durations_s={video: record.duration_s for video, record in records.items()},
            fps={video: record.fps for video, record in records.items()},
            progress=progress,
        )
        for video, outcome in outcomes:
            if isinstance(outcome, TalError):
                _LOG.warning("%s: %s", video, outcome.given)
            yield video, outcome


def _above(found: Segments, package: Package, threshold: float | None) -> Segments:
    from tal.localization import shown

    return shown(found, package.thresholds, threshold)


def _write_subtitles(out: Path, video: str, shown: Segments) -> None:
    name = safe_name(video, dots=True)
    subtitles.write_vtt(out / f"{name}.vtt", shown)
    subtitles.write_srt(out / f"{name}.srt", shown)


def _title(videos: Sequence[str]) -> str:
    return videos[0] if len(videos) == 1 else f"{len(videos)} videos"


def _facts(package: Package, threshold: float | None) -> Iterator[tuple[str, str]]:
    yield "model", str(package.folder)
    for stream, spec in package.features.items():
        yield f"features ({stream})", spec.backbone
    yield "threshold", "per class, from the model" if threshold is None else f"{threshold:g}"


def _slider(package: Package, threshold: float | None) -> float | None:
    """Where the page's slider stands at first; a page of every detection starts at a threshold of the model's size."""
    if threshold is None or threshold > 0:
        return 0.0
    scores = sorted(package.thresholds.values())
    return scores[len(scores) // 2] if scores else None


def _tell(out: Path, shown: Mapping[str, Segments], failed: Mapping[str, TalError], *, page: bool) -> None:
    count = sum(map(len, shown.values()))
    print(f"{count} detections in {len(shown)} video{'' if len(shown) == 1 else 's'}: {out / PREDICTIONS}")
    if shown and not count:
        print("nothing scores as high as asked; --threshold 0 shows what there is")
    if page:
        print(f"to look at: {out / PAGE}")
    tell_failed(failed)
