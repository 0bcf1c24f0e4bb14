"""The maintainers' training tools: folds that keep groups together, and a baseline that computes the same attention."""

import sys
from pathlib import Path

import pytest
import torch

from tal.errors import TalError
from tal.ops.local_attention import local_attention

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from bench_train import chunked_attention
from cross_validate import fold_indices

IDS = [f"s{person:02}_e{take:02}" for person in range(5) for take in range(2)]


def test_folds_hold_every_video_once_and_groups_together():
    folds = fold_indices(IDS, folds=3, group="^[^_]+", seed=0)
    assert sorted(index for fold in folds for index in fold) == list(range(10))
    persons = [{IDS[index][:3] for index in fold} for fold in folds]
    assert sum(map(len, persons)) == 5
    assert fold_indices(IDS, folds=3, group="^[^_]+", seed=0) == folds
    assert fold_indices(IDS, folds=3, group="^[^_]+", seed=1) != folds
    assert len(fold_indices(IDS, folds=10, group=".+", seed=0)) == 10


@pytest.mark.parametrize(("folds", "group"), [(6, "^[^_]+"), (1, ".+"), (2, "^x")])
def test_impossible_folds_are_refused(folds, group):
    with pytest.raises(TalError):
        fold_indices(IDS, folds=folds, group=group, seed=0)


@pytest.mark.parametrize(("window", "length"), [(3, 8), (7, 30), (9, 64), (19, 144)])
def test_baseline_attention_is_the_same_attention(window, length):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, length, 8)
    mask = torch.ones(2, 1, length, dtype=torch.bool)
    mask[1, :, length - 5 :] = False
    ours = local_attention(query, key, value, mask, window=window) * mask[..., None]
    torch.testing.assert_close(chunked_attention(query, key, value, mask, window=window), ours, atol=1e-5, rtol=1e-5)
