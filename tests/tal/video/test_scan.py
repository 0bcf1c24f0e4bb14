"""Facts of a video from its packets."""

from fractions import Fraction

import numpy as np
import pytest

import tal
from tal.errors import VideoError
from tal.video import probe


def test_a_constant_rate_with_sound(make_video, tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", frames=50, fps=25, audio=True))
    assert (info.container, info.codec, info.pix_fmt, info.bit_depth) == ("mov", "h264", "yuv420p", 8)
    assert (info.frame_count, info.duration_s, info.average_fps, info.variable_rate) == (50, 2.0, 25.0, False)
    assert info.times_s == pytest.approx(np.arange(50) / 25, abs=1e-6)
    assert info.times_s.dtype == np.float64
    assert (info.audio.codec, info.audio.sample_rate, info.audio.channels) == ("aac", 16_000, 1)
    assert info.audio.duration_s == pytest.approx(2.0, abs=0.1)
    assert info.notes == ()


@pytest.mark.parametrize("fps", [Fraction(30000, 1001), 12.5, 60, Fraction(24000, 1001)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm"])
def test_rounding_to_ticks_is_no_variable_rate(make_video, tmp_path, fps, suffix):
    codec = "libvpx" if suffix == "webm" else "libx264"
    times = [float(number / fps) for number in range(40)]
    info = probe(make_video(tmp_path / f"a.{suffix}", times=times, fps=fps, codec=codec))
    assert not info.variable_rate
    assert info.average_fps == pytest.approx(float(fps), rel=2e-3)


def test_a_variable_rate(make_video, tmp_path):
    times = [0, 0.04, 0.08, 0.2, 0.24, 0.9]
    info = probe(make_video(tmp_path / "a.mp4", times=times))
    assert info.variable_rate
    assert info.times_s == pytest.approx(times, abs=1e-4)
    assert info.duration_s > 0.9


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
def test_a_late_start_is_kept_apart(make_video, tmp_path, suffix):
    info = probe(make_video(tmp_path / f"a.{suffix}", frames=10, start_s=7.0))
    assert info.times_s[0] == 0
    assert info.start_s == pytest.approx(7.0, abs=0.1)
    assert info.duration_s == pytest.approx(0.4, abs=1e-3)


@pytest.mark.parametrize(("counterclockwise", "clockwise"), [(90, 270), (-90, 90), (180, 180), (0, 0)])
def test_rotation(make_video, tmp_path, counterclockwise, clockwise):
    info = probe(make_video(tmp_path / "a.mp4", rotation=counterclockwise))
    assert info.rotation_deg == clockwise
    assert (info.width, info.height) == ((48, 64) if clockwise % 180 else (64, 48))
    assert (info.coded_width, info.coded_height) == (64, 48)


def test_sample_aspect_ratio_stretches_the_width(make_video, tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", aspect=Fraction(4, 3)))
    assert (info.width, info.height) == (85, 48)
    assert info.sample_aspect_ratio == pytest.approx(4 / 3)


def test_one_frame(make_video, tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", frames=1, fps=10))
    assert (info.frame_count, info.duration_s, info.variable_rate) == (1, 0.1, False)


def test_ten_bits_are_noted(make_video, tmp_path):
    info = probe(make_video(tmp_path / "a.mp4", pix_fmt="yuv420p10le"))
    assert info.bit_depth == 10
    assert info.notes == ("10 bit is delivered as 8 bit",)


def test_joined_transport_streams_go_on_where_the_first_ends(make_video, read_number, tmp_path):
    one = make_video(tmp_path / "one.ts", frames=50)
    both = tmp_path / "both.ts"
    both.write_bytes(one.read_bytes() * 2)
    info = probe(both)
    assert info.frame_count == 100
    assert info.times_s == pytest.approx(np.arange(100) / 25, abs=1e-3)
    assert any("jump back" in note for note in info.notes)
    with tal.open_video(both) as reader:
        numbers = [read_number(pixels) for each in reader.batches(32) for pixels in each.pixels]
        assert [read_number(pixels) for pixels in reader.at([3.0, 0.2]).pixels] == [25, 5]
    assert numbers == [*range(50), *range(50)]


def test_a_stream_can_be_chosen(make_video, tmp_path):
    path = make_video(tmp_path / "a.mp4", audio=True)
    assert probe(path, stream_idx=0).stream_idx == 0
    with pytest.raises(VideoError, match=r"stream 1 is not a video stream \(found 0: video, 1: audio\)"):
        probe(path, stream_idx=1)
    with pytest.raises(VideoError, match="stream 7 is not a video stream"):
        probe(path, stream_idx=7)


def test_probing_decodes_no_more_than_the_first_frame(make_video, tmp_path, monkeypatch):
    from tal.video import decode

    monkeypatch.setattr(decode, "Decoding", None)
    assert probe(make_video(tmp_path / "a.mp4", frames=200)).frame_count == 200


ODD_NAMES = ["a (1).mp4", "%03d.mp4", "concat:a|b.mp4", "ünïcödé 日本.mp4", "pipe:0.mp4", "-i.mp4", "https:x.mp4"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_mean_something_elsewhere(make_video, tmp_path, name):
    path = tmp_path / name
    make_video(tmp_path / "plain.mp4", frames=5).rename(path)
    assert probe(path).frame_count == 5


def test_a_name_that_is_not_utf8(make_video, tmp_path):
    path = tmp_path / "caf\udce9.mp4"
    try:
        make_video(tmp_path / "plain.mp4", frames=5).rename(path)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system takes no such names")
    assert probe(path).frame_count == 5
