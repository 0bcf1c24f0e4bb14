"""tal extract is killed at any instant, run twice at once, on full and read-only disks: nothing is lost or redone.

The short form forks the command from a process that has torch loaded already, so that what is killed is the work and
not the loading; the full form kills the real command.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tal.features import FeatureStore
from tal.features.verify import verify

VIDEOS = 8

LOADED = """
import json, os, signal, sys
import torch, tal.features.extractor, tal.backbones.tiny, tal.pipelines.extract
from tal.cli import main

torch.set_num_threads(1)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        with open(job["log"], "wb") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        code = main(job["words"])
        sys.stdout.flush()
        os._exit(code)
    print(child, flush=True)
    sys.stdin.readline()
    pid, status = os.waitpid(child, 0)  # not before: until then nobody else can have its number
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


class Loaded:
    """A process that forks the command; one command at a time."""

    def __init__(self, log):
        self.log = log
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", LOADED]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def start(self, words):
        job = {"words": [str(word) for word in words], "log": str(self.log)}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self):
        """The exit code; minus the signal that ended it."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def run(self, words):
        """(exit code, what was told)."""
        self.start(words)
        return self.wait(), self.log.read_text()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """Two processes that run the command."""
    both = [Loaded(tmp_path_factory.mktemp("logs") / "log") for _ in range(2)]
    yield both
    for each in both:
        each.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory, make_video):
    """Tiny videos, some of whose features fill several blocks of a disk."""
    folder = tmp_path_factory.mktemp("kills") / "videos"
    for number in range(VIDEOS):
        make_video(folder / f"v{number}.mp4", frames=30 + 10 * number, fps=15, size=(96, 72))
    return folder


def command(folder, store, *words):
    return [
        "extract",
        folder,
        "--backbone",
        "tiny",
        "--weights",
        "random",
        "--out",
        store,
        "--batch-clips",
        "4",
        *words,
    ]


def finished(store):
    """Video -> what must not change any more: its files' identity, time and content."""
    found = {}
    for video in FeatureStore.open(store).ids() if (store / "spec.json").exists() else ():
        paths = [store / f"{video}.json", store / f"{video}.npy"]
        found[video] = [(path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths]
    return found


def features(store):
    source = FeatureStore.open(store)
    return {video: source.load(video).features for video in source.ids()}


def check_whole(store, reference):
    """All videos, bit for bit those of a run that was left alone, and no litter of the living or the dead."""
    found = features(store)
    assert found.keys() == reference.keys()
    for video, expected in reference.items():
        np.testing.assert_array_equal(found[video], expected)
    assert [each for each in verify(FeatureStore.open(store)) if each.kind not in ("constant", "all_zero")] == []


def kill_at_random(start, ended, folder, tmp_path, reference, *, kills, longest_s, seed):
    """Kill what `start` starts until `kills` have hit unfinished work; check after each that nothing was lost."""
    chance = random.Random(seed)
    hit = rounds = 0
    while hit < kills:
        rounds += 1
        store = tmp_path / f"store{rounds}"
        before = {}
        while len(before) < VIDEOS and hit < kills:
            pids = start(command(folder, store))
            time.sleep(chance.uniform(0, longest_s))
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            codes = ended()
            hit += -signal.SIGKILL in codes
            after = finished(store)
            assert {video: after.get(video) for video in before} == before  # none lost, none redone
            before = after
            if before:
                features(store)  # none damaged: loading compares with the hash
        start(command(folder, store))
        assert set(ended()) == {0}
        after = finished(store)
        assert {video: after[video] for video in before} == before
        check_whole(store, reference)
        shutil.rmtree(store)


@pytest.fixture(scope="module")
def reference(folder, tmp_path_factory, loaded):
    """Features of a run that was left alone, and how long it took."""
    store = tmp_path_factory.mktemp("reference") / "store"
    loaded[0].run(["list"])  # it has loaded everything now
    began = time.monotonic()
    code, told = loaded[0].run(command(folder, store))
    assert code == 0, told
    return features(store), time.monotonic() - began


@pytest.mark.parametrize(("at_once", "kills"), [(1, 20), (2, 6), pytest.param(2, 40, marks=pytest.mark.full)])
def test_killed_at_random_one_or_two_at_once(loaded, folder, tmp_path, reference, at_once, kills):
    workers = loaded[:at_once]
    kill_at_random(
        lambda words: [each.start(words) for each in workers],
        lambda: [each.wait() for each in workers],
        folder,
        tmp_path,
        reference[0],
        kills=kills,
        longest_s=reference[1],
        seed=at_once,
    )


@pytest.mark.full
def test_the_real_command_killed_twenty_times(loaded, folder, tmp_path, reference):
    running = []

    def start(words):
        words = [sys.executable, "-m", "tal", *map(str, words)]
        with (tmp_path / "log").open("wb") as log:
            running.append(subprocess.Popen(words, stdout=log, stderr=log))
        return [running[-1].pid]

    began = time.monotonic()
    start(command(folder, tmp_path / "timed"))
    assert running.pop().wait() == 0
    took_s = time.monotonic() - began
    kill_at_random(
        start,
        lambda: [running.pop().wait()],
        folder,
        tmp_path,
        reference[0],
        kills=20,
        longest_s=took_s,
        seed=3,
    )


def test_two_at_once_share_one_store(loaded, folder, tmp_path, reference):
    store = tmp_path / "store"
    for each in loaded:
        each.start(command(folder, store))
    assert [each.wait() for each in loaded] == [0, 0]
    check_whole(store, reference[0])
    assert not list(store.glob(".tmp-*"))
    before = finished(store)
    code, told = loaded[0].run(command(folder, store))
    assert (code, finished(store)) == (0, before)
    assert f"0 done, {VIDEOS} were done before" in told


def test_a_full_disk_keeps_what_is_finished(loaded, folder, tmp_path, reference):
    disk = tmp_path / "disk"
    disk.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("a small disk can be mounted by root only")
    size = 3 * os.sysconf("SC_PAGE_SIZE") * VIDEOS // 2
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        store = disk / "store"
        code, told = loaded[0].run(command(folder, store))
        assert code == 2, told
        assert "cannot be written: No space left on device" in told
        before = finished(store)
        assert 0 < len(before) < VIDEOS
        assert not list(store.glob(".tmp-*"))
        subprocess.run(["mount", "-o", "remount,size=16m", disk], check=True)
        assert loaded[0].run(command(folder, store))[0] == 0
        after = finished(store)
        assert {video: after[video] for video in before} == before
        check_whole(store, reference[0])
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        code, told = loaded[0].run(command(folder, store))
        assert code == 2
        assert "cannot be written: Read-only file system" in told
        assert loaded[0].run(["extract", "--status", store, folder])[0] == 0
        assert loaded[0].run(["extract", "--verify", store])[0] in (0, 1)
        check_whole(store, reference[0])
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("shift_s", [-400 * 86_400, 400 * 86_400])
def test_wrong_clocks_decide_nothing(loaded, folder, tmp_path, shift_s):
    videos, store = tmp_path / "videos", tmp_path / "store"
    shutil.copytree(folder, videos)
    assert loaded[0].run(command(videos, store))[0] == 0
    now_s = time.time()
    for path in [*videos.iterdir(), *store.iterdir()]:
        os.utime(path, (now_s + shift_s,) * 2)
    before = finished(store)
    code, told = loaded[0].run(command(videos, store))
    assert (code, finished(store)) == (0, before)
    assert f"0 done, {VIDEOS} were done before" in told
    assert loaded[0].run(["extract", "--status", store, videos])[0] == 0
