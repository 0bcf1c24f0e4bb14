"""transformers' video models: small ones of each family, against the library's own classes and preprocessing."""

import json
import time

import numpy as np
import pytest
import torch
import transformers

from tal.backbones import load_backbone
from tal.backbones.transformers_models import FAMILIES, PUBLISHED
from tal.errors import TalError
from tal.features.extractor import extract_video
from tal.video import open_video

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
PICTURES = {"image_size": 32, "num_frames": 4}
XCLIP = {
    "projection_dim": 16,
    "text_config": {**SHAPE, "vocab_size": 50},
    "vision_config": {**SHAPE, **PICTURES, "patch_size": 16, "mit_hidden_size": 16, "mit_intermediate_size": 24}
    | {"mit_num_attention_heads": 2},
}
CONFIGS = {
    "videomae": transformers.VideoMAEConfig(**SHAPE, **PICTURES),
    "vjepa2": transformers.VJEPA2Config(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        crop_size=32,
        frames_per_clip=4,
        pred_hidden_size=24,
        pred_num_hidden_layers=1,
        pred_num_attention_heads=2,
    ),
    "timesformer": transformers.TimesformerConfig(**SHAPE, **PICTURES),
    "xclip": transformers.XCLIPConfig(**XCLIP),
}
CLASSES = {
    "videomae": transformers.VideoMAEForVideoClassification,
    "vjepa2": transformers.VJEPA2ForVideoClassification,
    "timesformer": transformers.TimesformerForVideoClassification,
    "xclip": transformers.XCLIPModel,
}
TOKENS = {"videomae": 8, "vjepa2": 8, "timesformer": 16, "xclip": 16}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Family -> a folder in Hugging Face's layout, of the class that is published for it."""
    made = {}
    for kind, config in CONFIGS.items():
        torch.manual_seed(3)
        model = CLASSES[kind](config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        made[kind] = tmp_path_factory.mktemp(kind)
        model.save_pretrained(made[kind])
    return made


def clips_for(backbone, count=2):
    spec = backbone.spec
    return torch.randn(count, spec.clip_frames, 3, *spec.resize.crop, generator=torch.Generator().manual_seed(1))


def seen_by_the_classifier(model, kind, clips):
    """What the library's own class gives its classifier, or X-CLIP as a video's embedding."""
    if kind == "xclip":
        return model.get_video_features(clips).pooler_output
    kept = []
    model.classifier.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    model(clips)
    return kept[0]


@pytest.mark.parametrize("kind", ["videomae", "timesformer", "xclip"])
def test_the_vector_is_what_the_classifier_sees(kind, folders):
    backbone = load_backbone(f"transformers:{kind}", weights=folders[kind])
    clips = clips_for(backbone)
    with torch.no_grad():
        theirs = seen_by_the_classifier(CLASSES[kind].from_pretrained(folders[kind]).eval(), kind, clips)
    features = backbone(clips)
    assert features.shape == (2, backbone.spec.width)
    torch.testing.assert_close(features, theirs)
    assert (backbone.spec.weights, backbone.spec.clip_frames) == ("file", 4)


def test_vjepa2_is_the_mean_of_the_encoders_places(folders):
    backbone = load_backbone("transformers:vjepa2", weights=folders["vjepa2"])
    clips = clips_for(backbone)
    whole = transformers.VJEPA2Model.from_pretrained(folders["vjepa2"]).eval()
    with torch.no_grad():
        theirs = whole.get_vision_features(clips)
    torch.testing.assert_close(backbone(clips), theirs.mean(dim=1))


@pytest.mark.parametrize("kind", list(FAMILIES))
def test_tokens_follow_time_then_place(kind, folders):
    """A change in the last frame's last corner reaches the last token first: through one layer's input, no other."""
    backbone = load_backbone(f"transformers:{kind}", weights=folders[kind], tokens=True)
    clips = clips_for(backbone, 1)
    tokens = backbone(clips)
    assert tokens.shape == (1, TOKENS[kind], 32) == (1, backbone.spec.tokens, backbone.spec.width)
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if "attention" in name or "attn" in name:
                parameter.zero_()  # Places then know of themselves alone.
    before = backbone(clips)
    clips[0, -1, :, 16:, 16:] += 1
    moved = (backbone(clips) - before).abs().sum(dim=2)[0] > 1e-5
    if kind == "xclip":  # Frames exchange a message before attention; the frame's own places come last all the same.
        assert moved[-1]
        assert not moved[-4:-1].any()
    else:
        assert moved.tolist() == [False] * (TOKENS[kind] - 1) + [True]


@pytest.mark.parametrize(
    ("kind", "layer"),
    [
        ("videomae", "videomae.encoder.layer.0"),
        ("vjepa2", "encoder.layer.0"),
        ("timesformer", "encoder.layer.0"),
        ("xclip", "vision_model.encoder.layers.0"),
    ],
)
def test_layers_by_the_librarys_names_in_half_precision(kind, layer, folders):
    settings = {"weights": folders[kind], "layers": (layer, "features")}
    wide = load_backbone(f"transformers:{kind}", **settings)
    narrow = load_backbone(f"transformers:{kind}", **settings, dtype="bfloat16")
    clips = clips_for(wide)
    exact, near = wide(clips), narrow(clips)
    assert exact[layer].shape == (2, 32)
    for name in exact:
        error = float((near[name] - exact[name]).norm() / exact[name].norm())
        assert 0 < error < 3e-2, (name, error)


def test_the_preprocessors_config_decides_the_picture(folders, tmp_path, make_video):
    folder = tmp_path / "model"
    transformers.VideoMAEForVideoClassification.from_pretrained(folders["videomae"]).save_pretrained(folder)
    processor = transformers.VideoMAEImageProcessorPil(
        size={"shortest_edge": 40},
        crop_size={"height": 32, "width": 32},
        image_mean=[0.4, 0.5, 0.6],
        image_std=[0.2, 0.3, 0.4],
    )
    processor.save_pretrained(folder)
    backbone = load_backbone("transformers:videomae", weights=folder, resize_mode="reference")
    seen = []
    backbone.forward = lambda clips: (seen.append(clips), clips.new_zeros(len(clips), 3))[1]
    path = make_video(tmp_path / "v.mp4", frames=4, fps=7.5, size=(100, 80))
    extract_video(path, backbone)
    with open_video(path) as reader:
        pixels = np.asarray(next(reader.batches(4)).pixels)
    theirs = torch.as_tensor(np.asarray(processor(list(pixels), return_tensors="np")["pixel_values"]))
    ours = seen[0][:1]  # What follows fills the batch.
    assert theirs.shape == ours.shape
    levels = (ours - theirs).abs() * torch.tensor([0.2, 0.3, 0.4]).reshape(3, 1, 1) * 255
    assert levels.max() < 1.01
    assert levels.mean() < 0.2
    (folder / "preprocessor_config.json").write_text(json.dumps({"crop_size": 64}))
    with pytest.raises(TalError, match="preprocessing of size"):
        load_backbone("transformers:videomae", weights=folder)


@pytest.mark.full
def test_published_architectures_are_built_without_a_network():
    """Configs alone: widths and clips that the published models are known by."""
    from tal.backbones.transformers_weights import Source, _known_config

    for name, (kind, _) in PUBLISHED.items():
        _, config = _known_config(transformers, Source(name=name, model=name, weights="random"))
        assert config.model_type == kind
        with torch.device("meta"):
            assert getattr(transformers, FAMILIES[kind].model)(config).num_parameters() > 2e7


def test_random_weights_are_marked_and_always_the_same():
    first, again = (
        load_backbone("transformers:MCG-NJU/videomae-small-finetuned-kinetics", weights="random") for _ in range(2)
    )
    assert first.spec == again.spec
    assert (first.spec.weights, first.spec.width, first.spec.clip_frames, first.spec.fps) == ("random", 384, 16, 7.5)
    assert first.spec.resize.crop == (224, 224)


def test_weights_from_a_file_of_a_known_architecture(folders, monkeypatch):
    monkeypatch.setitem(PUBLISHED, "some/videomae", ("videomae", SHAPE | PICTURES))
    path = folders["videomae"] / "model.safetensors"
    named = load_backbone("transformers:some/videomae", weights=path)
    whole = load_backbone("transformers:videomae", weights=folders["videomae"])
    clips = clips_for(whole)
    torch.testing.assert_close(named(clips), whole(clips))
    assert named.spec.weights_hash == whole.spec.weights_hash
    monkeypatch.setitem(PUBLISHED, "some/videomae", ("videomae", SHAPE | PICTURES | {"num_hidden_layers": 3}))
    with pytest.raises(TalError, match="do not fit"):
        load_backbone("transformers:some/videomae", weights=path)


def test_folders_that_are_no_such_model(folders, tmp_path):
    with pytest.raises(TalError, match="holds no model"):
        load_backbone("transformers:videomae", weights=tmp_path)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x02")
    with pytest.raises(TalError, match="holds no model") as caught:
        load_backbone("transformers:videomae", weights=tmp_path)
    assert "pickled" in str(caught.value)
    with pytest.raises(TalError, match="a model of type 'vjepa2'"):
        load_backbone("transformers:videomae", weights=folders["vjepa2"])
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "x", "auto_map": {"AutoConfig": "evil.Config"}}))
    (tmp_path / "evil.py").write_text("raise SystemExit('code of a model was run')")
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(TalError, match="cannot be used"):
        load_backbone("transformers:videomae", weights=tmp_path)
    CONFIGS["videomae"].save_pretrained(tmp_path)
    with pytest.raises(TalError, match="cannot be loaded"):
        load_backbone("transformers:videomae", weights=tmp_path)


def test_names_and_what_is_missing():
    with pytest.raises(TalError, match="did you mean videomae"):
        load_backbone("transformers:videomea")
    with pytest.raises(TalError, match="no weights that are fetched by name") as caught:
        load_backbone("transformers:vjepa2")
    assert "facebook/vjepa2-vitl" in str(caught.value)
    with pytest.raises(TalError, match="architecture of transformers:some/model is not known"):
        load_backbone("transformers:some/model", weights="random")


def test_without_a_network_published_weights_fail_within_seconds(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr("tal.backbones.hub.reachable", lambda _: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(TalError, match="could not be loaded") as caught:
        load_backbone("transformers:MCG-NJU/videomae-base")
    assert time.monotonic() - began < 5
    assert "--weights FILE" in str(caught.value)
    assert constants.HF_HUB_OFFLINE is False


def test_without_the_library_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(TalError, match="need the library transformers"):
        load_backbone("transformers:videomae", weights="random")
