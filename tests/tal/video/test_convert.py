"""From decoded frames to RGB in the wanted size."""

from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from tal.errors import ConfigError
from tal.video import Resize, open_video
from tal.video.resize import plan


def sizes(height, width, **resize):
    found = plan(height, width, Resize(**resize))
    return found.scaled, (found.top, found.left, found.height, found.width)


@pytest.mark.parametrize("height", [17, 240, 241, 720])
@pytest.mark.parametrize("width", [23, 320, 427, 1280])
@pytest.mark.parametrize("crop", [None, (9, 11), (16, 16)])
def test_sizes_and_crops_are_those_of_torchvision(height, width, crop):
    picture = torch.arange(height * width, dtype=torch.float32).reshape(1, height, width)
    resized = v2.functional.resize(picture, [16], antialias=True)
    scaled, kept = sizes(height, width, short_side=16, crop=crop)
    assert scaled == tuple(resized.shape[1:])
    top, left, h, w = kept
    expected = resized if crop is None else v2.functional.center_crop(resized, list(crop))
    assert torch.equal(resized[:, top : top + h, left : left + w], expected)


def test_no_resize_is_the_size_as_shown():
    assert sizes(48, 64) == ((48, 64), (0, 0, 48, 64))
    assert sizes(48, 64, exact=(10, 20)) == ((10, 20), (0, 0, 10, 20))
    assert sizes(48, 64, exact=(10, 20), crop=(4, 4)) == ((10, 20), (3, 8, 4, 4))


CONTRADICTIONS = [{"short_side": 16, "exact": (8, 8)}, {"short_side": 16, "crop": (17, 4)}, {"short_side": 0}]


@pytest.mark.parametrize("settings", [*CONTRADICTIONS, {"exact": (0, 4)}, {"crop": (480, 64)}])
def test_contradictions_are_refused(make_video, tmp_path, settings):
    path = make_video(tmp_path / "a.mp4", frames=2)
    with pytest.raises(ConfigError):
        open_video(path, resize=Resize(**settings))


@pytest.fixture
def upright(make_video, tmp_path):
    """The pixels of an ordinary video's first frame."""
    with open_video(make_video(tmp_path / "upright.mp4", frames=2)) as reader:
        return reader.at([0.0]).pixels[0]


@pytest.mark.parametrize("counterclockwise", [90, 180, -90])
def test_the_turn_is_applied(make_video, tmp_path, upright, counterclockwise):
    with open_video(make_video(tmp_path / "a.mp4", frames=2, rotation=counterclockwise)) as reader:
        assert np.array_equal(reader.at([0.0]).pixels[0], np.rot90(upright, counterclockwise // 90))


@pytest.mark.parametrize("rotation", [0, 90])
def test_the_aspect_is_applied_and_resizing_counts_from_the_picture_as_shown(make_video, tmp_path, rotation):
    path = make_video(tmp_path / "a.mp4", frames=2, aspect=Fraction(2, 1), rotation=rotation)
    with open_video(path) as reader:
        assert reader.at([0.0]).pixels.shape == ((1, 128, 48, 3) if rotation else (1, 48, 128, 3))
    with open_video(path, resize=Resize(short_side=24)) as reader:
        assert reader.at([0.0]).pixels.shape == ((1, 64, 24, 3) if rotation else (1, 24, 64, 3))


def test_colours_survive(make_video, tmp_path):
    """Flat areas come back within coding error, whatever the matrix's default."""
    with open_video(make_video(tmp_path / "a.mp4", frames=1, pix_fmt="yuv444p")) as reader:
        pixels = reader.at([0.0]).pixels[0]
    rows, columns = np.mgrid[20:48, :64]
    expected = np.stack([columns * 255 // 64, rows * 255 // 48, columns % 256], axis=2)
    assert np.abs(pixels[20:].astype(int) - expected).max() <= 12


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_crop_is_cut_from_the_scaled_picture(make_video, tmp_path, mode, interpolation):
    path = make_video(tmp_path / "a.mp4", frames=1, rotation=90)
    scaling = {"short_side": 24, "mode": mode, "interpolation": interpolation}
    with open_video(path, resize=Resize(**scaling)) as reader:
        whole = reader.at([0.0]).pixels[0]
    with open_video(path, resize=Resize(**scaling, crop=(20, 10))) as reader:
        assert np.array_equal(reader.at([0.0]).pixels[0], whole[6:26, 7:17])


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_reference_is_torchvision_on_the_full_picture(make_video, tmp_path, upright, interpolation):
    resize = Resize(short_side=20, crop=(20, 20), mode="reference", interpolation=interpolation)
    with open_video(tmp_path / "upright.mp4", resize=resize) as reader:
        found = reader.at([0.0]).pixels[0]
    picture = torch.from_numpy(upright.copy()).permute(2, 0, 1)
    mode = v2.InterpolationMode(interpolation)
    transform = v2.Compose([v2.Resize(20, interpolation=mode, antialias=True), v2.CenterCrop(20)])
    assert np.array_equal(found, transform(picture).permute(1, 2, 0).numpy())


def features(path, network, resize, clips, frames):
    """(clips, C) of 15 frames per second; a clip of one frame has no time axis."""
    mean, std = torch.tensor([0.43216, 0.394666, 0.37645]), torch.tensor([0.22803, 0.22145, 0.216989])
    with open_video(path, resize=resize) as reader:
        batches = list(islice(reader.sampled(15, frames), 0, 8 * clips, 8))
    pixels = torch.stack([torch.from_numpy(each.pixels) for each in batches]).float() / 255
    inputs = ((pixels - mean) / std).permute(0, 4, 1, 2, 3)
    with torch.no_grad():
        return network(inputs if frames > 1 else inputs[:, :, 0])


def agreement(path, network, interpolation, clips, frames):
    """Least cosine between both modes' features of a clip: plain, and after subtracting the mean over clips.

    Features of a network with random weights are nearly parallel whatever it sees; the centred cosine is what tells.
    """
    resize = Resize(short_side=128, crop=(112, 112), interpolation=interpolation)
    one, other = (features(path, network, replace(resize, mode=mode), clips, frames) for mode in ("fast", "reference"))
    cosine = torch.nn.functional.cosine_similarity
    mean = other.mean(dim=0)
    return float(cosine(one, other).min()), float(cosine(one - mean, other - mean).min())


@pytest.mark.parametrize(
    ("name", "interpolation"), [("mmaction2__demo.mp4", "bilinear"), ("sport-searcher__baseball.mp4", "bicubic")]
)
def test_fast_and_reference_give_nearly_the_same_features(cases, name, interpolation):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network = resnet18(weights=None).eval()
    network.fc = torch.nn.Identity()
    plain, centred = agreement(cases / "videos" / name, network, interpolation, clips=12, frames=1)
    print(f"{name} {interpolation}: cosine {plain:.6f}, centred {centred:.4f}")
    assert plain > 0.9999
    assert centred > 0.96


@pytest.mark.full
@pytest.mark.parametrize("name", ["mmaction2__demo.mp4", "sport-searcher__baseball.mp4"])
def test_the_same_with_a_video_network(cases, name):
    from torchvision.models.video import r3d_18

    torch.manual_seed(0)
    network = r3d_18(weights=None).eval()
    network.fc = torch.nn.Identity()
    plain, centred = agreement(cases / "videos" / name, network, "bilinear", clips=2, frames=8)
    print(f"{name} r3d_18: cosine {plain:.6f}, centred {centred:.4f}")
    assert plain > 0.9999
    assert centred > 0.96
