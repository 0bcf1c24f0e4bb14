"""timm's image models: its own preprocessing, its own pooling, tokens without prefix, weights in its layout."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from tal.backbones import load_backbone
from tal.errors import TalError
from tal.features.extractor import extract_video
from tal.video import open_video

NAMES = ["test_vit", "test_convnext", "test_resnet", "test_mambaout"]


def pictures(backbone, count=2):
    size = backbone.spec.resize.crop
    return torch.randn(count, 1, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_features_are_the_models_own_before_its_classifier(name):
    backbone = load_backbone(f"timm:{name}", weights="random")
    clips = pictures(backbone)
    features = backbone(clips)
    network = backbone.network
    assert features.shape == (2, backbone.spec.width)
    with torch.no_grad():
        whole = network.forward_head(network.forward_features(clips[:, 0]), pre_logits=True)
    torch.testing.assert_close(features, whole)
    assert (backbone.spec.clip_frames, backbone.spec.stride_s, backbone.spec.weights) == (1, 0.5, "random")
    assert float((features[0] - features[1]).abs().max()) > 1e-3


@pytest.mark.parametrize(("name", "tokens", "width"), [("test_vit", 100, 64), ("test_convnext", 25, 64)])
def test_tokens_are_places_in_rows_without_class_tokens(name, tokens, width):
    backbone = load_backbone(f"timm:{name}", weights="random", tokens=True)
    clips = pictures(backbone)
    given = backbone(clips)
    assert given.shape == (2, tokens, width) == (2, backbone.spec.tokens, backbone.spec.width)
    with torch.no_grad():
        whole = backbone.inner.network.forward_features(clips[:, 0])
    theirs = whole.flatten(2).transpose(1, 2) if whole.ndim == 4 else whole[:, 1:]
    torch.testing.assert_close(given, theirs)


def test_maps_with_channels_last_are_read_as_such():
    backbone = load_backbone("timm:test_mambaout", weights="random", tokens=True)
    size = backbone.spec.resize.crop[0]
    clips = torch.randn(1, 1, 3, size, size)
    with torch.no_grad():
        volume = backbone.inner.network.forward_features(clips[:, 0])
    torch.testing.assert_close(backbone(clips)[0, volume.shape[2] + 1], volume[0, 1, 1])


def test_layers_of_a_vit_in_half_precision():
    settings = {"weights": "random", "layers": ("blocks.0", "blocks.1", "features")}
    wide = load_backbone("timm:test_vit", **settings)
    narrow = load_backbone("timm:test_vit", **settings, dtype="bfloat16")
    clips = pictures(wide)
    exact, near = wide(clips), narrow(clips)
    assert list(exact) == ["blocks.0", "blocks.1", "features"]
    for name in exact:
        error = float((near[name] - exact[name]).norm() / exact[name].norm())
        assert 0 < error < 2e-2, (name, error)
    assert narrow.spec.weights_hash == wide.spec.weights_hash


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2.lvd142m", "vit_small_patch16_dinov3.lvd1689m"])
def test_sizes_are_those_of_the_published_weights(name, monkeypatch):
    monkeypatch.setattr("tal.backbones.timm._network", lambda *_: (torch.nn.Linear(1, 1), "random"))
    monkeypatch.setattr("tal.backbones.timm._width", lambda *_: 384)
    spec = load_backbone(f"timm:{name.partition('.')[0]}", weights="random").spec
    published = timm.get_pretrained_cfg(name)
    assert spec.name == f"timm:{name}"
    assert (spec.resize.short_side, spec.resize.crop) == (published.input_size[1], published.input_size[1:])
    assert (spec.mean, spec.std, spec.resize.interpolation) == (published.mean, published.std, published.interpolation)


@pytest.mark.parametrize("name", ["test_resnet", "vit_base_patch16_siglip_224"])
def test_reference_frames_are_those_of_timms_own_transform(name, tmp_path, make_video, monkeypatch):
    from PIL import Image

    monkeypatch.setattr("tal.backbones.timm._network", lambda *_: (torch.nn.Linear(1, 1), "random"))
    monkeypatch.setattr("tal.backbones.timm._width", lambda *_: 3)
    backbone = load_backbone(f"timm:{name}", weights="random", resize_mode="reference", stride_s=1.0)
    seen = []
    backbone.forward = lambda clips: (seen.append(clips), clips.new_zeros(len(clips), 3))[1]
    path = make_video(tmp_path / "v.mp4", frames=2, fps=1, size=(400, 300))
    extract_video(path, backbone)
    with open_video(path) as reader:
        pixels = np.asarray(next(reader.batches(2)).pixels)
    config = timm.data.resolve_data_config({}, pretrained_cfg=timm.get_pretrained_cfg(name).to_dict())
    theirs = timm.data.create_transform(**config)(Image.fromarray(pixels[0]))
    levels = (seen[0][0, 0] - theirs).abs() * torch.tensor(backbone.spec.std).reshape(3, 1, 1) * 255
    assert levels.max() < 1.01
    assert levels.mean() < 0.2


@pytest.mark.parametrize("classes", [0, 10])
def test_weights_from_a_file_with_its_classifier_or_without(tmp_path, classes):
    torch.manual_seed(3)
    other = timm.create_model("test_vit", num_classes=classes).eval()
    save_file(other.state_dict(), tmp_path / "weights.safetensors")
    backbone = load_backbone("timm:test_vit", weights=tmp_path / "weights.safetensors")
    clips = pictures(backbone)
    with torch.no_grad():
        theirs = other.forward_head(other.forward_features(clips[:, 0]), pre_logits=True)
    torch.testing.assert_close(backbone(clips), theirs)
    assert backbone.spec.weights == "file"
    with pytest.raises(TalError, match="does not fit"):
        load_backbone("timm:test_vit3", weights=tmp_path / "weights.safetensors")


def test_names_that_are_not_there():
    with pytest.raises(TalError, match="did you mean vit_small_patch14_dinov2"):
        load_backbone("timm:vit_smal_patch14_dinov2")
    with pytest.raises(TalError, match="unknown timm weights of timm:resnet50 'a0_in1k'"):
        load_backbone("timm:resnet50.a0_in1k")
    with pytest.raises(TalError, match="positive"):
        load_backbone("timm:test_vit", weights="random", stride_s=-1.0)


def test_without_the_library_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(TalError, match="need the library timm") as caught:
        load_backbone("timm:test_vit", weights="random")
    assert "pip install 'tal[timm]'" in str(caught.value)
