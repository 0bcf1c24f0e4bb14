"""Models that hear, and models on optical flow: which features they take, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.backbones import load_backbone
from tal.cli import main
from tal.errors import FeatureError
from tal.features.align import on_one_grid
from tal.features.audio import audio_feature_spec, extract_audio
from tal.features.store import FeatureStore
from tal.localization import Localizer, localize
from tal.methods.actionformer import ActionFormer, ActionFormerConfig
from tal.package import load_model, save_package


@pytest.fixture
def hearing(tmp_path, make_video, toy_package):
    """(package of a colour and a sound stream, their stores): colour every 0.2 s, sound every 0.96 s."""
    clip = make_video(tmp_path / "clip.mp4", frames=150, audio=True)
    colour, sound = load_model(toy_package).features["colour"], load_backbone("logmel")
    specs = {"colour": colour, "sound": audio_feature_spec(sound.spec)}
    stores = {name: FeatureStore.create(tmp_path / name, spec) for name, spec in specs.items()}
    extract_audio({"clip": clip}, sound, stores["sound"])
    rows = np.random.default_rng(0).normal(size=(28, 3))
    grid = replace(stores["sound"].load("clip").grid, stride_s=0.2, window_s=0.4, count=28)
    stores["colour"].write("clip", rows, grid, duration_s=6.0, source={"size": 1})
    torch.manual_seed(0)
    config = ActionFormerConfig(
        streams={"colour": 3, "sound": 128},
        classes=("jump", "wave"),
        train_snippets=64,
        width=16,
        branch_layers=2,
        window=5,
    )
    model = ActionFormer(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    save_package(
        tmp_path / "hearing",
        method="actionformer",
        model=model,
        features=specs,
        thresholds={},
        card="A toy that hears.",
    )
    return load_model(tmp_path / "hearing"), stores, clip


def test_sound_on_its_own_grid_is_heard_at_the_right_times(hearing, tmp_path):
    package, stores, _ = hearing
    found = localize("clip", package, features=stores, threshold=0.0)
    assert len(found) > 5
    loaded = {name: store.load("clip") for name, store in stores.items()}
    aligned = on_one_grid(loaded)["sound"]
    assert aligned.grid == loaded["colour"].grid
    for column in (0, 100):
        by_hand = np.interp(
            loaded["colour"].grid.centers_s, loaded["sound"].grid.centers_s, loaded["sound"].features[:, column]
        )
        np.testing.assert_allclose(aligned.features[:, column], by_hand, atol=1e-5)
    silent = FeatureStore.create(tmp_path / "silent", stores["sound"].spec)
    silent.write(
        "clip",
        np.zeros_like(loaded["sound"].features),
        loaded["sound"].grid,
        duration_s=6.0,
        source={"size": 1},
    )
    other = localize("clip", package, features={**stores, "sound": silent}, threshold=0.0)
    assert not np.allclose(other.score[:5], found.score[:5])


def test_a_model_that_hears_needs_folders_of_features(hearing):
    package, _, clip = hearing
    with pytest.raises(FeatureError, match="the model hears") as caught:
        localize(clip, package)
    assert "--features STREAM=FOLDER" in str(caught.value)


def test_flow_of_weights_from_a_file_needs_a_folder(toy_package, tmp_path, make_video):
    package = load_model(toy_package)
    spec = package.features["colour"]
    flow = replace(spec, backbone="i3d:flow", weights="random", transform={**spec.transform, "flow_weights": "file"})
    with pytest.raises(FeatureError, match="optical flow by weights from a local file"):
        localize(make_video(tmp_path / "clip.mp4", frames=20), replace(package, features={"colour": flow}))


def test_each_stream_has_its_own_file_of_weights(toy_package, tmp_path, monkeypatch, make_video, capsys):
    package = load_model(toy_package)
    spec = replace(package.features["colour"], weights="file")
    given = {}

    def refused(name, *, weights, **_):
        given[name] = weights
        raise FeatureError("stop here")

    monkeypatch.setattr("tal.localization.load_backbone", refused)
    two = replace(package, features={"flow": replace(spec, backbone="i3d:flow")})
    with pytest.raises(FeatureError, match="with weights from a local file") as caught:
        Localizer(two)
    assert "--weights flow=FILE" in str(caught.value)
    with pytest.raises(FeatureError, match="stop here"):
        Localizer(two, weights={"flow": tmp_path / "flow.pt", "rgb": tmp_path / "rgb.pt"})
    assert given == {"i3d:flow": tmp_path / "flow.pt"}
    clip = make_video(tmp_path / "clip.mp4", frames=20)
    words = ["localize", str(clip), "--model", str(toy_package), "--out", str(tmp_path / "out")]
    assert main([*words, "--weights", "flow=a.pt"]) == 2
    assert "expected: STREAM=FILE with a stream among colour" in capsys.readouterr().err
