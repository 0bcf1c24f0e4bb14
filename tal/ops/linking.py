"""Linking: from the boxes that a detector gives frame by frame to tubes.

`link_tubelets` is ACT's online linking, as MOC has it; a detector of single frames is its case of one frame per
tubelet. `link_viterbi` is the offline linking of the evaluators that follow YOWO. Both take one class of one video;
`link_detections` takes columns of detections of all classes. The frames count from 1. Equal scores come in the order in
which the references' own sort leaves them, see `tal.ops.ties`.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tal.errors import TalError
from tal.ops.ties import numpy_order
from tal.ops.tubes import FrameTube, nms_tubes, paired_iou

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Weight = Literal["sum", "mean"]

_NMS_IOU = 0.6
_LINK_IOU = 0.5
_TOP = 10
_MIN_SCORE = 0.005
_PATHS = 3
_BOXES_AT_ONCE = 200_000

MIN_FRAMES = 15
"""Of a tube, by ACT's and MOC's rule of linking."""


def soft_nms_boxes(boxes: ArrayLike, score: ArrayLike, *, max_iou: float = _NMS_IOU) -> Floats:
    """(N,) new scores of one frame's boxes of one class: those on a better box lose the share that it covers.

    From the highest score on, the boxes that overlap it by more than `max_iou` get score x (1 - IoU) and are done; none
    is removed (nms2d of MCG-NJU/MOC-Detector, src/ACT_utils/ACT_utils.py).

    Args:
        boxes: (N, 4) left, top, right, bottom in pixels, the last pixels included.
        score: (N,).
        max_iou: See above.
    """
    tubelets = np.asarray(boxes, np.float64).reshape(-1, 1, 4)
    return soft_nms_tubelets(tubelets, score, max_iou=max_iou, weight="mean")


def soft_nms_tubelets(
    tubelets: ArrayLike, score: ArrayLike, *, max_iou: float = _NMS_IOU, weight: Weight = "sum"
) -> Floats:
    """(N,) new scores of the tubelets of one class that start on one frame.

    As `soft_nms_boxes`, with the mean IoU over the K frames (nms_tubelets of MCG-NJU/MOC-Detector). The reference
    multiplies with 1 - the *sum* of the K overlaps, which is below 0 as soon as K is 2: published results stand on
    "sum"; "mean" is what was meant.

    Args:
        tubelets: (N, K, 4) left, top, right, bottom in pixels, the last pixels included.
        score: (N,).
        max_iou: A tubelet with exactly this mean overlap keeps its score.
        weight: See above.
    """
    boxes = np.asarray(tubelets, np.float64)
    result = np.array(score, np.float64)
    if len(result) < 2:
        return result
    frames = boxes.shape[1]
    total = paired_iou(boxes[:, None], boxes[None], inclusive=True).sum(axis=2)  # (N, N)
    waiting = numpy_order(result)[::-1]
    while len(waiting) > 1:
        best, others = waiting[0], waiting[1:]
        covered = total[best, others] > max_iou * frames
        share = total[best, others[covered]] / (frames if weight == "mean" else 1)
        result[others[covered]] *= 1 - share
        waiting = others[~covered]
    return result


def link_tubelets(
    boxes: Sequence[ArrayLike],
    score: Sequence[ArrayLike],
    *,
    label: int = -1,
    weight: Weight = "sum",
    top: int = _TOP,
    min_iou: float = _LINK_IOU,
    min_score: float = _MIN_SCORE,
    min_frames: int = MIN_FRAMES,
) -> list[FrameTube]:
    """Tubes from tubelets: boxes on K successive frames, detected at every frame where K frames remain.

    Frame by frame, after `soft_nms_tubelets`, the `top` best tubelets are handed out: the tubes, that with the highest
    mean score first, take the best-scored one left which overlaps their last tubelet by `min_iou` (mean over the frames
    that both cover; with none, the last box of the one and the first of the other). What is left opens tubes. A tube
    that found nothing for K frames is finished. Each frame's box is the mean of those that cover it; a tube's score is
    the mean of its tubelets'. Reference: BuildTubes of MCG-NJU/MOC-Detector, src/ACT_utils/ACT_build.py.

    Args:
        boxes: Per start frame 1, 2, ...: (N, K, 4) left, top, right, bottom in pixels, the last pixels included.
        score: Per start frame: (N,).
        label: The class that the tubes get.
        weight: Of the soft suppression, see `soft_nms_tubelets`.
        top: Tubelets that stay per start frame.
        min_iou: See above.
        min_score: Tubes below it are left out.
        min_frames: Tubes of fewer frames are left out.
    """
    finished: list[_Chain] = []
    growing: list[_Chain] = []
    for start, (starting, given) in enumerate(zip(boxes, score, strict=True), 1):
        candidates = np.asarray(starting, np.float64)
        growing = [growing[row] for row in numpy_order([-chain.mean for chain in growing])] if growing else []
        if not len(candidates) and not any(chain.is_due(start) for chain in growing):
            continue
        values = soft_nms_tubelets(candidates, given, weight=weight)
        best = numpy_order(values)[::-1][:top]
        candidates, values = candidates[best], values[best]
        left = _extend(growing, start, candidates, values, min_iou)
        finished += [chain for chain in growing if chain.is_due(start)]
        growing = [chain for chain in growing if not chain.is_due(start)]
        growing += [_Chain(start, candidates[row], float(values[row])) for row in left]
    tubes = [chain.tube(label) for chain in finished + growing]
    return [tube for tube in tubes if tube.score >= min_score and len(tube) >= min_frames]


class _Chain:
    """A tube that is being linked: the start frames, boxes and scores of its tubelets."""

    def __init__(self, start: int, boxes: Floats, score: float) -> None:
        self.starts, self.boxes, self.scores, self.total = [start], [boxes], [score], score

    def add(self, start: int, boxes: Floats, score: float) -> None:
        self.starts.append(start)
        self.boxes.append(boxes)
        self.scores.append(score)
        self.total += score

    @property
    def length(self) -> int:
        """K."""
        return len(self.boxes[0])

    def is_due(self, start: int) -> bool:
        """Whether its last tubelet ended before this start frame."""
        return start - self.starts[-1] >= self.length

    @property
    def mean(self) -> float:
        return self.total / len(self.scores)

    def tube(self, label: int) -> FrameTube:
        first = self.starts[0]
        rows = (np.array(self.starts) - first)[:, None] + np.arange(self.length)  # (tubelets, K)
        count = int(rows[-1, -1]) + 1
        covering = np.bincount(rows.ravel(), minlength=count)
        columns = np.concatenate([np.stack(self.boxes), np.zeros((*rows.shape, 1))], axis=2)
        columns[:, :, 4] = np.array(self.scores)[:, None]
        sums = np.zeros((count, 5))
        np.add.at(sums, rows.ravel(), columns.reshape(-1, 5))
        mean = sums / covering[:, None]
        return FrameTube(
            frames=first + np.arange(count),
            boxes=mean[:, :4],
            box_score=mean[:, 4],
            label=label,
            score=float(np.mean(self.scores)),
        )


def _extend(chains: Sequence[_Chain], start: int, boxes: Floats, score: Floats, min_iou: float) -> list[int]:
    """Give the tubelets (best first) to the chains, in their order; the rows that none took."""
    left = list(range(len(score)))
    if not chains or not left:
        return left
    overlap = _link_iou(chains, start, boxes)
    for chain, fits in zip(chains, (overlap >= min_iou).tolist(), strict=True):
        chosen = next((row for row in left if fits[row]), None)
        if chosen is not None:
            chain.add(start, boxes[chosen], float(score[chosen]))
            left.remove(chosen)
    return left


def _link_iou(chains: Sequence[_Chain], start: int, boxes: Floats) -> Floats:
    """(chains, N) overlap of each chain's last tubelet with those that start now."""
    frames = boxes.shape[1]
    last = np.stack([chain.boxes[-1] for chain in chains])  # (chains, K, 4)
    offset = np.array([start - chain.starts[-1] for chain in chains])
    common = np.maximum(frames - offset, 1)
    step = np.arange(frames)
    opposite = np.minimum(step + offset[:, None], frames - 1)  # (chains, K) where each new box meets the last tubelet
    met = last[np.arange(len(chains))[:, None], opposite]
    overlap = paired_iou(boxes[None], met[:, None], inclusive=True)  # (chains, N, K)
    return np.where(step < common[:, None, None], overlap, 0.0).sum(axis=2) / common[:, None]


