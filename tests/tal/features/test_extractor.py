"""Extraction: the right frames in the right snippets, whatever the batches, and nothing lost."""

import threading
import time

import numpy as np
import pytest
import torch

from tal.errors import FeatureError, TalError, VideoError
from tal.features import FeatureStore
from tal.features import extractor as extractor_module
from tal.features.clips import ClipBatcher, default_batch_clips
from tal.features.extractor import extract, extract_video, feature_spec, stream_video
from tal.features.files import WriteError
from tal.features.rows import Rows
from tal.video import open_video


def store_for(backbone, tmp_path, name="store"):
    return FeatureStore.create(tmp_path / name, feature_spec(backbone.spec, dtype="float32"))


def nearest(times_s, wanted_s):
    """Index of the nearest time, the earlier of two."""
    return int(np.argmin(np.round(np.abs(np.asarray(times_s) - wanted_s), 9)))


def expected_numbers(times_s, duration_s, spec):
    """(T, clip_frames): which frame must stand at each place, by brute force."""
    sampled = []
    while not sampled or len(sampled) / spec.fps < duration_s - 1e-6:
        sampled.append(nearest(times_s, len(sampled) / spec.fps))
    rows, first = [], 0
    while first + spec.clip_frames <= len(sampled):
        rows.append(sampled[first : first + spec.clip_frames])
        first += spec.stride_frames
    return np.array(rows or [sampled + [sampled[-1]] * (spec.clip_frames - len(sampled))])


@pytest.mark.parametrize(
    ("clip_frames", "fps", "stride_s"),
    [(4, 10.0, 0.2), (4, 10.0, 0.4), (3, 10.0, 0.8), (1, 10.0, 0.5), (8, 25.0, 0.04), (16, 50.0, 0.32)],
)
@pytest.mark.parametrize("batch_clips", [1, 5, 64])
def test_every_snippet_sees_the_frames_of_its_time(
    tmp_path, make_video, counting, clip_frames, fps, stride_s, batch_clips
):
    path = make_video(tmp_path / "v.mp4", frames=90, fps=25)
    backbone = counting(clip_frames=clip_frames, fps=fps, stride_s=stride_s)
    back = extract_video(path, backbone, batch_clips=batch_clips)
    with open_video(path) as reader:
        info = reader.info
    expected = expected_numbers(info.times_s, info.duration_s, backbone.spec)
    np.testing.assert_array_equal(back.features, expected)
    assert back.grid.stride_s == stride_s
    assert back.grid.window_s == pytest.approx(clip_frames / fps)
    np.testing.assert_allclose(back.grid.starts_s, np.arange(len(expected)) * stride_s)
    assert max(backbone.batch_sizes) <= batch_clips


def test_the_frames_of_a_variable_rate_by_their_times(tmp_path, make_video, counting):
    steps = np.random.default_rng(0).choice([0.02, 0.04, 0.1, 0.3], size=60)
    times = np.round(np.concatenate([[0], np.cumsum(steps)]), 2)
    path = make_video(tmp_path / "v.mp4", times=times, start_s=0.7)
    backbone = counting()
    back = extract_video(path, backbone)
    expected = expected_numbers(times, back.duration_s, backbone.spec)
    np.testing.assert_array_equal(back.features, expected)
    centers = back.grid.starts_s[:, None] + np.arange(4) / 10
    seen_s = times[back.features.astype(int)]
    assert np.abs(seen_s - np.minimum(centers, times[-1])).max() <= 0.15 + 1e-6


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_video_shorter_than_a_clip_repeats_its_last_frame(tmp_path, make_video, counting, frames):
    path = make_video(tmp_path / "v.mp4", frames=frames, fps=10)
    back = extract_video(path, counting())
    np.testing.assert_array_equal(back.features, [[min(number, frames - 1) for number in range(4)]])
    assert back.grid.count == 1


def test_pieces_of_a_stream_make_the_whole(tmp_path, make_video, counting):
    path = make_video(tmp_path / "v.mp4", frames=200, fps=25)
    backbone = counting()
    whole = extract_video(path, backbone)
    pieces = list(stream_video(path, backbone, batch_clips=3))
    assert len(pieces) > 3
    np.testing.assert_array_equal(np.concatenate([piece.features for piece in pieces]), whole.features)
    np.testing.assert_allclose(np.concatenate([piece.grid.starts_s for piece in pieces]), whole.grid.starts_s)


def test_batches_fill_across_videos(tmp_path, make_video, counting):
    videos = {f"v{number}": make_video(tmp_path / f"v{number}.mp4", frames=10 + 7 * number) for number in range(6)}
    backbone = counting()
    store = store_for(backbone, tmp_path)
    summary = extract(videos, backbone, store, batch_clips=4, decoders=3)
    assert sorted(summary.done) == sorted(videos)
    assert set(backbone.batch_sizes[:-1]) == {4}
    for name, path in videos.items():
        np.testing.assert_array_equal(store.load(name).features, extract_video(path, counting()).features)
        assert store.load(name).grid == extract_video(path, counting()).grid


