"""`tal export`: annotations and predictions to the files of other tools."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tal.atomic import refuse_overwriting
from tal.errors import AnnotationError, ConfigError
from tal.pipelines.export_media import find_media
from tal.pipelines.export_sources import Material, read_material
from tal.pipelines.export_targets import Options, Target, content, target_of
from tal.segments import Segments
from tal.video.ids import safe_name

_logger = logging.getLogger(__name__)


def export(
    source: Path,
    *,
    to: Literal[
        "csv",
        "srt",
        "vtt",
        "activitynet",
        "elan",
        "label-studio",
        "fiftyone",
        "qvhighlights",
        "charades-sta",
        "tubes",
        "ava",
    ],
    out: Path,
    format: str = "auto",  # noqa: A002
    subset: str | None = None,
    videos: list[str] | None = None,
    threshold: float | None = None,
    top: int | None = None,
    media: str | None = None,
    fps: float | None = None,
    labelmap: Path | None = None,
) -> int:
    """Write annotations or predictions as files of other tools, and tell what a format cannot hold.

    srt, vtt and elan give one file per video, in the folder OUT (or in the file OUT, if it has the format's suffix and
    there is one video); all others one file. label-studio writes the labelling interface beside it, ava the label map,
    fiftyone data.json where the videos' files are known, to import with data_path="data.json".

    Args:
        source: Annotations or predictions of any kind that tal reads, told by the content.
        to: The format.
        out: File or folder to write; a file that exists is replaced.
        format: How to read annotations whose content does not tell it: elan-tier, epic-verb, ...
        subset: Only this split of the annotations.
        videos: Only these ids.
        threshold: Leave out predictions with a lower score.
        top: Keep at most this many of the best predictions per video, or per query.
        media: Folder or URL where the videos are, for elan, label-studio and fiftyone. Label Studio finds a folder's
            files by its local storage, with the folder's parent as its root.
        fps: Frames per second of videos whose rate the annotations do not state: for label-studio, and to place tubes
            on numbered frames in time.
        labelmap: Names of the classes in an AVA file (pbtxt).
    """
    if fps is not None and not 0 < fps < math.inf:
        raise ConfigError(f"fps {fps}", expected="frames per second, above 0")
    material = _chosen(read_material(source, format, labelmap=labelmap, fps=fps), subset, videos, threshold, top)
    target = target_of(to, material)
    options = Options(fps=fps, media=find_media(material.annotations, media))
    if target.per_video:
        left_out = 0
        for path, video, rows in _files(target, to, material, out):
            refuse_overwriting([path], [source])
            left_out += target.write(path, material, options, video, rows)
    else:
        out = _file(to, target, out, source)
        refuse_overwriting(target.files(out), [source])
        left_out = target.write(out, material, options)
    _tell(material, target, out, left_out)
    return 0


def _chosen(
    material: Material, subset: str | None, videos: list[str] | None, threshold: float | None, top: int | None
) -> Material:
    source = material.annotations.source
    if not len(material.annotations):
        raise AnnotationError(f"{source} holds no videos", expected="at least one", cause="a run that failed")
    if threshold is not None and not math.isfinite(threshold):  # scores of others may be of any size
        raise ConfigError(f"threshold {threshold}", expected="a finite score")
    if top is not None and top < 1:
        raise ConfigError(f"top {top}", expected="1 or more predictions per video")
    if not material.scored and (threshold is not None or top is not None):
        raise ConfigError(
            f"{source} holds annotations, which have no scores",
            todo="leave --threshold and --top out; --videos and --subset choose videos",
        )
    if material.boxes is not None and top is not None:
        raise ConfigError(f"top {top} of boxes on keyframes", todo="choose them with --threshold")
    if subset is not None:
        material = material.of_subset(subset)
    if videos is not None:
        material = material.of_videos(videos)
    return material.best(threshold, top) if material.scored else material


def _file(name: str, target: Target, out: Path, source: Path) -> Path:
    """The one file to write; FiftyOne's has its name in the folder of a data set."""
    if name == "fiftyone":
        return out if out.suffix.lower() == target.suffix and not out.is_dir() else out / "labels.json"
    return out / f"{source.stem}{target.suffix}" if out.is_dir() else out


def _files(target: Target, name: str, material: Material, out: Path) -> Iterator[tuple[Path, str, Segments]]:
    """(path, video, its segments) of each file to write."""
    results = material.segments()
    if out.suffix.lower() == target.suffix and not out.is_dir():
        if len(results) != 1:
            raise ConfigError(
                f"{out} is one file, {material.annotations.source} holds {len(results)} videos",
                expected=f"a folder: {name} is written per video",
                todo="name a folder, or choose one video with --videos",
            )
        yield from ((out, video, rows) for video, rows in results.items())
        return
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file", expected=f"a folder, or a file that ends in {target.suffix}")
    for video, rows in results.items():
        yield out / f"{safe_name(video, dots=True)}{target.suffix}", video, rows


def _tell(material: Material, target: Target, out: Path, left_out: int) -> None:
    parts = material.parts()
    kind = "predictions" if material.scored else "annotations"
    but = f", all but {left_out} written" if left_out else ""
    _logger.info("%s on %d videos (%s)%s: %s", content(parts), len(material.annotations), kind, but, out)
    if left_out:
        _logger.warning("%d left out: empty, reversed, before the video's start, or without a time", left_out)
    for line in target.told(parts):
        _logger.warning("%s", line)
