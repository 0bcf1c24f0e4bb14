"""Models that hear, and models on optical flow: which features they take, and what they refuse."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.backbones import load_backbone
from tal.cli import main
from tal.errors import FeatureError, VideoError
from tal.features.align import on_one_grid
from tal.features.audio import audio_feature_spec, extract_audio
from tal.features.base import FeatureSpec
from tal.features.extractor import extract_video, feature_spec
from tal.features.store import FeatureStore
from tal.localization import Localizer, localize
from tal.methods.actionformer import ActionFormer
from tal.methods.mrav_ff import MravFf
from tal.package import load_model, save_package
from tal.video.process import WorkerProcess


@pytest.fixture
def toy_and_sound(toy_package, monkeypatch):
    """Localizing takes the toy for pictures, and real backbones for sound."""
    import tal.localization

    toy = tal.localization.load_backbone("tiny")
    monkeypatch.setattr(
        "tal.localization.load_backbone",
        lambda name, **settings: toy if name == "tiny" else load_backbone(name, **settings),
    )
    return toy


def written(folder, toy, sound, *, method=ActionFormer, name="actionformer", **settings):
    """A package with random weights of a colour and a sound stream."""
    torch.manual_seed(0)
    config = method.Config(
        streams={"colour": 3, "sound": 128},
        classes=("jump", "wave"),
        train_snippets=64,
        width=16,
        branch_layers=2,
        window=5,
        **settings,
    )
    model = method(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    save_package(
        folder,
        method=name,
        model=model,
        features={"colour": feature_spec(toy.spec), "sound": audio_feature_spec(sound.spec)},
        thresholds={},
        card="A toy that hears.",
    )
    return load_model(folder)


def stored(folder, package, clip, toy, sound):
    """Stream -> store with the clip's features, as `tal extract` makes them."""
    stores = {name: FeatureStore.create(folder / name, spec) for name, spec in package.features.items()}
    made = extract_video(clip, toy)
    stores["colour"].write(clip.stem, made.features, made.grid, duration_s=made.duration_s, source={"size": 1})
    extract_audio({clip.stem: clip}, sound, stores["sound"])
    return stores


def columns(found):
    return np.stack([found.start_s, found.end_s, found.score, found.label], axis=1)


@pytest.fixture
def hearing(tmp_path, make_video, toy_and_sound):
    """(package of a colour and a sound stream, their stores, the clip): colour every 0.2 s, sound every 0.96 s."""
    clip, sound = make_video(tmp_path / "clip.mp4", frames=150, audio=True), load_backbone("logmel")
    package = written(tmp_path / "hearing", toy_and_sound, sound)
    return package, stored(tmp_path, package, clip, toy_and_sound, sound), clip


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


@pytest.mark.parametrize("stride_s", [0.2, 0.31, 0.96, 2.5])
def test_a_video_gives_what_its_stored_features_give(tmp_path, make_video, toy_and_sound, stride_s):
    """Sound in step with the pictures, and on grids of its own."""
    clip, sound = make_video(tmp_path / "clip.mp4", frames=260, audio=True), load_backbone("logmel", stride_s=stride_s)
    package = written(tmp_path / "hearing", toy_and_sound, sound)
    stores = stored(tmp_path, package, clip, toy_and_sound, sound)
    found = localize(clip, package, threshold=0.0)
    assert len(found) > 5
    np.testing.assert_allclose(columns(found), columns(localize("clip", package, features=stores, threshold=0.0)))


def test_a_model_that_needs_sound_refuses_a_silent_video(hearing, make_video, tmp_path):
    package, _, clip = hearing
    silent = make_video(tmp_path / "silent.mp4", frames=50)
    with pytest.raises(VideoError, match="no audio") as caught:
        localize(silent, package)
    assert "the model needs it, as its stream 'sound'" in str(caught.value)
    outcomes = dict(Localizer(package).detect_many({"silent": silent, "clip": clip}))
    assert isinstance(outcomes["silent"], VideoError)
    assert len(outcomes["clip"])


@pytest.fixture
def either(tmp_path, toy_and_sound):
    """A package that hears and can do without."""
    return written(
        tmp_path / "either",
        toy_and_sound,
        load_backbone("logmel"),
        method=MravFf,
        name="mrav_ff",
        audio="sound",
        audio_window=5,
        gate_bias=2.0,
    )


def test_a_model_that_can_do_without_sound(either, toy_and_sound, make_video, tmp_path, caplog):
    clip, silent = (
        make_video(tmp_path / name / "clip.mp4", frames=150, audio=name == "loud") for name in ["loud", "quiet"]
    )
    heard = localize(clip, either, threshold=0.0)
    assert not caplog.records
    unheard = localize(silent, either, threshold=0.0)
    assert "clip: localized without the stream 'sound': no audio" in caplog.text
    made = extract_video(silent, toy_and_sound)
    store = FeatureStore.create(tmp_path / "colour", either.features["colour"])
    store.write("clip", made.features, made.grid, duration_s=made.duration_s, source={"size": 1})
    np.testing.assert_allclose(
        columns(unheard), columns(localize("clip", either, features={"colour": store}, threshold=0.0))
    )
    assert not np.allclose(heard.score[:5], unheard.score[:5], atol=1e-3)


def test_sound_that_no_backbone_here_makes(either, make_video, tmp_path, caplog):
    foreign = FeatureSpec(backbone="somebody's ears", width=128)
    package = replace(either, features={**either.features, "sound": foreign})
    clip = make_video(tmp_path / "clip.mp4", frames=60, audio=True)
    localizer = Localizer(package)
    assert "without the stream 'sound'" in caplog.text
    assert "somebody's ears" in caplog.text
    assert len(localizer.detect("clip", clip))
    needs = replace(package, features={**package.features, "colour": replace(foreign, width=3)})
    with pytest.raises(FeatureError, match="no backbone here makes") as caught:
        Localizer(needs)
    assert "--features colour=FOLDER" in str(caught.value)


def test_a_video_that_the_folder_of_sound_lacks_is_named(either, hearing, tmp_path, caplog):
    _, stores, _ = hearing
    empty = FeatureStore.create(tmp_path / "nothing", either.features["sound"])
    assert len(localize("clip", either, features={**stores, "sound": empty}, threshold=0.0))
    assert "clip: localized without the stream 'sound': its folder has no features of it" in caplog.text


def test_no_process_is_left_behind(hearing, monkeypatch):
    package, _, clip = hearing
    ended = []
    end = WorkerProcess.end
    monkeypatch.setattr(WorkerProcess, "end", lambda self: (ended.append(self.pid), end(self))[1])
    localize(clip, package)
    assert len({pid for pid in ended if pid}) == 2
    for pid in filter(None, ended):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


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
