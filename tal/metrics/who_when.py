"""The who-when-where score of LPCVC 2021: rows of events matched in time, and who holds which ball in them.

Reference: lpcvai/2021-LPCVC-Referee, lpcvc/LPCVC2021/scoring (compare.py, data_set.py). Its README describes a walk
over the ground truth; its code, which is followed here, walks over the submission.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE_FRAMES = 10


def match_rows(truth_frame: ArrayLike, frame: ArrayLike, *, tolerance: int = TOLERANCE_FRAMES) -> NDArray[np.int64]:
    """(N,) the row of ground truth that each submitted row matches, -1 for none.

    A pointer walks over the ground truth. For each submitted row in order it passes all rows up to that frame; the last
    of those passed now matches if it is at most `tolerance` frames earlier, even if the next one is nearer. Otherwise
    that next row matches if it is at most `tolerance` frames later, and is passed. A row that was passed matches no
    later submission.

    Args:
        truth_frame: (G,) frames of the ground truth, in its order.
        frame: (N,) frames of the submission, in its order.
        tolerance: Frames.
    """
    wanted = np.asarray(truth_frame, np.int64).tolist()
    matched = np.full(np.size(frame), -1, np.int64)
    pointer = 0
    for row, at in enumerate(np.asarray(frame, np.int64).tolist()):
        begun = pointer
        while pointer < len(wanted) and wanted[pointer] <= at:
            pointer += 1
        if pointer > begun and at - wanted[pointer - 1] <= tolerance:
            matched[row] = pointer - 1
        elif pointer < len(wanted) and wanted[pointer] - at <= tolerance:
            matched[row] = pointer
            pointer += 1
    return matched


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one video, or several together, come to.

    Args:
        row_scores: Sum over the matched rows of the share of balls whose holder is right.
        matched: Submitted rows that match one of the ground truth (true positives).
        submitted: Rows of the submission.
        truth: Rows of the ground truth.
    """

    row_scores: float
    matched: int
    submitted: int
    truth: int

    @property
    def accuracy(self) -> float:
        """Row scores over TP + (FP + FN) / 2: an F1 in which a match counts as much as it is right; NaN of nothing."""
        rows = self.matched + 0.5 * ((self.submitted - self.matched) + (self.truth - self.matched))
        return self.row_scores / rows if rows else float("nan")

    def __add__(self, other: "Score") -> "Score":
        return Score(
            row_scores=self.row_scores + other.row_scores,
            matched=self.matched + other.matched,
            submitted=self.submitted + other.submitted,
            truth=self.truth + other.truth,
        )


def score_rows(
    truth_frame: ArrayLike,
    truth_holder: NDArray[np.str_],
    frame: ArrayLike,
    holder: NDArray[np.str_],
    present: ArrayLike,
    *,
    tolerance: int = TOLERANCE_FRAMES,
) -> Score:
    """The score of one video.

    Args:
        truth_frame: (G,) frames of the ground truth.
        truth_holder: (G, K) text of each ball's cell: the id of the person who holds it.
        frame: (N,) frames of the submission.
        holder: (N, K) the submission's text for the same balls, in the same order.
        present: (N, K) whether the submission has that cell; one that it lacks is wrong.
        tolerance: Frames.
    """
    matched = match_rows(truth_frame, frame, tolerance=tolerance)
    rows = np.flatnonzero(matched >= 0)
    balls = truth_holder.shape[1]
    right = (holder[rows] == truth_holder[matched[rows]]) & np.asarray(present, bool)[rows]
    total = float(right.sum() / balls) if balls else 0.0
    return Score(row_scores=total, matched=len(rows), submitted=len(matched), truth=len(truth_holder))
