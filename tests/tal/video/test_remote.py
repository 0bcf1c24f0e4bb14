"""A reader in a process of its own gives the same frames, and whatever its decoder does costs one video."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tal.errors import TalError, VideoError
from tal.video import DECODERS, Resize, open_video
from tal.video.base import DecoderError
from tal.video.process import WorkerProcess, memory_limit
from tal.video.remote import RemoteReader

RESIZE = Resize(short_side=24, crop=(20, 22))


@pytest.fixture(scope="module")
def worker():
    process = WorkerProcess()
    yield process
    process.end()


def remote(path, worker=None, *, decoder="pyav", resize=RESIZE, **settings):
    return RemoteReader(path, target=DECODERS[decoder].target, name=decoder, resize=resize, worker=worker, **settings)


def joined(batches):
    batches = list(batches)
    return np.concatenate([each.pixels for each in batches]), np.concatenate([each.times_s for each in batches])


@pytest.mark.parametrize("resize", [None, RESIZE, Resize(exact=(32, 40))])
def test_the_same_frames_at_the_same_times(make_video, tmp_path, worker, resize):
    path = make_video(tmp_path / "a.mp4", frames=50, audio=True, start_s=0.4)
    reads = (
        lambda reader: joined(reader.sampled(7.0, 6)),
        lambda reader: joined(reader.batches(8, start_s=0.3, end_s=1.7)),
        lambda reader: joined([reader.at([1.2, 0.1, 0.1])]),
    )
    with open_video(path, resize=resize) as ours, remote(path, worker, resize=resize) as theirs:
        for read in reads:
            for mine, other in zip(read(ours), read(theirs), strict=True):
                np.testing.assert_array_equal(mine, other)
        np.testing.assert_array_equal(ours.info.times_s, theirs.info.times_s)
        assert replace(ours.info, times_s=None) == replace(theirs.info, times_s=None)
        assert (ours.decoder, ours.losses) == (theirs.decoder, theirs.losses)


def test_passes_may_be_left_early_and_mixed(make_video, tmp_path, worker, read_number):
    path = make_video(tmp_path / "a.mp4", frames=60, fps=25)
    with remote(path, worker, resize=None) as reader:
        next(reader.batches(4))
        first, second = reader.batches(5), reader.sampled(5.0, 2)
        numbers = [read_number(next(first).pixels[0]), read_number(next(second).pixels[1])]
        assert [read_number(each) for each in reader.at([1.0, 0.2]).pixels] == [25, 5]
        numbers += [read_number(next(first).pixels[0]), read_number(next(second).pixels[1])]
        assert numbers == [0, 5, 5, 15]


def test_no_frames_are_an_answer_too(make_video, tmp_path, worker):
    with remote(make_video(tmp_path / "a.mp4", frames=4), worker) as reader:
        assert reader.at([]).pixels.shape == (0, 20, 22, 3)


def test_what_was_lost_is_told(make_video, tmp_path, worker):
    path = make_video(tmp_path / "a.mp4", frames=100, gop=10)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = bytes(2000)
    path.write_bytes(data)
    with open_video(path) as ours, remote(path, worker) as theirs:
        for reader in (ours, theirs):
            list(reader.sampled(25.0, 8))
        assert ours.losses
        assert ours.losses == theirs.losses


def test_errors_are_those_of_the_reader(bad_videos, make_video, tmp_path, worker):
    for path in bad_videos.values():
        with pytest.raises(VideoError) as ours:
            open_video(path)
        with pytest.raises(VideoError) as theirs:
            remote(path, worker)
        assert str(ours.value) == str(theirs.value)
    with remote(make_video(tmp_path / "a.mp4", frames=2), worker) as reader:
        with pytest.raises(TalError, match="finite"):
            reader.at([float("nan")])
        with pytest.raises(TalError, match="positive rate"):
            next(reader.sampled(0, 1))
        assert len(reader.at([0.0])) == 1
    with pytest.raises(TalError, match="crop"):
        remote(tmp_path / "a.mp4", worker, resize=Resize(crop=(100, 100)))


@pytest.mark.parametrize("name", ["a\nb.mp4", "..mp4", 'q"uo\\te.mp4', "bytes\udcff.mp4"])
def test_any_name_of_a_file(make_video, tmp_path, worker, name):
    make_video(tmp_path / "a.mp4", frames=3).rename(tmp_path / name)
    with open_video(tmp_path / name) as ours, remote(tmp_path / name, worker) as theirs:
        assert theirs.info.path == ours.info.path
        assert len(joined(theirs.sampled(25.0, 8))[1]) == 3


@pytest.mark.parametrize(
    ("decoder", "reason"),
    [
        ("crasher", r"crashed \(signal 11\)"),
        ("sleeper", "stood still"),
        ("deaf", "stood still"),
        ("thrower", "fails: ZeroDivisionError: no such thing$"),
    ],
)
def test_a_decoder_that_misbehaves_costs_one_video(make_video, tmp_path, bad_decoders, decoder, reason):
    path = make_video(tmp_path / "a.mp4", frames=30)
    good = make_video(tmp_path / "good.mp4", frames=30)
    worker = WorkerProcess()
    for _ in range(2):
        with remote(path, worker, decoder=decoder, patience=1.0) as reader:
            frames = reader.sampled(25.0, 4)
            assert len(next(frames)) == 4
            with pytest.raises(DecoderError, match=reason) as error:
                list(frames)
            assert (error.value.stage, "\n" in error.value.reason) == ("decode", False)
        with remote(good, worker, decoder=decoder) as reader:
            assert len(joined(reader.sampled(25.0, 4))[1]) == 30
    worker.end()


def test_a_decoder_that_takes_too_much_memory_is_ended(make_video, tmp_path, bad_decoders):
    worker = WorkerProcess(memory_bytes=400 << 20)
    with remote(make_video(tmp_path / "a.mp4", frames=30), worker, decoder="hoarder") as reader:
        with pytest.raises(DecoderError, match=r"took 0\.\d GiB of memory and was ended \(limit 0\.4\)"):
            list(reader.sampled(25.0, 4))
        with pytest.raises(DecoderError, match="was ended"):
            reader.at([0.0])
    assert worker.pid is None
    assert memory_limit(4) <= memory_limit(1)


def test_waiting_for_us_does_not_count(make_video, tmp_path, worker):
    with remote(make_video(tmp_path / "a.mp4", frames=60), worker, patience=1.0) as reader:
        for number, _ in enumerate(reader.sampled(25.0, 4)):
            time.sleep(2.5 if number == 3 else 0)
        assert number == 14


def test_a_file_without_an_end_is_given_up(make_video, tmp_path, worker):
    path = make_video(tmp_path / "a.mkv", frames=40)
    with path.open("rb+") as file:
        file.truncate(1 << 40)
    with pytest.raises(VideoError, match="stood still"):
        remote(path, worker, patience=0.2)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes as Linux shows them")
@pytest.mark.parametrize("decoder", ["sleeper", "deaf"])
def test_the_process_ends_with_the_one_that_asks(make_video, tmp_path, bad_decoders, decoder):
    script = (
        "import sys\n"
        "from tal.video.remote import RemoteReader\n"
        f"reader = RemoteReader(sys.argv[1], target='bad_decoders:{decoder.capitalize()}', name='bad')\n"
        "print(reader._worker.pid, flush=True)\n"
        "list(reader.sampled(25.0, 4))\n"
    )
    path = make_video(tmp_path / "a.mp4", frames=30)
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE)
    worker = int(process.stdout.readline())
    time.sleep(0.3)
    assert _lives(worker)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 120
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _lives(worker)


def _lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False
