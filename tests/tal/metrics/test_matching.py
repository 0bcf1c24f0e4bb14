"""Matching video by video is what average precision does for all videos at once."""

import numpy as np
import pytest

from tal.metrics.detection import Rows, matched, overlaps
from tal.metrics.matching import match
from tal.segments import Segments


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_matching_of_average_precision(seed):
    rng = np.random.default_rng(seed)
    sides = []
    for count in (40, 12):
        start = rng.integers(0, 12, count).astype(float)  # whole seconds: ties in tIoU and in score
        sides.append(
            Segments(
                start_s=start,
                end_s=start + rng.integers(1, 5, count),
                score=rng.integers(0, 5, count) / 4,
                label=rng.integers(0, 2, count),
                classes=("run", "jump"),
            )
        )
    found, truth = sides
    rows = [
        Rows(
            video_idx=np.zeros(len(each), np.int64),
            label=each.label,
            start_s=each.start_s,
            end_s=each.end_s,
            score=each.score,
        )
        for each in sides
    ]
    ours = match(found, truth)
    order = np.lexsort((-found.score, found.label))
    assert (ours[order] >= 0).tolist() == matched(overlaps(rows[1], rows[0], 0.5, class_count=2), 0.5).tolist()
    taken = ours[ours >= 0]
    assert 0 < len(taken) == len(set(taken))


def test_of_equal_overlap_the_later_instance_is_taken():
    truth = Segments(start_s=[0, 0, 5], end_s=[4, 4, 9], label=[0, 0, 0], classes=("run",))
    found = Segments(start_s=[0, 0], end_s=[4, 4], score=[0.5, 0.5], label=[0, 0], classes=("run",))
    assert match(found, truth).tolist() == [1, 0]
    assert match(found, Segments.empty(("run",))).tolist() == [-1, -1]
    assert match(Segments.empty(("run",)), truth).tolist() == []
