"""Matching of spans against brute force; overlap against its definition."""

from itertools import permutations

import numpy as np
import pytest
import torch

from tal.ops.matching import MatchWeights, assign, match_bins, match_spans
from tal.ops.spans import generalized_tiou, to_centre_width, to_ends


def test_conversions_are_inverse():
    ends = torch.tensor([[0.1, 0.4], [0.0, 1.0]])
    torch.testing.assert_close(to_ends(to_centre_width(ends)), ends)


def test_generalized_tiou_by_hand():
    first, second = torch.tensor([[0.0, 0.2], [0.5, 1.0]]), torch.tensor([[0.0, 0.3], [0.0, 1.0]])
    expected = torch.tensor([[2 / 3, 0.2], [-0.2, 0.5]])
    torch.testing.assert_close(generalized_tiou(first[:, None], second), expected)


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 4), (4, 0)])
def test_assignment_is_the_cheapest(shape):
    rng = np.random.default_rng(0)
    for _ in range(5):
        cost = rng.normal(0, 1, shape)
        found = assign([torch.zeros(2, 1), torch.from_numpy(cost)])
        rows = found.video_idx == 1
        query, target = found.query_idx[rows].numpy(), found.target_idx[rows].numpy() - 1
        assert len(set(query)) == len(set(target)) == len(query) == min(shape)
        short, long = sorted(shape)
        table = cost if shape[0] <= shape[1] else cost.T
        best = min(sum(table[i, j] for i, j in enumerate(order)) for order in permutations(range(long), short))
        assert cost[query, target].sum() == pytest.approx(best)


def test_not_a_number_does_not_stop_the_matching():
    cost = torch.full((3, 2), torch.nan)
    cost[2, 1] = -1.0
    found = assign([cost])
    assert (2, 1) in zip(found.query_idx.tolist(), found.target_idx.tolist(), strict=True)


def test_the_nearest_span_answers_and_confidence_decides_ties():
    spans = torch.tensor([[[0.2, 0.1], [0.7, 0.2], [0.7, 0.2]]])
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0], [2.0, 0.0]]])
    found = match_spans(logits, spans, [torch.tensor([[0.7, 0.2], [0.21, 0.1]])], MatchWeights())
    assert found.query_idx.tolist() == [0, 2]
    assert found.target_idx.tolist() == [1, 0]


def test_classified_ends():
    bins = torch.zeros(1, 2, 2, 6)
    bins[0, 1, 0, 2] = bins[0, 1, 1, 4] = 9.0
    found = match_bins(torch.zeros(1, 2, 2), bins, [torch.tensor([[2, 4]])], MatchWeights())
    assert found.query_idx.tolist() == [1]
