"""Augmentation: each change does what it says, and the default changes nothing."""

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.augment import Augmentation, FeatureStats, Mirror, augment_sample, mirrored, turned
from tal.methods.base import Sample
from tal.segments import Segments
from tal.timeline import SnippetGrid


@pytest.fixture
def sample():
    features = torch.from_numpy(np.random.default_rng(0).standard_normal((60, 6)).astype(np.float32))
    instances = Segments(start_s=[1.0], end_s=[3.0], label=[0], classes=("jump",))
    grid = SnippetGrid(stride_s=0.1, window_s=0.1, count=60)
    return Sample(video="v", streams={"pose": features}, grid=grid, duration_s=6.0, instances=instances)


STATS = FeatureStats(mean={"pose": torch.full((6,), 5.0)}, std={"pose": torch.full((6,), 2.0)})


def _augmented(sample, seed=0, **settings):
    return augment_sample(sample, Augmentation(**settings), STATS, 64, np.random.default_rng(seed))


def test_default_changes_nothing(sample):
    torch.testing.assert_close(_augmented(sample).streams["pose"], sample.streams["pose"], rtol=0, atol=0)


def test_speed_changes_snippets_but_not_seconds(sample):
    counts = set()
    for seed in range(20):
        faster = _augmented(sample, seed, speed=1.5)
        counts.add(faster.grid.count)
        assert faster.grid.count == len(faster.streams["pose"]) <= 64
        assert faster.grid.end_s == pytest.approx(sample.grid.end_s)
        assert faster.instances is sample.instances
    assert min(counts) < 48
    assert max(counts) == 64


def test_noise_is_in_units_of_the_deviation(sample):
    change = _augmented(sample, noise=0.5).streams["pose"] - sample.streams["pose"]
    assert change.std() == pytest.approx(1.0, rel=0.15)


def test_dropped_channels_and_spans_become_the_mean(sample):
    channels = _augmented(sample, channel_dropout=0.5).streams["pose"]
    gone = (channels == 5.0).all(0)
    assert 0 < gone.sum() < 6
    torch.testing.assert_close(channels[:, ~gone], sample.streams["pose"][:, ~gone])
    spans = (_augmented(sample, span_dropout=0.4, span_snippets=8).streams["pose"] == 5.0).all(1)
    assert 8 <= spans.sum() <= 24


def test_gain_is_one_factor(sample):
    ratio = _augmented(sample, gain=0.3).streams["pose"] / sample.streams["pose"]
    assert 0.7 <= ratio.mean() <= 1.3
    assert ratio.std() < 1e-4


def test_turn_keeps_height_and_distance():
    points = torch.from_numpy(np.random.default_rng(1).standard_normal((5, 9)).astype(np.float32))
    after = turned(points, 0.7).view(5, 3, 3)
    torch.testing.assert_close(after.norm(dim=-1), points.view(5, 3, 3).norm(dim=-1))
    torch.testing.assert_close(after[..., 1], points.view(5, 3, 3)[..., 1])
    torch.testing.assert_close(turned(turned(points, 0.7), -0.7), points)
    with pytest.raises(ConfigError, match="multiple of 3"):
        turned(points[:, :8], 0.7)


@pytest.mark.parametrize("settings", [{"speed": 0.5}, {"noise": -1.0}, {"span_snippets": 0}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigError):
        Augmentation(**settings)


MIRROR = Mirror(points=2, pairs=((0, 1),), at=0.5)


def test_a_mirror_exchanges_left_and_right(sample):
    points = torch.tensor([[0.1, 1.0, 2.0, 0.7, 3.0, 4.0, 9.0], [0.0] * 6 + [8.0]])
    wanted = torch.tensor([[0.3, 3.0, 4.0, 0.9, 1.0, 2.0, 9.0], [0.0] * 6 + [8.0]])
    torch.testing.assert_close(mirrored(points, MIRROR), wanted)
    torch.testing.assert_close(mirrored(mirrored(points, MIRROR), MIRROR), points)
    before = sample.streams["pose"]
    seen = {torch.equal(_augmented(sample, seed, mirror=MIRROR).streams["pose"], before) for seed in range(9)}
    assert seen == {True, False}


@pytest.mark.parametrize("pairs", [((0, 0),), ((0, 2),), ((0, 1), (1, 0))])
def test_mirrors_that_cannot_be_are_refused(pairs):
    with pytest.raises(ConfigError, match="mirror"):
        Mirror(points=2, pairs=pairs)
    with pytest.raises(ConfigError, match="features of width 6"):
        mirrored(torch.zeros(2, 6), Mirror(points=3, pairs=()))
