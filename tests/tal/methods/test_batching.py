"""Windows, resizing, padding: every result is compared with the rule in snippet units or with brute force."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.errors import FeatureError, GridError
from tal.features.base import VideoFeatures
from tal.methods.base import Inputs, Sample
from tal.methods.batching import (
    clip_instances,
    collate,
    interpolate,
    join_streams,
    padded_length,
    resize_sample,
    sliding_window,
    window_sample,
)
from tal.segments import Segments
from tal.timeline import SnippetGrid

CLASSES = ("jump", "squat")


def make_sample(count=100, segments=((10.0, 14.0), (20.0, 21.0)), *, width=3, stride_s=0.4, window_s=0.6):
    grid = SnippetGrid(stride_s=stride_s, window_s=window_s, count=count)
    features = torch.arange(count, dtype=torch.float32)[:, None] + torch.arange(width) / 10
    start, end = zip(*segments, strict=True) if segments else ((), ())
    instances = Segments(start_s=start, end_s=end, label=[0] * len(segments), classes=CLASSES)
    return Sample(video="v", streams={"rgb": features}, grid=grid, duration_s=grid.end_s, instances=instances)


def in_snippets(sample, times_s):
    return sample.grid.to_idx(times_s)


@pytest.mark.parametrize("seed", range(20))
def test_window_of_a_long_video_follows_the_original_rule(seed):
    sample = make_sample(segments=[(s, s + 3.0) for s in (1.0, 9.0, 17.5, 30.2)])
    window = window_sample(sample, 40, 0.5, (0.9, 1.0), np.random.default_rng(seed))
    first = int(window.streams["rgb"][0, 0])
    assert window.grid == sample.grid.slice(first, first + 40)
    torch.testing.assert_close(window.streams["rgb"], sample.streams["rgb"][first : first + 40])
    # In the original's units: segments minus offset, windows [first, first + 40] widened by the offset on both sides.
    offset = 0.5 * sample.grid.window_s / sample.grid.stride_s
    start, end = in_snippets(sample, sample.instances.start_s), in_snippets(sample, sample.instances.end_s)
    left, right = np.maximum(first - offset, start), np.minimum(first + 40 + offset, end)
    kept = np.clip(right - left, 0, None) / (end - start) >= 0.5
    np.testing.assert_allclose(in_snippets(window, window.instances.start_s), left[kept] - first, atol=1e-9)
    np.testing.assert_allclose(in_snippets(window, window.instances.end_s), right[kept] - first, atol=1e-9)


def test_window_holds_an_instance_whenever_a_try_can_find_one():
    sample = make_sample(count=1000, segments=[(100.0, 102.0)])
    for seed in range(10):
        assert len(window_sample(sample, 200, 0.5, None, np.random.default_rng(seed)).instances) == 1


def test_window_of_a_video_without_instances_is_used_as_it_is():
    window = window_sample(make_sample(segments=[]), 40, 0.5, None, np.random.default_rng(0))
    assert len(window.instances) == 0
    assert window.grid.count == 40


def test_short_video_is_cropped_by_ratio_or_not_at_all():
    sample = make_sample(count=50)
    assert window_sample(sample, 64, 0.5, None, np.random.default_rng(0)) is sample
    counts = {window_sample(sample, 64, 0.5, (0.9, 1.0), np.random.default_rng(seed)).grid.count for seed in range(60)}
    assert counts == set(range(45, 51))


def test_window_without_instances_given_keeps_none():
    sample = replace(make_sample(), instances=None)
    assert window_sample(sample, 40, 0.5, None, np.random.default_rng(0)).instances is None


def test_same_stream_gives_same_window():
    draws = [window_sample(make_sample(), 30, 0.5, None, np.random.default_rng(7)).grid for _ in range(2)]
    assert draws[0] == draws[1]


def test_clip_drops_what_lies_outside():
    sample = make_sample(count=10, segments=[(1.0, 2.0), (4.0, 9.0), (7.0, 8.0)])
    clipped = clip_instances(sample, 0.1)
    span_end = sample.grid.end_s + sample.grid.stride_s
    np.testing.assert_allclose(clipped.instances.end_s, [2.0, span_end])


def test_resized_sample_keeps_time():
    sample = make_sample(count=37)
    resized = resize_sample(sample, 64)
    assert resized.grid.count == 64
    # Features that are their own row number say where each new row stands in the old grid.
    rows = resized.streams["rgb"][1:-1, 0].double().numpy()
    np.testing.assert_allclose(sample.grid.to_seconds(rows), resized.grid.centers_s[1:-1], atol=1e-5)
    assert resize_sample(sample, 37) is sample


def test_interpolation_is_that_of_equal_cells():
    rng = np.random.default_rng(0)
    features = torch.from_numpy(rng.standard_normal((9, 4)).astype(np.float32))
    position = np.clip((np.arange(5) + 0.5) * 9 / 5 - 0.5, 0, 8)
    expected = np.stack([np.interp(position, np.arange(9), column) for column in features.numpy().T], axis=1)
    np.testing.assert_allclose(interpolate(features, 5).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("longest", "train", "expected"), [(1, False, 16), (16, False, 16), (17, True, 32)])
def test_padded_length(longest, train, expected):
    inputs = Inputs(streams={"rgb": 3}, train_snippets=64, multiple_of=16)
    assert padded_length(longest, inputs, train=train) == expected


def test_collate_pads_with_zeros_and_masks():
    samples = [make_sample(count=5, segments=[(0.5, 1.0)]), make_sample(count=9, segments=[])]
    batch = collate(samples, Inputs(streams={"rgb": 3}, train_snippets=64, multiple_of=4), train=True)
    assert batch.streams["rgb"].shape == (2, 3, 12)
    assert batch.mask.sum((1, 2)).tolist() == [5, 9]
    assert (batch.streams["rgb"][~batch.mask.expand(-1, 3, -1)] == 0).all()
    torch.testing.assert_close(batch.streams["rgb"][1, :, :9].T, samples[1].streams["rgb"])
    assert [len(each) for each in batch.targets] == [1, 0]
    assert collate(samples, Inputs(streams={"rgb": 3}, train_snippets=64), train=False).targets is None


@pytest.mark.parametrize(("streams", "text"), [({"rgb": 4}, r"\(5, 4\)"), ({"flow": 3}, "stream 'flow'")])
def test_collate_refuses_other_features(streams, text):
    with pytest.raises(FeatureError, match=text):
        collate([make_sample(count=5)], Inputs(streams=streams, train_snippets=64), train=True)


def test_collate_puts_zeros_where_a_video_lacks_an_optional_stream():
    inputs = Inputs(streams={"rgb": 3, "sound": 2}, optional=("sound",), train_snippets=64)
    heard, silent = make_sample(count=5), make_sample(count=7)
    heard = replace(heard, streams={**heard.streams, "sound": torch.ones(5, 2)})
    batch = collate([heard, silent], inputs, train=False)
    assert batch.streams["sound"].sum((1, 2)).tolist() == [10, 0]
    assert batch.streams["rgb"][1].any()
    with pytest.raises(FeatureError, match="no features of stream 'sound'"):
        collate([heard, silent], replace(inputs, optional=()), train=False)


def _features(count, stride_s, width=2, window_s=0.5):
    grid = SnippetGrid(stride_s=stride_s, window_s=window_s, count=count)
    return VideoFeatures(video="v", features=np.ones((count, width), np.float16), grid=grid, duration_s=None)


def test_streams_are_joined_on_the_shortest():
    sample = join_streams({"slow": _features(20, 0.4), "fast": _features(19, 0.4, 5, 0.3)})
    assert {name: tuple(x.shape) for name, x in sample.streams.items()} == {"slow": (19, 2), "fast": (19, 5)}
    assert sample.grid.count == 19
    assert sample.streams["slow"].dtype == torch.float32


def test_a_stream_on_another_grid_is_interpolated_to_the_first_one_s():
    fast = _features(41, 0.2)
    fast = replace(fast, features=np.repeat(fast.grid.centers_s[:, None], 2, axis=1).astype(np.float32))
    slow = _features(20, 0.4, window_s=0.8)
    sample = join_streams({"slow": slow, "fast": fast})
    assert sample.grid == slow.grid
    inside = np.clip(slow.grid.centers_s, fast.grid.centers_s[0], fast.grid.centers_s[-1])
    np.testing.assert_allclose(sample.streams["fast"].numpy(), np.repeat(inside[:, None], 2, axis=1), atol=1e-5)
    back = join_streams({"fast": fast, "slow": slow})
    assert back.grid == fast.grid
    assert back.streams["slow"].shape == (41, 2)


def test_streams_that_end_elsewhere_are_refused():
    with pytest.raises(GridError, match="out of step") as caught:
        join_streams({"slow": _features(200, 0.4), "fast": _features(200, 0.2)})
    assert "2 times" in str(caught.value)


def test_a_sliding_window_keeps_what_is_nearly_whole():
    grid = SnippetGrid(stride_s=1.0, window_s=1.0, count=20)
    instances = Segments.from_names([2.0, 8.0, 4.6], [4.0, 12.5, 14.6], ["x"] * 3, classes=("x",))
    sample = Sample(
        video="v", streams={"a": torch.arange(20.0)[:, None]}, grid=grid, duration_s=20.0, instances=instances
    )
    inputs = Inputs(streams={"a": 1}, train_snippets=10, window_snippets=10, window_overlap=0.5)
    window = sliding_window(sample, 5, inputs, 0.9)  # centres from 5.5 to 14.5 s
    assert window.streams["a"][:, 0].tolist() == list(range(5, 15))
    assert window.instances.start_s.tolist() == [8.0]
    clipped = sliding_window(sample, 5, inputs, 0.89).instances
    assert clipped.start_s.tolist() == [8.0, 5.5]
    assert clipped.end_s.tolist() == [12.5, 14.5]
    longer = replace(inputs, train_snippets=30, window_snippets=30)
    batch = collate([sliding_window(sample, 0, longer)], longer, train=True)
    assert batch.mask.shape[-1] == 30
    assert batch.mask.sum() == 20
    short = sliding_window(replace(sample, grid=grid.slice(0, 4), streams={"a": torch.zeros(4, 1)}), 0, inputs)
    assert collate([short], inputs, train=False).mask.shape[-1] == 10
