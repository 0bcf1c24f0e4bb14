"""Long videos in windows: the same candidates as over the whole length, no duplicates at borders, bounded memory."""

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from tal.errors import FeatureError
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Batch, Inputs, Sample
from tal.methods.batching import collate, sliding_starts
from tal.methods.windows import (
    MARGIN_SNIPPETS,
    FeatureStream,
    detect,
    merge,
    own_candidates,
    predict_whole,
    windows_of,
)
from tal.ops.nms import NmsConfig
from tal.segments import Segments
from tal.timeline import SnippetGrid

GRID = SnippetGrid(offset_s=0.5, stride_s=0.2, window_s=0.8, count=0)


@pytest.fixture(scope="module")
def method():
    torch.manual_seed(0)
    config = ActionFormerConfig(
        streams={"a": 6},
        classes=("x", "y", "z"),
        train_snippets=64,
        width=16,
        branch_layers=3,
        window=5,
        prior_prob=0.3,
        candidates_per_level=100_000,
        nms=NmsConfig(max_segments=100_000, voting_tiou=0.0, method="hard", tiou=0.3),
    )
    model = ActionFormer(config)
    for parameter in model.parameters():
        # Far from the initial state, in which the network hardly looks around.
        parameter.data += 0.2 * torch.randn_like(parameter)
    return model.eval()


def stream(features, chunk=37):
    chunks = [features[first : first + chunk] for first in range(0, len(features), chunk)]
    duration_s = GRID.offset_s + len(features) * GRID.stride_s + 1.0
    return FeatureStream(video="v", chunks={"a": iter(chunks)}, grid=GRID, duration_s=duration_s)


def features_of(count):
    return np.random.default_rng(count).normal(size=(count, 6)).astype(np.float32)


def rows(segments):
    order = np.lexsort((segments.label, segments.end_s, segments.start_s))
    columns = (segments.start_s, segments.end_s, segments.score, segments.label, segments.extra["point_s"])
    return np.stack([column[order] for column in columns], axis=1)


@torch.no_grad()
def whole(method, features):
    (window,) = windows_of(stream(features), method.inputs)
    batch = collate([window.sample], method.inputs, train=False)
    return method.candidates(method(batch), batch)[0]


@pytest.mark.parametrize("count", [200, 257, 500, 1003])
@pytest.mark.parametrize("batch_windows", [1, 3])
def test_windows_propose_what_the_whole_length_does(method, count, batch_windows):
    features = features_of(count)
    windows = windows_of(stream(features), method.inputs, whole=256, window=256, margin=96)
    found = Segments.concat(list(own_candidates(method, windows, batch_windows=batch_windows)))
    expected = whole(method, features)
    assert len(found) == len(expected) > count
    np.testing.assert_allclose(rows(found), rows(expected), atol=2e-4)


def test_too_small_a_margin_would_show(method):
    features = features_of(1003)
    windows = windows_of(stream(features), method.inputs, whole=256, window=256, margin=8)
    found, expected = Segments.concat(list(own_candidates(method, windows))), whole(method, features)
    assert len(found) != len(expected) or np.abs(rows(found) - rows(expected)).max() > 1e-2


def test_detections_are_those_of_the_whole_length(method):
    features = features_of(1003)
    windows = windows_of(stream(features), method.inputs, whole=256, window=256, margin=96)
    found = merge(method, own_candidates(method, windows))
    expected = method.suppress(whole(method, features))
    assert np.all(np.diff(found.score) <= 0)
    strong = expected[expected.score > np.median(expected.score)]
    missing = set(map(tuple, np.stack([strong.start_s, strong.end_s], 1).round(3)))
    missing -= set(map(tuple, np.stack([found.start_s, found.end_s], 1).round(3)))
    assert len(missing) <= 0.01 * len(strong)
    assert "share_idx" not in found.extra


def test_no_duplicates_across_borders(method):
    found = merge(
        method,
        [
            one_candidate(9.0, 11.0, 0.9, 9.9),
            one_candidate(9.1, 11.1, 0.8, 10.1),
            one_candidate(30.0, 31.0, 0.7, 30.5),
        ],
    )
    assert found.score.tolist() == [0.9, 0.7]


def one_candidate(start_s, end_s, score, point_s):
    return Segments.from_names(
        [start_s],
        [end_s],
        ["x"],
        classes=("x", "y", "z"),
        score=[score],
        extra={"point_s": [point_s], "duration_s": [100.0]},
    )


def test_the_limit_on_detections_is_not_one_for_the_whole_of_a_long_video(method, monkeypatch):
    rng = np.random.default_rng(0)

    def limited(candidates, video_scores=None):
        return candidates.by_score()[:30]

    monkeypatch.setattr(method, "suppress", limited)
    shares = []
    for number in range(20):
        start = number * 100 + rng.uniform(0, 99, 50)
        shares.append(
            Segments.from_names(
                start, start + 1, ["x"] * 50, classes=("x", "y", "z"), score=rng.random(50), extra={"point_s": start}
            )
        )
    assert len(merge(method, shares)) > 150


