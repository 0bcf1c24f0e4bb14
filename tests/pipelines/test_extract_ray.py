"""tal extract --engine ray: what it refuses, what it leaves behind when it is interrupted."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tal.errors import ConfigError, TalError
from tal.features import FeatureStore
from tal.pipelines.extract import extract

OFFLINE = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("given", [{"address": "auto"}, {"network_actors": 2}, {"gpus_per_actor": 0.5}])
def test_options_of_a_cluster_need_the_engine(tmp_path, make_video, given):
    path = make_video(tmp_path / "v.mp4", frames=10)
    with pytest.raises(ConfigError, match="--address") as caught:
        extract([str(path)], backbone="tiny", out=tmp_path / "store", **given)
    assert "--engine ray" in caught.value.expected


def test_sound_is_left_to_the_local_engine(tmp_path, make_video):
    path = make_video(tmp_path / "v.mp4", frames=10, audio=True)
    with pytest.raises(ConfigError, match="logmel"):
        extract([str(path)], backbone="logmel", out=tmp_path / "store", engine="ray")


def test_a_cluster_that_is_not_there_is_told(tmp_path, make_video):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    path = make_video(tmp_path / "v.mp4", frames=10)
    with pytest.raises(TalError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        extract([str(path)], backbone="tiny", out=tmp_path / "store", engine="ray", address="127.0.0.1:1")


@pytest.mark.full
def test_interrupted_it_keeps_finished_work_and_goes_on(tmp_path, make_video):
    """This machine's cores, as without --address; relative paths; Ctrl-C in the middle, then the rest."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    for number in range(40):
        make_video(tmp_path / f"videos/v{number}.mp4", frames=100)
    words = ["extract", "videos", "--backbone", "tiny", "--out", "store", "--engine", "ray"]
    command = [sys.executable, "-m", "tal", *words, "--batch-clips", "1"]
    settings = {"cwd": tmp_path, "env": os.environ | OFFLINE, "text": True}
    running = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, **settings)
    while running.poll() is None and len(list((tmp_path / "store").glob("v*.npy"))) < 3:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130, told
    left = {path.name for path in (tmp_path / "store").iterdir() if path.name.startswith(".")}
    assert left <= {".lock"}
    store = FeatureStore.open(tmp_path / "store")
    finished = list(store.ids())
    assert 3 <= len(finished) < 40
    stamps = {video: (tmp_path / f"store/{video}.npy").stat().st_mtime_ns for video in finished}
    done = subprocess.run(command, capture_output=True, check=True, **settings)
    assert f"{40 - len(finished)} done, {len(finished)} were done before, 0 failed" in done.stdout
    assert {video: (tmp_path / f"store/{video}.npy").stat().st_mtime_ns for video in finished} == stamps
    assert store.record("v0")["source"]["path"] == "videos/v0.mp4"