def test_each_frame_is_prepared_once(tmp_path, make_video, counting, monkeypatch):
    seen = []
    prepare = ClipBatcher._normalised

    def counted(self, pixels):
        seen.append(len(pixels))
        return prepare(self, pixels)

    monkeypatch.setattr(ClipBatcher, "_normalised", counted)
    back = extract_video(make_video(tmp_path / "v.mp4", frames=100, fps=10), counting(clip_frames=4, stride_s=0.1))
    assert back.grid.count == 97
    assert sum(seen) == 100


def test_memory_does_not_grow_with_the_video(tmp_path, make_video, counting):
    path = make_video(tmp_path / "v.mp4", frames=600, fps=25)
    backbone = counting(fps=25.0, stride_s=0.08)
    batcher = ClipBatcher(backbone, 16)
    held = []
    with open_video(path, resize=backbone.spec.resize) as reader:
        for frames in reader.sampled(25.0, 32):
            batcher.feed(("v", 0), frames.pixels)
            waiting = sum(clips.untyped_storage().nbytes() for clips in batcher._waiting.clips)
            held.append(waiting + batcher._videos["v", 0].frames.untyped_storage().nbytes())
            list(batcher.ready())
    assert max(held[5:]) <= 3 * 32 * 3 * 48 * 64 * 4


def test_done_again_nothing_is_redone(tmp_path, make_video, counting):
    videos = {name: make_video(tmp_path / f"{name}.mp4", frames=20) for name in "abc"}
    store = store_for(counting(), tmp_path)
    assert len(extract(videos, counting(), store).done) == 3
    facts = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    backbone = counting()
    summary = extract(videos, backbone, store)
    assert (summary.done, sorted(summary.skipped)) == ([], ["a", "b", "c"])
    assert backbone.batch_sizes == []
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == facts


def test_a_replaced_video_is_done_anew(tmp_path, make_video, counting):
    videos = {"v": make_video(tmp_path / "v.mp4", frames=20, fps=10)}
    store = store_for(counting(), tmp_path)
    extract(videos, counting(), store)
    make_video(tmp_path / "v.mp4", frames=40, fps=10)
    summary = extract(videos, counting(), store)
    assert summary.replaced == ["v"]
    assert len(store.load("v").features) == 19


def test_bad_videos_are_recorded_and_the_others_done(tmp_path, make_video, bad_videos, counting):
    videos = {"good1": make_video(tmp_path / "good1.mp4"), **bad_videos, "good2": make_video(tmp_path / "good2.mp4")}
    store = store_for(counting(), tmp_path)
    summary = extract(videos, counting(), store, decoders=2)
    failed = {failure.video: failure for failure in summary.failed}
    assert {"good1", "good2"} <= set(summary.done)
    assert {"missing", "empty", "text", "noise", "index_cut_off", "sound_only", "folder"} <= set(failed)
    assert set(failed) | set(summary.done) == set(videos)
    assert all(failure.stage and "\n" not in failure.error for failure in failed.values())
    assert {failure.video for failure in store.failures()} == set(failed)
    again = extract(videos, counting(), store)
    assert {failure.video: failure.attempts for failure in again.failed} == dict.fromkeys(failed, 1)
    retried = extract(videos, counting(), store, retry_failed=True)
    assert {failure.video: failure.attempts for failure in retried.failed} == dict.fromkeys(failed, 2)


def test_a_damaged_record_is_that_videos_and_it_is_done_again(tmp_path, make_video, counting):
    videos = {name: make_video(tmp_path / f"{name}.mp4", frames=30) for name in "ab"}
    backbone = counting()
    store = FeatureStore.create(tmp_path / "store", feature_spec(backbone.spec))
    extract({"a": videos["a"]}, backbone, store)
    (tmp_path / "store" / "a.json").write_text("{")
    summary = extract(videos, backbone, store)
    assert (sorted(summary.done), summary.failed) == (["a", "b"], [])
    assert len(store.load("a").features) == len(store.load("b").features)


def test_a_mended_video_is_done_without_being_asked(tmp_path, make_video, counting):
    path = tmp_path / "v.mp4"
    path.write_bytes(b"not yet copied")
    store = store_for(counting(), tmp_path)
    assert [failure.video for failure in extract({"v": path}, counting(), store).failed] == ["v"]
    make_video(path)
    summary = extract({"v": path}, counting(), store)
    assert (summary.done, summary.failed, store.failures()) == (["v"], [], [])


def test_what_the_decoder_lost_is_in_the_record(tmp_path, make_video, counting):
    path = make_video(tmp_path / "v.mp4", frames=100, gop=10)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    store = store_for(counting(), tmp_path)
    extract({"v": path}, counting(), store)
    record = store.record("v")
    assert record["losses"]
    assert record["source"]["codec"] == "h264"
    assert record["source"]["decoder"].startswith("pyav")


