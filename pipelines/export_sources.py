"""What `tal export` reads: annotations and predictions of any kind, told by their content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal.annotations import ava, csv, files, pickles, tubes, ual_bench
from tal.annotations.moment_results import MomentTable, parse_moments
from tal.annotations.reading import parse_annotations
from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.results import GENERATION_TIME, parse_table
from tal.annotations.subsets import in_subset
from tal.annotations.tube_results import TubeTable, parse_results
from tal.boxes import KeyframeBoxes, Tube
from tal.errors import AnnotationError
from tal.pipelines.export_tubes import best_tubes, narrowed, records_of, with_times
from tal.segments import Segments


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """What a file holds.

    Args:
        annotations: Records; of predictions too, with their scores. Predicted windows are instances whose label is
            their query.
        scored: It holds predictions.
        moments: Predicted windows as they stand in the file.
        boxes: Boxes on keyframes as they stand in the file; in the records they are tubes.
        classes: Number -> name of the boxes' classes.
    """

    annotations: Annotations
    scored: bool = False
    moments: MomentTable | None = None
    boxes: KeyframeBoxes | None = None
    classes: Mapping[int, str] | None = None

    def parts(self) -> dict[str, int]:
        """Kind of content -> how many there are, of the kinds that there are."""
        records = self.annotations.videos.values()
        counts = {
            "segments": sum(len(record.instances) for record in records),
            "moments": sum(len(record.moments) for record in records),
            "tubes": sum(len(tube) > 1 for record in records for tube in record.tubes),
            "frame_tubes": sum(len(record.frame_tubes) for record in records),
            "boxes": sum(len(tube) == 1 for record in records for tube in record.tubes),
            "qids": sum(bool(moment.qid) for record in records for moment in record.moments),
            "saliency": sum(bool(moment.saliency) for record in records for moment in record.moments),
            "box_scores": 0 if self.boxes is None or self.boxes.score is None else len(self.boxes),
            "generation_times": sum(len(each.instances) for each in records if GENERATION_TIME in each.instances.extra),
            "cycles": sum(len(spans) for record in records for spans in record.cycles_s.values()),
            "steps": sum(len(record.steps) for record in records),
            "quality": sum(record.quality is not None for record in records),
        }
        if self.moments is not None:
            counts |= {"moments": len(self.moments.queries), "segments": 0}
            counts["qids"] = sum(bool(query.qid) for query in self.moments.queries)
            counts["saliency"] = 0 if self.moments.saliency is None else len(self.moments.saliency)
        return {name: count for name, count in counts.items() if count}

    def segments(self) -> dict[str, Segments]:
        """Video -> everything that has a span of time: instances, moments under their sentence, tubes from their first
        to their last box."""
        return {video: _flat(record, with_tubes=True) for video, record in self.annotations.videos.items()}

    def timeline(self) -> Annotations:
        """The records with their moments as instances; tubes stay what they are."""
        videos = self.annotations.videos.items()
        flat = {video: replace(each, instances=_flat(each, with_tubes=False), moments=()) for video, each in videos}
        return replace(self.annotations, videos=flat)

    def of_videos(self, videos: Sequence[str]) -> "Material":
        """Only these videos.

        Raises:
            AnnotationError: one that is not there.
        """
        known = self.annotations.videos
        unknown = [video for video in videos if video not in known]
        if unknown:
            some = ", ".join(list(known)[:10])
            raise AnnotationError(
                f"{self.annotations.source}: no video {', '.join(unknown)}", expected=f"videos such as {some}"
            )
        return self._of({video: record for video, record in known.items() if video in set(videos)})

    def of_subset(self, subset: str) -> "Material":
        """Only the videos of a split.

        Raises:
            AnnotationError: no such split.
        """
        return self._of(in_subset(self.annotations, subset))

    def _of(self, chosen: Mapping[str, VideoRecord]) -> "Material":
        moments, boxes = self.moments, self.boxes
        if moments is not None:
            moments = _of_queries(moments, [query.video in chosen for query in moments.queries])
        if boxes is not None:
            boxes = _of_keyframes(boxes, np.array([video in chosen for video in boxes.videos])[boxes.frame_video_idx])
        annotations = replace(self.annotations, videos=chosen, splits=narrowed(self.annotations.splits, chosen))
        return replace(self, annotations=annotations, moments=moments, boxes=boxes)

    def best(self, threshold: float | None, top: int | None) -> "Material":
        """Predictions that score at least `threshold`, at most `top` of each video, or of each query."""
        videos = {}
        for video, record in self.annotations.videos.items():
            rows = record.instances.by_score()
            rows = rows if threshold is None else rows[rows.score >= threshold]
            best = best_tubes(record.frame_tubes, threshold, top)
            videos[video] = replace(record, instances=rows[:top], frame_tubes=best)
        moments, boxes = self.moments, self.boxes
        if moments is not None:
            kept = np.ones(len(moments), bool)
            if threshold is not None and moments.score is not None:
                kept = moments.score >= threshold
            moments = _of_rows(moments, np.flatnonzero(kept))
            first = np.searchsorted(moments.query_idx, moments.query_idx)
            moments = _of_rows(moments, np.flatnonzero(np.arange(len(moments)) - first < (top or len(moments))))
            return _from_moments(moments, self.annotations.source)
        if boxes is not None and threshold is not None and boxes.score is not None:
            boxes = _of_box_rows(boxes, boxes.score >= threshold)
            return _from_boxes(boxes, self.classes or {}, self.annotations.source)
        return replace(self, annotations=replace(self.annotations, videos=videos))


def read_material(
    path: Path, format_name: str = "auto", *, labelmap: Path | None = None, fps: float | None = None
) -> Material:
    """Read annotations or predictions.

    Args:
        path: The file.
        format_name: An annotation format, or "auto" to tell by the content.
        labelmap: Names of the numbers in AVA's files.
        fps: Frames per second of tubes on numbered frames.

    Raises:
        AnnotationError: missing, damaged, or of no known format.
    """
    content = files.read_bytes(path, pickles=True)
    if format_name != "auto":
        return Material(annotations=parse_annotations(content, path, format=format_name))
    kind = "tubes" if pickles.looks_like_pickle(content) else _kind(content, path)
    if kind == "tubes":
        annotations = tubes.parse_bytes(content, path)
        return Material(annotations=annotations if fps is None else with_times(annotations, fps))
    if kind == "tube-results":
        table = parse_results(content, path, videos=(), classes=())
        if not isinstance(table, TubeTable):
            raise AnnotationError(
                f"{path} holds detected boxes on numbered frames, which no other tool reads",
                expected="detected tubes, or boxes with times (AVA)",
            )
        return Material(annotations=records_of(table, str(path), fps), scored=True)
    if kind == "moments":
        return _from_moments(parse_moments(content, path), str(path))
    if kind == "ava":
        names = {} if labelmap is None else ava.parse_label_map(files.read_bytes(labelmap), labelmap)
        return _from_boxes(_ava(content, path), names, str(path))
    if kind == "results":
        results = parse_table(content, path).to_segments()
        videos = {video: VideoRecord(video=video, instances=rows) for video, rows in results.items()}
        classes = next(iter(results.values())).classes if results else ()
        annotations = Annotations(classes=classes, videos=videos, source=str(path), format="results")
        return Material(annotations=annotations, scored=True)
    return Material(annotations=parse_annotations(content, path))


def _kind(content: bytes, path: Path) -> str:
    """ "results", "moments", "ava", "tubes", "tube-results" or "annotations"."""
    if files.looks_like_json_lines(content):
        row = files.to_json_lines(content.partition(b"\n")[0], path)[0][1]
        return "moments" if {"pred_relevant_windows", "pred_saliency_scores"} & set(row) else "annotations"
    if files.looks_like_json(content):
        return _kind_of_json(files.to_json(content, path))
    text = files.to_text(content, path)
    if text.lstrip().startswith("<"):
        return "annotations"
    cells = text.lstrip().partition("\n")[0].strip().split(",")
    if len(cells) in (7, 8) and all(map(_is_number, cells[1:])):
        return "ava"
    if {"frame", "x1", "y1", "x2", "y2"} <= {cell.strip().lower() for cell in cells}:
        return "tube-results"
    columns = csv.columns_of(text)
    if {"start", "end", "score"} <= columns:
        return "moments" if {"query", "qid"} & columns and "label" not in columns else "results"
    return "annotations"


def _kind_of_json(data: Any) -> str:
    if isinstance(data, dict):
        if isinstance(data.get("videos"), dict):
            return "tubes" if tubes.looks_like(data) else "tube-results"
        results = data.get("results", data.get("database"))
        listed = isinstance(results, dict) and any(isinstance(each, list) for each in results.values())
        if listed or (isinstance(data.get("results"), dict) and "database" not in data):
            return "results"
        if isinstance(data.get("predictions"), list) or "pred_relevant_windows" in data:
            return "moments"
    if isinstance(data, list) and data and isinstance(data[0], list) and not ual_bench.looks_like(data):
        return "moments"
    rows = [row for _, row in ual_bench.entries(data)]
    return "moments" if rows and "pred_start" in rows[0] else "annotations"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _ava(content: bytes, path: Path) -> KeyframeBoxes:
    """Detections where the last of eight columns holds scores, else ground truth."""
    try:
        return ava.parse_boxes(content, path)
    except AnnotationError:
        return ava.parse_detections(content, path)


def _from_moments(table: MomentTable, source: str) -> Material:
    """Every window as an instance of its video, its query as the label."""
    nameless = sum(not query.video for query in table.queries)
    if nameless:
        raise AnnotationError(
            f"{source}: {nameless} of {len(table.queries)} queries name no video",
            expected="a video in every query",
            cause="windows that are listed in the annotations' order" if table.in_order else "",
            todo="write them as CSV or JSON lines, which name video and query",
        )
    names = tuple(dict.fromkeys(query.text or query.qid for query in table.queries))
    index = {name: position for position, name in enumerate(names)}
    label = np.array([index[query.text or query.qid] for query in table.queries], np.int64)[table.query_idx]
    score = np.ones(len(table)) if table.score is None else table.score
    whole = Segments(start_s=table.start_s, end_s=table.end_s, score=score, label=label, classes=names)
    by_video: dict[str, list[int]] = {query.video: [] for query in table.queries}
    for row, query in enumerate(table.query_idx.tolist()):
        by_video[table.queries[query].video].append(row)
    videos = {video: VideoRecord(video=video, instances=whole[rows]) for video, rows in by_video.items()}
    annotations = Annotations(classes=names, videos=videos, source=source, format="moments")
    return Material(annotations=annotations, scored=True, moments=table)


def _from_boxes(boxes: KeyframeBoxes, classes: Mapping[int, str], source: str) -> Material:
    """Boxes of one actor and class as one tube; each box as a tube of its own where actors are not known."""
    times, frame_of = boxes.frame_time_s[boxes.frame_idx], boxes.frame_video_idx[boxes.frame_idx]
    actor = np.arange(len(boxes)) if boxes.actor is None else boxes.actor
    order = np.lexsort((times, boxes.class_id, actor, frame_of))
    same = [np.diff(column[order]) == 0 for column in (frame_of, actor, boxes.class_id)]
    found: dict[str, list[Tube]] = {video: [] for video in boxes.videos}
    for rows in np.split(order, np.flatnonzero(~np.logical_and.reduce(same)) + 1) if len(order) else ():
        rows = rows[np.diff(times[rows], prepend=-np.inf) > 0]
        number = int(boxes.class_id[rows[0]])
        found[boxes.videos[frame_of[rows[0]]]].append(
            Tube(
                actor=str(actor[rows[0]]),
                label=classes.get(number, str(number)),
                times_s=times[rows],
                boxes=boxes.boxes[rows],
            )
        )
    videos = {video: VideoRecord(video=video, tubes=tuple(each)) for video, each in found.items()}
    annotations = Annotations(classes=(), videos=videos, source=source, format="ava")
    return Material(annotations=annotations, scored=boxes.score is not None, boxes=boxes, classes=classes)


def _flat(record: VideoRecord, *, with_tubes: bool) -> Segments:
    rows = record.instances
    spans = [(start_s, end_s, each.text) for each in record.moments for start_s, end_s in each.spans_s]
    long = (tube for tube in record.tubes if with_tubes and len(tube) > 1)
    spans += [(float(tube.times_s[0]), float(tube.times_s[-1]), tube.label or tube.actor) for tube in long]
    if not spans:
        return rows
    names = [*rows.names, *(name for _, _, name in spans)]
    classes = tuple(dict.fromkeys([*rows.classes, *(name for name in names if name)]))
    index = {name: position for position, name in enumerate(classes)} | {"": -1}
    return Segments(
        start_s=np.append(rows.start_s, [start_s for start_s, _, _ in spans]),
        end_s=np.append(rows.end_s, [end_s for _, end_s, _ in spans]),
        score=np.append(rows.score, np.ones(len(spans))),
        label=np.array([index[name] for name in names], np.int64),
        classes=classes,
    )


def _of_rows(table: MomentTable, rows: NDArray[np.int64]) -> MomentTable:
    score = None if table.score is None else table.score[rows]
    return replace(
        table, query_idx=table.query_idx[rows], start_s=table.start_s[rows], end_s=table.end_s[rows], score=score
    )


def _of_queries(table: MomentTable, kept: Sequence[bool]) -> MomentTable:
    chosen = np.flatnonzero(kept)
    rows = np.flatnonzero(np.isin(table.query_idx, chosen))
    saliency = None if table.saliency is None else tuple(table.saliency[query] for query in chosen)
    table = replace(_of_rows(table, rows), queries=tuple(table.queries[query] for query in chosen), saliency=saliency)
    return replace(table, query_idx=np.searchsorted(chosen, table.query_idx))


def _of_keyframes(boxes: KeyframeBoxes, kept: NDArray[np.bool_]) -> KeyframeBoxes:
    """Only these keyframes, and the videos that have one."""
    boxes = _of_box_rows(boxes, kept[boxes.frame_idx])
    chosen, video_idx = np.unique(boxes.frame_video_idx[kept], return_inverse=True)
    return replace(
        boxes,
        videos=tuple(boxes.videos[video] for video in chosen),
        frame_video_idx=video_idx,
        frame_idx=(np.cumsum(kept) - 1)[boxes.frame_idx],
        frame_time_s=boxes.frame_time_s[kept],
    )


def _of_box_rows(boxes: KeyframeBoxes, rows: NDArray[np.bool_]) -> KeyframeBoxes:
    return replace(
        boxes,
        frame_idx=boxes.frame_idx[rows],
        class_id=boxes.class_id[rows],
        boxes=boxes.boxes[rows],
        score=None if boxes.score is None else boxes.score[rows],
        actor=None if boxes.actor is None else boxes.actor[rows],
    )