def test_a_long_video_may_be_taken_whole(method, monkeypatch):
    limited = replace(method.config, nms=replace(method.config.nms, max_segments=50))
    monkeypatch.setattr(method, "config", limited)
    features = features_of(5000)
    (window,) = windows_of(stream(features), method.inputs, whole=5000)
    (expected,) = predict_whole(method, collate([window.sample], method.inputs, train=False))
    found = detect(method, stream(features), whole=True)
    np.testing.assert_array_equal(found.score, expected.score)
    np.testing.assert_array_equal(found.start_s, expected.start_s)
    assert len(found) == 50 < len(detect(method, stream(features)))


def test_video_scores_name_every_detection_of_every_window(method):
    shares = [one_candidate(9.0, 11.0, 0.64, 9.9), one_candidate(9.1, 11.1, 0.36, 10.1)]
    shares.append(one_candidate(30.0, 31.0, 0.25, 30.5))
    found = merge(method, shares, torch.tensor([0.1, 0.9, 0.4]))
    assert found.names == ["y", "z", "y", "z"]
    np.testing.assert_allclose(found.score, np.sqrt([0.64 * 0.9, 0.64 * 0.4, 0.25 * 0.9, 0.25 * 0.4]), atol=1e-6)


def test_windows_start_where_points_of_all_levels_align(method):
    starts = [
        round((each.sample.grid.offset_s - GRID.offset_s) / GRID.stride_s)
        for each in windows_of(stream(features_of(2000)), method.inputs, whole=250, window=250, margin=90)
    ]
    assert len(starts) > 3
    assert all(start % method.inputs.multiple_of == 0 for start in starts)


def test_shares_are_the_whole_of_time_without_overlap(method):
    for count in (1, 63, 64, 65, 128, 1000):
        own = [
            each.own_s for each in windows_of(stream(features_of(count)), method.inputs, whole=64, window=64, margin=16)
        ]
        assert own[0][0] == -np.inf
        assert own[-1][1] == np.inf
        assert all(before[1] == after[0] for before, after in pairwise(own))


def test_streams_of_slightly_different_lengths(method):
    chunks = {"a": iter([np.zeros((50, 6))]), "b": iter([np.zeros((30, 2)), np.zeros((19, 2))])}
    two = FeatureStream(video="v", chunks=chunks, grid=GRID, duration_s=12.0)
    (window,) = windows_of(two, method.inputs, whole=64, window=64, margin=16)
    assert {name: tuple(x.shape) for name, x in window.sample.streams.items()} == {"a": (49, 6), "b": (49, 2)}


def test_features_are_taken_as_they_come(method):
    taken = 0

    def chunks():
        nonlocal taken
        for _ in range(1000):
            taken += 10
            yield np.zeros((10, 6), np.float32)

    endless = FeatureStream(video="v", chunks={"a": chunks()}, grid=GRID, duration_s=1e5)
    windows = windows_of(endless, method.inputs, whole=128, window=128, margin=32)
    for number in range(1, 20):
        next(windows)
        assert taken <= (number + 1) * 64 + 128 + 20


def test_a_video_in_one_chunk_is_not_copied_for_every_window(method):
    features = np.zeros((40_000, 6), np.float32)
    tracemalloc.start()
    for _ in windows_of(stream(features, chunk=len(features)), method.inputs, whole=128, window=128, margin=32):
        pass
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < features.nbytes / 2


def test_no_features_at_all(method):
    with pytest.raises(FeatureError, match="no features"):
        detect(method, stream(features_of(0)))


def test_a_method_of_fixed_length_sees_the_whole_video():
    config = ActionFormerConfig(
        streams={"a": 6}, classes=("x",), train_snippets=64, width=16, branch_layers=2, window=5, resize=True
    )
    model = ActionFormer(config).eval()
    (window,) = windows_of(stream(features_of(5000)), model.inputs)
    assert window.sample.grid.count == 64
    assert window.sample.grid.end_s == pytest.approx(GRID.offset_s + 4999 * 0.2 + 0.8)
    assert len(detect(model, stream(features_of(300))).classes) == 1


def test_up_to_a_length_the_video_is_whole_and_beyond_it_windows_are_shorter(method):
    def counts(snippets):
        windows = windows_of(stream(features_of(snippets)), method.inputs, whole=512, window=256, margin=64)
        return [each.sample.grid.count for each in windows]

    assert counts(512) == [512]
    assert counts(513) == [256, 256, 256, 129]


def test_a_coarse_padding_unit_still_moves_on(method):
    coarse = Inputs(streams={"a": 6}, train_snippets=64, multiple_of=576)
    windows = list(windows_of(stream(features_of(6000)), coarse, whole=1000, window=2304, margin=768))
    assert windows[-1].sample.grid.end_s == pytest.approx(GRID.offset_s + 5999 * 0.2 + 0.8)