def link_viterbi(
    boxes: Sequence[ArrayLike],
    score: Sequence[ArrayLike],
    *,
    label: int = -1,
    paths: int = _PATHS,
    max_iou: float = 0.3,
    trim: bool = False,
) -> list[FrameTube]:
    """Tubes over the whole video from the boxes of its frames: the best path, then the next without its boxes.

    A step between boxes of neighbouring frames is worth IoU + (s1 + s2) + s1 s2 / 2. Frames without boxes take those of
    the nearest frame that has some (of two the earlier). Paths are taken until a frame has no box left, or `paths` are
    found; then `nms_tubes` by their mean score. Every tube spans the frames 1 to n. Reference: wei-tim/YOWO,
    core/eval_results.py (link_bbxes_between_frames, link_video_one_class). Of equal paths that over the boxes that come
    first is taken.

    Args:
        boxes: Per frame 1, 2, ...: (N, 4) left, top, right, bottom in pixels.
        score: Per frame: (N,).
        label: The class that the tubes get.
        paths: Most tubes before suppression.
        max_iou: Of the suppression.
        trim: With a the first frame that has boxes and c the number of frames that have: cut each tube to its frames
            a + 1 to a + c, as TubeR's fork does where frames count from 1 (jinsingsangsung/tuber,
            evaluates/utils/video_map.py).
    """
    detected = [np.asarray(each, np.float64).reshape(-1, 4) for each in boxes]
    filled = np.flatnonzero([len(each) for each in detected])
    if not len(filled):
        return []
    nearest = [int(filled[np.argmin(np.abs(filled - frame))]) for frame in range(len(detected))]
    corners, values, alive = _layers([detected[frame] for frame in nearest], [score[frame] for frame in nearest])
    edges = _edges(corners, values)
    every = np.arange(len(alive))
    tubes: list[FrameTube] = []
    while len(tubes) < paths and alive.any(axis=1).all():
        path = _best_path(edges, alive)
        box_score = values[every, path]
        tubes.append(
            FrameTube(
                frames=every + 1,
                boxes=corners[every, path],
                box_score=box_score,
                label=label,
                score=float(box_score.mean()),
            )
        )
        alive[every, path] = False
    kept = [tubes[row] for row in nms_tubes(tubes, max_iou, touching=False)]
    return _trimmed(kept, int(filled[0]) + 1, len(filled)) if trim else kept


