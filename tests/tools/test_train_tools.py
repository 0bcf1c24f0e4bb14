"""The maintainers' training tools: folds that keep groups together, and a baseline that computes the same attention."""

import contextlib
import sys
import time
from pathlib import Path

import pytest
import torch

from tal.errors import TalError
from tal.methods.tridet import TriDet, TriDetConfig
from tal.ops.local_attention import local_attention

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from bench_localize import Clock
from bench_localize import main as bench_localize
from bench_train import as_the_original, chunked_attention, make_step
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


def test_baseline_of_tridet_is_the_same_step():
    config = TriDetConfig(
        streams={"a": 6},
        classes=("run", "jump"),
        width=16,
        train_snippets=512,
        branch_layers=3,
        init_std=0.1,
        drop_path=0.0,
    )
    losses = []
    for original in (False, True):
        torch.manual_seed(0)
        step = make_step(TriDet(config).train(), 512, 1, "cpu")
        torch.manual_seed(0)
        with as_the_original() if original else contextlib.nullcontext():
            losses.append([step(), step()])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][0] != losses[0][1]


def test_clock_tells_a_parts_own_time():
    clock = Clock()

    def burn(seconds):
        began = time.process_time()
        while time.process_time() - began < seconds:
            pass

    inner = clock.timed("inner", lambda: burn(0.04))
    clock.timed("outer", lambda: (inner(), burn(0.01)))()
    assert clock.seconds["inner"] > clock.seconds["outer"] > 0.009


@pytest.mark.parametrize("recipe", ["thumos14/actionformer_i3d", "activitynet/actionformer_tsp"])
def test_the_benchmark_of_localization_tells_all_parts(recipe, capsys):
    words = ["--recipe", recipe, "--videos", "3", "--distinct", "2", "--width", "16", "--threads", "1"]
    assert bench_localize(words) in (0, 1)  # of so small a network, suppression may take the largest share
    said = capsys.readouterr().out
    assert "3 videos, " in said
    assert "one by one: the network's" in said
