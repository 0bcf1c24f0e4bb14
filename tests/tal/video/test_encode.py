"""The mp4 writer: what was given comes back, at the right times, or nothing is left behind."""

from fractions import Fraction

import av
import numpy as np
import pytest

from tal.errors import VideoError
from tal.video.encode import VideoWriter, transcode_h264


def _decoded(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [float(frame.time) for frame in frames], np.stack([frame.to_ndarray(format="rgb24") for frame in frames])


def _decoded_sound(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def _flat(value, height=48, width=64):
    return np.full((height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("fps", "exact"), [(15, Fraction(15)), (30000 / 1001, Fraction(30000, 1001)), (12.5, Fraction(25, 2)), (1, 1)]
)
def test_frames_come_back_at_exact_times(tmp_path, fps, exact):
    colours = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (128, 128, 128), (255, 255, 255), (0, 0, 0)]
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=fps, crf=10) as writer:
        for colour in colours:
            writer.write(_flat(colour))
    times, pixels = _decoded(tmp_path / "a.mp4")
    assert times == [pytest.approx(float(i / exact), abs=1e-6) for i in range(len(colours))]
    assert np.abs(pixels.astype(int) - np.array(colours)[:, None, None]).max() <= 6


def test_frames_with_times_of_their_own(tmp_path):
    given = [0.0, 0.04, 0.5, 0.51, 2.0]
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=25) as writer:
        for value, time_s in enumerate(given):
            writer.write(_flat(value * 40), time_s=time_s)
    assert _decoded(tmp_path / "a.mp4")[0] == pytest.approx(given, abs=1e-4)


def test_sound_comes_back_at_its_place(tmp_path):
    samples = np.zeros(16_000, np.float32)
    samples[8_000:8_800] = 0.8 * np.sin(np.arange(800) * 0.4)
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=10, audio_rate=16_000) as writer:
        for i in range(10):
            writer.write(_flat(i))
            writer.write_audio(samples[i * 1600 : (i + 1) * 1600])
        assert writer.audio_position == 16_000
    sound = np.abs(_decoded_sound(tmp_path / "a.mp4")[0])
    loud = np.flatnonzero(sound > 0.2)
    assert abs(loud[0] - 8_000) < 200
    assert abs(loud[-1] - 8_800) < 200


def test_the_index_stands_in_front(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=10) as writer:
        writer.write(_flat(0))
    written = (tmp_path / "a.mp4").read_bytes()
    assert 0 < written.index(b"moov") < written.index(b"mdat")


@pytest.mark.parametrize(("width", "height"), [(63, 48), (64, 47), (0, 48), (-2, 2)])
def test_an_odd_size_is_refused_with_the_size_to_use(tmp_path, width, height):
    with pytest.raises(VideoError, match=f"{width}x{height}") as caught:
        VideoWriter(tmp_path / "a.mp4", width=width, height=height, fps=10)
    assert caught.value.stage == "encode"
    assert "even" in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "frame", [np.zeros((48, 64), np.uint8), np.zeros((48, 64, 3), np.float32), np.zeros((64, 48, 3), np.uint8)]
)
def test_a_wrong_frame_is_refused_and_nothing_is_left(tmp_path, frame):
    with (
        pytest.raises(VideoError, match="was announced"),
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=10) as writer,
    ):
        writer.write(frame)
    assert not list(tmp_path.iterdir())


def test_sound_must_be_announced(tmp_path):
    with (
        pytest.raises(VideoError, match="without sound"),
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=10) as writer,
    ):
        writer.write_audio(np.zeros(10, np.float32))


def _write_and_raise(path, error):
    with VideoWriter(path, width=64, height=48, fps=10, audio_rate=16_000) as writer:
        writer.write(_flat(0))
        raise error


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_block_leaves_the_old_file(tmp_path, interruption):
    (tmp_path / "a.mp4").write_bytes(b"before")
    with pytest.raises(interruption):
        _write_and_raise(tmp_path / "a.mp4", interruption)
    assert [each.name for each in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"before"


def test_no_frame_is_an_error(tmp_path):
    with (
        pytest.raises(VideoError, match="no frame"),
        VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=10, audio_rate=16_000),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(VideoError, match="writable"):
        VideoWriter(tmp_path / "missing" / "a.mp4", width=64, height=48, fps=10)


def _make_odd_source(path, times_ms, click_s, sound_start_s):
    """A lossless 63x47 video with times of its own, and stereo sound that starts later and clicks once on the left."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("ffv1", rate=25)
        video.width, video.height, video.pix_fmt = 63, 47, "bgr0"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = container.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        for value, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(_flat(value * 30, 47, 63), format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(video.encode(frame))
        samples = np.zeros((1, 2 * 16_000 * 2), np.int16)
        click = round((click_s - sound_start_s) * 16_000)
        samples[0, 2 * click : 2 * click + 320 : 2] = 20_000
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="stereo")
        sound.sample_rate, sound.time_base, sound.pts = 16_000, Fraction(1, 16_000), round(sound_start_s * 16_000)
        container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


@pytest.mark.parametrize("start_ms", [0, 700])
def test_transcoding_keeps_times_and_sound(tmp_path, start_ms):
    times_ms = [0, 40, 400, 440, 1000, 1900]
    _make_odd_source(tmp_path / "a.mkv", [start_ms + each for each in times_ms], start_ms / 1000 + 1.0, 0.5)
    transcode_h264(tmp_path / "a.mkv", tmp_path / "b.mp4")
    times, pixels = _decoded(tmp_path / "b.mp4")
    assert times == pytest.approx([each / 1000 for each in times_ms], abs=1e-3)
    assert pixels.shape == (6, 46, 62, 3)
    assert np.abs(pixels.mean(axis=(1, 2, 3)) - np.arange(6) * 30).max() < 6
    sound = _decoded_sound(tmp_path / "b.mp4")
    assert len(sound) == 2
    loud = np.flatnonzero(np.abs(sound[0]) > 0.2)
    assert abs(loud[0] - 16_000) < 100  # one second after the first frame
    assert np.abs(sound[1]).max() < 0.05


def test_transcoding_a_silent_video_gives_a_silent_one(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", width=64, height=48, fps=12.5) as writer:
        for value in range(5):
            writer.write(_flat(value * 40))
    transcode_h264(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert _decoded(tmp_path / "b.mp4")[0] == pytest.approx([each / 12.5 for each in range(5)], abs=1e-4)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert not container.streams.audio


def test_transcoding_what_is_no_video_leaves_nothing(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    with pytest.raises(VideoError):
        transcode_h264(tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
