"""Streams on one grid: piece by piece as in the whole."""

import numpy as np
import pytest

from tal.features.align import interpolated, on_one_grid
from tal.features.base import VideoFeatures
from tal.timeline import SnippetGrid


def grid(stride_s, window_s, duration_s, offset_s=0.0):
    count = max(int((duration_s - window_s) / stride_s) + 1, 1)
    return SnippetGrid(offset_s=offset_s, stride_s=stride_s, window_s=window_s, count=count)


@pytest.mark.parametrize("seed", range(12))
def test_piece_by_piece_as_in_the_whole(seed):
    rng = np.random.default_rng(seed)
    duration_s = float(rng.uniform(3, 60))
    first = grid(rng.uniform(0.05, 1.5), rng.uniform(0.05, 1.5), duration_s, rng.uniform(0, 0.1))
    own = grid(rng.uniform(0.05, 2.5), rng.uniform(0.05, 2.5), duration_s)
    rows = rng.normal(size=(own.count, 4)).astype(np.float32)
    streams = {
        "first": VideoFeatures(video="v", features=np.zeros((first.count, 2)), grid=first, duration_s=duration_s),
        "own": VideoFeatures(video="v", features=rows, grid=own, duration_s=duration_s),
    }
    whole = on_one_grid(streams)["own"]
    if whole.grid == own:  # in step
        whole = None
    cuts = np.sort(rng.integers(0, own.count + 1, int(rng.integers(0, 9))))
    found = np.concatenate(list(interpolated(np.split(rows, cuts), own, first)))
    assert len(found) >= first.count
    if whole is not None:
        np.testing.assert_allclose(found[: first.count], whole.features, atol=1e-6)
    by_hand = np.interp(first.centers_s, own.centers_s, rows[:, 0])
    np.testing.assert_allclose(found[: first.count, 0], by_hand, atol=1e-5)


def test_what_is_held_does_not_grow():
    own, first = grid(1.0, 1.0, 5.0), grid(0.1, 0.1, 5.0)
    coming = interpolated((np.full((1, 1), number) for number in range(10_000)), own, first)
    sizes = [len(next(coming)) for _ in range(5_000)]
    assert max(sizes) <= 11
    assert 9.9 < np.mean(sizes) <= 10.1


def test_nothing_gives_nothing():
    assert list(interpolated([], grid(1.0, 1.0, 5.0), grid(0.1, 0.1, 5.0))) == []
