"""Real clips: the right number of frames at the right times, or one clear error. Read in place, never copied."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tal.video import Resize, list_videos, open_video, probe

FOLDER = Path(__file__).parents[3] / "../shared/cases/videos"
NAMES = [path.name for path in list_videos([FOLDER])] if FOLDER.is_dir() else []
LARGE = {"T3AL__video_test_0000946.mp4", "T3AL__video_validation_0000986.mp4"}
LOST = {"decord__corrupted.mp4": [3.0]}  # seconds of frames that cannot be decoded
TURNED = {"decord__video_90.mov": 90, "decord__video_180.mov": 180, "torchcodec__nasa_13013_rotated.mp4": 270}

needs_cases = pytest.mark.skipif(not NAMES, reason=f"{FOLDER} is absent")
needs_ffmpeg = pytest.mark.skipif(not (shutil.which("ffprobe") and shutil.which("ffmpeg")), reason="no ffmpeg here")
every_clip = pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.full] * (n in LARGE)) for n in NAMES])


def ffprobe_times(path, stream_idx):
    """Best-effort times of all frames, sorted, from the first one on; NaN at the end where ffprobe knows none."""
    command = ["ffprobe", "-v", "quiet", "-show_entries", "frame=best_effort_timestamp_time", "-of", "json"]
    done = subprocess.run([*command, "-select_streams", str(stream_idx), str(path)], capture_output=True, check=True)
    frames = json.loads(done.stdout)["frames"]
    times_s = np.sort([float(each.get("best_effort_timestamp_time", "nan")) for each in frames])
    return times_s - times_s[0]


@needs_cases
@every_clip
def test_every_announced_frame_comes_once_at_its_time(name):
    with open_video(FOLDER / name, resize=Resize(short_side=16)) as reader:
        times_s = np.concatenate([each.times_s for each in reader.batches(64)])
        info = reader.info
    lost = LOST.get(name, [])
    assert sorted(set(info.times_s) - set(times_s)) == pytest.approx(lost)
    assert len(times_s) == info.frame_count - len(lost)
    assert (np.diff(times_s) > 0).all()
    assert [line.split(":")[0] for line in reader.losses] == [f"frame at {time_s:.3f} s" for time_s in lost]


@needs_cases
@needs_ffmpeg
@every_clip
def test_times_are_those_of_ffprobe(name):
    info = probe(FOLDER / name)
    expected = ffprobe_times(FOLDER / name, info.stream_idx)
    found = [time_s for time_s in info.times_s if not any(abs(time_s - lost) < 1e-6 for lost in LOST.get(name, []))]
    assert len(found) == len(expected)
    assert np.isnan(expected).sum() == (name == "mmaction2__test.avi")
    assert np.nanmax(np.abs(np.array(found) - expected)) < 1e-3


@needs_cases
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.all_frames_info.json")), ids=lambda path: path.name[-40:])
def test_times_are_the_recorded_ones(path):
    name, stream = path.name.removesuffix(".all_frames_info.json").rsplit(".stream", 1)
    recorded = np.array([float(each["pts_time"]) for each in json.loads(path.read_text())])
    import av

    with av.open(str(FOLDER / name)) as container:
        if container.streams[int(stream)].type != "video":
            pytest.skip(f"stream {stream} is sound")
    with open_video(FOLDER / name, stream_idx=int(stream), resize=Resize(short_side=16)) as reader:
        times_s = np.concatenate([each.times_s for each in reader.batches(64)])
    assert len(times_s) == len(recorded)
    assert np.abs(times_s - (recorded - recorded[0])).max() < 1e-3


@needs_cases
def test_facts_agree_with_the_folders_own_table():
    for row in json.loads((FOLDER / "videos.json").read_text()):
        info = probe(FOLDER / row["file"])
        assert (info.audio is not None) == bool(row["audio"]), row["file"]
        if row["file"] == "torchcodec__nasa_13013.mp4":
            assert info.stream_idx == 3  # FFmpeg's best one, the larger; the table describes the first
            continue
        assert info.codec == row["codec"]
        assert info.frame_count == int(row["packets"])
        assert [info.coded_width, info.coded_height] == row["wh"]
        assert info.pix_fmt.replace("yuvj", "yuv") == row["pix_fmt"].replace("yuvj", "yuv")
        assert info.rotation_deg == TURNED.get(row["file"], 0)
        assert info.variable_rate == bool(row["vfr"])
        if row["file"] != "mmaction2__test.avi":  # FFmpeg's versions guess its missing pts differently
            assert info.start_s == pytest.approx(float(row["start"]), abs=1e-3)


def ffmpeg_frames(path, info, count):
    """The first frames as FFmpeg's command line shows them, turned, (N, H, W, 3)."""
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:{info.stream_idx}", "-frames:v", str(count)]
    done = subprocess.run([*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
    turned = info.rotation_deg in (90, 270)
    height, width = (info.coded_width, info.coded_height) if turned else (info.coded_height, info.coded_width)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


# Mean absolute difference to FFmpeg's command line, in grey levels. Equal where both take the same way; 10 and 12 bit
# with subsampled chroma differ at sharp edges, because FFmpeg 5 and 8 place the chroma samples differently.
TOLERANCES = {
    "torchcodec__testsrc2.mp4": 0,
    "torchcodec__bt601_full_range.mp4": 0,
    "torchcodec__bt601_limited_range.mp4": 0,
    "torchcodec__bt709_full_range.mp4": 0,
    "torchcodec__nasa_13013.mp4": 0,
    "torchcodec__nasa_13013_rotated.mp4": 0,
    "torchcodec__av1_video.mkv": 0,
    "torchcodec__testsrc2_vp8.webm": 0,
    "torchcodec__testsrc2_odd_height_and_width_444.mp4": 0,
    "torchcodec__testsrc2_odd_height_and_width_444_10bit.mp4": 0,
    "torchcodec__testsrc2_odd_height_and_width_vp9.mp4": 0,
    "decord__video_90.mov": 0,
    "decord__video_180.mov": 0,
    "torchcodec__testsrc2_12bit_hdr.mp4": 2,
    "torchcodec__bt2020_10bit.mp4": 2,
    "torchcodec__h264_10bits.mp4": 3,
}


@needs_cases
@needs_ffmpeg
@pytest.mark.parametrize("name", TOLERANCES)
def test_pixels_are_those_of_ffmpeg(name):
    info = probe(FOLDER / name)
    expected = ffmpeg_frames(FOLDER / name, info, 3)
    with open_video(FOLDER / name) as reader:
        pixels = reader.at(info.times_s[:3]).pixels
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).mean() <= TOLERANCES[name]
