"""Random items for torchmetrics faces, and what the functions on arrays make of them; for test_torch_faces."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tal.metrics import (
    detection,
    frame_boxes,
    frames,
    highlights,
    masks,
    moments,
    online,
    onset,
    planning,
    progress,
    quality,
    tubes,
)
from tal.metrics.torch_boxes import FrameBoxMAP
from tal.metrics.torch_frames import FrameMAP
from tal.metrics.torch_masks import MaskIoU
from tal.metrics.torch_moments import HighlightMAP, MomentMAP
from tal.metrics.torch_online import OnlineDetection, StartDetectionAP
from tal.metrics.torch_onset import OnsetAccuracy
from tal.metrics.torch_plans import PlanAccuracy
from tal.metrics.torch_ratings import ProgressCorrelation, QualityCorrelation
from tal.metrics.torch_tubes import TubeFrameMAP, TubeMAP
from tal.ops.tubes import FrameTube
from tal.segments import Segments

TIOU = (0.3, 0.5)
K = 3


@dataclass(frozen=True)
class Case:
    """A face, one item's arguments of `update`, what is expected of a list of them, and the shape of a flat item."""

    face: Callable[[], Any]
    item: Callable[[np.random.Generator], tuple]
    expected: Callable[[list], dict[str, float]]
    flat: tuple[int, ...] | None = None

    def arguments(self, items):
        """Of `update`, for any number of items."""
        columns = list(zip(*items, strict=True)) or [()] * len(self.item(np.random.default_rng(0)))
        if self.flat is None:
            return [list(column) for column in columns]
        return [torch.tensor(np.array(column)).reshape(-1, *self.flat) for column in columns]


