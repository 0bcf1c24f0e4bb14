"""What `tal export` writes: each format, what it can hold, and what becomes of the rest."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tal.annotations import activitynet, ava, charades_sta, csv, elan, fiftyone, label_studio, qvhighlights, subtitles
from tal.annotations.moment_results import write_moments
from tal.annotations.results import write_csv, write_results
from tal.annotations.tube_results import write_tubes
from tal.annotations.tubes import write_annotations
from tal.boxes import KeyframeBoxes
from tal.errors import AnnotationError, ConfigError
from tal.pipelines.export_media import Media
from tal.pipelines.export_sources import Material
from tal.pipelines.export_tubes import table_of
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a writer may want to know.

    Args:
        fps: Frames per second of videos whose rate the source does not state.
        media: Where the videos are.
    """

    fps: float | None = None
    media: Media = field(default_factory=Media)


@dataclass(frozen=True, kw_only=True)
class Target:
    """A format.

    Args:
        suffix: Of its files.
        write: (path, material, options) -> number of entries that could not be written; with `per_video` the same for
            one video, (path, material, options, video, segments).
        needs: Parts of which the source must have at least one.
        kept: Parts that the format holds as they are.
        changed: Part -> what becomes of it.
        per_video: A file per video instead of one for all.
        beside: Suffix or name of a further file that is written beside it.
    """

    suffix: str
    write: Callable[..., int]
    needs: frozenset[str]
    kept: frozenset[str] = frozenset()
    changed: Mapping[str, str] = field(default_factory=dict)
    per_video: bool = False
    beside: str = ""

    def files(self, path: Path) -> list[Path]:
        """What is written for `path`."""
        if not self.beside:
            return [path]
        return [path, path.with_suffix(self.beside) if self.beside.startswith(".") else path.with_name(self.beside)]

    def told(self, parts: Mapping[str, int]) -> list[str]:
        """What becomes of parts that the format does not hold as they are, in words."""
        told = [name for name in parts if not (name == "frame_tubes" and "tubes" in parts)]
        changed = dict.fromkeys(self.changed[name] for name in told if name in self.changed)
        lost = [f"{parts[name]} {WORDS[name]}" for name in told if name not in {*self.kept, *self.changed}]
        return [*changed, *([f"left out: {', '.join(lost)}"] if lost else [])]


WORDS = {
    "segments": "segments",
    "moments": "moments with sentences",
    "tubes": "tubes",
    "boxes": "single boxes",
    "frame_tubes": "tubes on numbered frames",
    "qids": "query ids",
    "saliency": "queries' saliency scores",
    "box_scores": "scores of boxes",
    "generation_times": "generation times",
    "cycles": "repetition cycles",
    "steps": "steps",
    "quality": "quality scores",
}
"""Kind of content -> what it is called in messages."""

_CONTENT = ("segments", "moments", "tubes", "boxes", "frame_tubes")  # what is something by itself

_SPANS = frozenset({"segments", "moments", "tubes"})
_TRACKS = frozenset({"tubes", "boxes"})
_AS_SPAN = "tubes become segments from their first to their last box; the boxes are lost"
_AS_SPANS = {
    "moments": "moments become segments, one per span, named by their sentence",
    "tubes": _AS_SPAN,
    "frame_tubes": _AS_SPAN,
}


def content(parts: Mapping[str, int]) -> str:
    """The kinds that are something by themselves, with their numbers, in words."""
    timed = {"segments", "tubes"}.intersection(parts)
    named = [name for name in _CONTENT if name in parts and not (name == "frame_tubes" and timed)]
    return ", ".join(f"{parts[name]} {WORDS[name]}" for name in named) or "nothing"


def target_of(name: str, material: Material) -> Target:
    """The format called `name`, for what there is to write.

    Raises:
        ConfigError: the format can hold nothing of it.
    """
    targets = TARGETS | (_OF_PREDICTIONS if material.scored else {})
    target, parts = targets[name], material.parts()
    if not target.needs.intersection(parts or {"segments"}):  # no segments at all are segments too
        untimed = "frame_tubes" in parts and _SPANS.isdisjoint(parts)
        able = [other for other, each in targets.items() if each.needs.intersection(parts)]
        wanted = " or ".join(word for part, word in WORDS.items() if part in target.needs)
        raise ConfigError(
            f"{material.annotations.source} holds {content(parts)}; {name} is for {wanted}",
            expected=f"one of {', '.join(able)}" if able else "a file that holds them",
            todo="give the rate of the frames with --fps" if untimed else "",
        )
    return target


def _activitynet(path: Path, material: Material, options: Options) -> int:
    activitynet.write(path, material.annotations)
    return 0


def _results(path: Path, material: Material, options: Options) -> int:
    write_results(path, material.segments())
    return 0


def _csv(path: Path, material: Material, options: Options) -> int:
    results = material.segments()
    if material.scored:
        write_csv(path, results)
        return 0
    rows = []
    for video, segments in results.items():
        record = material.annotations.videos[video]
        facts = [record.subset, _cell(record.duration_s), _cell(record.fps)]
        columns = zip(segments.start_s.tolist(), segments.end_s.tolist(), segments.names, strict=True)
        rows += [[video, start_s, end_s, name, *facts] for start_s, end_s, name in columns]
        if not len(segments):
            rows.append([video, "", "", "", *facts])
    csv.write_table(path, ("video", "start", "end", "label", "subset", "duration", "fps"), rows)
    return 0


def _cell(value: float | None) -> object:
    return "" if value is None else value


