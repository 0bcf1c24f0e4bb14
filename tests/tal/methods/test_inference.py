"""Long videos in windows: the same candidates as over the whole length, no duplicates at borders; many at a time."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

from long_videos import GRID, features_of, stream

from tal.errors import FeatureError
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Batch, Inputs, Sample
from tal.methods.batching import collate, sliding_starts
from tal.methods.inference import detect, detect_each, merge, own_candidates, predict_whole
from tal.methods.tridet import TriDet, TriDetConfig
from tal.methods.windows import MARGIN_SNIPPETS, windows_of
from tal.ops.nms import NmsConfig
from tal.segments import Segments
from tal.timeline import SnippetGrid


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


def rows(segments):
    order = np.lexsort((segments.label, segments.end_s, segments.start_s))
    columns = (segments.start_s, segments.end_s, segments.score, segments.label, segments.extra["point_s"])
    return np.stack([column[order] for column in columns], axis=1)


def shares_of(method, windows, **more):
    return [found for _, found in own_candidates(method, windows, **more)]


@torch.no_grad()
def whole(method, features):
    (window,) = windows_of(stream(features), method.inputs)
    batch = collate([window.sample], method.inputs, train=False)
    return method.candidates(method(batch), batch)[0]


@pytest.mark.parametrize("count", [200, 257, 500, 1003])
@pytest.mark.parametrize("batch_snippets", [1, 800])
def test_windows_propose_what_the_whole_length_does(method, count, batch_snippets):
    features = features_of(count)
    windows = windows_of(stream(features), method.inputs, whole=256, window=256, margin=96)
    found = Segments.concat(shares_of(method, windows, batch_snippets=batch_snippets))
    expected = whole(method, features)
    assert len(found) == len(expected) > count
    np.testing.assert_allclose(rows(found), rows(expected), atol=2e-4)


def test_too_small_a_margin_would_show(method):
    features = features_of(1003)
    windows = windows_of(stream(features), method.inputs, whole=256, window=256, margin=8)
    found, expected = Segments.concat(shares_of(method, windows)), whole(method, features)
    assert len(found) != len(expected) or np.abs(rows(found) - rows(expected)).max() > 1e-2


def test_detections_are_those_of_the_whole_length(method):
    features = features_of(1003)
    windows = windows_of(stream(features), method.inputs, whole=256, window=256, margin=96)
    found = merge(method, shares_of(method, windows))
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


def test_no_features_at_all(method):
    with pytest.raises(FeatureError, match="no features"):
        detect(method, stream(features_of(0)))


def test_features_of_another_width(method):
    with pytest.raises(FeatureError, match=r"shape \(40, 5\)"):
        detect(method, stream(features_of(40)[:, :5]))


def test_windows_of_several_videos_go_through_the_network_together(method, monkeypatch):
    counts = {"a": 30, "b": 700, "c": 25, "d": 31, "e": 28, "f": 90}
    alone = {video: detect(method, stream(features_of(count), video=video)) for video, count in counts.items()}
    monkeypatch.setattr("tal.methods.inference.CPU_SNIPPETS", 128)
    asked, forward = [], method.forward
    monkeypatch.setattr(method, "forward", lambda batch: asked.append(batch.videos) or forward(batch))
    found = dict(detect_each(method, opened(counts)))
    assert asked == [("b",), ("a",), ("f",), ("c", "d", "e")]  # what fills half a batch waits for nothing
    assert list(found) == list(counts)
    for video, expected in alone.items():
        for column in ("start_s", "end_s", "score"):
            np.testing.assert_allclose(getattr(found[video], column), getattr(expected, column), atol=2e-4)


def opened(counts):
    return [(video, stream(features_of(count), video=video)) for video, count in counts.items()]


def test_videos_of_about_one_length_go_together_wherever_they_stand(method, monkeypatch):
    monkeypatch.setattr("tal.methods.inference.CPU_SNIPPETS", 1000)
    asked, forward = [], method.forward
    monkeypatch.setattr(method, "forward", lambda batch: asked.append(batch.mask.shape) or forward(batch))
    counts = {f"{number}": 100 if number % 2 else 20 + number // 4 for number in range(40)}
    assert list(dict(detect_each(method, opened(counts)))) == list(counts)
    assert asked == [(8, 1, 104), (8, 1, 104), (4, 1, 104), (20, 1, 32)]


def test_what_a_network_pads_counts(monkeypatch):
    monkeypatch.setattr("tal.methods.inference.CPU_SNIPPETS", 256)
    model = TriDet(
        TriDetConfig(streams={"a": 6}, classes=("x", "y", "z"), train_snippets=64, width=32, branch_layers=3)
    )
    asked, network = [], model.network
    monkeypatch.setattr(model, "network", lambda streams, mask: asked.append(mask.shape) or network(streams, mask))
    assert len(dict(detect_each(model.eval(), opened({f"{number}": 9 for number in range(10)})))) == 10
    assert asked == [(4, 1, 64), (4, 1, 64), (2, 1, 64)]


def test_a_batch_of_maps_is_smaller():
    method = _Fixed(0.0)
    for positions, together in ((1, [6]), (256, [2, 2, 2])):
        method.inputs = replace(method.inputs, positions=positions)
        videos = [(name, stream(np.ones((4, 1), np.float32), video=name)) for name in "abcdef"]
        method.rows.clear()
        assert len(list(detect_each(method, videos))) == 6
        assert method.rows == together


def test_one_bad_video_does_not_end_the_others(method):
    broken = FeatureError("no file of it")

    def torn():
        yield features_of(5000)
        raise broken

    videos = [
        ("missing", broken),
        ("a", stream(features_of(30), video="a")),
        ("empty", stream(features_of(0), video="empty")),
        ("narrow", stream(features_of(30)[:, :4], video="narrow")),
        ("b", stream(features_of(28), video="b")),
        ("torn", replace(stream(features_of(1), video="torn"), chunks={"a": torn()})),
        ("c", stream(features_of(31), video="c")),
        ("last", broken),
    ]
    found = list(detect_each(method, videos))
    assert [video for video, _ in found] == [video for video, _ in videos]
    wrong = {video: each.given for video, each in found if isinstance(each, FeatureError)}
    assert list(wrong) == ["missing", "empty", "narrow", "torn", "last"]
    assert "no features" in wrong["empty"]
    assert all(len(each) for _, each in found if isinstance(each, Segments))


def test_scores_of_several_videos(method):
    scores = {"a": torch.tensor([0.9, 0.0, 0.0]), "b": torch.tensor([0.0, 0.0, 0.8])}
    found = dict(detect_each(method, opened({"a": 30, "b": 30}), video_scores=scores))
    strongest = {video: each.names[0] for video, each in found.items() if isinstance(each, Segments)}
    assert strongest == {"a": "x", "b": "z"}


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

    def network_length(self, count):
        return self.inputs.padded(count)

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


@pytest.mark.parametrize("count", [3, 9, 50])
def test_a_whole_batch_is_seen_in_windows_of_a_fixed_length(count, monkeypatch):
    monkeypatch.setattr("tal.methods.inference.CPU_SNIPPETS", 12)
    method = _Fixed()
    rows = np.arange(1, count + 1, dtype=np.float32)[:, None]
    grid = replace(GRID, count=count)
    sample = Sample(video="v", streams={"a": torch.from_numpy(rows)}, grid=grid, duration_s=99.0)
    (found,) = predict_whole(method, collate([sample], method.inputs, train=False))
    expected = detect(method, stream(rows))
    np.testing.assert_allclose(found.score, expected.score)
    np.testing.assert_allclose(found.start_s, expected.start_s)
    assert method.suppressed == [len(found)] * 2  # all windows together
    assert max(method.rows) <= 3


def test_sliding_windows_of_a_very_long_video_are_suppressed_in_shares(monkeypatch):
    monkeypatch.setattr("tal.methods.inference.TOGETHER_SNIPPETS", 8)
    method = _Fixed()
    found = detect(method, stream(np.arange(1, 52, dtype=np.float32)[:, None]))
    assert len(found) == len(sliding_starts(51, method.inputs))
    assert max(method.suppressed) == 12  # three shares of four windows
    method.suppressed.clear()
    assert len(detect(method, stream(np.arange(1, 52, dtype=np.float32)[:, None]), whole=True)) == len(found)
    assert method.suppressed == [len(found)]
