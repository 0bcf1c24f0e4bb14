"""I3D: its padding, its layers by hand, and the checkpoints of both public ports."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.backbones import load_backbone
from tal.backbones.i3d import I3DNetwork, _padded, load_weights
from tal.errors import TalError

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from i3d_names import hassony2_name


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = I3DNetwork().eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return made


@pytest.mark.parametrize("size", [7, 8, 13, 16])
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 1), (3, 2), (2, 2), (1, 1)])
def test_same_padding_gives_the_rounded_up_length(size, kernel, stride):
    padded = _padded(torch.ones(1, 1, size, size, size), (kernel,) * 3, (stride,) * 3)
    lengths = {(length - kernel) // stride + 1 for length in padded.shape[2:]}
    assert lengths == {-(-size // stride)}
    before = int(padded[0, 0, :, padded.shape[3] // 2, padded.shape[4] // 2].argmax())
    assert before == (padded.shape[2] - size) // 2


def test_layers_are_those_of_the_published_layout(network):
    names = [name for name in network.state_dict() if not name.endswith("num_batches_tracked")]
    assert len(names) == 285
    assert "Mixed_4f.b2b.conv3d.weight" in names
    assert network.state_dict()["Mixed_5c.b1b.conv3d.weight"].shape == (384, 192, 3, 3, 3)


@pytest.mark.parametrize("port", ["piergiaj", "hassony2"])
def test_checkpoints_of_both_ports_load(network, port, tmp_path):
    state = {name: value for name, value in network.state_dict().items() if "num_batches" not in name}
    if port == "hassony2":
        state = {hassony2_name(name): value for name, value in state.items()}
        state["conv3d_0c_1x1.conv3d.weight"] = torch.zeros(400, 1024, 1, 1, 1)
    else:
        state["logits.conv3d.weight"] = torch.zeros(400, 1024, 1, 1, 1)
    torch.save(state, tmp_path / "i3d.pt")
    other = I3DNetwork().eval()
    load_weights(other, tmp_path / "i3d.pt")
    clip = torch.rand(1, 3, 8, 64, 64) * 2 - 1
    with torch.inference_mode():
        assert torch.equal(other(clip), network(clip))


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save({"conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pt")
    with pytest.raises(TalError, match="does not fit"):
        load_weights(I3DNetwork(), tmp_path / "resnet.pt")


def test_features_depend_on_every_frame_and_batching_changes_nothing():
    backbone = load_backbone("i3d", weights="random")
    clips = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 16, 3, 64, 64)).astype(np.float32))
    with torch.inference_mode():
        both = backbone(clips)
        changed = clips.clone()
        changed[1, -1] += 0.5
        assert both.shape == (2, backbone.spec.width)
        largest = float(both.abs().max())
        assert float((backbone(clips[:1]) - both[:1]).abs().max()) < 1e-4 * largest
        assert float((backbone(changed)[1] - both[1]).abs().max()) > 1e-2 * largest


def test_tokens_and_layers_come_by_name():
    spec = load_backbone("i3d", weights="random", tokens=True, layers=["Mixed_4f", "features"]).spec
    assert [(each.name, each.width, each.tokens) for each in spec.layers] == [
        ("Mixed_4f", 832, 4 * 14 * 14),
        ("features", 1024, 2 * 7 * 7),
    ]


def test_no_weights_by_name():
    with pytest.raises(TalError, match="i3d has no weights"):
        load_backbone("i3d")
    with pytest.raises(TalError, match="unknown I3D stream"):
        load_backbone("i3d:depth", weights="random")
