"""VGGish and log-mel bands: the published layouts load, the flatten order is TensorFlow's, the PCA is by hand."""

import hashlib
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tal.audio.base import AudioBackbone
from tal.backbones import load_backbone, of_frames, vggish
from tal.backbones.vggish import VGGishNetwork
from tal.errors import PackageError, TalError


@pytest.fixture(scope="module")
def state():
    """Weights as torchvggish saves them, made by hand, and small in the dense layers' values."""
    generator = torch.Generator().manual_seed(0)
    widths = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
    made = {}
    for place, (out, into) in widths.items():
        made[f"features.{place}.weight"] = torch.randn(out, into, 3, 3, generator=generator) / (9 * into) ** 0.5
        made[f"features.{place}.bias"] = torch.randn(out, generator=generator) * 0.1
    for place, (out, into) in {0: (4096, 512 * 24), 2: (4096, 4096), 4: (128, 4096)}.items():
        made[f"embeddings.{place}.weight"] = torch.randn(out, into, generator=generator) / into**0.5
        made[f"embeddings.{place}.bias"] = torch.randn(out, generator=generator) * 0.1
    return made


@pytest.fixture(scope="module")
def weights(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vggish") / "vggish.pth"
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def pca():
    random = np.random.default_rng(0)
    return {"pca_eigen_vectors": random.normal(size=(128, 128)), "pca_means": random.uniform(size=128)}


def by_hand(examples, state):
    """The network in plain calls; the flatten order is written out."""
    x = examples[:, None]
    for place in (0, 3, 6, 8, 11, 13):
        x = F.relu(F.conv2d(x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1))
        if place in (0, 3, 8, 13):
            x = F.max_pool2d(x, 2)
    assert x.shape[1:] == (512, 6, 4)
    flat = torch.stack([x[:, :, time, band] for time in range(6) for band in range(4)], dim=1).reshape(len(x), -1)
    for place in (0, 2, 4):
        flat = F.relu(flat @ state[f"embeddings.{place}.weight"].T + state[f"embeddings.{place}.bias"])
    return flat


def test_vggish_equals_the_network_by_hand(state, weights):
    backbone = load_backbone("vggish", weights=weights)
    assert isinstance(backbone, AudioBackbone)
    examples = torch.randn(2, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        vectors = backbone(examples)
    assert vectors.shape == (2, backbone.spec.width) == (2, 128)
    assert float((vectors - by_hand(examples, state)).abs().max()) < 1e-5 * float(vectors.abs().max())
    assert (backbone.spec.window_s, backbone.spec.stride_s) == (pytest.approx(0.96), 0.96)
    assert backbone.spec.weights == "file"


@pytest.mark.parametrize("place", ["same file", "npz", "torchvggish's pth"])
def test_the_pca_is_found_where_it_is_published(state, weights, pca, tmp_path, place):
    saved = tmp_path / "vggish.pth"
    if place == "same file":
        torch.save(state | {f"pproc.{name}": torch.from_numpy(value) for name, value in pca.items()}, saved)
    else:
        saved.symlink_to(weights)
    if place == "npz":
        np.savez(tmp_path / "vggish_pca_params.npz", **pca)
    elif place != "same file":
        torch.save(pca, tmp_path / "vggish_pca_params-970ea276.pth", _use_new_zipfile_serialization=False)
    examples = torch.randn(1, 96, 64, generator=torch.Generator().manual_seed(1))
    plain = by_hand(examples, state).numpy()[0].astype(np.float64)
    network = load_backbone("vggish:quantized", weights=saved).network
    quantized = network(examples).numpy()[0]
    network.output = "pca"
    whitened = network(examples).numpy()[0]
    assert whitened == pytest.approx(pca["pca_eigen_vectors"] @ (plain - pca["pca_means"]), abs=1e-4)
    assert np.array_equal(quantized, np.round((np.clip(whitened, -2, 2) + 2) * np.float32(255 / 4)))
    assert set(np.sign(whitened[np.abs(whitened) > 2])) == {-1, 1}


def test_a_pca_that_is_missing_or_no_array_is_told(weights, tmp_path):
    with pytest.raises(TalError, match="holds no PCA"):
        load_backbone("vggish:pca", weights=weights)
    (tmp_path / "vggish.pth").symlink_to(weights)
    torch.save({"pca_means": [print]}, tmp_path / "vggish_pca_params.pth")
    with pytest.raises(PackageError, match="cannot be read as VGGish's PCA"):
        load_backbone("vggish:pca", weights=tmp_path / "vggish.pth")


def test_published_weights_are_fetched_once_and_checked(weights, state, pca, tmp_path, monkeypatch):
    place = tmp_path / "published"
    place.mkdir()
    names = []
    (place / "vggish").hardlink_to(weights)
    torch.save(pca, place / "vggish_pca_params")
    for name in ("vggish", "vggish_pca_params"):
        digest = hashlib.sha256((place / name).read_bytes()).hexdigest()[:8]
        names.append((place / name).rename(place / f"{name}-{digest}.pth").name)
    monkeypatch.setattr(vggish, "_URL", f"{place.as_uri()}/")
    monkeypatch.setattr(vggish, "_PUBLISHED", names[0])
    monkeypatch.setattr(vggish, "_PUBLISHED_PCA", names[1])
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    backbone = load_backbone("vggish:pca")
    assert backbone.spec.weights == "torchvggish v0.1"
    assert torch.equal(backbone.network.state_dict()["features.0.weight"], state["features.0.weight"])
    for path in place.iterdir():
        path.unlink()
    monkeypatch.setattr(vggish, "_URL", "nowhere://")
    vggish._fetched(names[0])
    monkeypatch.setattr(vggish, "_PUBLISHED", "vggish-00000000.pth")
    with pytest.raises(TalError, match="published weights of vggish could not be loaded"):
        load_backbone("vggish")


def test_the_names_of_published_files_end_in_their_hash():
    for name in (vggish._PUBLISHED, vggish._PUBLISHED_PCA):
        assert re.search(r"-[0-9a-f]{8}\.pth$", name)


def test_log_mel_bands_are_their_mean_and_maximum():
    backbone = load_backbone("logmel", stride_s=0.32)
    examples = torch.randn(3, 96, 64)
    vectors = backbone(examples)
    assert vectors.shape == (3, 128)
    assert torch.equal(vectors[:, :64], examples.mean(dim=1))
    assert torch.equal(vectors[:, 64:], examples.max(dim=1).values)
    assert backbone.spec.stride_s == 0.32
    assert backbone.blank(2).shape == (2, 96, 64)
    assert str(backbone.device) == "cpu"


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("vggish:slim", {"weights": "random"}, "unknown VGGish output"),
        ("logmel:mean", {}, "no variants"),
        ("logmel", {"weights": "random"}, "no weights"),
        ("logmel", {"stride_s": 0.001}, "stride"),
        ("logmel", {"tokens": True}, "backbone of sound"),
        ("logmel", {"dtype": "bfloat16"}, "backbone of sound"),
        ("logmel", {"flow_weights": "random"}, "optical flow"),
    ],
)
def test_what_makes_no_sense_for_sound_is_refused(name, settings, told):
    with pytest.raises(TalError, match=told) as caught:
        load_backbone(name, **settings)
    assert str(caught.value)


def test_random_weights_are_the_same_every_time():
    first, second = (VGGishNetwork.state_dict(load_backbone("vggish:pca", weights="random").network) for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_backbones_of_frames_pass():
    tiny = load_backbone("tiny")
    assert of_frames(tiny) is tiny