def _srt(path: Path, material: Material, options: Options, video: str, segments: Segments) -> int:
    return len(segments) - subtitles.write_srt(path, segments, scores=material.scored)


def _vtt(path: Path, material: Material, options: Options, video: str, segments: Segments) -> int:
    return len(segments) - subtitles.write_vtt(path, segments, scores=material.scored)


def _elan(path: Path, material: Material, options: Options, video: str, segments: Segments) -> int:
    media = options.media.url(video)
    return len(segments) - elan.write(path, video, segments, media=media, scores=material.scored)


def _label_studio(path: Path, material: Material, options: Options) -> int:
    timeline = material.timeline()
    count = sum(len(record.instances) + len(record.tubes) for record in timeline.videos.values())
    urls = {video: url for video in timeline.videos if (url := options.media.served_url(video))}
    return count - label_studio.write(path, timeline, scores=material.scored, fps=options.fps, media=urls)


def _fiftyone(path: Path, material: Material, options: Options) -> int:
    results = material.segments()
    files = {video: str(place) for video, place in options.media.files.items()}
    return sum(map(len, results.values())) - fiftyone.write(path, results, scores=material.scored, media=files)


def _qvhighlights(path: Path, material: Material, options: Options) -> int:
    if material.moments is not None:
        write_moments(path, material.moments)
    else:
        qvhighlights.write(path, material.annotations)
    return 0


def _charades_sta(path: Path, material: Material, options: Options) -> int:
    if material.scored:
        raise AnnotationError(
            f"{material.annotations.source} holds predictions",
            expected="annotations: the lines of charades-sta have no scores",
            todo="write qvhighlights or csv",
        )
    charades_sta.write(path, material.annotations)
    return sum(not moment.spans_s for each in material.annotations.videos.values() for moment in each.moments)


def _ava(path: Path, material: Material, options: Options) -> int:
    boxes, classes = _keyframe_boxes(material)
    ava.write_ava(path, boxes)
    ava.write_label_map(path.with_suffix(".pbtxt"), classes)
    return 0


def _tubes(path: Path, material: Material, options: Options) -> int:
    if material.scored:
        write_tubes(path, table_of(material.annotations))
    else:
        write_annotations(path, material.annotations)
    return 0


def _keyframe_boxes(material: Material) -> tuple[KeyframeBoxes, Mapping[int, str]]:
    """The rows, and number -> name of their classes; tracks without an action are of class "person"."""
    if material.boxes is not None:
        numbers = np.unique(material.boxes.class_id).tolist()
        return material.boxes, {number: (material.classes or {}).get(number, str(number)) for number in numbers}
    tubes = [(video, tube) for video, each in material.annotations.videos.items() for tube in each.tubes]
    names = sorted({tube.label or "person" for _, tube in tubes})
    number = {name: position for position, name in enumerate(names, 1)}
    actors = {pair: position for position, pair in enumerate(dict.fromkeys((v, tube.actor) for v, tube in tubes))}
    rows = [
        (video, time_s, box, number[tube.label or "person"], actors[video, tube.actor])
        for video, tube in tubes
        for time_s, box in zip(tube.times_s.tolist(), tube.boxes, strict=True)
    ]
    videos, times_s, boxes, class_ids, actor = zip(*rows, strict=True) if rows else ([],) * 5
    found = KeyframeBoxes.from_rows(videos, times_s, np.reshape(boxes, (-1, 4)), class_ids, actor=actor)
    return found, {position: name for name, position in number.items()}


_TABLE = Target(suffix=".csv", write=_csv, needs=_SPANS, kept=frozenset({"segments"}), changed=_AS_SPANS)

TARGETS: dict[str, Target] = {
    "csv": replace(_TABLE, kept=_TABLE.kept | {"generation_times"}),
    "srt": replace(_TABLE, suffix=".srt", write=_srt, per_video=True),
    "vtt": replace(_TABLE, suffix=".vtt", write=_vtt, per_video=True),
    "activitynet": Target(
        suffix=".json",
        write=_activitynet,
        needs=_SPANS | _TRACKS | {"steps", "quality"},
        kept=frozenset(WORDS) - {"qids", "saliency", "frame_tubes"},
    ),
    "elan": replace(_TABLE, suffix=".eaf", write=_elan, per_video=True),
    "label-studio": Target(
        suffix=".json",
        write=_label_studio,
        needs=_SPANS | _TRACKS,
        kept=frozenset({"boxes"}),
        changed={
            "segments": "times become whole frames, 25 per second where neither the source nor --fps tells the rate",
            "moments": _AS_SPANS["moments"],
            "tubes": "boxes keep their track, actors' names are lost",
            "frame_tubes": _AS_SPAN,
        },
        beside=".config.xml",
    ),
    "fiftyone": replace(_TABLE, suffix=".json", write=_fiftyone, beside="data.json"),
    "qvhighlights": Target(
        suffix=".jsonl",
        write=_qvhighlights,
        needs=frozenset({"moments"}),
        kept=frozenset({"moments", "qids", "saliency"}),
    ),
    "charades-sta": Target(
        suffix=".txt", write=_charades_sta, needs=frozenset({"moments"}), kept=frozenset({"moments"})
    ),
    "tubes": Target(
        suffix=".json",
        write=_tubes,
        needs=frozenset({"frame_tubes"}),
        kept=frozenset({"segments", "tubes", "frame_tubes"}),
    ),
    "ava": Target(suffix=".csv", write=_ava, needs=_TRACKS, kept=_TRACKS | {"box_scores"}, beside=".pbtxt"),
}
_OF_PREDICTIONS = {"activitynet": replace(TARGETS["csv"], suffix=".json", write=_results)}
