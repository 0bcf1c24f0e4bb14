"""`tal check`: what is wrong with a dataset, before training finds it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tal.annotations import files
from tal.annotations.findings import Finding, check_annotations, content_leaks, entries_of_json, id_leaks
from tal.annotations.reading import parse_annotations
from tal.annotations.records import Annotations, VideoRecord
from tal.errors import AnnotationError
from tal.features import Layout, open_features
from tal.pipelines.check_media import VideoCheck, check_features, check_videos, find_files, same_features, same_files
from tal.pipelines.check_sources import FeatureFolder, Source, source_of
from tal.pipelines.finding_table import tell
from tal.video import list_videos


def check(
    dataset: list[Path],
    *,
    videos: Path | None = None,
    features: Path | None = None,
    stride_frames: float | None = None,
    window_frames: float | None = None,
    offset_frames: float = 0.0,
    fps: float | None = None,
    resampled_to: int | None = None,
    prefix: str = "",
    key: str | None = None,
    subset: list[str] | None = None,
    train_subset: list[str] | None = None,
    format: str = "auto",  # noqa: A002
    thorough: bool = False,
    json: str | None = None,
) -> int:
    """Find what is wrong with a dataset before training does.

    Looks for faulty annotations, classes without training instances and videos in two splits; with --videos for
    missing, damaged and variable-rate videos and durations that disagree; with --features for missing and damaged
    features and grids that do not fit. Exits 0 if nothing is wrong, 1 with findings, 2 on misuse.

    Args:
        dataset: Annotation files, folders that hold an annotations.json (then the videos in them are checked too), or
            recipes (then their features are).
        videos: Folder with the video files.
        features: Folder with features: a store that tal extract wrote, or others' files, described by what follows.
        stride_frames: Of others' features: frames from one row's start to the next's.
        window_frames: Of others' features: frames that a row was computed from.
        offset_frames: Of others' features: start of row 0.
        fps: Of others' features: the rate that these frames are counted at; by default each video's own.
        resampled_to: Of others' features: rows that every video was resampled to.
        prefix: Of others' features: what stands before the id in a file's name.
        key: Of others' features: name of the array in an npz or pt file.
        subset: Only these splits.
        train_subset: The splits that are trained on; told by their names otherwise.
        format: Of the annotations; told by their content otherwise.
        thorough: Decode every frame of every video, not only the first.
        json: Also write everything as JSON to this file; - writes it to standard output instead of the table.
    """
    sources = [source_of(word) for word in dataset]
    if features is not None:
        settings = (stride_frames, window_frames, offset_frames, fps, resampled_to, prefix, key)
        given = FeatureFolder(folder=features, layout=_layout(*settings))
        sources[0] = replace(sources[0], features=(*sources[0].features, given))
    sets = [_read(source.annotations, source.format if format == "auto" else format) for source in sources]
    records = _records([annotations for annotations, _ in sets], subset)
    found: list[Finding] = []
    for source, (annotations, _) in zip(sources, sets, strict=True):
        told = check_annotations(annotations, train_subsets=train_subset or source.train_subsets)
        found += [finding for finding in told if not finding.video or finding.video in records]
    found += id_leaks({str(source.annotations): entries for source, (_, entries) in zip(sources, sets, strict=True)})
    subsets = {video: record.subset for video, record in records.items()}
    seen = VideoCheck()
    folder = videos or next((source.videos for source in sources if source.videos is not None), None)
    if folder is not None:
        seen = find_files(records, list_videos([folder]), folder)
        check_videos(seen, records, thorough=thorough)
        found += seen.findings + content_leaks(same_files(seen.paths), subsets, "video file")
    folders = [each for source in sources for each in source.features]
    for each in folders:
        opened = open_features(each.folder, layout=each.layout)
        used = _used(records, sources)
        found += check_features(opened, used, seen.durations_s, str(each.folder))
        found += content_leaks(same_features(opened, used), subsets, "features")
    instances = sum(len(record.instances) for record in records.values())
    names = [str(each.folder) for each in folders]
    checked = {
        "annotations": [str(source.annotations) for source in sources],
        "videos": len(records),
        "instances": instances,
        "video_files": len(seen.paths) if folder is not None else None,
        "features": names,
    }
    what = [f"{len(records)} videos with {instances} instances"]
    what += [f"{len(seen.paths)} video files"] if folder is not None else []
    what += [f"features in {name}" for name in names]
    tell(found, checked, what, json)
    return 1 if found else 0


def _layout(
    stride_frames: float | None,
    window_frames: float | None,
    offset_frames: float,
    fps: float | None,
    resampled_to: int | None,
    prefix: str,
    key: str | None,
) -> Layout | None:
    """The layout that the options describe, None if they describe none."""
    if (stride_frames, window_frames, resampled_to) == (None, None, None):
        return None
    return Layout(
        stride_frames=stride_frames,
        window_frames=window_frames,
        offset_frames=offset_frames,
        fps=fps,
        resampled_to=resampled_to,
        prefix=prefix,
        key=key,
    )


def _used(records: dict[str, VideoRecord], sources: Sequence[Source]) -> dict[str, VideoRecord]:
    """The videos that a recipe needs features of; all, if no dataset is a recipe."""
    subsets = {name.lower() for source in sources for name in source.subsets}
    return {video: record for video, record in records.items() if not subsets or record.subset.lower() in subsets}


def _read(path: Path, format_name: str) -> tuple[Annotations, list[tuple[str, str]]]:
    """(annotations, (video, subset) as they stand in the file, repetitions included)."""
    content = files.read_bytes(path)
    annotations = parse_annotations(content, path, format=format_name)
    if annotations.format == "activitynet":
        return annotations, entries_of_json(files.to_text(content, path))
    entries = [(video, record.subset) for video, record in annotations.videos.items()]
    return annotations, entries + [(video, subset) for video, subset in annotations.further_subsets]


def _records(sets: Sequence[Annotations], subset: list[str] | None) -> dict[str, VideoRecord]:
    """The videos of all files that are in the chosen splits."""
    wanted = {name.lower() for name in subset or ()}
    there = {name for annotations in sets for name in annotations.subsets}
    unknown = wanted - {name.lower() for name in there}
    if unknown:
        raise AnnotationError(
            f"no video is in subset {', '.join(sorted(unknown))}", expected=f"among {', '.join(there)}"
        )
    return {
        video: record
        for annotations in sets
        for video, record in annotations.videos.items()
        if not wanted or record.subset.lower() in wanted
    }
