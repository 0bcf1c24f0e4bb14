"""Points, what they answer for and what they propose, against loops over the definition."""

import math

import pytest
import torch

from tal.ops.points import assign_points, best_proposals, pyramid_points

STRIDES, RANGES = (1, 2, 4), ((0.0, 4.0), (4.0, 8.0), (8.0, math.inf))
POINTS = pyramid_points((16, 8, 4), STRIDES, RANGES)


def test_points_stand_at_multiples_of_their_stride():
    assert POINTS.position_idx.tolist() == [*range(16), *range(0, 16, 2), *range(0, 16, 4)]
    assert POINTS.stride.tolist() == [1] * 16 + [2] * 8 + [4] * 4
    assert POINTS.shortest.tolist()[-1] == 8
    assert POINTS.longest.tolist()[-1] == math.inf


def slow_assign(start, end, label, classes, radius):
    """Per point: the valid instances, the shortest of them, and all that are as short."""
    rows = zip(*(column.tolist() for column in vars(POINTS).values()), strict=True)
    targets, offsets = [], []
    for position, stride, low, high in rows:
        valid = {}
        for row, (s, e) in enumerate(zip(start, end, strict=True)):
            first, last = s, e
            if radius is not None:
                first, last = max(s, (s + e) / 2 - radius * stride), min(e, (s + e) / 2 + radius * stride)
            if first < position < last and low <= max(position - s, e - position) <= high:
                valid[row] = e - s
        one_hot = [0.0] * classes
        best = min(valid, key=valid.get, default=None)
        for row, length in valid.items():
            if length <= valid[best] + 1e-3:
                one_hot[label[row]] = 1.0
        targets.append(one_hot)
        offsets.append(None if best is None else ((position - start[best]) / stride, (end[best] - position) / stride))
    return targets, offsets


@pytest.mark.parametrize("radius", [1.5, None])
@pytest.mark.parametrize("seed", range(8))
def test_assignment_equals_its_definition(seed, radius):
    generator = torch.Generator().manual_seed(seed)
    count = int(torch.randint(1, 9, (1,), generator=generator))
    start = (torch.rand(count, generator=generator) * 24).round() / 2 - 1  # halves: points on the very limits
    end = start + (torch.rand(count, generator=generator) * 24).round() / 2 + 0.5
    label = torch.randint(0, 3, (count,), generator=generator)
    ours = assign_points(POINTS, start, end, label, classes=3, center_radius=radius)
    targets, offsets = slow_assign(start.tolist(), end.tolist(), label.tolist(), 3, radius)
    assert ours.classes.tolist() == targets
    for got, expected in zip(ours.offsets.tolist(), offsets, strict=True):
        assert expected is None or got == pytest.approx(expected)


def _targets(start, end, label, **options):
    options = {"classes": 3, "center_radius": 1.5} | options
    found = assign_points(POINTS, torch.tensor(start), torch.tensor(end), torch.tensor(label), **options)
    return found.classes, found.offsets


def test_the_shortest_wins_and_equal_lengths_share():
    shortest, offsets = _targets([2.0, 3.0], [6.0, 5.0], [0, 1])
    assert shortest[4].tolist() == [0, 1, 0]
    assert offsets[4].tolist() == [1, 1]
    shared, _ = _targets([3.0, 3.0], [5.0, 5.0005], [0, 2])
    assert shared[4].tolist() == [1, 0, 1]


def test_range_limits_count_and_centre_limits_do_not():
    ends_at_four, _ = _targets([4.0], [10.0], [0], center_radius=None)
    assert ends_at_four[6].sum() == 1  # 4 from the end: the first level's last distance
    assert ends_at_four[5].sum() == 0  # 5 from the end
    assert ends_at_four[16 + 3].sum() == 1  # the same place on the second level, from 4 on
    centred, _ = _targets([4.0], [7.0], [0], center_radius=1.5)
    assert centred[:16].sum(1).nonzero().flatten().tolist() == [5, 6]  # 4 and 7 are the ends themselves


def test_no_instances():
    targets, offsets = _targets([], [], torch.empty(0, dtype=torch.int64).tolist())
    assert targets.shape == (28, 3)
    assert not targets.any()
    assert offsets.shape == (28, 2)


def test_proposals_of_a_point():
    logits = [torch.full((1, 2, T), -9.0) for T in (4, 2)]
    logits[0][0, 1, 2], logits[1][0, 0, 1], logits[0][0, 0, 3] = 2.0, 1.0, 3.0
    offsets = [torch.full((1, 2, T), 0.5) for T in (4, 2)]
    masks = [torch.tensor([[[True, True, True, False]]]), torch.tensor([[[True, True]]])]

    def offsets_at(level, position, label):
        return offsets[level].gather(2, position[:, None].expand(-1, 2, -1)).transpose(1, 2)

    found = best_proposals(logits, masks, (1, 2), offsets_at, score_threshold=0.1, per_level=3, min_length=0.1)
    rows = found.keep[0]
    assert found.label[0][rows].tolist() == [1, 0]  # not the padded position with the highest score
    assert found.start_idx[0][rows].tolist() == [1.5, 1.0]
    assert found.end_idx[0][rows].tolist() == [2.5, 3.0]
    assert found.point_idx[0][rows].tolist() == [2.0, 2.0]
    torch.testing.assert_close(found.score[0][rows], torch.tensor([2.0, 1.0]).sigmoid())
    long = best_proposals(logits, masks, (1, 2), offsets_at, score_threshold=0.1, per_level=3, min_length=1.0)
    assert long.label[0][long.keep[0]].tolist() == [0]  # the segment of length 1 is not longer than 1
    one = best_proposals(logits, masks, (1, 2), offsets_at, score_threshold=0.0, per_level=1, min_length=0.1)
    assert one.keep.sum() == 2  # one per level
