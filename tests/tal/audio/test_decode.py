"""Sound stands in the video's time, whatever its rate, its start and its gaps."""

import av
import numpy as np
import pytest

from tal.audio import audio_chunks, read_audio
from tal.errors import TalError, VideoError

RATE = 16_000


def loud(samples, at_s, rate=RATE):
    """Whether it sounds in the 40 ms around a time."""
    middle = round(at_s * rate)
    return float(np.abs(samples[max(0, middle - 320) : middle + 320]).max(initial=0)) > 0.1


def test_resampled_tone_keeps_length_and_frequency(tmp_path, make_sound):
    samples = read_audio(make_sound(tmp_path / "a.mkv", [(0, make_sound.tone(2))]), RATE)
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(2 * RATE, abs=40)
    spectrum = np.abs(np.fft.rfft(samples[:RATE]))
    assert spectrum.argmax() == pytest.approx(440, abs=1)


def test_channels_are_averaged(tmp_path, make_sound):
    both = np.stack([make_sound.tone(1), np.zeros(48_000)], axis=1)
    samples = read_audio(make_sound(tmp_path / "a.mkv", [(0, both)], layout="stereo"), RATE)
    assert np.abs(samples[1000:-1000]).max() == pytest.approx(0.25, abs=0.01)


def test_sound_before_and_after_the_first_frame(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.mkv", [(1.0, make_sound.tone(1))])
    late = read_audio(path, RATE, start_s=0.5)
    assert len(late) == pytest.approx(1.5 * RATE, abs=60)
    assert not loud(late, 0.4)
    assert loud(late, 0.6)
    early = read_audio(path, RATE, start_s=1.5)
    assert len(early) == pytest.approx(0.5 * RATE, abs=60)
    assert loud(early, 0.1)


def test_a_gap_is_silent_and_what_follows_is_in_place(tmp_path, make_sound):
    samples = read_audio(make_sound(tmp_path / "a.mkv", [(0, make_sound.tone(1)), (3.0, make_sound.tone(1))]), RATE)
    assert len(samples) == pytest.approx(4 * RATE, abs=80)
    assert [loud(samples, at_s) for at_s in (0.5, 1.5, 2.5, 3.5)] == [True, False, False, True]


def test_pieces_join_to_the_whole(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.mkv", [(0.2, make_sound.tone(3.3))])
    pieces = list(audio_chunks(path, RATE, chunk_s=0.5))
    assert {len(piece) for piece in pieces[:-1]} == {RATE // 2}
    assert np.array_equal(np.concatenate(pieces), read_audio(path, RATE))


def test_a_video_without_sound_says_so(tmp_path, make_video):
    with pytest.raises(VideoError, match="no audio") as caught:
        read_audio(make_video(tmp_path / "silent.mp4", frames=5), RATE)
    assert caught.value.stage == "audio"


def test_a_cut_file_gives_what_it_holds(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.mkv", [(0, make_sound.tone(4))])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert len(read_audio(path, RATE)) == pytest.approx(2 * RATE, rel=0.1)


def test_sound_alone_begins_with_its_first_sample(tmp_path, make_sound):
    path = make_sound(tmp_path / "a.mka", [(3.0, make_sound.tone(1))])
    samples = read_audio(path, RATE, start_s=None)
    assert len(samples) == pytest.approx(RATE, abs=60)
    assert loud(samples, 0.05)


@pytest.mark.parametrize("duration_s", [0.25, 1.0, 3.5])
def test_sound_is_cut_or_followed_by_silence_to_a_duration(tmp_path, make_sound, duration_s):
    path = make_sound(tmp_path / "a.mkv", [(0, make_sound.tone(1))])
    samples = np.concatenate(list(audio_chunks(path, RATE, duration_s=duration_s, chunk_s=0.4)))
    whole = read_audio(path, RATE)[: round(duration_s * RATE)]
    assert len(samples) == round(duration_s * RATE)
    assert np.array_equal(samples[: len(whole)], whole)
    assert not samples[len(whole) :].any()


@pytest.mark.parametrize(("layout", "rate"), [("mono", 48_000), ("stereo", 48_000), ("mono", 44_100)])
def test_joined_streams_go_on_though_times_jump_back_and_the_form_changes(tmp_path, make_sound, layout, rate):
    first = make_sound(tmp_path / "a.ts", [(0, make_sound.tone(3))], codec="mp2")
    second = make_sound(tmp_path / "b.ts", [(0, make_sound.tone(2, rate, 880))], codec="mp2", layout=layout, rate=rate)
    joined = tmp_path / "ab.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    samples = read_audio(joined, RATE, start_s=None)
    assert len(samples) == pytest.approx(5 * RATE, abs=0.05 * RATE)
    heard = [np.abs(np.fft.rfft(samples[at : at + RATE // 2])).argmax() * 2 for at in (RATE, 2 * RATE, 4 * RATE)]
    assert heard == [440, 440, 880]


def test_what_cannot_be_decoded_is_told(tmp_path, make_sound):
    whole = make_sound(tmp_path / "whole.mka", [(0, make_sound.tone(2))], codec="aac")
    path = tmp_path / "damaged.mka"
    with av.open(str(whole)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for number, packet in enumerate(source.demux()):
            if packet.dts is None:
                continue
            kept = av.Packet(b"\xff" * packet.size) if 40 <= number < 60 else packet
            kept.stream, kept.pts, kept.dts, kept.time_base = stream, packet.pts, packet.dts, packet.time_base
            target.mux(kept)
    losses = []
    samples = np.concatenate(list(audio_chunks(path, RATE, losses=losses)))
    assert losses == ["20 packets of the sound could not be decoded: silence in their place"]
    assert [loud(samples, at_s) for at_s in (0.5, 1.05, 1.6)] == [True, False, True]
    assert len(samples) == pytest.approx(2 * RATE, rel=0.02)


@pytest.mark.parametrize("rate", [0, -1])
def test_an_impossible_rate_is_refused(tmp_path, rate):
    with pytest.raises(TalError, match="samples per second"):
        list(audio_chunks(tmp_path / "a.mkv", rate))
