"""Channel attention against loops; a layer of XLNet against the library's; padding."""

import math

import pytest
import torch
import torch.nn.functional as F

from tal.modules.channel_attention import ChannelBlock
from tal.modules.relative_attention import RelativeLayer


def _far_from_initial(module):
    for parameter in module.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return module.eval()


@torch.no_grad()
def test_channels_attend_to_channels_over_time():
    torch.manual_seed(0)
    block, x = _far_from_initial(ChannelBlock(6, 2)), torch.randn(1, 6, 5)
    query, key, value = (block.get_submodule(name).weight @ x[0] for name in ("query", "key", "value"))  # (C, T)
    mixed = torch.zeros(6, 5)
    for head in (range(3), range(3, 6)):
        for asking in head:
            scores = [sum(key[asking, t] * value[other, t] for t in range(5)) / math.sqrt(3) for other in head]
            shares = torch.stack(scores).softmax(0)
            mixed[asking] = sum(share * query[other] for share, other in zip(shares, head, strict=True))
    after = x + block.proj(mixed[None])
    expected = after + block.contract(F.gelu(block.expand(block.norm_mlp(after))))
    mask = torch.ones(1, 1, 5, dtype=torch.bool)
    torch.testing.assert_close(block(x, mask), expected, atol=1e-5, rtol=1e-5)


def _modules():
    return [ChannelBlock(16, 4), RelativeLayer(16, 4, hidden=24, dropout=0.1)]


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 1])
def test_padding_does_not_matter(index):
    torch.manual_seed(0)
    module, x = _far_from_initial(_modules()[index]), torch.randn(1, 16, 9)
    alone = module(x, torch.ones(1, 1, 9, dtype=torch.bool))
    padded = module(torch.cat([x, torch.randn(1, 16, 4)], dim=2), torch.arange(13)[None, None] < 9)
    torch.testing.assert_close(padded[..., :9], alone, atol=1e-5, rtol=1e-5)
    assert not padded[..., 9:].any()


@torch.no_grad()
def test_the_layer_is_xlnets():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.XLNetConfig(
        vocab_size=8, d_model=16, n_layer=1, n_head=4, d_inner=24, ff_activation="gelu", attn_type="bi", untie_r=True
    )
    theirs = _far_from_initial(transformers.XLNetModel(config))
    attention, maps = theirs.layer[0].rel_attn, theirs.layer[0].ff
    weights = {"proj.weight": attention.o.flatten(1)}
    for ours, name in (("query", "q"), ("key", "k"), ("value", "v"), ("distance", "r")):
        weights[f"{ours}.weight"] = getattr(attention, name).flatten(1).T
    weights |= {"content_bias": attention.r_w_bias[:, None], "distance_bias": attention.r_r_bias[:, None]}
    parts = {
        "norm_attention": attention.layer_norm,
        "expand": maps.layer_1,
        "contract": maps.layer_2,
        "norm_mlp": maps.layer_norm,
    }
    for ours, part in parts.items():
        weights |= {f"{ours}.{name}": value for name, value in part.state_dict().items()}
    layer = RelativeLayer(16, 4, hidden=24, dropout=0.1).eval()
    layer.load_state_dict(weights)
    x, mask = torch.randn(2, 16, 13), torch.arange(13) < torch.tensor([13, 9])[:, None, None]
    expected = theirs(inputs_embeds=x.transpose(1, 2), attention_mask=mask[:, 0].long())[0].transpose(1, 2)
    torch.testing.assert_close(layer(x, mask), expected * mask, atol=1e-5, rtol=1e-5)
