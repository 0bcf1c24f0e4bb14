"""torchcodec gives the frames that PyAV gives, at the same times, within a stated tolerance of pixels."""

from pathlib import Path

import numpy as np
import pytest

from tal.errors import TalError, VideoError
from tal.video import Resize, decoder_version, list_videos, open_video

pytest.importorskip("torchcodec")
try:
    decoder_version("torchcodec")
except TalError as error:
    pytest.skip(str(error), allow_module_level=True)

FOLDER = Path(__file__).parents[3] / "../shared/cases/videos"
NAMES = [path.name for path in list_videos([FOLDER])] if FOLDER.is_dir() else []
OTHER_TIMES = {"mmaction2__test.avi"}  # pts out of order, which torchcodec reads in another way
SIZES = {
    "as shown": (None, 3.5),
    "fast": (Resize(short_side=64, crop=(56, 56)), 6.5),
    "reference": (Resize(short_side=64, crop=(56, 56), mode="reference"), 3.0),
}
"""Size -> mean difference of pixels that is allowed, in levels of 255: 10 and 12 bit become 8 bit in different ways."""


def both(path, resize, read):
    found = []
    for decoder in ("pyav", "torchcodec"):
        with open_video(path, resize=resize, decoder=decoder) as reader:
            found.append(read(reader))
    return found


@pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
@pytest.mark.parametrize("name", NAMES)
def test_real_clips_give_the_same_frames(name):
    for resize, tolerance in SIZES.values():
        if name in OTHER_TIMES:
            with pytest.raises(VideoError, match="torchcodec gives the frame of"):
                both(FOLDER / name, resize, lambda reader: reader.at([0.0, 0.51, 1.2]))
            return
        ours, theirs = both(FOLDER / name, resize, lambda reader: reader.at([0.0, 0.51, 1.2]))
        assert np.array_equal(ours.times_s, theirs.times_s)
        assert np.abs(ours.pixels.astype(int) - theirs.pixels.astype(int)).mean() < tolerance


@pytest.mark.parametrize("settings", [{}, {"rotation": 90}, {"fps": 12.5}])
def test_all_frames_in_batches(make_video, read_number, tmp_path, settings):
    path = make_video(tmp_path / "a.mp4", frames=30, **settings)
    ours, theirs = both(path, None, lambda reader: list(reader.batches(8, start_s=0.2, end_s=1.0)))
    assert [len(each) for each in theirs] == [len(each) for each in ours]
    for mine, other in zip(ours, theirs, strict=True):
        assert np.array_equal(mine.times_s, other.times_s)
        assert np.array_equal(mine.pixels, other.pixels)


@pytest.mark.parametrize("fps", [3, 25, 60])
def test_sampled_frames_are_those_of_pyav(make_video, tmp_path, fps):
    path = make_video(tmp_path / "a.mp4", frames=40)
    ours, theirs = both(path, None, lambda reader: list(reader.sampled(fps, 16)))
    assert np.array_equal(np.concatenate([x.times_s for x in ours]), np.concatenate([x.times_s for x in theirs]))
    assert np.array_equal(np.concatenate([x.pixels for x in ours]), np.concatenate([x.pixels for x in theirs]))


def test_the_reader_names_itself_and_refuses_nonsense(make_video, tmp_path):
    path = make_video(tmp_path / "a.mp4", frames=5)
    with open_video(path, decoder="torchcodec") as reader:
        assert reader.decoder.startswith("torchcodec ")
        assert reader.decoder.endswith(", cpu")
        assert reader.at([]).pixels.shape == (0, reader.info.height, reader.info.width, 3)
        with pytest.raises(TalError, match="finite"):
            reader.at([float("nan")])
        with pytest.raises(TalError, match="positive rate"):
            next(reader.sampled(0, 1))
        with pytest.raises(TalError, match="at least one"):
            next(reader.batches(0))


def test_bad_files_are_one_clear_error(bad_videos):
    for path in bad_videos.values():
        with pytest.raises(VideoError):
            open_video(path, decoder="torchcodec")


def test_pyav_decodes_on_the_cpu_only(make_video, tmp_path):
    with pytest.raises(TalError, match="pyav on 'cuda'"):
        open_video(make_video(tmp_path / "a.mp4", frames=2), device="cuda")