@torch.no_grad()
def test_the_margin_holds_what_a_point_of_the_published_settings_sees():
    torch.manual_seed(0)
    model = ActionFormer(ActionFormerConfig(streams={"a": 4}, classes=("x",), width=8)).eval()
    for parameter in model.parameters():
        # Far from the initial state, in which what is far away has weights near zero.
        parameter.data += 0.1 * torch.randn_like(parameter)
    model = model.double()
    count, middle = 4608, 2304
    features = torch.randn(1, 4, count).double()
    changed = features.clone()
    changed[:, :, middle] += 10
    mask = torch.ones(1, 1, count, dtype=torch.bool)
    grid = SnippetGrid(stride_s=1, window_s=1, count=count)
    before, after = (
        model(Batch(streams={"a": x}, mask=mask, grids=(grid,), durations_s=(4608.0,), videos=("v",)))
        for x in (features, changed)
    )
    reach = 0
    for level, (a, b) in enumerate(zip(before.logits, after.logits, strict=True)):
        differs = (a - b).abs().flatten(0, -2).amax(0).nonzero().flatten() * 2**level
        reach = max(reach, int((differs - middle).abs().max()))
    assert reach == 672 < MARGIN_SNIPPETS


class _Fixed(torch.nn.Module):
    """A method of windows of four snippets: every window proposes its whole self, scored by its first feature."""

    def __init__(self, overlap=0.5):
        super().__init__()
        self.inputs = Inputs(streams={"a": 1}, train_snippets=4, window_snippets=4, window_overlap=overlap)
        self.anchor = torch.nn.Parameter(torch.zeros(()))
        self.rows, self.suppressed = [], []

    def forward(self, batch):
        self.rows.append(len(batch))
        return batch.streams["a"]

    def candidates(self, outputs, batch):
        assert outputs.shape[-1] == 4
        return [
            Segments(
                start_s=[grid.offset_s],
                end_s=[grid.end_s],
                score=[float(row[0, 0]) / 100],
                label=[0],
                classes=("x",),
                extra={"point_s": [grid.offset_s]},
            )
            for grid, row in zip(batch.grids, outputs, strict=True)
        ]

    def suppress(self, candidates, video_scores=None):
        self.suppressed.append(len(candidates))
        return candidates.by_score()


@pytest.mark.parametrize(
    ("count", "overlap", "starts"),
    [(3, 0.5, [0]), (4, 0.5, [0]), (5, 0.5, [0, 1]), (8, 0.5, [0, 2, 4]), (9, 0.5, [0, 2, 4, 5]), (9, 0.25, [0, 3, 5])],
)
@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_windows_of_a_fixed_length_reach_the_end(count, overlap, starts, chunk):
    method = _Fixed(overlap)
    rows = np.arange(1, count + 1, dtype=np.float32)[:, None]
    windows = list(windows_of(stream(rows, chunk), method.inputs))
    assert sliding_starts(count, method.inputs) == starts
    assert [int(each.sample.streams["a"][0, 0]) - 1 for each in windows] == starts
    assert all(each.sample.grid.count == min(count, 4) for each in windows)
    offsets = [each.sample.grid.offset_s for each in windows]
    np.testing.assert_allclose(offsets, [GRID.offset_s + first * GRID.stride_s for first in starts])


@pytest.mark.parametrize("count", [3, 9, 50])
def test_a_whole_batch_is_seen_in_windows_of_a_fixed_length(count):
    method = _Fixed()
    rows = np.arange(1, count + 1, dtype=np.float32)[:, None]
    grid = replace(GRID, count=count)
    sample = Sample(video="v", streams={"a": torch.from_numpy(rows)}, grid=grid, duration_s=99.0)
    (found,) = predict_whole(method, collate([sample], method.inputs, train=False), batch_windows=3)
    expected = detect(method, stream(rows))
    np.testing.assert_allclose(found.score, expected.score)
    np.testing.assert_allclose(found.start_s, expected.start_s)
    assert method.suppressed == [len(found)] * 2  # all windows together
    assert max(method.rows) <= 3


def test_sliding_windows_of_a_very_long_video_are_suppressed_in_shares(monkeypatch):
    monkeypatch.setattr("tal.methods.windows.TOGETHER_SNIPPETS", 8)
    method = _Fixed()
    found = detect(method, stream(np.arange(1, 52, dtype=np.float32)[:, None]))
    assert len(found) == len(sliding_starts(51, method.inputs))
    assert max(method.suppressed) == 12  # three shares of four windows
    method.suppressed.clear()
    assert len(detect(method, stream(np.arange(1, 52, dtype=np.float32)[:, None]), whole=True)) == len(found)
    assert method.suppressed == [len(found)]
