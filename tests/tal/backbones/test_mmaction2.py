"""mmaction2's zoo: configs by name, what they want to see, the vector before the classifier, checkpoints."""

import sys

import numpy as np
import pytest
import torch

from tal.backbones import load_backbone
from tal.backbones.mmaction2_configs import config_names, find_config, load_library, published_url, read_clip, zoo
from tal.errors import TalError
from tal.features.extractor import extract_video
from tal.video import open_video

try:
    import cv2  # noqa: F401
except ImportError as error:
    pytest.skip(f"OpenCV, which mmaction2 needs, lacks a library of the system: {error}", allow_module_level=True)
load_library()

from mmaction.registry import MODELS, TRANSFORMS  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.registry import DefaultScope  # noqa: E402

X3D = "recognition/x3d/x3d_s_13x6x1_facebook-kinetics400-rgb"
TSM = "recognition/tsm/tsm_imagenet-pretrained-mobilenetv2_8xb16-1x1x8-100e_kinetics400-rgb"
TRN = "recognition/trn/trn_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb"
TSN = "recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400-rgb"
CLASSIFIER = {X3D: "fc2", TSM: "fc_cls", TRN: "fc_cls"}


def config_of(name):
    return Config.fromfile(str(config_names(zoo())[name]))


def whole(name):
    """The recognizer as mmaction2 builds it, with its classifier."""
    model = config_of(name).model.to_dict()
    model["backbone"]["pretrained"] = None
    torch.manual_seed(4)
    with DefaultScope.overwrite_default_scope("mmaction"):
        return MODELS.build(model).eval()


def clips_for(backbone, count=2):
    spec = backbone.spec
    return torch.randn(count, spec.clip_frames, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", [X3D, TSM, pytest.param(TRN, marks=pytest.mark.full)])
def test_a_checkpoint_gives_what_goes_into_the_classifier(name, tmp_path):
    network = whole(name)
    path = tmp_path / "epoch_1.pth"
    torch.save({"meta": {"epoch": 1}, "state_dict": network.state_dict()}, path)
    backbone = load_backbone(f"mmaction2:{name}", weights=path)
    clips = clips_for(backbone)
    kept = []
    getattr(network.cls_head, CLASSIFIER[name]).register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    with torch.no_grad():
        network.extract_feat(clips if name in (TSM, TRN) else clips.transpose(1, 2)[:, None], stage="head")
    theirs = kept[0].unflatten(0, (2, -1)).mean(dim=1)
    features = backbone(clips)
    assert features.shape == (2, backbone.spec.width)
    torch.testing.assert_close(features, theirs, atol=1e-5, rtol=1e-4)
    assert float((features[0] - features[1]).abs().max()) > 0
    assert backbone.spec.weights == "file"


@pytest.mark.parametrize(
    ("name", "frames", "fps", "size"),
    [
        (TSN, 1, None, (256, 224)),
        (TSM, 8, 0.8, (256, 256)),
        (TRN, 8, 2.0, (256, 256)),
        (X3D, 13, 5.0, (182, 182)),
        ("slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb", 32, 15.0, (256, 256)),
        ("slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics400-rgb", 8, 3.75, (256, 256)),
        ("swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb", 32, 15.0, (224, 224)),
        ("c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb", 16, 30.0, (128, 112)),
        ("timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb", 8, 30 / 32, (224, 224)),
        ("tsm_imagenet-pretrained-r50_8xb16-dense-1x1x8-50e_kinetics400-rgb", 8, 3.75, (256, 224)),
    ],
)
def test_clip_and_size_are_those_of_the_test_pipeline(name, frames, fps, size):
    name, _ = find_config(name, zoo())
    clip = read_clip(config_of(name), name)
    assert (clip.frames, clip.short_side, clip.crop) == (frames, size[0], (size[1], size[1]))
    assert fps is None or clip.fps == pytest.approx(fps)


def test_a_network_that_sees_one_frame_is_a_frame_backbone():
    spec = load_backbone(f"mmaction2:{TSN}.py", weights="random", stride_s=0.25).spec
    assert (spec.clip_frames, spec.stride_s, spec.width) == (1, 0.25, 2048)
    assert spec.name == f"mmaction2:{TSN}"
    assert spec.mean == pytest.approx((0.485, 0.456, 0.406), abs=1e-3)


def test_reference_frames_are_those_of_the_configs_own_pipeline(tmp_path, make_video):
    backbone = load_backbone(f"mmaction2:{X3D}", weights="random", resize_mode="reference")
    spec, seen = backbone.spec, []
    backbone.forward = lambda clips: (seen.append(clips), clips.new_zeros(len(clips), spec.width))[1]
    path = make_video(tmp_path / "v.mp4", frames=13, fps=5, size=(480, 240))  # No side or margin that needs rounding.
    extract_video(path, backbone)
    with open_video(path) as reader:
        pixels = np.asarray(next(reader.batches(13)).pixels)
    results = {"imgs": list(pixels), "original_shape": pixels.shape[1:3], "img_shape": pixels.shape[1:3]}
    for step in config_of(X3D).test_pipeline:
        if step["type"] in ("Resize", "ThreeCrop"):
            settings = step.to_dict() | ({"type": "CenterCrop"} if step["type"] == "ThreeCrop" else {})
            results = TRANSFORMS.build(settings)(results)
    theirs = torch.as_tensor(np.stack(results["imgs"]))
    ours = seen[0][0] * torch.tensor(spec.std).reshape(3, 1, 1) + torch.tensor(spec.mean).reshape(3, 1, 1)
    levels = (ours.permute(0, 2, 3, 1) * 255 - theirs).abs()
    assert theirs.shape == (13, 182, 182, 3)
    assert levels.max() < 2.01  # OpenCV scales in 11 bits.
    assert levels.mean() < 0.5


def test_tokens_layers_and_half_precision():
    settings = {"weights": "random", "layers": ("backbone.layer3", "features"), "tokens": True}
    wide = load_backbone(f"mmaction2:{X3D}", **settings)
    narrow = load_backbone(f"mmaction2:{X3D}", **settings, dtype="bfloat16")
    clips = torch.randn(1, 13, 3, 182, 182, generator=torch.Generator().manual_seed(1))
    exact, near = wide(clips), narrow(clips)
    for name in exact:
        assert exact[name].shape == (1, wide.spec.output(name).tokens, wide.spec.output(name).width)
        assert wide.spec.output(name).tokens % 13 == 0
        error = float((near[name] - exact[name]).norm() / exact[name].norm())
        assert 0 < error < 5e-2, (name, error)


def test_every_config_is_read_or_says_why_not():
    refused = {}
    for name, path in config_names(zoo()).items():
        try:
            clip = read_clip(Config.fromfile(str(path)), name)
        except TalError as error:
            refused[name] = error.given
            continue
        assert clip.frames >= 1
        assert clip.frames == 1 or 0.5 < clip.fps <= 30
    assert len(config_names(zoo())) == 125
    assert len(refused) <= 3
    assert all("does not say what its network sees" in given for given in refused.values())


def test_where_weights_are_published_is_read_from_the_zoos_index():
    known = config_names(zoo())
    urls = {name: published_url(name, path) for name, path in known.items()}
    assert sum(url is not None for url in urls.values()) > 90
    assert urls[TSN].endswith(".pth")
    assert TSN.rpartition("/")[2] in urls[TSN]


def test_published_weights_out_of_reach_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))

    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(TalError, match="could not be loaded") as caught:
        load_backbone(f"mmaction2:{X3D}")
    assert "--weights FILE" in str(caught.value)


