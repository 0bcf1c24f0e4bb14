"""Tubes of boxes on numbered frames: what they are, how much two overlap, and their suppression.

The boxes are in pixels and the frames count from 1, as the tube benchmarks (JHMDB, UCF101-24) and their evaluators have
it; `tal.boxes.Tube` is the same in seconds and fractions of the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tal.boxes import box_iou
from tal.errors import TalError
from tal.ops.ties import numpy_order

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


MOST_FRAMES = 10_000_000
"""Frame numbers above it are mistakes: four days of video at 30 frames per second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameTube:
    """One box on each of a number of frames.

    Args:
        frames: (n,) numbers of the frames, from 1, increasing.
        boxes: (n, 4) left, top, right, bottom in pixels.
        label: Index into a class list; -1 for none.
        score: Of the whole tube.
        box_score: (n,) of each box; the tube's where it is not given.

    Raises:
        TalError: no frame, columns of different lengths, or frames that do not increase.
    """

    frames: Ints
    boxes: Floats
    label: int = -1
    score: float = 1.0
    box_score: Floats = field(default=None)  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        frames = np.asarray(self.frames, np.float64).reshape(-1)
        if not np.all(np.abs(frames) <= MOST_FRAMES):
            raise TalError("tube with frame numbers that no video has", expected=f"1 to {MOST_FRAMES}")
        numbers = frames.astype(np.int64)
        object.__setattr__(self, "frames", numbers)
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float64).reshape(-1, 4))
        scores = np.full(len(numbers), self.score) if self.box_score is None else self.box_score
        object.__setattr__(self, "box_score", np.asarray(scores, np.float64).reshape(-1))
        lengths = {name: len(getattr(self, name)) for name in ("frames", "boxes", "box_score")}
        if set(lengths.values()) != {len(numbers)} or not len(numbers):
            raise TalError(f"tube with columns of lengths {lengths}", expected="at least one frame, a box on each")
        if np.any(numbers != frames) or np.any(np.diff(numbers) <= 0):
            raise TalError("tube whose frames are not whole numbers that increase")

    def __len__(self) -> int:
        return len(self.frames)

    def labelled(self, label: int) -> "FrameTube":
        """The same tube with another label."""
        return replace(self, label=label)

    @property
    def first(self) -> int:
        """Number of the first frame."""
        return int(self.frames[0])

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return int(self.frames[-1])


def paired_iou(first: Floats, second: Floats, *, inclusive: bool = False) -> Floats:
    """(...) `tal.boxes.box_iou` of boxes (..., 4) with boxes (..., 4), whose shapes are broadcast."""
    one, two = np.broadcast_arrays(first, second)
    return box_iou(one, two, pairwise=False, inclusive=inclusive).reshape(one.shape[:-1])


def tube_iou(
    first: Sequence[FrameTube], second: Sequence[FrameTube], *, inclusive: bool = True, touching: bool = True
) -> Floats:
    """(N, M) spatio-temporal overlap of tubes.

    The mean IoU of the boxes over the frames that both tubes span, times the share of those frames in the frames that
    either spans (iou3dt of MCG-NJU/MOC-Detector, src/ACT_utils/ACT_utils.py). A frame within the common span on which
    one of the tubes has no box counts with an IoU of 0 (ours: the reference takes tubes without gaps only).

    Args:
        first: N tubes.
        second: M tubes.
        inclusive: See `tal.boxes.box_iou`.
        touching: Tubes with a single common frame overlap; False: they do not (wei-tim/YOWO, core/utils.py, iou3dt).
    """
    result = np.zeros((len(first), len(second)))
    if not len(first) or not len(second):
        return result
    frames, dense, present = _stacked(second)
    begins, ends = (np.array([getattr(tube, name) for tube in second]) for name in ("first", "last"))
    for row, tube in enumerate(first):
        common = np.minimum(ends, tube.last) - np.maximum(begins, tube.first) + 1
        spanned = np.maximum(ends, tube.last) - np.minimum(begins, tube.first) + 1
        columns = np.minimum(np.searchsorted(frames, tube.frames), len(frames) - 1)
        met = frames[columns] == tube.frames
        columns = columns[met]
        overlap = paired_iou(dense[:, columns], tube.boxes[met], inclusive=inclusive)
        total = np.where(present[:, columns], overlap, 0.0).sum(axis=1)
        counted = common >= (1 if touching else 2)
        result[row, counted] = (total[counted] / common[counted]) * (common[counted] / spanned[counted])
    return result


def _stacked(tubes: Sequence[FrameTube]) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """((F,) frames on which there is any box, (M, F, 4) boxes, (M, F) where there is one)."""
    frames = np.unique(np.concatenate([tube.frames for tube in tubes]))
    boxes = np.zeros((len(tubes), len(frames), 4))
    present = np.zeros((len(tubes), len(frames)), bool)
    for row, tube in enumerate(tubes):
        columns = np.searchsorted(frames, tube.frames)
        boxes[row, columns] = tube.boxes
        present[row, columns] = True
    return frames, boxes, present


def nms_tubes(
    tubes: Sequence[FrameTube], max_iou: float = 0.3, *, inclusive: bool = True, touching: bool = True
) -> list[int]:
    """The tubes that stay, the highest score first: those that overlap none of a higher score by more than `max_iou`.

    nms3dt of MCG-NJU/MOC-Detector, src/ACT_utils/ACT_utils.py; equal scores come in the order in which its sort leaves
    them, see `tal.ops.ties`: of up to 16 tubes the later first.

    Args:
        tubes: Of one class and video.
        max_iou: A tube with exactly this overlap stays.
        inclusive: See `tube_iou`; likewise `touching`.
    """
    if len(tubes) == 1:
        return [0]
    overlap = tube_iou(tubes, tubes, inclusive=inclusive, touching=touching)
    waiting = numpy_order([tube.score for tube in tubes])[::-1]
    kept: list[int] = []
    while len(waiting):
        kept.append(int(waiting[0]))
        waiting = waiting[1:][overlap[waiting[0], waiting[1:]] <= max_iou]
    return kept