def _stacked(parts):
    """(item of each row, rows of all items)."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts]), np.concatenate(parts)


def _frames_item(rng):
    count = rng.integers(0, 6)
    return rng.integers(0, 4, (count, K)) / 3, rng.random((count, K)) < 0.3


def _frames(items):
    score, shown = (np.concatenate(side) for side in zip(*items, strict=True))
    precision = frames.frame_average_precision(score, shown)
    weights = shown.sum(0)
    return {
        "mAP": np.nanmean(precision),
        "weighted-mAP": (np.nan_to_num(precision) * weights).sum() / weights.sum(),
    }


def _boxes_item(rng):
    def some(most, scored):
        count = rng.integers(0, most)
        corner = rng.integers(0, 2, (count, 2))
        boxes = torch.tensor(np.concatenate([corner, corner + rng.choice([0, 3, 4, 4], (count, 2))], 1))
        entry = {"boxes": boxes, "labels": torch.tensor(rng.integers(0, 2, count))}
        return entry | ({"scores": torch.tensor(rng.integers(0, 5, count) / 4)} if scored else {})

    return some(12, True), some(5, False)  # Class 2 never occurs.


def _box_columns(items):
    for side in (0, 1):
        frame, label = _stacked([item[side]["labels"].numpy() for item in items])
        boxes = np.concatenate([item[side]["boxes"].numpy() for item in items]).astype(float)
        score = None if side else np.concatenate([item[side]["scores"].numpy() for item in items])
        yield frame, label, boxes, score


def _named(name, thresholds, precision):
    means = np.nanmean(precision, axis=1)
    return {name: means.mean()} | {f"{name}@{at:.2f}": mean for at, mean in zip(thresholds, means, strict=True)}


def _boxes(items, limit=None):
    found, truth = (
        frame_boxes.BoxRows(frame_idx=frame, label=label, boxes=boxes, score=score)
        for frame, label, boxes, score in _box_columns(items)
    )
    if limit is not None:
        truth = truth[frame_boxes.official_order(truth)]
        found = found[frame_boxes.official_order(found, limit=limit)]
    found = found[frame_boxes.has_area(found.boxes)]
    if limit is None:
        found = found[frame_boxes.score_order(found)]
    return _named("mAP", TIOU, frame_boxes.average_precision(truth, found, TIOU, class_count=K))


def _frame_tubes(items):
    found, truth = (
        tubes.BoxRows(video_idx=frame, frame=np.ones_like(frame), label=label, boxes=boxes, score=score)
        for frame, label, boxes, score in _box_columns(items)
    )
    rule = tubes.FRAME_RULES["act"]
    pairs = tubes.frame_candidates(truth, found, rule)
    named = _named("frame-mAP", TIOU, tubes.average_precision(pairs, TIOU, rule, class_count=K))
    return {name: value for name, value in named.items() if name != "frame-mAP"}


def _tubes_item(rng):
    def some(most):
        found = []
        for _ in range(rng.integers(0, most)):
            first, count, left = rng.integers(1, 4), rng.integers(2, 5), rng.integers(0, 2)
            found.append(
                FrameTube(
                    frames=np.arange(first, first + count),
                    boxes=np.tile([left, 0, left + 4, 5], (count, 1)),
                    label=int(rng.integers(0, K)),
                    score=rng.integers(0, 5) / 4,
                )
            )
        return found

    return some(6), some(4)


def _tubes(items):
    found, truth = (
        [tubes.VideoTube(video_idx=video, tube=tube) for video, item in enumerate(items) for tube in item[side]]
        for side in (0, 1)
    )
    rule = tubes.TUBE_RULES["act"]
    pairs = tubes.tube_candidates(truth, found, rule)
    named = _named("video-mAP", TIOU, tubes.average_precision(pairs, TIOU, rule, class_count=K))
    several = tubes.average_precision(pairs, tubes.MEAN_IOUS, rule, class_count=K)
    return named | {"video-mAP": np.nanmean(several.mean(axis=0))}


def _moments_item(rng):
    def some(most, width):
        start_s = rng.integers(0, 10, rng.integers(0, most))
        end_s = start_s + rng.integers(1, 8, len(start_s))
        return np.stack([start_s, end_s, rng.integers(0, 4, len(start_s)) / 3], 1)[:, :width]

    return some(5, 3), some(3, 2)


def _moments(items):
    query, rows = _stacked([item[0] for item in items])
    found = moments.Windows(query_idx=query, start_s=rows[:, 0], end_s=rows[:, 1], score=rows[:, 2])
    query, rows = _stacked([item[1] for item in items])
    truth = moments.Windows(query_idx=query, start_s=rows[:, 0], end_s=rows[:, 1])
    asked = np.unique(query)
    precision = moments.average_precision(truth, found.first(2), TIOU, query_count=len(items))[:, asked]
    overlap = moments.first_overlaps(truth, found, query_count=len(items))[asked]
    return _named("MR-mAP", TIOU, precision) | {f"MR-R1@{value:.2f}": (overlap >= value).mean() for value in TIOU}


def _highlights_item(rng):
    count = rng.integers(0, 5)
    return rng.integers(-2, 3, count) / 2, rng.integers(0, 5, (count, 3))


def _highlights(items):
    most = max(len(item[0]) for item in items)
    score = np.full((len(items), most), -9.0)  # Never read beyond a query's clips, never the best of one that has any.
    given = np.zeros((3, len(items), most))
    for query, (saliency, levels) in enumerate(items):
        score[query, : len(saliency)] = saliency
        given[:, query, : len(levels)] = levels.T
    clips = np.array([len(item[0]) for item in items])
    metrics = {}
    for name, lowest in (("Fair", 2), ("Good", 3), ("VeryGood", 4)):
        relevant = given >= lowest
        metrics[f"HL-{name}-mAP"] = highlights.average_precision(score, relevant, clips).mean()
        metrics[f"HL-{name}-HIT@1"] = highlights.hit_at_one(score.argmax(1), relevant, clips).max(axis=0).mean()
    return metrics


def _onset_item(rng):
    start_s, found_s = rng.integers(0, 20, 2) / 2
    found = (found_s, found_s + rng.integers(0, 6)) if rng.random() < 0.8 else (np.nan, np.nan)
    return np.array(found, float), np.array([start_s, start_s + rng.integers(1, 6)])


def _onset(items):
    (start_s, end_s), (begin_s, stop_s) = (np.array(side).T for side in zip(*items, strict=True))
    difference = onset.time_differences(start_s, end_s, begin_s, stop_s)
    overlap = onset.overlaps(start_s, end_s, begin_s, stop_s)
    return (
        {f"R1@{value:.2f}": (overlap >= value).mean() for value in TIOU}
        | {"mIoU": overlap.mean(), "mean-TD": onset.mean_time_difference(difference, stop_s)}
        | {f"R1@TD<={value}": (difference <= value).mean() for value in (0, 3)}
        | {f"onset@{value}": onset.onset_hits(start_s, end_s, begin_s[:, None], value).mean() for value in (1.0, 0.25)}
    )


def _online_item(rng):
    def some(most, **extra):
        count = rng.integers(0, most)
        start_s = rng.integers(0, 12, count) / 2
        return Segments(
            start_s=start_s,
            end_s=start_s + rng.integers(1, 8, count) / 2,
            label=rng.integers(0, K, count),
            score=rng.integers(0, 6, count) / 6,
            classes=("a", "b", "c"),
            extra={name: start_s + rng.random(count) * 9 for name in extra},
        )

    return some(8, generation_time=True), some(4)


def _online_rows(items):
    return tuple(
        detection.Rows(
            video_idx=_stacked([item[side].label for item in items])[0],
            label=np.concatenate([item[side].label for item in items]),
            start_s=np.concatenate([item[side].start_s for item in items]),
            end_s=np.concatenate([item[side].end_s for item in items]),
            score=None if side else np.concatenate([item[side].score for item in items]),
        )
        for side in (0, 1)
    )


def _starts(items):
    found, truth = _online_rows(items)
    pairs = online.start_pairs(truth, found, (1, 2.5), class_count=K)
    means = np.nanmean(online.precision_to_depth(pairs, 0.5), axis=1)
    return {"p-AP": means.mean(), "p-AP@1.0": means[0], "p-AP@2.5": means[1]}


def _online(items):
    found, truth = _online_rows(items)
    made_s = np.concatenate([item[0].extra["generation_time"] for item in items])
    pairs = detection.overlaps(truth, found, TIOU, class_count=K)
    delays = [np.mean(online.end_delays(pairs, value, truth.end_s, made_s)[0]) for value in TIOU]
    scores = online.f1(online.assigned_tious(truth, found), TIOU, predictions=len(found), truth=len(truth))
    columns = {"F1": scores.f1, "precision": scores.precision, "recall": scores.recall, "AEDT": delays}
    named = {f"{name}@{at:.2f}": column[row] for name, column in columns.items() for row, at in enumerate(TIOU)}
    return named | {"AEDT": np.mean(delays)}


def _plans_item(rng):
    true = rng.integers(0, K, 3)
    return np.where(rng.random(3) < 0.7, true, rng.integers(-1, K, 3)), true


def _plans(items):
    found, true = (np.array(side) for side in zip(*items, strict=True))
    return {
        "SR": planning.success(found, true).mean(),
        "mAcc": planning.step_accuracy(found, true).mean(),
        "mIoU": planning.set_iou(found, true).mean(),
    }


def _quality(items):
    found, true = (np.array(side) for side in zip(*items, strict=True))
    names = {"SRCC": "srcc", "KRCC": "krcc", "PLCC": "plcc", "R-l2": "relative_l2", "RMSE": "rmse"}
    return {name: getattr(quality, function)(found, true) for name, function in names.items()}


def _progress(items):
    values = [progress.value_order_correlation(item[0]) for item in items]
    defined = np.array([value for value in values if not np.isnan(value)])
    return {"VOC": defined.mean(), "VOC-median": np.median(defined), "VOC-positive": (defined > 0).mean()}


def _masks_item(rng):
    predicted, true = rng.integers(0, 3, (2, 4, 5))
    return predicted * (rng.random() < 0.7), true, {number: bool(rng.random() < 0.5) for number in (1, 2, 7)}


def _masks(items):
    areas = np.concatenate([masks.overlap_areas(found, true, list(objects)) for found, true, objects in items])
    return masks.mask_scores(areas, [acts for item in items for acts in item[2].values()]).named()


CASES = {
    "frames": Case(lambda: FrameMAP(K), _frames_item, _frames),
    "boxes": Case(lambda: FrameBoxMAP(K, TIOU), _boxes_item, _boxes),
    "boxes as AVA": Case(lambda: FrameBoxMAP(K, TIOU, limit=2), _boxes_item, lambda items: _boxes(items, 2)),
    "tubes' frames": Case(lambda: TubeFrameMAP(K, TIOU), _boxes_item, _frame_tubes),
    "tubes": Case(lambda: TubeMAP(K, TIOU), _tubes_item, _tubes),
    "moments": Case(lambda: MomentMAP(TIOU, max_windows=2), _moments_item, _moments),
    "highlights": Case(HighlightMAP, _highlights_item, _highlights),
    "onset": Case(lambda: OnsetAccuracy(TIOU, (0, 3)), _onset_item, _onset, flat=(2,)),
    "online": Case(lambda: OnlineDetection(K, TIOU), _online_item, _online),
    "starts": Case(lambda: StartDetectionAP(K, (1, 2.5), depth=0.5), _online_item, _starts),
    "plans": Case(lambda: PlanAccuracy(3), _plans_item, _plans, flat=(3,)),
    "quality": Case(QualityCorrelation, lambda rng: (float(rng.integers(0, 5)), rng.random() * 100), _quality, flat=()),
    "progress": Case(
        ProgressCorrelation, lambda rng: (rng.integers(0, 4, rng.integers(0, 6)).astype(float),), _progress
    ),
    "masks": Case(MaskIoU, _masks_item, _masks),
}
