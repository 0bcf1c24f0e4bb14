"""Optical flow: every pair once, the same maps however the frames come, and I3D's flow stream on them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.backbones import load_backbone
from tal.backbones.base import Backbone, BackboneSpec
from tal.backbones.flow import BOUND_PX, Flow, FlowStage, load_flow
from tal.backbones.i3d import I3DNetwork, load_weights
from tal.errors import TalError
from tal.features.extractor import extract_video, feature_spec
from tal.video.base import Resize

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))
from i3d_names import hassony2_name


class PairNetwork(torch.nn.Module):
    """In RAFT's place: the flow of a pair is the two frames' numbers, which the test reads back; counts the pairs."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1), requires_grad=False)
        self.pairs, self.shapes = [], set()

    def forward(self, first, second, num_flow_updates):
        self.shapes.add(tuple(first.shape[2:]))
        assert num_flow_updates >= 1
        numbers = [frames[:, :1].mean(dim=(2, 3), keepdim=True) for frames in (first, second)]
        self.pairs += zip(*([round(float(value), 3) for value in each.flatten()] for each in numbers), strict=True)
        flow = torch.cat(numbers, dim=1).expand(-1, -1, *first.shape[2:])
        return [torch.full_like(flow, torch.nan), flow]


def pair_flow():
    return Flow(PairNetwork(), {"flow": "pairs"}).eval()


def numbered(numbers, height=24, width=32):
    """Frames of one value each."""
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 3, height, width)


