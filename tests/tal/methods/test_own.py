"""`tal`: learning, what its members are, their average."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.errors import ConfigError
from tal.methods.actionformer import ActionFormer
from tal.methods.own import TalConfig, TalLocalizer, TalOutputs

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from clips import CLASSES, WIDTH, clips, learns

SMALL = TalConfig(
    streams={"features": WIDTH},
    classes=CLASSES,
    train_snippets=64,
    width=32,
    branch_layers=3,
    init_loss_norm=20,
    window=9,
    drop_path=0.0,
    members=("actionformer", "tridet", "temporalmaxer"),
)


def _model(**changes):
    torch.manual_seed(0)
    return TalLocalizer(replace(SMALL, **changes))


def test_overfits_a_handful_of_clips():
    learns(_model(), clips(2), steps=160, lr=2e-3)


def test_gradients_reach_every_member_that_alone_gets_the_same():
    model, batch = _model(), clips(2)
    losses = model.loss(model(batch), batch)
    losses["loss"].backward()
    assert set(losses) == {"loss", "classification", "regression"}
    alone = []
    for member, kind in zip(model.all_members, SMALL.members, strict=True):
        twin = type(member)(SMALL.of(kind))
        twin.load_state_dict(member.state_dict())
        twin.positives.load_state_dict(_model().all_members[SMALL.members.index(kind)].positives.state_dict())
        alone.append(twin.loss(twin(batch), batch))
        alone[-1]["loss"].backward()
        for ours, theirs in zip(member.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad)
        assert all(each.grad is not None for each in member.parameters())
    torch.testing.assert_close(losses["loss"], sum(each["loss"] for each in alone))
    torch.testing.assert_close(losses["regression"], sum(each["regression"] for each in alone) / 3)


def test_one_member_is_its_kind():
    model, batch = _model(members=("actionformer",)).eval(), clips(2)
    torch.manual_seed(0)
    plain = ActionFormer(SMALL.of("actionformer")).eval()
    for ours, theirs in zip(model.predict(batch), plain.predict(batch), strict=True):
        np.testing.assert_allclose(ours.score, theirs.score, rtol=1e-5)
        np.testing.assert_array_equal(ours.start_s, theirs.start_s)


def test_points_have_the_mean_probability_and_propose_the_mean_segment():
    model, batch = _model().eval(), clips(2)
    with torch.no_grad():
        said = model(batch)
        for level, logits in enumerate(said.logits):
            mean = sum(each.logits[level].sigmoid() for each in said.members) / 3
            torch.testing.assert_close(logits.sigmoid(), mean)
            position = torch.arange(logits.shape[-1]).repeat(2, 1)
            offsets = [
                member.offsets_at(each, level, position, position % 2)
                for member, each in zip(model.all_members, said.members, strict=True)
            ]
            assert not torch.allclose(offsets[0], offsets[1])
            torch.testing.assert_close(model.offsets_at(said, level, position, position % 2), sum(offsets) / 3)


def test_members_of_one_kind_begin_differently():
    model = _model(members=("temporalmaxer", "temporalmaxer"))
    first, second = (member.classify.state_dict() for member in model.all_members)
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_windows_are_padded_no_more_than_the_pyramid_needs():
    model, batch = _model().eval(), clips(counts=[33])
    with torch.no_grad():
        said = model(batch)
    assert isinstance(said, TalOutputs)
    assert {each.masks[0].shape[-1] for each in said.members} == {40}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"members": ()}, "no members"),
        ({"members": ("bmn",)}, "bmn"),
        ({"window": 8}, "odd"),
        ({"heads": 5}, "a multiple of heads"),
        ({"width": 24}, "groups"),
        ({"absolute_positions": True}, "absolute_positions"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        replace(SMALL, **settings)
