"""Backbones by name: what each wants to see, its weights and their hash, and clear words where something is missing."""

import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from tal.backbones import load_backbone
from tal.backbones.weights import hash_of
from tal.errors import ConfigError, TalError
from tal.features.extractor import extract_video
from tal.video import open_video

SMALL = "open_clip:ViT-S-32"


def clips_for(backbone, count=1):
    spec = backbone.spec
    height, width = spec.resize.crop or spec.resize.exact
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, spec.clip_frames, 3, height, width, generator=generator)


@pytest.fixture(scope="module")
def r3d():
    return load_backbone("torchvision:r3d_18", weights="random")


def test_a_torchvision_network_gives_its_pooled_vector(r3d):
    from torchvision.models.video import r3d_18

    clips = clips_for(r3d)
    features = r3d(clips)
    assert features.shape == (1, r3d.spec.width) == (1, 512)
    whole = r3d_18(weights=None).eval()
    whole.load_state_dict(r3d.network.state_dict(), strict=False)
    pooled = {}
    whole.avgpool.register_forward_hook(lambda _, __, out: pooled.update(out=out.flatten(1)))
    with torch.no_grad():
        whole(clips.transpose(1, 2))
    torch.testing.assert_close(features, pooled["out"])


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t"])
def test_sizes_are_those_of_the_published_transforms(name, monkeypatch):
    from torchvision import models

    monkeypatch.setattr("tal.backbones.torchvision._network", lambda *_: (torch.nn.Linear(1, 1), "random"))
    spec = load_backbone(f"torchvision:{name}", weights="random").spec
    transforms = models.get_model_weights(name).DEFAULT.transforms()
    video = torch.randint(0, 255, (spec.clip_frames, 3, 300, 400), dtype=torch.uint8)
    assert transforms(video).shape[-2:] == spec.resize.crop
    assert spec.resize.exact in (None, tuple(transforms.resize_size))
    assert (spec.resize.short_side is None) == (len(transforms.resize_size) == 2)
    assert (list(spec.mean), list(spec.std)) == (transforms.mean, transforms.std)


@pytest.mark.parametrize("name", ["r3d_18", "mvit_v2_s"])
def test_reference_frames_are_those_of_the_published_transforms(name, tmp_path, make_video, monkeypatch):
    from torchvision import models

    monkeypatch.setattr("tal.backbones.torchvision._network", lambda *_: (torch.nn.Linear(1, 1), "random"))
    backbone = load_backbone(f"torchvision:{name}", weights="random", resize_mode="reference")
    spec = backbone.spec
    seen = []
    backbone.forward = lambda clips: (seen.append(clips), clips.new_zeros(len(clips), spec.width))[1]
    path = make_video(tmp_path / "v.mp4", frames=spec.clip_frames, fps=spec.fps, size=(400, 300))
    extract_video(path, backbone)
    with open_video(path) as reader:
        pixels = torch.from_numpy(next(reader.batches(spec.clip_frames)).pixels)
    published = models.get_model_weights(name).DEFAULT.transforms()(pixels.permute(0, 3, 1, 2))
    levels = (seen[0][0] - published.transpose(0, 1)).abs() * torch.tensor(spec.std).reshape(3, 1, 1) * 255
    assert levels.max() < 1.01  # torchvision's two resize implementations round differently
    assert levels.mean() < 0.1


@pytest.mark.full
@pytest.mark.parametrize("name", ["mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_b"])
def test_every_torchvision_network_gives_vectors_of_its_width(name):
    backbone = load_backbone(f"torchvision:{name}", weights="random")
    features = backbone(clips_for(backbone, 1))
    assert features.shape == (1, backbone.spec.width)
    assert features.dtype == torch.float32


def test_random_weights_are_marked_told_and_always_the_same(r3d, monkeypatch):
    told = []
    monkeypatch.setattr("tal.backbones.weights._LOG.warning", lambda text, *values: told.append(text % values))
    again = load_backbone("torchvision:r3d_18", weights="random")
    assert told == ["torchvision:r3d_18 has random weights: its features carry no knowledge of any kind"]
    assert r3d.spec.weights == "random"
    assert again.spec == r3d.spec


def test_a_frame_backbone_puts_the_snippets_centre_where_the_frame_is():
    backbone = load_backbone(SMALL, weights="random")
    spec = backbone.spec
    assert backbone(clips_for(backbone)).shape == (1, spec.width)
    assert (spec.clip_frames, spec.stride_s) == (1, 0.5)
    assert spec.window_s == pytest.approx(1 / 30)
    assert load_backbone(SMALL, weights="random", stride_s=0.125).spec.stride_frames == 4


