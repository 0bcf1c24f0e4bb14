"""ActionFormer as a method: learning, masks, precision, time, fusion, settings."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.ops.nms import NmsConfig
from tal.segments import Segments

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import CLASSES, WIDTH, clips, every_parameter_learns, learns, trains_in_bfloat16, trains_without_instances

SMALL = ActionFormerConfig(
    streams={"features": WIDTH},
    classes=CLASSES,
    train_snippets=64,
    width=32,
    heads=2,
    stem_layers=1,
    branch_layers=3,
    window=9,
)


def _model(**changes):
    torch.manual_seed(0)
    return ActionFormer(replace(SMALL, **changes))


@pytest.mark.parametrize(
    "changes",
    [{}, {"window": 0, "absolute_positions": True, "neck": "top_down"}, {"class_agnostic": True, "loss_weight": 0.0}],
    ids=["local", "global, top-down", "class-agnostic"],
)
def test_overfits_a_handful_of_clips(changes):
    learns(_model(init_loss_norm=20, drop_path=0.05, **changes), clips(2))


def test_gradients_reach_every_parameter():
    every_parameter_learns(_model(neck="top_down", relative_positions=True, projection={"features": 32}), clips(4))


@pytest.mark.parametrize("window", [9, 0])
def test_what_stands_in_padded_positions_does_not_matter(window):
    model, batch = _model(window=window).eval(), clips(counts=[37] * 2)
    dirty = torch.where(batch.mask, batch.streams["features"], torch.full((), 50.0))
    with torch.no_grad():
        clean, other = model(batch), model(replace(batch, streams={"features": dirty}))
    for ours, theirs in zip(clean.logits + clean.offsets, other.logits + other.offsets, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    for values, mask in zip(clean.logits, clean.masks, strict=True):
        assert not values[~mask.expand_as(values)].any()


@pytest.mark.parametrize("count", [5, 36, 37, 59, 64])
def test_padding_further_changes_nothing(count):
    model = _model().eval()
    short, padded = clips(counts=[count] * 2, T=count), clips(counts=[count] * 2)
    with torch.no_grad():
        for ours, theirs in zip(model(short).logits, model(padded).logits, strict=True):
            shared = min(ours.shape[-1], theirs.shape[-1])
            torch.testing.assert_close(ours[..., :shared], theirs[..., :shared])
            assert not theirs[..., shared:].any()


def test_bfloat16_autocast_trains():
    trains_in_bfloat16(_model, clips(4))


def test_a_batch_without_instances_has_a_loss():
    trains_without_instances(_model(), clips(4))


def test_a_loss_needs_targets():
    model, batch = _model(), clips(1)
    with pytest.raises(ConfigError, match="without targets"):
        model.loss(model(batch), replace(batch, targets=None))


def test_balanced_losses():
    model, batch = _model(loss_weight=-1.0).eval(), clips(2)
    losses = model.loss(model(batch), batch)
    assert losses["loss"].item() == pytest.approx(2 * losses["classification"].item(), rel=1e-5)


def test_candidates_know_their_point_and_detections_end_with_the_video():
    model, batch = _model().eval(), clips(2)
    with torch.no_grad():
        outputs = model(batch)
        candidates = model.candidates(outputs, batch)
    grid = batch.grids[0]
    point_idx = grid.to_idx(candidates[0].extra["point_s"])
    np.testing.assert_allclose(point_idx, point_idx.round(), atol=1e-6)
    assert (candidates[0].start_s <= candidates[0].extra["point_s"] + 1e-9).all()
    assert (candidates[0].end_s >= candidates[0].extra["point_s"] - 1e-9).all()
    short = replace(batch, durations_s=(20.0,) * len(batch))
    for found in model.decode(outputs, short):
        assert found.start_s.min() >= 0
        assert found.end_s.max() <= 20
        assert not found.extra


def test_time_of_features_resized_to_a_fixed_length():
    """Halving the snippets of a video doubles the stride and leaves times where they are."""
    model, batch = _model().eval(), clips(counts=[64] * 2)
    halved = replace(
        batch,
        streams={"features": torch.nn.functional.avg_pool1d(batch.streams["features"], 2)},
        mask=batch.mask[..., :32],
        grids=tuple(grid.resampled(32) for grid in batch.grids),
    )
    for grid in halved.grids:
        assert grid.stride_s == 1.0
        assert grid.to_seconds(0) == pytest.approx(batch.grids[0].to_seconds(0.5))
    with torch.no_grad():
        point_s = model.candidates(model(halved), halved)[0].extra["point_s"]
    np.testing.assert_allclose(halved.grids[0].to_idx(point_s) % 1, 0, atol=1e-6)
    assert model.inputs.resize_to is None
    assert _model(resize=True).inputs.resize_to == 64


def _proposals():
    rng = np.random.default_rng(3)
    start_s = rng.uniform(0, 50, 300)
    return Segments(
        start_s=start_s,
        end_s=start_s + rng.uniform(1, 9, 300),
        score=rng.uniform(0.01, 1, 300),
        label=rng.integers(0, 2, 300),
        classes=CLASSES,
    )


def test_video_level_scores_are_fused():
    nms = NmsConfig(max_segments=40)
    model = _model(nms=nms, fusion_proposals=30)
    scores = torch.tensor([0.25, 0.64])
    fused = model.suppress(_proposals(), scores)
    # Classes suppress each other, and voting takes place, whatever the configuration says of plain decoding.
    plain = _model(nms=replace(nms, per_class=False)).suppress(_proposals())[:30]
    assert len(fused) == 60
    for label, score in ((0, 0.25), (1, 0.64)):
        part = fused[fused.label == label]
        np.testing.assert_allclose(part.score, np.sqrt(score * plain.score))
        np.testing.assert_allclose(part.start_s, plain.start_s)
    assert (np.diff(fused.score) <= 0).all()
    only_best = _model(fusion_classes=1).suppress(_proposals(), scores)
    assert set(only_best.label.tolist()) == {1}
    with pytest.raises(ConfigError, match=r"\(3,\)"):
        model.suppress(_proposals(), torch.ones(3))


def test_empty_classes_start_near_zero():
    model = _model(empty_classes=("jump",))
    bias = model.classify.logits.bias.detach().sigmoid()
    assert bias.tolist() == pytest.approx([0.01, 1e-6])


def test_feature_statistics_travel_with_the_weights():
    model = _model()
    model.set_feature_stats({"features": (torch.full((8,), 2.0), torch.full((8,), 4.0))})
    other = _model()
    other.load_state_dict(model.state_dict())
    batch = clips(2)
    with torch.no_grad():
        scaled = replace(batch, streams={"features": (batch.streams["features"] - 2) / 4})
        expected = _model().eval()(scaled)
        for ours, theirs in zip(other.eval()(batch).logits, expected.logits, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_derived_settings():
    config = ActionFormerConfig()
    assert config.strides == (1, 2, 4, 8, 16, 32)
    assert config.windows == (19,) * 6
    assert config.ranges == ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, float("inf")))
    assert config.padded_length(2304) == 2304  # a training window
    assert config.padded_length(2290) == 2304
    assert config.padded_length(100) == 160  # one padded position at every level
    assert config.padded_length(2305) == 2368
    assert replace(config, absolute_positions=True).padded_length(2305) == 2880  # 4 * 18 * 32 and one unit more


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 30, "heads": 4},
        {"window": 8},
        {"window": (9, 9)},
        {"window": 1},
        {"train_snippets": 60},
        {"regression_ranges": ((0.0, 4.0),)},
        {"regression_ranges": ((4.0, 0.0),) * 4},
        {"classes": ("run", "run")},
        {"empty_classes": ("walk",)},
        {"projection": {"flow": 32}},
        {"projection": {"features": 16}},
        {"neck_width": 64},
        {"neck": "fpn"},
        {"center_sampling": "all"},
        {"label_smoothing": 1.0},
        {"prior_prob": 0.0},
        {"drop_path": -0.1},
        {"embed_kernel": 4},
        {"multiple_of": 12},
        {"streams": {"features": 0}},
        {"branch_layers": -1},
    ],
    ids=str,
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ConfigError) as caught:
        replace(SMALL, **wrong)
    assert caught.value.expected


@pytest.mark.parametrize("name", ["streams", "classes"])
def test_a_network_needs_streams_and_classes(name):
    with pytest.raises(ConfigError, match=name):
        ActionFormer(replace(SMALL, **{name: type(getattr(SMALL, name))()}))