def fed(stage, frames, lengths):
    parts = [stage.feed(part) for part in torch.split(frames, lengths)]
    return torch.cat([*parts, stage.end()])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_one_map_per_frame_and_each_pair_once_however_frames_come(lengths, pairs):
    count = sum(lengths)
    flow = pair_flow()
    maps = fed(FlowStage(flow, (16, 20), pairs=pairs), numbered(list(range(count))), lengths)
    following = [min(number + 1, count - 1) for number in range(count)]
    assert maps.shape == (count, 2, 16, 20)
    assert (maps[:, :, 0, 0] * BOUND_PX).round().tolist() == [
        [min(number, 20), min(after, 20)] for number, after in enumerate(following)
    ]
    filled = -(-count // pairs) * pairs
    assert flow.network.pairs[:count] == [(float(a), float(b)) for a, b in enumerate(following)]
    assert flow.network.pairs[count:] == [(float(count - 1),) * 2] * (filled - count)


def test_flow_is_cut_to_20_pixels_and_scaled_to_one():
    maps = fed(FlowStage(pair_flow(), (24, 32), pairs=1), numbered([-30.0, -10, 5, 20, 90]), [5])
    assert maps[:, 0, 0, 0].tolist() == [-1, -0.5, 0.25, 1, 1]


@pytest.mark.parametrize("size", [(24, 32), (128, 128), (130, 260), (256, 341)])
def test_frames_are_padded_to_what_raft_takes_and_cut_back(size):
    network = PairNetwork()

    def ramp(first, second, num_flow_updates):
        network(first, second, num_flow_updates)
        return [first[:, :2]]

    flow = Flow(network, {})
    flow.network = torch.nn.Module()
    flow.network.forward = ramp
    frames = torch.rand(1, 3, *size)
    assert torch.equal(flow(frames, frames), frames[:, :2])
    (padded,) = network.shapes
    assert all(length % 8 == 0 and length >= 128 for length in padded)


def test_maps_are_of_the_middle_of_the_whole_frame():
    network = torch.nn.Module()
    network.forward = lambda first, second, num_flow_updates: [first[:, :2]]
    network.register_parameter("weight", torch.nn.Parameter(torch.zeros(1)))
    frames = torch.rand(2, 3, 32, 48)
    maps = FlowStage(Flow(network, {}), (16, 20), pairs=2)
    assert torch.allclose(fed(maps, frames, [2]) * BOUND_PX, frames[:, :2, 8:24, 14:34])


class PairBackbone(Backbone):
    """Clips of `FlowStage` maps; features: the frames' numbers behind each map of the clip."""

    def __init__(self):
        super().__init__()
        self.spec = BackboneSpec(
            name="pairs",
            weights="none",
            weights_hash="0",
            clip_frames=4,
            fps=10.0,
            stride_s=0.2,
            resize=Resize(exact=(48, 64)),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            width=4,
            stage={"flow": "pairs"},
        )
        self.flow = pair_flow()

    def stage(self):
        return FlowStage(self.flow, (48, 64), pairs=3)

    def forward(self, clips):
        return clips[:, :, 1, 0, 0] * BOUND_PX


def test_extraction_computes_no_pair_twice_where_clips_overlap(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", frames=100, fps=25)
    backbone = PairBackbone()
    back = extract_video(path, backbone)
    sampled = 40  # 4 s at 10 per second
    assert back.grid.count == (sampled - 4) // 2 + 1
    pairs = backbone.flow.network.pairs
    assert len(pairs) == -(-sampled // 3) * 3
    assert len(set(pairs[:sampled])) == sampled
    second = [after for _, after in pairs[:sampled]]
    rows = [second[first : first + 4] for first in range(0, sampled - 3, 2)]
    np.testing.assert_allclose(back.features, rows, atol=2e-3)
    assert feature_spec(backbone.spec).transform["flow"] == "pairs"


def test_raft_of_torchvision_gives_finite_maps_on_a_video_of_one_frame():
    flow = load_flow("raft_small", "random")
    flow.updates = 2
    frames = torch.rand(3, 3, 48, 64) * 2 - 1
    with torch.inference_mode():
        one = fed(FlowStage(flow, (48, 64)), frames[:1], [1])
        three = fed(FlowStage(flow, (48, 64)), frames, [2, 1])
        by_hand = flow(frames[:1], frames[1:2])
    assert one.shape == (1, 2, 48, 64)
    assert torch.isfinite(three).all()
    assert float(three.abs().max()) <= 1
    assert torch.allclose(three[:1] * BOUND_PX, by_hand.clamp(-20, 20), atol=1e-5)


def test_weights_of_raft_from_a_file(tmp_path):
    flow = load_flow("raft_small", "random")
    state = {name: value + 1 for name, value in flow.network.state_dict().items()}
    torch.save(state, tmp_path / "raft.pth")
    loaded = load_flow("raft_small", tmp_path / "raft.pth")
    assert loaded.facts == {"flow": "raft_small", "flow_weights": "file", "flow_updates": 12}
    assert all(torch.equal(value, state[name]) for name, value in loaded.network.state_dict().items())
    with pytest.raises(TalError, match="does not fit"):
        load_flow("raft_large", tmp_path / "raft.pth")
    with pytest.raises(TalError, match="unknown optical flow"):
        load_flow("tvl1", "random")


@pytest.mark.parametrize("port", ["piergiaj", "hassony2"])
def test_checkpoints_of_the_flow_stream_load(port, tmp_path):
    torch.manual_seed(1)
    theirs = {name: value for name, value in I3DNetwork(2).state_dict().items() if "num_batches" not in name}
    assert theirs["Conv3d_1a_7x7.conv3d.weight"].shape == (64, 2, 7, 7, 7)
    saved = dict(theirs)
    if port == "hassony2":
        saved = {hassony2_name(name): value for name, value in theirs.items()}
    torch.save(saved, tmp_path / "flow.pt")
    network = I3DNetwork(2)
    load_weights(network, tmp_path / "flow.pt")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in theirs.items())
    with pytest.raises(TalError, match="does not fit"):
        load_backbone("i3d:rgb", weights=tmp_path / "flow.pt")
    backbone = load_backbone("i3d:flow/raft_small", weights=tmp_path / "flow.pt", flow_weights="random")
    assert backbone.spec.name == "i3d:flow/raft_small"
    assert backbone.spec.weights == "file"
    assert feature_spec(backbone.spec).transform["flow_weights"] == "random"
    assert backbone(backbone.blank()).shape == (1, 1024)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(TalError, match="with i3d:flow"):
        load_backbone("i3d:rgb", weights="random", flow_weights="random")
    with pytest.raises(TalError, match="tiny takes no weights of optical flow"):
        load_backbone("tiny", flow_weights="random")
    with pytest.raises(TalError, match="unknown I3D stream"):
        load_backbone("i3d:flow/tvl1", weights="random")


@pytest.mark.full
def test_both_streams_of_a_video_have_the_same_snippets(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", frames=26, fps=25, size=(96, 64))
    colour = extract_video(path, load_backbone("i3d", weights="random"))
    flow = extract_video(path, load_backbone("i3d:flow/raft_small", weights="random"))
    assert colour.grid == flow.grid
    assert colour.features.shape == flow.features.shape == (2, 1024)
    assert np.isfinite(flow.features).all()