def _layers(boxes: Sequence[Floats], score: Sequence[ArrayLike]) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """(F, W, 4) boxes of each frame, (F, W) scores and (F, W) where there is a box; W is the largest number of any."""
    width = max(map(len, boxes))
    corners, values = np.zeros((len(boxes), width, 4)), np.zeros((len(boxes), width))
    there = np.zeros((len(boxes), width), bool)
    for frame, (rows, scores) in enumerate(zip(boxes, score, strict=True)):
        corners[frame, : len(rows)] = rows
        values[frame, : len(rows)] = scores
        there[frame, : len(rows)] = True
    return corners, values, there


def _edges(corners: Floats, values: Floats) -> Floats:
    """(F - 1, W, W) worth of going from a box of one frame to one of the next."""
    width = corners.shape[1]
    result = np.empty((len(corners) - 1, width, width))
    step = max(1, _BOXES_AT_ONCE // width**2)
    for start in range(0, len(result), step):
        here, there = slice(start, start + step), slice(start + 1, start + step + 1)
        before, after = values[:-1][here, :, None], values[there, None]
        overlap = paired_iou(corners[:-1][here, :, None], corners[there, None])
        result[here] = overlap + (before + after) + 0.5 * (before * after)
    return result


def _best_path(edges: Floats, alive: NDArray[np.bool_]) -> Ints:
    """(F,) the row of each frame's box on the path of highest worth through the boxes that are left."""
    blocked = np.where(alive, 0.0, -np.inf)
    following = np.empty(alive.shape, np.int64)
    worth = blocked[-1]
    for frame in range(len(edges) - 1, -1, -1):
        ahead = edges[frame] + worth
        following[frame] = ahead.argmax(axis=1)
        worth = ahead.max(axis=1) + blocked[frame]
    path = np.empty(len(alive), np.int64)
    path[0] = worth.argmax()
    for frame in range(len(edges)):
        path[frame + 1] = following[frame, path[frame]]
    return path


def _trimmed(tubes: Sequence[FrameTube], first: int, count: int) -> list[FrameTube]:
    """The rows [first, first + count) of each tube; its score becomes the mean of what is left."""
    cut = slice(first, first + count)
    return [
        FrameTube(
            frames=tube.frames[cut],
            boxes=tube.boxes[cut],
            box_score=tube.box_score[cut],
            label=tube.label,
            score=float(tube.box_score[cut].mean()),
        )
        for tube in tubes
        if len(tube.frames[cut])
    ]


def link_detections(
    frame: ArrayLike,
    boxes: ArrayLike,
    score: ArrayLike,
    label: ArrayLike,
    *,
    frame_count: int,
    method: Literal["act", "yowo", "tuber"] = "act",
) -> list[FrameTube]:
    """Tubes of all classes of one video, from its detections as columns; by class, then in the order of the method.

    Args:
        frame: (N,) from 1 to `frame_count`.
        boxes: (N, 4) left, top, right, bottom in pixels.
        score: (N,).
        label: (N,) class of each detection.
        frame_count: Frames of the video.
        method: "act" is `link_tubelets` with one frame per tubelet, "yowo" is `link_viterbi`, "tuber" that with `trim`.

    Raises:
        TalError: a frame outside 1 to `frame_count`.
    """
    numbers, classes = np.asarray(frame, np.int64).reshape(-1), np.asarray(label, np.int64).reshape(-1)
    corners, values = np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(score, np.float64).reshape(-1)
    if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= frame_count:
        raise TalError(
            f"detections on frames {numbers.min()} to {numbers.max()} of a video of {frame_count}",
            expected=f"frames 1 to {frame_count}",
            cause="frames counted from 0" if not numbers.min() else "",
        )
    order = np.lexsort((numbers, classes))
    tubes: list[FrameTube] = []
    for rows in np.split(order, np.flatnonzero(np.diff(classes[order])) + 1):
        if not len(rows):
            continue
        bounds = np.searchsorted(numbers[rows], np.arange(2, frame_count + 1))
        per_frame = np.split(rows, bounds)
        own = int(classes[rows[0]])
        if method == "act":
            tubes += link_tubelets(
                [corners[each][:, None] for each in per_frame], [values[each] for each in per_frame], label=own
            )
        else:
            tubes += link_viterbi(
                [corners[each] for each in per_frame],
                [values[each] for each in per_frame],
                label=own,
                trim=method == "tuber",
            )
    return tubes
