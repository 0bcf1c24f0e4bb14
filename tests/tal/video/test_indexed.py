"""torchcodec and decord give the frames that PyAV gives, at the same times, within a stated tolerance of pixels."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from tal.errors import TalError, VideoError
from tal.video import Resize, decoder_version, list_videos, open_video

FOLDER = Path(__file__).parents[3] / "../shared/cases/videos"
NAMES = [path.name for path in list_videos([FOLDER])] if FOLDER.is_dir() else []
LARGE = {"T3AL__video_test_0000946.mp4", "T3AL__video_validation_0000986.mp4"}
SIZES = {
    "as shown": (None, 6.0),
    "fast": (Resize(short_side=64, crop=(56, 56)), 6.5),
    "reference": (Resize(short_side=64, crop=(56, 56), mode="reference"), 5.0),
}
"""Size -> mean difference of pixels that is allowed, in levels of 255: 10 and 12 bit become 8 bit in different ways."""
REFUSED = {
    ("torchcodec", "mmaction2__test.avi"): "at a time",  # pts out of order
    ("decord", "mmaction2__test.avi"): "at a time",
    ("decord", "torchcodec__av1_video.mkv"): "decord fails",  # a codec that it does not know
}


def _usable(name):
    try:
        decoder_version(name)
    except TalError as error:
        return pytest.param(name, marks=pytest.mark.skip(reason=str(error)))
    return name


DECODERS = [_usable("torchcodec"), _usable("decord")]
every_decoder = pytest.mark.parametrize("decoder", DECODERS)


def both(path, decoder, resize, read, *, isolate=None):
    found = []
    for name in ("pyav", decoder):
        with open_video(path, resize=resize, decoder=name, isolate=isolate) as reader:
            found.append(read(reader))
    return found


def some_frames(name, decoder, resize):
    """Decoded in this process: one process per clip and size would take minutes."""
    return both(FOLDER / name, decoder, resize, lambda reader: reader.at([0.0, 0.51, 1.2]), isolate=False)


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
@every_decoder
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.full] * (n in LARGE)) for n in NAMES])
def test_real_clips_give_the_same_frames(name, decoder):
    for resize, tolerance in SIZES.values():
        if (decoder, name) in REFUSED:
            with pytest.raises(VideoError, match=REFUSED[decoder, name]):
                some_frames(name, decoder, resize)
            return
        ours, theirs = some_frames(name, decoder, resize)
        assert np.array_equal(ours.times_s, theirs.times_s)
        assert np.abs(ours.pixels.astype(int) - theirs.pixels.astype(int)).mean() < tolerance


@every_decoder
@pytest.mark.parametrize("settings", [{}, {"rotation": 90}, {"fps": 12.5}])
def test_all_frames_in_batches(make_video, tmp_path, settings, decoder):
    path = make_video(tmp_path / "a.mp4", frames=30, **settings)
    if decoder == "decord" and "rotation" in settings:  # It turns some sizes and fails at others.
        with pytest.raises(VideoError, match="decord fails"), open_video(path, decoder=decoder) as reader:
            list(reader.batches(8))
        return
    ours, theirs = both(path, decoder, None, lambda reader: list(reader.batches(8, start_s=0.2, end_s=1.0)))
    assert [len(each) for each in theirs] == [len(each) for each in ours]
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine.times_s, other.times_s)
        assert np.array_equal(mine.pixels, other.pixels)


@every_decoder
@pytest.mark.parametrize("fps", [3, 60])
def test_sampled_frames_are_those_of_pyav(make_video, tmp_path, fps, decoder):
    path = make_video(tmp_path / "a.mp4", frames=40)
    ours, theirs = both(path, decoder, None, lambda reader: list(reader.sampled(fps, 16)))
    assert np.array_equal(np.concatenate([x.times_s for x in ours]), np.concatenate([x.times_s for x in theirs]))
    assert np.array_equal(np.concatenate([x.pixels for x in ours]), np.concatenate([x.pixels for x in theirs]))


@every_decoder
def test_the_reader_names_itself_and_refuses_nonsense(make_video, tmp_path, decoder):
    path = make_video(tmp_path / "a.mp4", frames=5)
    with open_video(path, decoder=decoder) as reader:
        assert reader.decoder.startswith(f"{decoder} ")
        assert reader.at([]).pixels.shape == (0, reader.info.height, reader.info.width, 3)
        with pytest.raises(TalError, match="finite"):
            reader.at([float("nan")])
        with pytest.raises(TalError, match="positive rate"):
            next(reader.sampled(0, 1))
        with pytest.raises(TalError, match="at least one"):
            next(reader.batches(0))


@every_decoder
def test_bad_files_are_one_clear_error(bad_videos, decoder):
    for path in bad_videos.values():
        with pytest.raises(VideoError):
            open_video(path, decoder=decoder)


@pytest.mark.parametrize("decoder", ["pyav", _usable("decord")])
def test_the_others_decode_on_the_cpu_only(make_video, tmp_path, decoder):
    with pytest.raises(TalError, match="on 'cuda'"):
        open_video(make_video(tmp_path / "a.mp4", frames=2), decoder=decoder, device="cuda")


def test_decord_runs_in_a_process_of_its_own(make_video, tmp_path):
    if not isinstance(DECODERS[1], str):
        pytest.skip("decord is not installed")
    with open_video(make_video(tmp_path / "a.mp4", frames=20), decoder="decord") as reader:
        assert len(reader.at([0.0])) == 1
        os.kill(reader._worker.pid, signal.SIGSEGV)
        with pytest.raises(VideoError, match=r"decord crashed \(signal 11\)"):
            reader.at([0.1])


def test_decord_reads_the_best_stream_only(make_video, tmp_path):
    if not isinstance(DECODERS[1], str):
        pytest.skip("decord is not installed")
    with pytest.raises(TalError, match="best stream"):
        open_video(make_video(tmp_path / "a.mp4", frames=2), decoder="decord", stream_idx=0)
