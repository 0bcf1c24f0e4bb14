"""The set-prediction transformer against torch's own layers; what padding and positions do."""

import math

import pytest
import torch
from torch import nn

from tal.errors import ConfigError
from tal.modules.transformer import DetrDecoder, DetrEncoder, InputProjection, LearnedPositions, SinePositions

WIDTH, HEADS, HIDDEN = 8, 2, 12


@pytest.mark.parametrize("pre_norm", [False, True])
def test_encoder_without_positions_is_torchs(pre_norm):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, 0.0, batch_first=True, norm_first=pre_norm)
    ours = DetrEncoder(WIDTH, layers=1, heads=HEADS, hidden=HIDDEN, dropout=0.0, pre_norm=pre_norm)
    known = {"self_attn": "attention.heads", "linear1": "mlp.expand", "linear2": "mlp.contract"}
    known |= {"norm1": "norm_attention", "norm2": "norm_mlp"}
    weights = {}
    for name, value in layer.state_dict().items():
        first, _, rest = name.partition(".")
        weights[f"layers.0.{known[first]}.{rest}"] = value
    ours.load_state_dict(weights, strict=False)
    x, mask = torch.randn(2, 5, WIDTH), torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    expected = layer.train()(x, src_key_padding_mask=~mask)
    expected = nn.functional.layer_norm(expected, (WIDTH,)) if pre_norm else expected
    got = ours.train()(x, torch.zeros_like(x), mask)
    torch.testing.assert_close(got[mask], expected[mask])


@pytest.mark.parametrize("pre_norm", [False, True])
def test_padding_changes_nothing(pre_norm):
    torch.manual_seed(1)
    shape = {"heads": HEADS, "hidden": HIDDEN, "dropout": 0.0, "pre_norm": pre_norm}
    encoder, decoder = (part(WIDTH, layers=2, **shape).eval() for part in (DetrEncoder, DetrDecoder))
    x, queries, positions = torch.randn(1, 4, WIDTH), torch.randn(3, WIDTH), torch.randn(1, 4, WIDTH)
    mask = torch.ones(1, 4, dtype=torch.bool)
    memory = encoder(x, positions, mask)
    states = decoder(queries, memory, positions, mask)
    assert states.shape == (2, 1, 3, WIDTH)
    longer = [nn.functional.pad(each, (0, 0, 0, 3), value=7.0) for each in (x, positions)]
    wide = nn.functional.pad(mask, (0, 3))
    padded = encoder(*longer, wide)
    torch.testing.assert_close(padded[:, :4], memory, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(decoder(queries, padded, longer[1], wide), states, rtol=1e-4, atol=1e-5)


def test_sine_positions():
    mask = torch.tensor([[True, True, True, False]])
    table = SinePositions(4)(mask)[0]
    angle = 2 * math.pi / 3
    expected = [math.sin(angle), math.cos(angle), math.sin(angle / 100), math.cos(angle / 100)]
    assert table[0].tolist() == pytest.approx(expected, abs=1e-4)
    equal = SinePositions(4, "equal")(mask)[0]
    assert equal[0].tolist() == pytest.approx([math.sin(angle), math.cos(angle)] * 2, abs=1e-4)
    with pytest.raises(ConfigError, match="even"):
        SinePositions(5)


def test_learned_positions_and_projection():
    positions = LearnedPositions(WIDTH, 6, dropout=0.0)
    x = torch.randn(2, 4, WIDTH)
    expected = nn.functional.layer_norm(x + positions.table.weight[:4], (WIDTH,))
    torch.testing.assert_close(positions(x), expected)
    one = InputProjection(3, WIDTH, layers=1, dropout=0.0)
    assert (one(torch.randn(4, 5, 3)) < 0).any()  # no ReLU after the last layer
