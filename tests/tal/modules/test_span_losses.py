"""Losses of sets of spans against their definitions."""

import math

import pytest
import torch

from tal.modules.span_losses import alignment_loss, bin_loss, label_loss, saliency_loss, span_losses
from tal.ops.matching import Matches

PAIR = Matches(video_idx=torch.tensor([0]), query_idx=torch.tensor([1]), target_idx=torch.tensor([0]))
NOTHING = torch.empty(0, dtype=torch.int64)
NONE = Matches(video_idx=NOTHING, query_idx=NOTHING, target_idx=NOTHING)


def test_only_matched_spans_are_moved():
    spans = torch.tensor([[[0.9, 0.1], [0.5, 0.2]]], requires_grad=True)
    distance, overlap = span_losses(spans, torch.tensor([[0.6, 0.2]]), PAIR)
    assert distance.item() == pytest.approx(0.05)
    assert overlap.item() == pytest.approx(1 - 0.1 / 0.3)
    (distance + overlap).backward()
    assert spans.grad[0, 0].abs().sum() == 0
    assert spans.grad[0, 1].abs().sum() > 0


def test_without_a_match_there_is_no_loss():
    distance, overlap = span_losses(torch.rand(1, 2, 2), torch.empty(0, 2), NONE)
    assert (distance.item(), overlap.item()) == (0, 0)
    assert bin_loss(torch.rand(1, 2, 2, 4), torch.empty(0, 2).long(), NONE).item() == 0


def test_background_weighs_less_and_the_mean_is_over_all():
    loss, error = label_loss(torch.zeros(1, 2, 2), PAIR, background=0.1)
    assert loss.item() == pytest.approx((1 + 0.1) * math.log(2) / 2)
    _, error = label_loss(torch.tensor([[[0.0, 0.0], [0.0, 1.0]]]), PAIR, background=0.1)
    assert error.item() == 1


def test_saliency_hinge():
    scores = torch.tensor([[0.0, 1.0, 0.1]])
    loss = saliency_loss(scores, torch.tensor([[1, 2]]), torch.tensor([[0, 0]]), margin=0.2)
    assert loss.item() == pytest.approx(2 * (0 + 0.1) / 2)


def test_ends_among_clips():
    bins = torch.zeros(1, 2, 2, 4)
    assert bin_loss(bins, torch.tensor([[0, 3]]), PAIR).item() == pytest.approx(math.log(4))


def test_alignment_prefers_what_is_near_the_text():
    tokens = torch.tensor([[[1.0, 0.0]]])
    near, far = (torch.tensor([[[0.0, 1.0], each]]) for each in ([1.0, 0.0], [-1.0, 0.0]))
    first, second = (alignment_loss(each, tokens, PAIR, temperature=0.5) for each in (near, far))
    assert first.item() == pytest.approx(math.log(1 + math.exp(-2)))
    assert second > first
