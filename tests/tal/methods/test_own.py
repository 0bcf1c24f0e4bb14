"""`tal`: learning, its parts one by one, the average of its members."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.own import TalConfig, TalLocalizer, averaged

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import CLASSES, WIDTH, clips, learns

SMALL = TalConfig(
    streams={"features": WIDTH},
    classes=CLASSES,
    train_snippets=64,
    width=32,
    branch_layers=3,
    init_loss_norm=20,
    members=2,
    motion=(1, 2),
    dilations=(1, 2),
    dropout=0.0,
    frame_power=0.5,
)
BARE = {"motion": (), "frame_weight": 0, "window_weight": 0, "frame_power": 0, "window_power": 0, "members": 1}


def _model(**changes):
    torch.manual_seed(0)
    return TalLocalizer(replace(SMALL, **changes))


@pytest.mark.parametrize(
    "changes", [{}, BARE, {"encoder": "attention", "window": 9}], ids=["all parts", "no part", "attention"]
)
def test_overfits_a_handful_of_clips(changes):
    learns(_model(**changes), clips(2))


def test_gradients_reach_every_parameter_of_every_member():
    model, batch = _model(), clips(2)
    losses = model.loss(model(batch), batch)
    assert set(losses) == {"loss", "classification", "regression", "frames", "window"}
    losses["loss"].backward()
    idle = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert not idle


def test_parts_that_are_off_are_not_there():
    bare = _model(**BARE)
    names = {name.split(".")[2] for name in bare.state_dict()}
    assert not names & {"embed_motion", "frame_logits", "window_logits", "context", "add_context"}
    batch = clips(2)
    assert set(bare.loss(bare(batch), batch)) == {"loss", "classification", "regression"}


def test_without_powers_one_member_decodes_as_a_pyramid_does():
    model, batch = _model(members=1, frame_power=0, window_power=0).eval(), clips(2)
    with torch.no_grad():
        outputs = model(batch)
        for ours, plain in zip(
            model.candidates(outputs, batch), model.first.candidates(outputs[0], batch), strict=True
        ):
            np.testing.assert_array_equal(ours.score, plain.score)
            np.testing.assert_array_equal(ours.start_s, plain.start_s)


def test_scores_take_the_mean_over_the_segment_and_the_windows_probability():
    model, batch = _model(members=1, frame_power=2.0, window_power=0.5).eval(), clips(2)
    with torch.no_grad():
        (outputs,) = model(batch)
    ours, plain = model.candidates([outputs], batch)[1], model.first.candidates(outputs, batch)[1]
    grid = batch.grids[1]
    frames, window = outputs.frame_logits[1].sigmoid().numpy(), outputs.window_logits[1].sigmoid().numpy()
    assert len(plain) > 20
    for row in range(0, len(plain), 7):
        idx = grid.to_idx(np.array([plain.start_s[row], plain.end_s[row]]))
        inside = [t for t in range(grid.count) if idx[0] <= t <= idx[1]]
        label = plain.label[row]
        if inside:
            wanted = plain.score[row] * frames[label, inside].mean() ** 2 * window[label] ** 0.5
            assert ours.score[row] == pytest.approx(wanted, rel=1e-5)


def test_frames_and_window_learn_what_is_under_way():
    model, batch = _model(), clips(2)
    batch = replace(batch, targets=(batch.targets[0][:1], batch.targets[1]))
    under_way, occurring = model.first._presence(batch, batch.mask)
    for row, wanted in enumerate(batch.targets):
        centers = batch.grids[row].centers_s
        for label in (0, 1):
            of_label = wanted[wanted.label == label]
            now = ((centers[:, None] >= of_label.start_s) & (centers[:, None] <= of_label.end_s)).any(1)
            assert under_way[row, label, : len(now)].bool().tolist() == now.tolist()
            assert bool(occurring[row, label]) == bool(len(of_label))


def test_the_average_of_equal_members_is_each_of_them():
    model, batch = _model().eval(), clips(2)
    with torch.no_grad():
        first, second = model(batch)
        same, both = averaged([first, first]), averaged([first, second])
    for name in ("logits", "offsets"):
        for level, ours in enumerate(getattr(same, name)):
            valid = first.masks[level].expand_as(ours)
            torch.testing.assert_close(ours[valid], getattr(first, name)[level][valid], atol=1e-4, rtol=1e-4)
            assert not torch.equal(ours, getattr(both, name)[level])
    torch.testing.assert_close(
        both.window_logits.sigmoid(), (first.window_logits.sigmoid() + second.window_logits.sigmoid()) / 2
    )


@pytest.mark.parametrize("count", [5, 36, 37, 59])
def test_padding_changes_nothing(count):
    model = _model().eval()
    short, padded = clips(counts=[count] * 2, T=count), clips(counts=[count] * 2)
    dirty = torch.where(padded.mask, padded.streams["features"], torch.full((), 50.0))
    with torch.no_grad():
        ours, theirs = model(short)[0], model(replace(padded, streams={"features": dirty}))[0]
    torch.testing.assert_close(ours.window_logits, theirs.window_logits)
    torch.testing.assert_close(ours.frame_logits[..., :count], theirs.frame_logits[..., :count])
    for mine, other, mask in zip(ours.logits, theirs.logits, ours.masks, strict=True):
        shared = min(mine.shape[-1], other.shape[-1])
        valid = mask[..., :shared].expand_as(mine[..., :shared])
        torch.testing.assert_close(mine[..., :shared][valid], other[..., :shared][valid], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"members": 0}, "members"),
        ({"motion": (0,)}, "motion"),
        ({"frame_weight": 0.0}, "not learnt"),
        ({"window_power": -1.0}, "window_power"),
        ({"window": 8}, "odd"),
        ({"heads": 5}, "divides"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        replace(SMALL, **settings)
