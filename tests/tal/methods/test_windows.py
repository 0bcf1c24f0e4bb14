"""Videos as windows: what each holds, where it starts, how much is held at once."""

import sys
import tracemalloc
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

from long_videos import GRID, features_of, stream

from tal.methods.base import Inputs
from tal.methods.batching import sliding_starts
from tal.methods.windows import FeatureStream, windows_of

INPUTS = Inputs(streams={"a": 6}, train_snippets=64, multiple_of=8)


def test_windows_start_where_points_of_all_levels_align():
    starts = [
        round((each.sample.grid.offset_s - GRID.offset_s) / GRID.stride_s)
        for each in windows_of(stream(features_of(2000)), INPUTS, whole=250, window=250, margin=90)
    ]
    assert len(starts) > 3
    assert all(start % INPUTS.multiple_of == 0 for start in starts)


def test_shares_are_the_whole_of_time_without_overlap():
    for count in (1, 63, 64, 65, 128, 1000):
        own = [each.own_s for each in windows_of(stream(features_of(count)), INPUTS, whole=64, window=64, margin=16)]
        assert own[0][0] == -np.inf
        assert own[-1][1] == np.inf
        assert all(before[1] == after[0] for before, after in pairwise(own))


def test_streams_of_slightly_different_lengths():
    chunks = {"a": iter([np.zeros((50, 6))]), "b": iter([np.zeros((30, 2)), np.zeros((19, 2))])}
    two = FeatureStream(video="v", chunks=chunks, grid=GRID, duration_s=12.0)
    (window,) = windows_of(two, INPUTS, whole=64, window=64, margin=16)
    assert {name: tuple(x.shape) for name, x in window.sample.streams.items()} == {"a": (49, 6), "b": (49, 2)}


def test_features_are_taken_as_they_come():
    taken = 0

    def chunks():
        nonlocal taken
        for _ in range(1000):
            taken += 10
            yield np.zeros((10, 6), np.float32)

    endless = FeatureStream(video="v", chunks={"a": chunks()}, grid=GRID, duration_s=1e5)
    windows = windows_of(endless, INPUTS, whole=128, window=128, margin=32)
    for number in range(1, 20):
        next(windows)
        assert taken <= (number + 1) * 64 + 128 + 20


def test_a_video_in_one_chunk_is_not_copied_for_every_window():
    features = np.zeros((40_000, 6), np.float32)
    tracemalloc.start()
    for _ in windows_of(stream(features, chunk=len(features)), INPUTS, whole=128, window=128, margin=32):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < features.nbytes / 2


def test_a_method_of_fixed_length_sees_the_whole_video():
    (window,) = windows_of(stream(features_of(5000)), replace(INPUTS, resize_to=64))
    assert window.sample.grid.count == 64
    assert window.sample.grid.end_s == pytest.approx(GRID.offset_s + 4999 * 0.2 + 0.8)


def test_up_to_a_length_the_video_is_whole_and_beyond_it_windows_are_shorter():
    def counts(snippets):
        windows = windows_of(stream(features_of(snippets)), INPUTS, whole=512, window=256, margin=64)
        return [each.sample.grid.count for each in windows]

    assert counts(512) == [512]
    assert counts(513) == [256, 256, 256, 129]


def test_a_coarse_padding_unit_still_moves_on():
    coarse = Inputs(streams={"a": 6}, train_snippets=64, multiple_of=576)
    windows = list(windows_of(stream(features_of(6000)), coarse, whole=1000, window=2304, margin=768))
    assert windows[-1].sample.grid.end_s == pytest.approx(GRID.offset_s + 5999 * 0.2 + 0.8)


@pytest.mark.parametrize(
    ("count", "overlap", "starts"),
    [(3, 0.5, [0]), (4, 0.5, [0]), (5, 0.5, [0, 1]), (8, 0.5, [0, 2, 4]), (9, 0.5, [0, 2, 4, 5]), (9, 0.25, [0, 3, 5])],
)
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_windows_of_a_fixed_length_reach_the_end(count, overlap, starts, chunk):
    inputs = Inputs(streams={"a": 1}, train_snippets=4, window_snippets=4, window_overlap=overlap)
    rows = np.arange(1, count + 1, dtype=np.float32)[:, None]
    windows = list(windows_of(stream(rows, chunk), inputs))
    assert sliding_starts(count, inputs) == starts
    assert [int(each.sample.streams["a"][0, 0]) - 1 for each in windows] == starts
    assert all(each.sample.grid.count == min(count, 4) for each in windows)
    offsets = [each.sample.grid.offset_s for each in windows]
    np.testing.assert_allclose(offsets, [GRID.offset_s + first * GRID.stride_s for first in starts])
