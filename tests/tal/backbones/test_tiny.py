"""The network whose weights ship with the package."""

import re
from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn import functional

from tal.annotations import read_annotations
from tal.backbones import load_backbone, tiny
from tal.playground import generate
from tal.video import open_video

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


def test_it_sees_what_changes_and_nothing_else(backbone):
    still = clips(2)[:, :1].expand(-1, tiny.CLIP_FRAMES, -1, -1, -1)
    first, second = backbone(still)
    torch.testing.assert_close(first, second)
    brighter = clips() + 0.5
    torch.testing.assert_close(backbone(brighter), backbone(clips()), atol=1e-3, rtol=1e-3)
    assert (backbone(clips()) - first).norm(dim=1).min() > 1


def test_changes_are_those_of_brightness_in_the_unit_range():
    pixels = torch.zeros(1, 2, 3, *tiny.SIZE)
    pixels[:, 1] = 0.5  # half as bright as can be, in every channel
    normalised = (pixels - 0.5) / 0.25
    maps = tiny.changes(normalised)
    assert maps.shape == (1, 1, tiny.SIZE[0] // 2, tiny.SIZE[1] // 2)
    torch.testing.assert_close(maps, torch.full_like(maps, 1 + 20 * 0.5).log())


def test_the_weights_tell_the_actions_of_videos_they_have_not_seen(backbone, tmp_path):
    """The instance whose features are most alike is one of the same action."""
    annotations = read_annotations(generate(tmp_path / "set", seed=17, videos=8, split="testing", workers=1))
    clips_of, labels = [], []
    for record in annotations.videos.values():
        with open_video(tmp_path / "set" / record.path, resize=backbone.spec.resize) as reader:
            for start_s, end_s, label in zip(
                record.instances.start_s, record.instances.end_s, record.instances.label, strict=True
            ):
                middle_s = (start_s + end_s - tiny.CLIP_FRAMES / tiny.FPS) / 2
                frames = reader.at(np.maximum(middle_s + np.arange(tiny.CLIP_FRAMES) / tiny.FPS, 0))
                clips_of.append(torch.from_numpy(frames.pixels).permute(0, 3, 1, 2).float() / 255)
                labels.append(int(label))
    with torch.inference_mode():
        features = functional.normalize(backbone((torch.stack(clips_of) - 0.5) / 0.25), dim=1)
    alike = features @ features.T - 9 * torch.eye(len(labels))
    nearest = torch.tensor(labels)[alike.argmax(dim=1)]
    assert (nearest == torch.tensor(labels)).float().mean() > 0.6  # by chance: 1 in 13