def test_open_clip_features_are_those_of_encode_image():
    import open_clip

    backbone = load_backbone(SMALL, weights="random")
    whole = open_clip.create_model("ViT-S-32").eval()
    whole.visual.load_state_dict(backbone.visual.state_dict())
    clips = clips_for(backbone)
    with torch.no_grad():
        torch.testing.assert_close(backbone(clips), whole.encode_image(clips[:, 0]))


def test_open_clip_preprocessing_is_that_of_the_published_weights(monkeypatch):
    import open_clip

    built = {}

    def small(architecture, **settings):
        model = open_clip.model.CLIP.__new__(open_clip.model.CLIP)
        torch.nn.Module.__init__(model)
        model.visual = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 5))
        model.visual.image_size = (224, 224)
        built.update(settings)
        return model

    monkeypatch.setattr(open_clip, "create_model", small)
    spec = load_backbone("open_clip:ViT-B-16-SigLIP/webli", weights="random").spec
    assert (spec.resize.exact, spec.resize.crop, spec.mean) == ((224, 224), None, (0.5, 0.5, 0.5))
    spec = load_backbone("open_clip:ViT-B-32", weights="random").spec
    assert (spec.name, spec.resize.short_side, spec.resize.crop) == ("open_clip:ViT-B-32/openai", 224, (224, 224))
    assert built["force_quick_gelu"] is True


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_weights_from_a_file(tmp_path, suffix):
    from torchvision.models.video import r3d_18

    path = tmp_path / f"weights{suffix}"
    torch.manual_seed(5)
    state = r3d_18(weights=None).state_dict()
    if suffix == ".pt":
        torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, path)
    else:
        save_file(state, path)
    backbone = load_backbone("torchvision:r3d_18", weights=path)
    assert backbone.spec.weights == "file"
    torch.testing.assert_close(backbone.network.layer1[0].conv1[0].weight, state["layer1.0.conv1.0.weight"])
    moved = path.rename(tmp_path / f"moved{suffix}")
    assert load_backbone("torchvision:r3d_18", weights=moved).spec == backbone.spec


def test_weights_that_do_not_fit(tmp_path):
    cases = {
        "other.safetensors": lambda path: save_file({"a": torch.zeros(2)}, path),
        "text.pt": lambda path: path.write_text("not weights"),
        "empty.safetensors": lambda path: path.write_bytes(b""),
        "numbers.pt": lambda path: torch.save([1, 2], path),
        "pickle.pt": lambda path: torch.save({"a": _Bomb()}, path),
    }
    words = {"other": "lacking", "text": "cannot be read", "empty": "cannot be read", "numbers": "hold a list"}
    for name, write in cases.items():
        path = tmp_path / name
        write(path)
        with pytest.raises(TalError, match=words.get(path.stem, "tensors and plain values alone")):
            load_backbone("tiny", weights=path)
    with pytest.raises(TalError, match="no such file"):
        load_backbone("tiny", weights=tmp_path / "nowhere.pt")


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a weights file was unpickled",))


def test_published_weights_out_of_reach_say_what_to_do(monkeypatch):
    def unreachable(*_, **__):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(TalError, match="could not be loaded") as caught:
        load_backbone("torchvision:r3d_18")
    assert "--weights FILE" in str(caught.value)


def test_names_that_are_not_there():
    with pytest.raises(TalError, match="did you mean torchvision"):
        load_backbone("torchvison:r3d_18")
    with pytest.raises(TalError, match="did you mean r3d_18"):
        load_backbone("torchvision:r3d_19")
    with pytest.raises(TalError, match="did you mean ViT-B-32"):
        load_backbone("open_clip:ViT-B32")
    with pytest.raises(TalError, match="unknown pretrained tag"):
        load_backbone("open_clip:ViT-B-32/openay")
    with pytest.raises(TalError, match="no published weights"):
        load_backbone("open_clip:ViT-S-32-alt")
    with pytest.raises(TalError, match="no variants"):
        load_backbone("tiny:large")


def test_strides_that_are_no_whole_number_of_frames():
    with pytest.raises(ConfigError, match="whole number of frames"):
        load_backbone("tiny", weights="random", stride_s=0.1)
    with pytest.raises(TalError, match="positive"):
        load_backbone(SMALL, weights="random", stride_s=0.0)
    with pytest.raises(TalError, match="resize mode"):
        load_backbone("tiny", weights="random", resize_mode="best")


def test_a_hash_tells_weights_apart():
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    assert hash_of(first) != hash_of(second)
    second.load_state_dict(first.state_dict())
    assert hash_of(first) == hash_of(second)
    assert len(hash_of(first)) == 16
