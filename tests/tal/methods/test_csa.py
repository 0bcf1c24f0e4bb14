"""Class-semantics attention: the host without it, worked values, what it depends on, that it learns."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import nn

from tal.errors import ConfigError
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.methods.base import Batch
from tal.methods.bmn import Bmn
from tal.methods.bmn_config import BmnConfig
from tal.methods.csa import CsaActionFormer, CsaActionFormerConfig, CsaBmn, CsaBmnConfig
from tal.modules.class_semantics import ClassSemantics, SemanticAttention, SemanticsConfig, resampled
from tal.segments import Segments
from tal.timeline import SnippetGrid

BMN = {
    "streams": {"a": 4},
    "classes": ("x", "y"),
    "train_snippets": 16,
    "width": 8,
    "samples": 4,
    "reduced_width": 6,
    "sampled_width": 8,
    "map_width": 6,
}
ACTIONFORMER = {
    "streams": {"a": 4},
    "classes": ("x", "y"),
    "train_snippets": 16,
    "width": 8,
    "heads": 2,
    "window": 3,
    "branch_layers": 2,
}
HOSTS = [(Bmn, BmnConfig, CsaBmn, CsaBmnConfig, BMN)]
HOSTS += [(ActionFormer, ActionFormerConfig, CsaActionFormer, CsaActionFormerConfig, ACTIONFORMER)]
SEMANTICS = SemanticsConfig(reduction=2, grid=8, se_reduction=4)


def batch_of(counts=(16, 11)):
    rng = torch.Generator().manual_seed(5)
    mask = torch.arange(16) < torch.tensor(counts)[:, None]
    truth = Segments.from_names([1.0, 6.0], [4.0, 10.0], ["x", "y"], classes=("x", "y"))
    return Batch(
        streams={"a": torch.randn(len(counts), 4, 16, generator=rng) * mask[:, None]},
        mask=mask[:, None],
        grids=tuple(SnippetGrid(stride_s=1.0, window_s=1.0, count=count) for count in counts),
        durations_s=(16.0,) * len(counts),
        videos=tuple(map(str, counts)),
        targets=(truth,) * len(counts),
    )


def tensors(outputs):
    for value in vars(outputs).values():
        yield from value if isinstance(value, tuple) else (value,)


def build(cls, config_cls, values, **more):
    torch.manual_seed(0)
    return cls(config_cls(**values, **more)).eval()


@pytest.mark.parametrize(("host", "host_config", "csa", "csa_config", "values"), HOSTS, ids=["bmn", "actionformer"])
def test_without_attention_it_is_the_host_to_the_last_bit(host, host_config, csa, csa_config, values):
    plain = build(host, host_config, values)
    off = build(csa, csa_config, values, semantics=replace(SEMANTICS, attention="none"))
    on = build(csa, csa_config, values, semantics=SEMANTICS)
    assert plain.state_dict().keys() == off.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, off.state_dict()[name])
        assert torch.equal(value, on.state_dict()[name])
    batch = batch_of()
    for one, other in zip(tensors(plain(batch)), tensors(off(batch)), strict=True):
        assert torch.equal(one, other)
    losses = [model.loss(model(batch), batch, *extra)["loss"] for model, extra in _with_draws(plain, off)]
    assert torch.equal(*losses)


def _with_draws(*models):
    for model in models:
        yield model, (torch.Generator().manual_seed(1),) if isinstance(model, Bmn) else ()


@pytest.mark.parametrize(("host", "host_config", "csa", "csa_config", "values"), HOSTS, ids=["bmn", "actionformer"])
def test_zero_last_layers_begin_as_the_host(host, host_config, csa, csa_config, values):
    plain = build(host, host_config, values)
    zero = build(csa, csa_config, values, semantics=replace(SEMANTICS, zero_initial=True))
    other = build(csa, csa_config, values, semantics=SEMANTICS)
    batch = batch_of()
    apart = []
    for one, two, three in zip(*(tensors(each(batch)) for each in (plain, zero, other)), strict=True):
        assert torch.equal(one, two)  # F * 0.5 + F * 0.5
        apart.append((one.float() - three.float()).abs().max().item())
    assert max(apart) > 1e-3


@pytest.mark.parametrize("attention", ["csa", "se", "both"])
@pytest.mark.parametrize(("host", "host_config", "csa", "csa_config", "values"), HOSTS, ids=["bmn", "actionformer"])
def test_gradients_reach_every_new_part(host, host_config, csa, csa_config, values, attention):
    model = build(csa, csa_config, values, semantics=replace(SEMANTICS, attention=attention))
    batch = batch_of()
    model.loss(model(batch), batch)["loss"].backward()
    new = list(model.attention.named_parameters())
    assert len(new) >= 4
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for _, each in new)


@pytest.mark.parametrize("fixed", [16, None])
@pytest.mark.parametrize(("squeeze", "fuse"), product(["fc_time", "avg", "conv", "attend"], ["sum", "concat"]))
def test_weights_come_from_r_and_not_from_f(squeeze, fuse, fixed):
    torch.manual_seed(0)
    module = ClassSemantics(4, 6, replace(SEMANTICS, squeeze=squeeze, fuse=fuse), snippets=fixed)
    semantics = torch.randn(2, 4, 16, requires_grad=True)
    mask = torch.ones(2, 1, 16, dtype=torch.bool)
    channel, time = module.weights(semantics, mask, 16)
    assert channel.shape == (2, 6, 1)
    assert time.shape == (2, 1, 16)
    for each in (channel, time):
        assert ((each > 0) & (each < 1)).all()
        assert torch.autograd.grad(each.sum(), semantics, retain_graph=True)[0].abs().sum() > 0
    first, second = torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    if fuse == "sum":  # linear in F: nothing of F is in the weights
        both = module(semantics, first + second, mask)
        torch.testing.assert_close(
            both, module(semantics, first, mask) + module(semantics, second, mask), atol=1e-5, rtol=1e-5
        )


def test_excitation_depends_on_f():
    torch.manual_seed(0)
    module = SemanticAttention(4, 6, replace(SEMANTICS, attention="se"))
    mask = torch.ones(1, 1, 5, dtype=torch.bool)
    first, second = torch.randn(1, 6, 5), torch.randn(1, 6, 5)
    none = torch.zeros(1, 4, 5)
    whole = module(none, first + second, mask)
    assert (whole - module(none, first, mask) - module(none, second, mask)).abs().max() > 1e-3


def test_fusions_by_hand():
    features, mask = torch.tensor([[[2.0, -4.0]]]), torch.ones(1, 1, 2, dtype=torch.bool)
    results = {}
    for fuse in ("sum", "mean", "max"):
        module = ClassSemantics(1, 1, replace(SEMANTICS, fuse=fuse, zero_initial=True), snippets=2)
        nn.init.constant_(module.time.last.bias, float(torch.logit(torch.tensor(0.25))))
        results[fuse] = module(torch.randn(1, 1, 2), features, mask)[0, 0].tolist()
    assert results["sum"] == pytest.approx([1.5, -3.0])
    assert results["mean"] == pytest.approx([0.75, -1.5])
    assert results["max"] == pytest.approx([1.0, -1.0])
    one = ClassSemantics(1, 1, replace(SEMANTICS, axes="time", zero_initial=True), snippets=2)
    assert torch.equal(one(torch.randn(1, 1, 2), features, mask), features)
    joined = ClassSemantics(1, 1, replace(SEMANTICS, fuse="concat", zero_initial=True), snippets=2)
    nn.init.ones_(joined.join.weight)
    nn.init.zeros_(joined.join.bias)
    torch.testing.assert_close(joined(torch.randn(1, 1, 2), features, mask), features)


@pytest.mark.parametrize("squeeze", ["fc_time", "avg", "conv", "attend"])
def test_padding_changes_no_weight(squeeze):
    torch.manual_seed(0)
    module = ClassSemantics(4, 6, replace(SEMANTICS, squeeze=squeeze))
    semantics = torch.randn(1, 4, 12)
    padded, noise = torch.zeros(1, 4, 20), torch.randn(1, 4, 20)
    padded[..., :12], noise[..., :12] = semantics, semantics
    mask = torch.ones(1, 1, 20, dtype=torch.bool)
    mask[..., 12:] = False
    expected = module.weights(semantics, mask[..., :12], 12)
    for each in (padded, noise):
        channel, time = module.weights(each, mask, 20)
        torch.testing.assert_close(channel, expected[0])
        torch.testing.assert_close(time[..., :10], expected[1][..., :10])


def test_other_lengths_of_f_get_interpolated_weights():
    module = ClassSemantics(4, 6, SEMANTICS)
    mask = torch.ones(1, 1, 12, dtype=torch.bool)
    assert module(torch.randn(1, 4, 12), torch.randn(1, 6, 6), mask).shape == (1, 6, 6)


def test_resampling_is_that_of_whole_sequences():
    x = torch.randn(2, 3, 10)
    mask = torch.arange(10) < torch.tensor([[10], [7]])
    found = resampled(x, mask[:, None], 16)
    for row, count in enumerate((10, 7)):
        expected = nn.functional.interpolate(x[row : row + 1, :, :count], size=16, mode="linear", align_corners=False)
        torch.testing.assert_close(found[row : row + 1], expected)


def test_time_is_not_averaged_away():
    """The same values in another order: squeeze-and-excitation on R cannot tell them apart, CSA can."""
    torch.manual_seed(0)
    semantics, mask = torch.randn(1, 4, 16), torch.ones(1, 1, 16, dtype=torch.bool)
    apart = {}
    for squeeze in ("fc_time", "avg"):
        module = ClassSemantics(4, 6, replace(SEMANTICS, squeeze=squeeze), snippets=16)
        turned = module.weights(semantics.flip(-1), mask, 16)[0]
        apart[squeeze] = float((turned - module.weights(semantics, mask, 16)[0]).abs().max().detach())
    assert apart["avg"] < 1e-6 < 1e-3 < apart["fc_time"]


@pytest.mark.parametrize("change", [{"squeeze": "max"}, {"reduction": 0}, {"time_kernel": 2}, {"attention": "x"}])
def test_settings_are_checked(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        replace(SEMANTICS, **change)
