"""The network whose weights ship with the package."""

import re
from importlib.resources import files

import pytest
import torch
from safetensors import safe_open

from tal.backbones import load_backbone, tiny

WEIGHTS = files("tal.backbones").joinpath("tiny.safetensors")


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny")


def clips(count=3, frames=tiny.CLIP_FRAMES):
    return torch.randn(count, frames, 3, *tiny.SIZE, generator=torch.Generator().manual_seed(0))


def test_it_loads_without_a_download_and_is_small(backbone):
    assert backbone.spec.weights == "shipped"
    assert len(WEIGHTS.read_bytes()) < 2**20
    features = backbone(clips())
    assert features.shape == (3, backbone.spec.width)
    assert torch.isfinite(features).all()


def test_the_weights_say_how_they_were_made_and_stay_off_the_seeds_of_demo_and_tests():
    with safe_open(str(WEIGHTS), "pt") as opened:
        about = opened.metadata()
    assert about["made by"].startswith("python tools/train_tiny.py")
    seeds = [int(number) for number in re.findall(r"\d+", about["playground seeds"])]
    assert len(seeds) == 2
    assert min(seeds) >= 1000


def test_clips_cut_out_of_a_longer_run_of_frames_give_the_same(backbone):
    network, run = backbone.network, clips(1, 14)
    frames = network.frames(run).unfold(2, tiny.CLIP_FRAMES - 1, 1).transpose(1, 2)
    together = network.summary(frames.flatten(0, 1))
    alone = network(torch.cat([run[:, first : first + tiny.CLIP_FRAMES] for first in range(len(together))]))
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_a_figure_counts_wherever_it_stands(backbone):
    picture = torch.zeros(1, tiny.CLIP_FRAMES, 3, *tiny.SIZE)
    left, right, low = picture.clone(), picture.clone(), picture.clone()
    left[..., 24:48, 12:24], right[..., 24:48, 60:72], low[..., 44:68, 12:24] = 1, 1, 1
    at_left, at_right, at_low = (backbone(clip) for clip in (left, right, low))
    assert (at_left - at_right).norm() < 0.3 * (at_left - at_low).norm()
