"""One video and a package to detections: from the file, from its features, refused where they do not fit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.errors import ConfigError, FeatureError, GridError, PackageError, VideoError
from tal.features.base import FeatureSpec
from tal.features.extractor import extract_video
from tal.features.layout import Layout
from tal.features.store import FeatureStore
from tal.localization import Localizer, localize, shown
from tal.methods.actionformer import ActionFormer
from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.package import load_model
from tal.segments import Segments


@pytest.fixture
def clip(tmp_path, make_video):
    return make_video(tmp_path / "clip.mp4", frames=150)


def fill(store, package, clip, video="clip"):
    """Features as `tal extract` would make them."""
    backbone = next(iter(Localizer(package)._backbones.values()))
    made = extract_video(clip, backbone, video=video)
    store.write(video, made.features, made.grid, duration_s=made.duration_s, source={"size": 1})
    return made


def columns(segments):
    return np.stack([segments.start_s, segments.end_s, segments.score, segments.label], axis=1)


def test_a_video_to_detections(clip, toy_package):
    found = localize(clip, toy_package, threshold=0.0)
    assert len(found) > 5
    assert found.classes == ("jump", "wave")
    assert np.all(np.diff(found.score) <= 0)
    assert found.start_s.min() >= 0
    assert found.end_s.max() <= 6.0
    assert np.all(found.length_s > 0)


def test_thresholds_per_class_or_one_for_all(clip, toy_package):
    package = load_model(toy_package)
    every, usual, high = (localize(clip, package, threshold=each) for each in (0.0, None, 0.4))
    assert len(every) > len(usual) > len(high)
    assert usual.score[usual.label == 0].min() >= 0.1
    assert usual.score[usual.label == 1].min() >= 0.2
    assert len(usual) == (every.score >= np.where(every.label == 0, 0.1, 0.2)).sum()


def test_a_threshold_has_to_be_a_score(clip, toy_package):
    with pytest.raises(ConfigError, match="threshold nan"):
        localize(clip, toy_package, threshold=float("nan"))


@pytest.fixture
def agnostic(toy_package):
    """A loaded package of one output, whose detections have no class."""
    package = load_model(toy_package)
    torch.manual_seed(1)
    model = ActionFormer(replace(package.model.config, class_agnostic=True))
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return replace(package, model=model.eval(), thresholds={})


def test_video_scores_name_what_a_class_agnostic_model_finds(tmp_path, clip, agnostic):
    file = tmp_path / "scores.json"
    file.write_text(json.dumps({"clip": {"wave": 0.9, "jump": 0.3}, "other": {"wave": 0.0, "jump": 1.0}}))
    found = localize(clip, agnostic, video_scores=file)
    backbone = next(iter(Localizer(agnostic, video_scores={})._backbones.values()))
    made = extract_video(clip, backbone)
    sample = Sample(
        video="clip",
        streams={"colour": torch.from_numpy(made.features.astype(np.float16).astype(np.float32))},
        grid=made.grid,
        duration_s=made.duration_s,
        video_scores=torch.tensor([0.3, 0.9]),
    )
    (expected,) = agnostic.model.predict(collate([sample], agnostic.model.inputs, train=False))
    expected = expected[expected.length_s > 0]
    assert set(found.names) == {"jump", "wave"}
    np.testing.assert_allclose(columns(found), columns(expected), atol=1e-6)
    np.testing.assert_allclose(
        columns(localize(clip, agnostic, video_scores={"clip": torch.tensor([0.3, 0.9])})), columns(found)
    )


def test_a_video_without_video_scores(clip, agnostic):
    with pytest.raises(FeatureError, match="no video-level scores of 'clip'") as error:
        localize(clip, agnostic, video_scores={"elsewhere": torch.tensor([0.3, 0.9])})
    assert "'elsewhere'" in str(error.value)


def test_detections_without_a_class_are_announced_once(clip, agnostic, toy_package, caplog):
    found = localize(clip, agnostic)
    assert set(found.names) == {""}
    (said,) = [record.message for record in caplog.records if "no class" in record.message]
    assert "--video-scores" in said
    caplog.clear()
    localize(clip, toy_package)
    localize(clip, agnostic, video_scores={"clip": torch.tensor([0.3, 0.9])})
    assert not caplog.records


def test_shown_of_classes_without_a_threshold():
    rows = Segments.from_names([0, 1], [1, 2], ["a", "b"], score=[0.1, 0.1])
    assert shown(rows, {"a": 0.5}).names == ["b"]


def test_shown_without_classes_have_to_reach_the_lowest_threshold():
    rows = Segments(start_s=[0, 1], end_s=[1, 2], score=[0.1, 0.4], classes=("a", "b"))
    assert shown(rows, {"a": 0.3, "b": 0.5}).score.tolist() == [0.4]


def test_stored_features_give_what_the_video_gives(tmp_path, clip, toy_package):
    package = load_model(toy_package)
    store = FeatureStore.create(tmp_path / "store", package.features["colour"])
    fill(store, package, clip)
    from_video = localize(clip, package, threshold=0.0)
    for video in ("clip", clip):
        from_store = localize(video, package, features=tmp_path / "store", threshold=0.0)
        np.testing.assert_allclose(columns(from_store), columns(from_video), atol=1e-9)


def test_features_of_another_spec_are_refused_with_both(tmp_path, toy_package):
    package = load_model(toy_package)
    store = FeatureStore.create(tmp_path / "store", replace(package.features["colour"], stride_s=0.4))
    with pytest.raises(FeatureError) as error:
        localize("clip", package, features=store)
    assert "stride_s" in str(error.value)
    assert "0.4" in str(error.value)
    assert "0.2" in str(error.value)


def test_features_of_another_width_are_refused(tmp_path, toy_package):
    np.save(tmp_path / "clip.npy", np.zeros((40, 5), np.float32))
    layout = Layout(stride_frames=2, window_frames=4, fps=10)
    from tal.features import open_features

    folder = open_features(tmp_path, layout=layout)
    with pytest.raises(FeatureError, match="not those that the model was trained on"):
        localize("clip", toy_package, features=folder)


def test_another_backbone_than_the_package_s(monkeypatch, clip, toy_package):
    package = load_model(toy_package)
    changed = {"colour": replace(package.features["colour"], weights_hash="other")}
    with pytest.raises(FeatureError, match="weights_hash"):
        localize(clip, replace(package, features=changed))


def test_a_package_of_features_that_others_made_needs_them(clip, toy_package):
    package = load_model(toy_package)
    spec = FeatureSpec(backbone="i3d, kinetics", width=3)
    with pytest.raises(FeatureError, match="give --features"):
        localize(clip, replace(package, features={"colour": spec}))


def test_no_package(tmp_path, clip):
    with pytest.raises(PackageError, match="does not exist"):
        localize(clip, tmp_path / "nothing")


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "picture", "noise", "index_cut_off", "sound_only"])
def test_bad_files(bad_videos, toy_package, kind):
    with pytest.raises(VideoError):
        localize(bad_videos[kind], toy_package)


def test_a_bad_video_does_not_end_the_run(bad_videos, clip, toy_package):
    localizer = Localizer(load_model(toy_package))
    outcomes = dict(localizer.detect_many({"bad": bad_videos["text"], "clip": clip}))
    assert isinstance(outcomes["bad"], VideoError)
    assert isinstance(outcomes["clip"], Segments)


def test_progress_is_told_within_a_video(bad_videos, tmp_path, make_video, toy_package):
    long = make_video(tmp_path / "long.mp4", frames=2000)
    told, videos = [], {"bad": bad_videos["text"], "long": long}
    list(Localizer(load_model(toy_package)).detect_many(videos, progress=told.append))
    assert told == sorted(told)
    assert told[0] == 1.0
    assert told[-1] == 2.0
    assert any(1.0 < each < 1.7 for each in told)


def test_a_video_of_one_frame(tmp_path, make_video, toy_package):
    one = make_video(tmp_path / "one.mp4", frames=1)
    found = localize(one, toy_package, threshold=0.0)
    assert np.all(found.end_s <= 0.05)


def test_stored_features_are_held_against_the_video(toy_package, clip, make_video, tmp_path):
    """Features of a ten-second video beside a file of twenty: another video's, or on another grid."""
    package = load_model(toy_package)
    fill(FeatureStore.create(tmp_path / "store", package.features["colour"]), package, clip)
    assert len(localize(clip, package, features=tmp_path / "store", threshold=0.0))
    longer = make_video(tmp_path / "other" / "clip.mp4", frames=2 * 150)
    with pytest.raises(GridError, match="the video at"):
        localize(longer, package, features=tmp_path / "store")
