"""Where a file's sound stands: beside pictures, alone, beside a cover that is no video."""

import av
import pytest
from PIL import Image

from tal.audio import probe_sound
from tal.errors import VideoError


def test_beside_pictures_time_0_is_the_first_frame(tmp_path, make_sound):
    path = make_sound(tmp_path / "v.mkv", [(0.5, make_sound.tone(1))], layout="stereo", pictures=50)
    sound = probe_sound(path)
    assert (sound.codec, sound.sample_rate, sound.channels) == ("pcm_s16le", 48_000, 2)
    assert sound.start_s == pytest.approx(0, abs=1e-3)
    assert sound.duration_s == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.m4a", "aac"), ("a.mp3", "libmp3lame"), ("a.flac", "flac")]
)
def test_sound_alone_has_its_own_time(tmp_path, make_sound, name, codec):
    sound = probe_sound(make_sound(tmp_path / name, [(0, make_sound.tone(1))], codec=codec))
    assert sound.start_s is None
    assert sound.duration_s is None
    assert sound.sample_rate == 48_000


def test_a_cover_is_no_video(tmp_path, make_sound):
    plain = make_sound(tmp_path / "plain.mp3", [(0, make_sound.tone(1))], codec="libmp3lame")
    Image.new("RGB", (32, 32)).save(tmp_path / "cover.png")
    path = tmp_path / "covered.mp3"
    with av.open(str(plain)) as song, av.open(str(tmp_path / "cover.png")) as cover, av.open(str(path), "w") as both:
        streams = [both.add_stream_from_template(each) for each in (song.streams.audio[0], cover.streams.video[0])]
        streams[1].disposition = av.stream.Disposition.attached_pic
        for source, stream in zip((cover, song), reversed(streams), strict=True):
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = stream
                    both.mux(packet)
    with av.open(str(path)) as covered:
        assert [stream.type for stream in covered.streams] == ["audio", "video"]
    assert probe_sound(path).start_s is None


def test_no_sound_and_no_file_say_so(tmp_path, make_video, bad_videos):
    with pytest.raises(VideoError, match="no audio") as caught:
        probe_sound(make_video(tmp_path / "silent.mp4", frames=5))
    assert caught.value.stage == "audio"
    for name in ("missing", "empty", "text", "noise", "folder"):
        with pytest.raises(VideoError) as caught:
            probe_sound(bad_videos[name])
        assert caught.value.stage == "open"