def test_checkpoints_that_do_not_fit_or_hold_objects(tmp_path):
    network = whole(X3D).state_dict()
    lacking = dict(list(network.items())[5:])
    torch.save({"state_dict": lacking}, tmp_path / "lacking.pth")
    with pytest.raises(TalError, match="does not fit: 5 lacking"):
        load_backbone(f"mmaction2:{X3D}", weights=tmp_path / "lacking.pth")
    torch.save({"state_dict": network, "optimizer": _Bomb()}, tmp_path / "objects.pth")
    with pytest.raises(TalError, match="tensors and plain values alone"):
        load_backbone(f"mmaction2:{X3D}", weights=tmp_path / "objects.pth")


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a checkpoint was unpickled",))


def test_configs_that_cannot_be_used():
    with pytest.raises(TalError, match="unknown config") as caught:
        load_backbone("mmaction2:recognition/tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x3-100e_kinetics400")
    assert TSN in str(caught.value)
    flow = next(name for name in config_names(zoo()) if name.endswith("kinetics400-flow"))
    with pytest.raises(TalError, match="channels"):
        load_backbone(f"mmaction2:{flow}", weights="random")
    mobile = "mmaction2:tsm_imagenet-pretrained-mobileone-s4_8xb16-1x1x16-50e_kinetics400-rgb"
    with pytest.raises(TalError, match=r"is not in the mmaction::model registry\n.*mmpretrain"):
        load_backbone(mobile, weights="random")
    tin = "mmaction2:tin_kinetics400-pretrained-tsm-r50_1x1x8-50e_kinetics400-rgb"
    with pytest.raises(TalError, match="compiled operations of mmcv"):
        load_backbone(tin, weights="random")
    with pytest.raises(TalError, match="cannot be built: Please install mmpretrain"):
        load_backbone(
            "mmaction2:tsn_imagenet-pretrained-mobileone-s4_8xb32-1x1x8-100e_kinetics400-rgb", weights="random"
        )


def test_without_the_library_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mmengine", None)
    with pytest.raises(TalError, match="need the library mmengine") as caught:
        load_backbone(f"mmaction2:{X3D}", weights="random")
    assert "pip install 'tal[mmaction2]'" in str(caught.value)
