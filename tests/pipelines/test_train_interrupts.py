"""Ctrl-C while two processes train: both end, the run can go on, nothing is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from tal.pipelines.train_processes import listening

from .conftest import recipe_values, write_data

EPOCHS = 3000


def _wait(done, seconds=400.0):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _in_session(number):
    """Processes of a session that still run."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/stat") as file:
                state, _, _, session = file.read().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == number and state != "Z":
            found.append(int(entry))
    return found


def _recipe(folder):
    """For two processes and far more epochs than any test waits for."""
    values = recipe_values(write_data(folder / "data"), max_epochs=EPOCHS, devices=2, validate_every=0)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture
def start():
    """`_start`, whose processes do not outlive the test."""
    begun = []
    yield lambda *words: begun.append(_start(*words)) or begun[-1]
    for process in begun:
        for pid in _in_session(process.pid):
            os.kill(pid, signal.SIGKILL)


def _start(recipe, out, *words):
    """`tal train` as leader of a session of its own, as in a terminal."""
    command = [sys.executable, "-m", "tal", "train", str(recipe), "--out", str(out), *words]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _ended(process):
    """(exit code, what was told); everything that it started is gone."""
    told, _ = process.communicate(timeout=400)
    _wait(lambda: not _in_session(process.pid), 60)
    return process.returncode, told


@pytest.mark.full
@pytest.mark.parametrize("to_all", [True, False])
def test_two_processes_end_at_ctrl_c_and_go_on(tmp_path, start, to_all):
    """In a terminal every process gets the signal; `kill -INT` sends it to the first one alone."""
    recipe, out = _recipe(tmp_path), tmp_path / "run"
    last = out / "checkpoints" / "last.ckpt"
    steps = []
    for words in ((), ("--resume",)):
        process = start(recipe, out, *words)
        begun = last.stat().st_mtime if last.exists() else 0.0
        _wait(lambda since=begun: last.exists() and last.stat().st_mtime > since)
        assert len(_in_session(process.pid)) >= 3
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        code, told = _ended(process)
        assert code == 130
        assert "tal: interrupted; finished work is kept" in told
        assert "Traceback" not in told
        content = torch.load(last, weights_only=True)
        assert len(content["processes"]) == 2
        steps.append(content["global_step"])
    assert 0 < steps[0] < steps[1]


@pytest.mark.full
def test_processes_end_with_the_one_that_started_them(tmp_path, start):
    recipe, out = _recipe(tmp_path), tmp_path / "run"
    process = start(recipe, out)
    _wait((out / "checkpoints" / "last.ckpt").exists)
    process.kill()
    _wait(lambda: not _in_session(process.pid), 60)
    process.communicate()


@pytest.mark.full
def test_ctrl_c_before_training_begins(tmp_path, start):
    recipe, out = _recipe(tmp_path), tmp_path / "run"
    process = start(recipe, out)
    _wait(lambda: len(_in_session(process.pid)) >= 3)
    os.killpg(process.pid, signal.SIGINT)
    code, told = _ended(process)
    assert code == 130
    assert "Traceback" not in told


def _child(ready, released):
    ready.set()
    released.wait(10)


def test_started_processes_do_not_see_ctrl_c():
    """Of a first Ctrl-C the event tells, of a second the function; afterwards everything is as before."""
    context = multiprocessing.get_context("fork")
    stop, ready, released, ended = context.Event(), context.Event(), context.Event(), []
    before = signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with listening(stop, lambda: ended.append(1)):
        child = context.Process(target=_child, args=(ready, released))
        child.start()
        assert ready.wait(10)
        os.kill(child.pid, signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.wait(10)
        assert not ended
        os.kill(os.getpid(), signal.SIGINT)
        _wait(lambda: ended, 10)
        released.set()
        child.join(10)
    assert child.exitcode == 0
    assert before == (signal.getsignal(signal.SIGINT), signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
