"""tal extract as a command: exit codes, what it says, and a process killed in the middle."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tal.cli import main
from tal.errors import TalError
from tal.features import FeatureStore, open_features
from tal.features.summary import Summary
from tal.video import decoder_version


@pytest.fixture
def folder(tmp_path, make_video):
    """Six short videos."""
    for number in range(6):
        make_video(tmp_path / f"videos/v{number}.mp4", frames=40 + 5 * number, fps=15, size=(96, 72))
    return tmp_path / "videos"


def command(folder, store, *words):
    return ["extract", str(folder), "--backbone", "tiny", "--weights", "random", "--out", str(store), *words]


def test_a_folder_of_videos(folder, tmp_path, capsys):
    assert main(command(folder, tmp_path / "store")) == 0
    out = capsys.readouterr().out
    assert "6 done, 0 were done before, 0 failed" in out
    assert re.search(r"x real time; (decoding|the network) binds", out)
    source = open_features(tmp_path / "store")
    assert source.ids() == [f"v{number}" for number in range(6)]
    assert source.load("v0").features.shape[1] == source.spec.width
    assert source.spec.weights == "random"
    assert main(command(folder, tmp_path / "store")) == 0
    assert "0 done, 6 were done before, 0 failed" in capsys.readouterr().out


def test_failures_end_with_one_and_are_listed(folder, tmp_path, capsys):
    (folder / "broken.mp4").write_bytes(b"no video")
    for words, tries in (((), ""), ((), ""), (("--retry-failed",), r" \(2 attempts\)")):
        assert main(command(folder, tmp_path / "store", *words)) == 1
        out = capsys.readouterr().out
        assert "1 failed" in out
        assert re.search(rf"failed: broken: \w+: .+{tries}\n", out)
    assert len(open_features(tmp_path / "store").ids()) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--backbone", "tinny"], "did you mean tiny"),
        (["--stride-s", "0.1"], "whole number of frames"),
        (["--batch-clips", "0"], "batches of 0 clips"),
    ],
)
def test_misuse_ends_with_two_and_one_message(folder, tmp_path, capsys, words, message):
    assert main(command(folder, tmp_path / "store", *words)) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_nothing_to_do_is_misuse(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(command(tmp_path / "empty", tmp_path / "store")) == 2
    assert "no videos" in capsys.readouterr().err
    assert main(command(tmp_path / "nowhere", tmp_path / "store")) == 2
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_two_files_with_one_stem_need_paths_as_ids(folder, tmp_path, make_video, capsys):
    make_video(folder / "deeper/v0.mp4", size=(96, 72))
    assert main(command(folder, tmp_path / "store")) == 2
    assert "--id path" in capsys.readouterr().err
    assert main(command(folder, tmp_path / "store", "--id", "path")) == 0
    assert "deeper/v0.mp4" in open_features(tmp_path / "store").ids()


def test_another_spec_needs_another_store(folder, tmp_path, capsys):
    assert main(command(folder, tmp_path / "store")) == 0
    assert main(command(folder, tmp_path / "store", "--dtype", "float32")) == 2
    assert "dtype: asked for 'float32', stored 'float16'" in capsys.readouterr().err


def test_a_gpu_that_is_not_there(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(command(folder, tmp_path / "store", "--device", "cuda")) == 2
    assert "device 'cuda' was asked for" in capsys.readouterr().err


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody can write")
def test_a_store_that_cannot_be_written(folder, capsys):
    assert main(command(folder, "/proc/store")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_help_describes_every_option(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["extract", "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    for option in ("--retry-failed", "--stride-s", "--resize-mode", "--batch-clips", "--id", "--dtype", "--device"):
        assert option in out


def _start(folder, store, finished):
    """The command as a process whose network waits when so many videos are finished: a signal finds it at work."""
    slow = (
        "import sys, time, pathlib, tal.features.clips as clips\n"
        "run = clips.ClipBatcher._run\n"
        "def slow(self, count):\n"
        "    time.sleep(0.02)\n"
        f"    while len(list(pathlib.Path({str(store)!r}).glob('v*.json'))) >= {finished}:\n"
        "        time.sleep(0.02)\n"
        "    run(self, count)\n"
        "clips.ClipBatcher._run = slow\n"
        "from tal.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    words = [sys.executable, "-c", slow, *command(folder, store, "--batch-clips", "1")]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for(store, count, process):
    deadline = time.monotonic() + 120
    while len(list(store.glob("v*.json"))) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.parametrize("finished", [1, 3])
def test_killed_in_the_middle_and_run_again(folder, tmp_path, capsys, finished):
    store = tmp_path / "store"
    process = _start(folder, store, finished)
    _wait_for(store, finished, process)
    time.sleep(0.01 * finished)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    before = {name: FeatureStore.open(store).load(name).features for name in FeatureStore.open(store).ids()}
    assert finished <= len(before) < 6
    assert main(command(folder, store)) == 0
    assert f"{6 - len(before)} done, {len(before)} were done before, 0 failed" in capsys.readouterr().out
    after = FeatureStore.open(store)
    assert len(after.ids()) == 6
    for name, features in before.items():
        np.testing.assert_array_equal(after.load(name).features, features)


def test_an_interruption_keeps_what_is_done(folder, tmp_path):
    store = tmp_path / "store"
    process = _start(folder, store, 2)
    _wait_for(store, 2, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "finished work is kept" in err
    assert "Traceback" not in err
    assert 2 <= len(FeatureStore.open(store).ids()) < 6
    assert not list(store.glob(".tmp-*"))


def test_quiet_when_nobody_watches(folder, tmp_path):
    words = [sys.executable, "-m", "tal", *command(folder, tmp_path / "store")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr.count("\n") == 1  # the warning about random weights
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.full
def test_the_real_clips_finish(cases, tmp_path, capsys):
    words = ["--backbone", "tiny", "--weights", "random", "--out", str(tmp_path / "store"), "--id", "path"]
    code = main(["extract", str(cases / "videos"), *words])
    out = capsys.readouterr().out
    store = FeatureStore.open(tmp_path / "store")
    count = len(json.loads((cases / "videos/videos.json").read_text()))
    assert len(store.ids()) + len(store.failures()) == count
    assert code == (1 if store.failures() else 0)
    assert f"{len(store.ids())} done" in out
    for name in store.ids():
        store.load(name, duration_s=store.record(name)["duration_s"])
    assert store.record("decord__corrupted.mp4")["losses"]


def test_torchcodec_gives_the_same_store_and_is_named_in_the_record(folder, tmp_path, capsys):
    try:
        decoder_version("torchcodec")
    except TalError as error:
        pytest.skip(str(error))
    stores = {}
    for decoder in ("pyav", "torchcodec"):
        words = ["extract", str(folder), "--backbone", "tiny", "--out", str(tmp_path / decoder), "--dtype", "float32"]
        assert main([*words, "--decoder", decoder]) == 0
        stores[decoder] = FeatureStore.open(tmp_path / decoder)
    for video in stores["pyav"].ids():
        assert stores["torchcodec"].record(video)["source"]["decoder"].startswith("torchcodec ")
        ours, theirs = (open_features(tmp_path / decoder).load(video) for decoder in stores)
        assert ours.grid == theirs.grid
        assert np.abs(ours.features - theirs.features).mean() < 0.05 * np.abs(ours.features).mean()


def test_videos_without_a_file_fail_and_are_done_once_they_have_one(folder, tmp_path, make_video, capsys):
    (tmp_path / "list.csv").write_text("video\nv0\nlate\n")
    words = ["extract", str(tmp_path / "list.csv"), "--videos", str(folder), *command("", tmp_path / "store")[2:]]
    for words_then in (words, words):
        assert main(words_then) == 1
        out = capsys.readouterr().out
        assert "1 videos have no file" in out
        assert f"failed: late: open: no file of this name below {folder}\n" in out
    make_video(folder / "late.mp4", frames=30, fps=15, size=(96, 72))
    assert main(words) == 0
    assert "1 done, 1 were done before, 0 failed" in capsys.readouterr().out
    (folder / "late.mp4").unlink()
    assert main(words) == 0  # done is done
    assert "0 done, 2 were done before, 0 failed" in capsys.readouterr().out


def test_parts_of_the_inputs_make_the_whole(folder, tmp_path, capsys):
    for number in (1, 2, 3):
        assert main(command(folder, tmp_path / "store", "--shard", f"{number}/3")) == 0
        assert f"part {number}/3: " in capsys.readouterr().out
    assert len(FeatureStore.open(tmp_path / "store").ids()) == 6
    assert main(["extract", "--status", str(tmp_path / "store"), str(folder)]) == 0
    assert "6 done, 0 failed, 0 missing, 0 in work" in capsys.readouterr().out


def test_several_outputs_have_a_store_each_and_are_told_together(folder, tmp_path, capsys):
    (tmp_path / "list.csv").write_text("video\nv0\nv1\ngone\n")
    out = tmp_path / "out"
    inputs = [str(tmp_path / "list.csv"), "--videos", str(folder)]
    words = ["--backbone", "torchvision:r3d_18", "--weights", "random", "--stride-s", "4", "--out", str(out)]
    assert main(["extract", *inputs, *words, "--layers", "layer1", "features"]) == 1
    capsys.readouterr()
    stores = {name: FeatureStore.open(out / name) for name in ("layer1", "features")}
    assert {name: store.spec.width for name, store in stores.items()} == {"layer1": 64, "features": 512}
    assert [store.ids() for store in stores.values()] == [["v0", "v1"]] * 2
    assert main(["extract", "--status", str(out), *inputs, "--json", "-"]) == 1
    told = json.loads(capsys.readouterr().out)["stores"]
    assert [(each["done"], each["failed"], each["missing"]) for each in told] == [(2, {"open": 1}, [])] * 2
    assert main(["extract", "--verify", str(out)]) in (0, 1)
    assert "checked features of 2 videos" in capsys.readouterr().out
    assert main(["extract", "--pack", str(out), "--out", str(tmp_path / "packed")]) == 0
    assert FeatureStore.open(tmp_path / "packed/layer1").ids() == ["v0", "v1"]


def test_a_cluster_gets_what_the_command_was_told(folder, tmp_path, capsys, monkeypatch):
    told = {}

    def on_cluster(videos, load, stores, **settings):
        told.update(settings, videos=list(videos), load=pickle.loads(pickle.dumps(load)))  # noqa: S301
        (store,) = stores.values()
        return Summary(failed=[store.record_failure(video, stage="network", error="lost") for video in videos])

    monkeypatch.setattr("tal.features.cluster.extract_on_cluster", on_cluster)
    words = ("--engine", "ray", "--address", "head:6379", "--stride-s", "2", "--device", "cpu", "--decoders", "5")
    assert main(command(folder, tmp_path / "store", *words)) == 1
    assert "0 done, 0 were done before, 6 failed" in capsys.readouterr().out
    assert (told["address"], told["decoders"], told["gpus_per_actor"]) == ("head:6379", 5, 0.0)
    assert told["videos"] == [f"v{number}" for number in range(6)]
    assert told["load"](device="cpu").spec.stride_s == 2.0
    assert main(command(folder, tmp_path / "store", "--address", "head:6379")) == 2
    assert "--engine ray beside them" in capsys.readouterr().err
    sound = ["extract", str(folder), "--backbone", "logmel", "--out", str(tmp_path / "sound"), "--engine", "ray"]
    assert main(sound) == 2
    assert "expected: a backbone of frames" in capsys.readouterr().err
