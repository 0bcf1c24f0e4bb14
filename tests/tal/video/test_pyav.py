"""Frames with their times, on videos whose frame i shows the number i."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.errors import TalError, VideoError
from tal.video import Resize, open_video
from tal.video import decode as decoding

UNEVEN = np.cumsum([0.04, 0.1, 0.04, 0.5, 0.033, 0.04] * 10) - 0.04

KINDS = {
    "constant.mp4": {"frames": 60, "gop": 20},
    "variable.mp4": {"times": UNEVEN, "gop": 7},
    "short_groups.mp4": {"frames": 60, "gop": 3, "b_frames": 1},
    "late_start.mkv": {"frames": 60, "start_s": 5.0, "gop": 10},
    "stream.ts": {"frames": 60, "gop": 15},
    "program.mpg": {"frames": 60, "codec": "mpeg2video", "gop": 15},
    "odd.mp4": {"frames": 30, "size": (71, 53), "pix_fmt": "yuv444p"},
    "one.mp4": {"frames": 1},
    "sound.mov": {"frames": 40, "audio": True},
    "mpeg4.avi": {"frames": 50, "codec": "mpeg4", "gop": 12},
    "h264.avi": {"frames": 50, "gop": 12},
    "vp9.webm": {"frames": 40, "codec": "libvpx-vp9", "gop": 12},
    "bare.h264": {"frames": 40},
}


@pytest.fixture(scope="module")
def videos(make_video, tmp_path_factory):
    """Name -> path."""
    folder = tmp_path_factory.mktemp("videos")
    return {name: make_video(folder / name, **options) for name, options in KINDS.items()}


def true_times(name):
    options = KINDS[name]
    return np.asarray(options.get("times", np.arange(options.get("frames", 30)) / 25))


def nearest(times_s, wanted_s):
    """Position of the nearest time, the earlier of two, by comparing with every one."""
    return [int(np.argmin(np.round(np.abs(times_s - time_s), 9))) for time_s in wanted_s]


def read(batches, read_number):
    frames = list(batches)
    numbers = [read_number(pixels) for each in frames for pixels in each.pixels]
    return numbers, np.concatenate([each.times_s for each in frames]) if frames else np.empty(0)


@pytest.mark.parametrize("name", KINDS)
def test_every_frame_once_in_order_at_its_time(videos, read_number, name):
    with open_video(videos[name]) as reader:
        numbers, times_s = read(reader.batches(7), read_number)
    assert numbers == list(range(len(true_times(name))))
    assert times_s == pytest.approx(true_times(name), abs=1e-3)
    assert np.array_equal(times_s, reader.info.times_s)
    assert reader.losses == []


@pytest.mark.parametrize("fps", [1.3, 10, 25, 60])
@pytest.mark.parametrize("name", KINDS)
def test_sampled_takes_the_nearest_frames(videos, read_number, name, fps):
    with open_video(videos[name]) as reader:
        numbers, times_s = read(reader.sampled(fps, 8), read_number)
        info = reader.info
    wanted_s = np.arange(max(1, int(np.ceil(info.duration_s * fps - 1e-6)))) / fps
    expected = nearest(info.times_s, wanted_s)
    assert numbers == expected
    assert np.array_equal(times_s, info.times_s[expected])


@pytest.mark.parametrize("name", KINDS)
def test_at_gives_the_nearest_frames_in_the_order_asked(videos, read_number, monkeypatch, name):
    monkeypatch.setattr(decoding, "_WORTH_A_SEEK", 1)
    with open_video(videos[name]) as reader:
        wanted_s = np.random.default_rng(3).uniform(-0.5, reader.info.duration_s + 0.5, 15)
        wanted_s = np.concatenate([wanted_s, wanted_s[:3], reader.info.times_s[-2:]])
        frames = reader.at(wanted_s)
        expected = nearest(reader.info.times_s, wanted_s)
    assert [read_number(pixels) for pixels in frames.pixels] == expected
    assert np.array_equal(frames.times_s, reader.info.times_s[expected])


@pytest.mark.parametrize("name", ["constant.mp4", "variable.mp4", "late_start.mkv", "stream.ts", "mpeg4.avi"])
def test_seeking_gives_the_same_pixels_as_decoding_through(videos, monkeypatch, name):
    with open_video(videos[name]) as reader:
        through = np.concatenate([each.pixels for each in reader.batches(16)])
        monkeypatch.setattr(decoding, "_WORTH_A_SEEK", 0)
        positions = [3, len(through) - 2, len(through) // 2]
        assert np.array_equal(reader.at(reader.info.times_s[positions]).pixels, through[positions])


def test_a_jump_decodes_from_the_keyframe_only(videos, monkeypatch):
    decoded = []
    original = decoding.Decoding._decoded
    monkeypatch.setattr(
        decoding.Decoding,
        "_decoded",
        lambda self, source: (decoded.append(each[0]) or each for each in original(self, source)),
    )
    with open_video(videos["constant.mp4"]) as reader:
        reader.at([2.2])
    assert min(decoded) >= 1.5
    assert len(decoded) < 25


@pytest.mark.parametrize("name", ["constant.mp4", "variable.mp4", "stream.ts", "h264.avi"])
def test_batches_between_two_times(videos, read_number, name):
    with open_video(videos[name]) as reader:
        times_s = reader.info.times_s
        start_s, end_s = times_s[30], times_s[41]
        numbers, got_s = read(reader.batches(4, start_s=start_s, end_s=end_s), read_number)
        assert numbers == list(range(30, 41))
        assert np.array_equal(got_s, times_s[30:41])
        assert list(reader.batches(4, start_s=reader.info.duration_s + 1)) == []


@settings(max_examples=15, deadline=None)
@given(wanted=st.lists(st.floats(-1, 8), max_size=6))
def test_any_times(videos, read_number, wanted):
    with open_video(videos["variable.mp4"]) as reader:
        frames = reader.at(wanted)
        assert frames.pixels.shape == (len(wanted), 48, 64, 3)
        assert [read_number(pixels) for pixels in frames.pixels] == nearest(reader.info.times_s, wanted)


def test_two_passes_at_once_do_not_disturb_each_other(videos):
    with open_video(videos["constant.mp4"]) as reader:
        one, other = reader.batches(1), reader.sampled(25, 1)
        for left, right in zip(one, other, strict=True):
            assert left.times_s == right.times_s
            assert np.array_equal(left.pixels, right.pixels)


def test_batch_sizes(videos):
    with open_video(videos["constant.mp4"]) as reader:
        assert [len(each) for each in reader.batches(25)] == [25, 25, 10]
        batch = next(reader.batches(2))
        assert repr(batch) == "Frames(2 of 64x48, 0.000 to 0.040 s)"
        assert batch.pixels.dtype == np.uint8


def test_batches_are_not_overwritten_by_later_ones(videos, read_number):
    with open_video(videos["constant.mp4"]) as reader:
        kept = list(reader.batches(10))
    assert [read_number(each.pixels[0]) for each in kept] == [0, 10, 20, 30, 40, 50]


def test_closing_frees_decoders_of_unfinished_passes(videos):
    reader = open_video(videos["constant.mp4"])
    running = reader.batches(1)
    next(running)
    reader.close()
    assert not any(each.open for each in reader._passes)


@pytest.mark.parametrize(
    "call",
    [
        lambda reader: list(reader.batches(0)),
        lambda reader: list(reader.sampled(0.0, 4)),
        lambda reader: list(reader.sampled(float("nan"), 4)),
        lambda reader: reader.at([float("nan")]),
    ],
)
def test_senseless_calls_are_refused(videos, call):
    with open_video(videos["constant.mp4"]) as reader, pytest.raises(TalError):
        call(reader)


def test_unknown_decoder_is_refused(videos):
    with pytest.raises(TalError, match="unknown decoder 'nvdec'"):
        open_video(videos["constant.mp4"], decoder="nvdec")


def test_a_bad_packet_costs_its_frame_only_and_is_recorded(cases):
    with open_video(cases / "videos" / "decord__corrupted.mp4", resize=Resize(short_side=64)) as reader:
        times_s = np.concatenate([each.times_s for each in reader.batches(8)])
        lost = sorted(set(reader.info.times_s) - set(times_s))
        assert len(reader.info.times_s) == 50
        assert len(times_s) == 49
        assert lost == pytest.approx([3.0])
        assert reader.losses == ["frame at 3.000 s: Invalid data found when processing input"]
        assert reader.at([3.0, 3.04, 2.96]).times_s == pytest.approx([2.9, 3.1, 2.9])
    with open_video(cases / "videos" / "decord__corrupted.mp4", resize=Resize(short_side=64)) as fresh:
        assert fresh.at([3.0, 3.04, 2.96]).times_s == pytest.approx([2.9, 3.1, 2.9])


def test_a_file_cut_in_the_middle_gives_what_is_there_and_says_so(make_video, read_number, tmp_path):
    path = make_video(tmp_path / "cut.mkv", frames=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with open_video(path) as reader:
        numbers, _ = read(reader.batches(10), read_number)
        info = reader.info
    assert 20 < len(numbers) < 80
    assert numbers[:20] == list(range(20))
    assert any("cut off" in note for note in info.notes), info.notes


def test_a_video_that_vanishes_after_opening(make_video, tmp_path):
    path = make_video(tmp_path / "gone.mp4", frames=5)
    reader = open_video(path)
    path.unlink()
    with pytest.raises(VideoError, match="no such file"):
        list(reader.batches(4))
