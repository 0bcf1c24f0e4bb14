"""Every file that is no usable video gives one error that names it, the stage and the reason."""

import os
import threading

import numpy as np
import pytest

from tal.errors import VideoError
from tal.video import open_video, probe

REASONS = {
    "missing": ("open", "no such file"),
    "empty": ("open", "the file is empty"),
    "text": ("open", "Invalid data found|a text file"),
    "subtitles": ("open", "no video stream|a text file|Invalid data"),
    "picture": ("open", "a picture, not a video"),
    "noise": ("open", "Invalid data found"),
    "index_cut_off": ("open", "Invalid data found"),
    "sound_only": ("open", r"no video stream \(found 0: audio\)"),
    "folder": ("open", "a folder, not a file"),
}


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("use", [probe, open_video])
def test_one_clear_error(bad_videos, kind, use):
    stage, reason = REASONS[kind]
    with pytest.raises(VideoError, match=reason) as caught:
        use(bad_videos[kind])
    error = caught.value
    assert (error.path, error.stage, error.exit_code) == (str(bad_videos[kind]), stage, 2)
    assert str(error).startswith(f"{bad_videos[kind]}: {stage} failed: ")
    assert error.todo
    assert len(str(error).splitlines()) <= 3


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_unreadable(make_video, tmp_path):
    path = make_video(tmp_path / "a.mp4")
    path.chmod(0)
    with pytest.raises(VideoError, match="Permission denied"):
        probe(path)


def test_refused_by_the_operating_system(make_video, tmp_path, monkeypatch):
    path = make_video(tmp_path / "a.mp4")

    def refuse(self, mode="r"):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(VideoError, match="open failed: Permission denied") as caught:
        probe(path)
    assert "make it readable" in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(VideoError, match="not a regular file"):
        probe(tmp_path / "pipe.mp4")


@pytest.mark.parametrize("name", ["a\0b.mp4", "x" * 300 + ".mp4"])
def test_impossible_names(tmp_path, name):
    with pytest.raises(VideoError, match="open failed"):
        probe(tmp_path / name)


def test_scripts_that_name_other_files_are_not_followed(make_video, tmp_path):
    make_video(tmp_path / "a.mp4")
    script = tmp_path / "script.mp4"
    script.write_text("ffconcat version 1.0\nfile a.mp4\n")
    with pytest.raises(VideoError, match=r"a list of other files|Invalid data"):
        probe(script)
    script.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\na.mp4\n#EXT-X-ENDLIST\n")
    with pytest.raises(VideoError, match="open failed"):
        probe(script)


EMPTY = {
    "none.mkv": "open failed: the file ends before",
    "none.mp4": "open failed: no video stream",
    "none.avi": "probe failed: the video stream holds no frames",
}


@pytest.mark.parametrize(("name", "message"), EMPTY.items())
def test_a_stream_without_frames(tmp_path, name, message):
    import av

    path = tmp_path / name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=message):
        probe(path)


def test_a_stream_of_which_nothing_decodes(make_video, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=20)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    stop = data.index(b"moov") - 4
    data[start:stop] = np.random.default_rng(1).bytes(stop - start)
    path.write_bytes(data)
    with pytest.raises(VideoError, match="decode failed"):
        probe(path)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts"])
def test_damage_anywhere_neither_crashes_nor_hangs(make_video, tmp_path, suffix):
    """Random bytes at random places: frames in rising order, or one VideoError."""
    codec = "mpeg4" if suffix == "avi" else "libx264"
    data = make_video(tmp_path / f"whole.{suffix}", frames=40, codec=codec).read_bytes()
    outcomes = []

    def attempt(seed):
        random = np.random.default_rng(seed)
        damaged = bytearray(data)
        for _ in range(random.integers(1, 12)):
            start = int(random.integers(0, len(data)))
            damaged[start : start + 20] = random.bytes(min(20, len(data) - start))
        path = tmp_path / f"{seed}.{suffix}"
        path.write_bytes(damaged[: int(random.integers(len(data) // 2, len(data) + 1))])
        try:
            with open_video(path) as reader:
                times_s = np.concatenate([each.times_s for each in reader.batches(8)])
                sampled = sum(len(each) for each in reader.sampled(5, 8) if reader.info.duration_s < 60)
            outcomes.append((np.diff(times_s) >= 0).all() and len(times_s) > 0 and sampled >= 0)
        except VideoError as error:
            outcomes.append(str(path) in str(error))

    worker = threading.Thread(target=lambda: [attempt(seed) for seed in range(15)], daemon=True)
    worker.start()
    worker.join(60)
    assert not worker.is_alive(), f"hangs after {len(outcomes)} files"
    assert outcomes == [True] * 15
