"""Brings ground truth and predictions of action tubes onto common rows; everything that is left out is counted."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal.annotations.records import Annotations, VideoRecord
from tal.annotations.tube_results import BoxTable, TubeTable, parse_results, read_tubelets
from tal.annotations.tubes import parse_bytes
from tal.datasets.kinds.tubes import TubesProtocol
from tal.errors import AnnotationError, ConfigError
from tal.evaluation.inputs import Inputs
from tal.evaluation.tally import Tally, some
from tal.metrics.frame_boxes import has_area
from tal.metrics.tubes import BoxRows, VideoTube
from tal.ops.linking import MIN_FRAMES, link_detections, link_tubelets, soft_nms_boxes
from tal.ops.tubes import FrameTube, nms_tubes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_NMS_IOU = 0.3


def read_annotations(annotations: Annotations | Path | str, inputs: Inputs) -> Annotations:
    """Records, from a JSON or pickle where they are not at hand."""
    if isinstance(annotations, Annotations):
        return annotations
    return parse_bytes(inputs.read(annotations, pickles=True), annotations)


def videos_of(annotations: Annotations, protocol: TubesProtocol, number: int) -> dict[str, VideoRecord]:
    """The videos of a test split, in its order; all where the annotations list no splits.

    Raises:
        AnnotationError: no such split, or several asked for of annotations without splits.
    """
    name, source = f"test{number}", annotations.source or "annotations"
    if not annotations.splits:
        if len(protocol.split) > 1:
            raise AnnotationError(
                f"{source}: lists no splits, and {len(protocol.split)} are asked for",
                expected="annotations with train_videos and test_videos",
                todo=f"leave out split, or use the published pickle of {protocol.name}",
            )
        return dict(annotations.videos)
    if name not in annotations.splits:
        known = ", ".join(f"{split} ({len(videos)} videos)" for split, videos in annotations.splits.items())
        raise AnnotationError(f"{source}: no split {name}", expected=f"one of {known}")
    return {video: annotations.videos[video] for video in annotations.splits[name]}


def truth_tubes(records: Mapping[str, VideoRecord], tally: Tally) -> list[VideoTube]:
    """The tubes of a split; those of unknown labels are excluded, and counted."""
    tubes = [VideoTube(video_idx=row, tube=t) for row, each in enumerate(records.values()) for t in each.frame_tubes]
    known = [each for each in tubes if each.tube.label >= 0]
    tally.exclude("label not in the class list", len(tubes) - len(known))
    return known


def truth_boxes(tubes: Sequence[VideoTube]) -> BoxRows:
    """Their boxes, one row each."""
    lengths = [len(each.tube) for each in tubes]
    return BoxRows(
        video_idx=np.repeat(np.array([each.video_idx for each in tubes], np.int64), lengths),
        label=np.repeat(np.array([each.tube.label for each in tubes], np.int64), lengths),
        frame=np.concatenate([each.tube.frames for each in tubes]),
        boxes=np.concatenate([each.tube.boxes for each in tubes]),
    )


@dataclass
class Predicted:
    """What the predictions of one split come to.

    Args:
        boxes: Detected boxes, where there are any.
        tubes: Detected or linked tubes, where there are any, after the suppression of tubes.
        named: Ids of the split's videos that the predictions name.
        read: Rows that were read: boxes and tubes, or tubelets.
        evaluated: Those of them that reached a metric.
    """

    boxes: BoxRows | None = None
    tubes: list[VideoTube] | None = None
    named: set[str] = field(default_factory=set)
    read: int = 0
    evaluated: int = 0


class Joining:
    """The predictions of one split on their way to rows."""

    def __init__(
        self,
        protocol: TubesProtocol,
        annotations: Annotations,
        records: Mapping[str, VideoRecord],
        number: int,
        inputs: Inputs,
        tally: Tally,
    ) -> None:
        self.protocol, self.annotations, self.records = protocol, annotations, records
        self.number, self.inputs, self.tally = number, inputs, tally
        self.position = {video: row for row, video in enumerate(records)}
        self.result = Predicted()

    def add(self, predictions: BoxTable | TubeTable | Path | str) -> None:
        """Take in one file, folder or table.

        Raises:
            AnnotationError: cannot be read, or does not fit the annotations.
            ConfigError: the same kind of predictions twice.
        """
        source = "predictions"
        if isinstance(predictions, Path | str):
            source = str(predictions).replace("{split}", str(self.number))
            if Path(source).is_dir():
                self._once("tubes", source)
                self._once("boxes", source)
                self._add_tubelets(Path(source))
                return
            content = self.inputs.read(source, pickles=True)
            predictions = parse_results(content, source, videos=tuple(self.records), classes=self.annotations.classes)
        if not isinstance(predictions, BoxTable | TubeTable):
            raise AnnotationError(f"{source}: {type(predictions).__name__}", expected="a file, BoxTable or TubeTable")
        if not len(predictions):
            raise AnnotationError(f"{source} holds no predictions", expected="at least one", cause="a run that failed")
        self._once("boxes" if isinstance(predictions, BoxTable) else "tubes", source)
        if isinstance(predictions, BoxTable):
            self._add_boxes(predictions, source)
        else:
            self._add_tubes(predictions, source)

    def _once(self, kind: str, source: str) -> None:
        if getattr(self.result, kind) is not None:
            raise ConfigError(
                f"{source}: {kind} again, which the predictions gave already",
                expected="boxes as predictions and tubes as --tubes",
            )

    def _labels(self, names: Sequence[str], source: str) -> Ints:
        """Class index of each name, -1 where the annotations lack it."""
        index = {name: row for row, name in enumerate(self.annotations.classes)}
        labels = np.array([index.get(name, -1) for name in names], np.int64)
        if len(labels) and labels.max() < 0:
            raise AnnotationError(
                f"{source}: none of its {len(names)} classes is in the annotations: {some(names)}",
                expected=f"classes such as {some(self.annotations.classes)}",
                cause="predictions of another benchmark, or other names for its classes",
            )
        return labels

    def _videos(self, names: Sequence[str], counts: Sequence[int], source: str) -> Ints:
        """Index of each video, -1 for those outside the split, whose predictions are left out."""
        videos = np.array([self.position.get(name, -1) for name in names], np.int64)
        if len(videos) and videos.max() < 0:
            elsewhere = any(name in self.annotations.videos for name in names)
            raise AnnotationError(
                f"{source}: none of its {len(names)} videos is in the split: {some(names)}",
                expected=f"videos such as {some(tuple(self.records))}",
                cause="predictions of another split" if elsewhere else "ids written in another way",
                todo="choose the split" if elsewhere else "use the annotations' ids in the predictions",
            )
        for name, video, count in zip(names, videos, counts, strict=True):
            if video < 0:
                other = name in self.annotations.videos
                self.tally.drop("video of another split" if other else "video not in the annotations", count)
        filled = {name for name, count in zip(names, counts, strict=True) if count}
        self.result.named |= filled & set(self.position)
        return videos

    def _add_boxes(self, table: BoxTable, source: str) -> None:
        counts = np.bincount(table.video_idx, minlength=len(table.videos))
        videos = self._videos(table.videos, counts.tolist(), source)[table.video_idx]
        label = self._labels(table.labels, source)[table.label_idx]
        kept = videos >= 0
        self.tally.drop("class not in the annotations", int((kept & (label < 0)).sum()))
        kept &= label >= 0
        rows = BoxRows(video_idx=videos, frame=table.frame, label=label, boxes=table.boxes, score=table.score)
        self._check(rows[kept], source)
        self.result.boxes = rows[kept]
        self.result.read += len(table)
        self.result.evaluated += int(kept.sum())

    def _check(self, rows: BoxRows, source: str) -> None:
        """Refuse frames from 0 and boxes in fractions, tell of frames beyond the end."""
        if not len(rows):
            return
        if rows.frame.min() < 1:
            raise AnnotationError(
                f"{source}: frame {rows.frame.min()}", expected="frames counted from 1", cause="frames counted from 0"
            )
        if rows.boxes.max() <= 2:
            raise AnnotationError(
                f"{source}: boxes up to {rows.boxes.max():g}",
                expected="pixels",
                cause="boxes in fractions of the frame",
            )
        ends = np.array([record.frame_count or np.iinfo(np.int64).max for record in self.records.values()])
        beyond = int((rows.frame > ends[rows.video_idx]).sum())
        if beyond:
            self.tally.warn(f"{beyond} detected boxes are on frames beyond the end of their video, and count as false")

    def _add_tubes(self, table: TubeTable, source: str) -> None:
        counts = [len(tubes) for tubes in table.videos.values()]
        videos = self._videos(tuple(table.videos), counts, source)
        labels = self._labels(table.labels, source)
        given = [
            (int(video), tube, int(labels[tube.label]))
            for video, tubes in zip(videos, table.videos.values(), strict=True)
            for tube in tubes
            if video >= 0
        ]
        known = [each for each in given if each[2] >= 0]
        self.tally.drop("class not in the annotations", len(given) - len(known))
        tubes = [VideoTube(video_idx=video, tube=tube.labelled(label)) for video, tube, label in known]
        if tubes:
            self._check(truth_boxes(tubes), source)
        self.result.tubes = self._suppressed(tubes)
        self.result.read += len(table)
        self.result.evaluated += len(tubes)

    def _suppressed(self, tubes: Sequence[VideoTube]) -> list[VideoTube]:
        """What the suppression of tubes leaves, by video and class."""
        places: dict[tuple[int, int], list[VideoTube]] = {}
        for each in tubes:
            places.setdefault((each.video_idx, each.tube.label), []).append(each)
        touching = self.protocol.tube_rule == "act"
        kept = []
        for place in sorted(places):
            group = places[place]
            kept += [group[row] for row in nms_tubes([each.tube for each in group], _NMS_IOU, touching=touching)]
        return kept

    def finish(self) -> Predicted:
        """What all that was added comes to, after linking, and without the boxes that the frame rule leaves out."""
        self._link()
        found = self.result.boxes
        if found is None:
            return self.result
        if self.protocol.frame_rule == "pascal":
            full = has_area(found.boxes)
            self.result.boxes = found[full]
            self.result.evaluated -= int((~full).sum())
            self.tally.drop("box without area", int((~full).sum()))
        else:
            reversed_ = int(((found.boxes[:, 2] < found.boxes[:, 0]) | (found.boxes[:, 3] < found.boxes[:, 1])).sum())
            if reversed_:
                self.tally.warn(f"{reversed_} detected boxes end before they begin, and match nothing")
        return self.result

    def _link(self) -> None:
        """Make tubes of the boxes, where the protocol says so and no tubes are given."""
        boxes, method = self.result.boxes, self.protocol.link
        if method is not None and self.result.tubes is not None:
            self.tally.warn(f"tubes are given: link={method} is not applied")
        if method is None or self.result.tubes is not None or boxes is None or boxes.score is None:
            return
        records = list(self.records.values())
        order = np.argsort(boxes.video_idx, kind="stable")
        tubes = []
        for rows in np.split(order, np.flatnonzero(np.diff(boxes.video_idx[order])) + 1):
            if not len(rows):
                continue
            video = int(boxes.video_idx[rows[0]])
            record, last = records[video], int(boxes.frame[rows].max())
            if record.frame_count is not None and last > record.frame_count:
                raise AnnotationError(
                    f"video {record.video!r}: a box on frame {last} of {record.frame_count} cannot be linked",
                    expected="frames counted from 1",
                    cause="frames at another rate, or detections of another video",
                )
            found = link_detections(
                boxes.frame[rows],
                boxes.boxes[rows],
                boxes.score[rows],
                boxes.label[rows],
                frame_count=record.frame_count or last,
                method=method,
            )
            tubes += [VideoTube(video_idx=video, tube=tube) for tube in found]
        empty = len(np.unique(boxes.video_idx)) - len({each.video_idx for each in tubes})
        if empty:
            why = f": it leaves out those of fewer than {MIN_FRAMES} frames" if method == "act" else ""
            self.tally.warn(f"link={method} makes no tube in {empty} of the videos with boxes{why}")
        self.result.tubes = self._suppressed(tubes) if method == "act" else tubes

    def _add_tubelets(self, folder: Path) -> None:
        """MOC's folder: boxes after soft suppression, and tubes, unless they are to be linked from the boxes."""
        parts: list[BoxRows] = []
        tubes: list[VideoTube] = []
        digest = hashlib.sha256()
        for row, (video, record) in enumerate(self.records.items()):
            if not (folder / video).is_dir():
                continue
            self.result.named.add(video)
            starts = []
            for _, content, found in read_tubelets(folder, video, record.frame_count or 0):
                digest.update(content)
                starts.append(found)
            self.result.read += sum(len(rows) for found in starts for rows in found.values())
            parts += tubelet_boxes(starts, row)
            if self.protocol.link is None:
                tubes += [VideoTube(video_idx=row, tube=tube) for tube in self._tubes_of(starts)]
        if not self.result.named:
            raise AnnotationError(
                f"{folder}: no folder of a video of the split in it",
                expected=f"folders such as {some(tuple(self.records))} with 00001.pkl, 00002.pkl, ...",
            )
        self.inputs.hashes[str(folder)] = digest.hexdigest()
        self.result.boxes = joined(parts)
        self.result.evaluated = self.result.read
        self._check(self.result.boxes, str(folder))
        if self.protocol.link is None:
            self.result.tubes = self._suppressed(tubes)

    def _tubes_of(self, starts: Sequence[Mapping[int, Floats]]) -> list[FrameTube]:
        tubes: list[FrameTube] = []
        for label in range(len(self.annotations.classes)):
            per_start = [found.get(label, np.zeros((0, 5))) for found in starts]
            tubes += link_tubelets(
                [rows[:, :-1].reshape(len(rows), rows.shape[1] // 4, 4) for rows in per_start],
                [rows[:, -1] for rows in per_start],
                label=label,
                weight=self.protocol.weight,
            )
        return tubes


def tubelet_boxes(starts: Sequence[Mapping[int, Floats]], video_idx: int) -> list[BoxRows]:
    """The boxes of a video's tubelets frame by frame, after soft suppression (load_frame_detections of MOC)."""
    frames: dict[int, dict[int, list[Floats]]] = {}
    for start, found in enumerate(starts, 1):
        for label, rows in found.items():
            for step in range(rows.shape[1] // 4):
                columns = [*range(4 * step, 4 * step + 4), rows.shape[1] - 1]
                frames.setdefault(start + step, {}).setdefault(label, []).append(rows[:, columns])
    parts = []
    for frame in sorted(frames):
        for label, given in frames[frame].items():
            rows = np.concatenate(given)
            parts.append(
                BoxRows(
                    video_idx=np.full(len(rows), video_idx),
                    frame=np.full(len(rows), frame),
                    label=np.full(len(rows), label),
                    boxes=rows[:, :4],
                    score=soft_nms_boxes(rows[:, :4], rows[:, 4]),
                )
            )
    return parts


def joined(parts: Sequence[BoxRows]) -> BoxRows:
    """All rows of all parts, in order."""
    ints = {
        name: np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, np.int64)
        for name in ("video_idx", "frame", "label")
    }
    boxes = np.concatenate([part.boxes for part in parts]) if parts else np.zeros((0, 4))
    scores = [part.score for part in parts if part.score is not None]
    return BoxRows(**ints, boxes=boxes, score=np.concatenate(scores) if scores else np.zeros(0))