def test_nan_from_the_network_fails_that_video_only(tmp_path, make_video, counting):
    backbone = counting()
    forward = backbone.forward
    # frames 30 to 39 are only in the longer video
    backbone.forward = lambda clips: torch.where(forward(clips) >= 30, torch.nan, forward(clips))
    videos = {"long": make_video(tmp_path / "l.mp4", frames=40), "short": make_video(tmp_path / "s.mp4", frames=20)}
    store = store_for(backbone, tmp_path)
    summary = extract(videos, backbone, store)
    assert summary.done == ["short"]
    assert [(failure.video, failure.stage) for failure in summary.failed] == [("long", "network")]
    assert "NaN" in summary.failed[0].error


def test_a_full_disk_ends_the_run_and_keeps_what_is_done(tmp_path, make_video, counting, monkeypatch):
    videos = {name: make_video(tmp_path / f"{name}.mp4") for name in "abc"}
    store = store_for(counting(), tmp_path)
    append = Rows.append

    def full(self, features):
        if self.video == "b":
            raise WriteError("No space left on device")
        append(self, features)

    monkeypatch.setattr(Rows, "append", full)
    with pytest.raises(WriteError):
        extract(videos, counting(), store, batch_clips=1)
    assert store.ids() == ["a"]
    assert store.failures() == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_an_interruption_stops_the_threads_and_keeps_what_is_done(tmp_path, make_video, counting):
    videos = {name: make_video(tmp_path / f"{name}.mp4", frames=60) for name in "abcd"}
    backbone = counting()
    store = store_for(backbone, tmp_path)
    forward = backbone.forward
    of_one_video = extract_video(videos["a"], counting()).grid.count
    seen = []

    def interrupted(clips):
        seen.extend(clips)
        if len(seen) > 2 * of_one_video + 2:  # In the third video the first is with the writer, who may take his time.
            patience_s = time.monotonic() + 120
            while not store.ids() and time.monotonic() < patience_s:
                time.sleep(0.01)
            raise KeyboardInterrupt
        return forward(clips)

    backbone.forward = interrupted
    with pytest.raises(KeyboardInterrupt):
        extract(videos, backbone, store, batch_clips=2)
    assert store.ids() == ["a"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert sorted(extract(videos, counting(), store).done) == ["b", "c", "d"]


def test_a_store_of_another_backbone_is_refused(tmp_path, make_video, counting):
    store = store_for(counting(), tmp_path)
    with pytest.raises(FeatureError, match=r"stride_s: backbone 0\.4, store 0\.2"):
        extract({"v": make_video(tmp_path / "v.mp4")}, counting(stride_s=0.4), store)


def test_a_stream_of_a_bad_video_says_so(tmp_path, bad_videos, counting):
    with pytest.raises(VideoError):
        extract_video(bad_videos["text"], counting())


def test_running_out_of_memory_names_the_option(tmp_path, make_video, counting):
    backbone = counting()

    def full(clips):
        raise torch.OutOfMemoryError

    backbone.forward = full
    with pytest.raises(TalError, match="out of memory") as caught:
        extract_video(make_video(tmp_path / "v.mp4"), backbone, batch_clips=4)
    assert "--batch-clips smaller than 4" in str(caught.value)


def test_two_runs_on_one_store_at_once(tmp_path, make_video, counting):
    videos = {f"v{number}": make_video(tmp_path / f"v{number}.mp4", frames=15 + number) for number in range(8)}
    store = store_for(counting(), tmp_path)
    summaries = []
    runs = [
        threading.Thread(target=lambda: summaries.append(extract(videos, counting(), store, batch_clips=3)))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    for summary in summaries:
        assert sorted(summary.done + summary.skipped) == sorted(videos)
    for name, path in videos.items():
        np.testing.assert_array_equal(store.load(name).features, extract_video(path, counting()).features)


def test_the_batch_that_suits_a_device(counting):
    spec = counting(clip_frames=16, fps=10.0).spec
    assert default_batch_clips(spec, "cpu") == 4
    assert default_batch_clips(spec, "cuda:0") == 32
    assert default_batch_clips(counting(clip_frames=500).spec, "cpu") == 1


def test_a_summary_names_what_binds():
    summary = extractor_module.Summary(wall_s=10.0, waited_s=8.0)
    assert summary.binding == "decoding"
    assert extractor_module.Summary(wall_s=10.0, waited_s=1.0).binding == "the network"


def test_losses_of_a_stream_are_told(tmp_path, make_video, counting, caplog):
    path = make_video(tmp_path / "v.mp4", frames=100, gop=10)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    with caplog.at_level("WARNING", logger="tal"):
        extract_video(path, counting())
    assert str(path) in caplog.text
