"""Sound stands in the video's time, whatever its rate, its start and its gaps."""

from fractions import Fraction

import av
import numpy as np
import pytest

from tal.audio import audio_chunks, read_audio
from tal.errors import TalError, VideoError

RATE = 16_000


def write_sound(path, parts, *, rate=48_000, channels=1, codec="pcm_s16le"):
    """parts: (start in seconds, samples (n,) or (n, channels)); PCM in Matroska keeps every time stamp."""
    path.parent.mkdir(parents=True, exist_ok=True)
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        for start_s, samples in parts:
            values = np.broadcast_to(np.asarray(samples).reshape(len(samples), -1), (len(samples), channels))
            whole = (values * 32767).astype(np.int16)
            for first in range(0, len(whole), 1024):
                piece = np.ascontiguousarray(whole[first : first + 1024]).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
                frame.rate, frame.pts = rate, round(start_s * rate) + first
                frame.time_base = Fraction(1, rate)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def tone(seconds, rate=48_000, hertz=440):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def loud(samples, at_s, rate=RATE):
    """Whether it sounds in the 40 ms around a time."""
    middle = round(at_s * rate)
    return float(np.abs(samples[max(0, middle - 320) : middle + 320]).max(initial=0)) > 0.1


def test_resampled_tone_keeps_length_and_frequency(tmp_path):
    samples = read_audio(write_sound(tmp_path / "a.mkv", [(0, tone(2))]), RATE)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(2 * RATE, abs=40)
    spectrum = np.abs(np.fft.rfft(samples[:RATE]))
    assert spectrum.argmax() == pytest.approx(440, abs=1)


def test_channels_are_averaged(tmp_path):
    both = np.stack([tone(1), np.zeros(48_000)], axis=1)
    samples = read_audio(write_sound(tmp_path / "a.mkv", [(0, both)], channels=2), RATE)
    assert np.abs(samples[1000:-1000]).max() == pytest.approx(0.25, abs=0.01)


def test_sound_before_and_after_the_first_frame(tmp_path):
    path = write_sound(tmp_path / "a.mkv", [(1.0, tone(1))])
    late = read_audio(path, RATE, start_s=0.5)
    assert len(late) == pytest.approx(1.5 * RATE, abs=60)
    assert not loud(late, 0.4)
    assert loud(late, 0.6)
    early = read_audio(path, RATE, start_s=1.5)
    assert len(early) == pytest.approx(0.5 * RATE, abs=60)
    assert loud(early, 0.1)


def test_a_gap_is_silent_and_what_follows_is_in_place(tmp_path):
    samples = read_audio(write_sound(tmp_path / "a.mkv", [(0, tone(1)), (3.0, tone(1))]), RATE)
    assert len(samples) == pytest.approx(4 * RATE, abs=80)
    assert [loud(samples, at_s) for at_s in (0.5, 1.5, 2.5, 3.5)] == [True, False, False, True]


def test_pieces_join_to_the_whole(tmp_path):
    path = write_sound(tmp_path / "a.mkv", [(0.2, tone(3.3))])
    pieces = list(audio_chunks(path, RATE, chunk_s=0.5))
    assert {len(piece) for piece in pieces[:-1]} == {RATE // 2}
    assert np.array_equal(np.concatenate(pieces), read_audio(path, RATE))


def test_a_video_without_sound_says_so(tmp_path, make_video):
    with pytest.raises(VideoError, match="no audio") as caught:
        read_audio(make_video(tmp_path / "silent.mp4", frames=5), RATE)
    assert caught.value.stage == "audio"


def test_a_cut_file_gives_what_it_holds(tmp_path):
    path = write_sound(tmp_path / "a.mkv", [(0, tone(4))])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert len(read_audio(path, RATE)) == pytest.approx(2 * RATE, rel=0.1)


@pytest.mark.parametrize("rate", [0, -1])
def test_an_impossible_rate_is_refused(tmp_path, rate):
    with pytest.raises(TalError, match="samples per second"):
        list(audio_chunks(tmp_path / "a.mkv", rate))
