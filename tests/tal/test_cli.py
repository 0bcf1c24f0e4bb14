"""The command line: quick, and a user's mistake is one message."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tal import cli
from tal.errors import TalError, VideoError


def _tal(*words):
    return subprocess.run([sys.executable, "-m", "tal", *words], capture_output=True, text=True)


def test_help_lists_every_command_quickly():
    took = []
    for _ in range(3):
        began = time.perf_counter()
        done = _tal("--help")
        took.append(time.perf_counter() - began)
        assert done.returncode == 0
        assert all(name in done.stdout for name in cli.COMMANDS)
    assert min(took) < 0.4


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help_of_its_own(name):
    done = _tal(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"tal {name}" in done.stdout


def test_list_tells_the_benchmarks_that_have_a_card(capsys):
    assert cli.main(["list", "datasets"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^thumos14 +THUMOS14: Sports in untrimmed YouTube videos; 20 classes$", told, re.MULTILINE)
    cards = Path(__file__).parents[2].joinpath("data").glob("*.md")
    assert sorted(path.stem for path in cards) == [line.split()[0] for line in told.splitlines()]


def test_a_mistyped_command_is_answered_with_the_closest():
    done = _tal("evalute")
    assert done.returncode == 2
    assert "did you mean evaluate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (VideoError("a.mp4", "open", "no such file"), 2, "a.mp4: open failed: no such file"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "/x/y"), 2, "disk is full: /x/y"),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "not permitted"),
        (IsADirectoryError(21, "Is a directory", "/x/.tmp-1", None, "/x/y"), 2, "tal: /x/y: Is a directory"),
        (NotADirectoryError(20, "Not a directory", "/x/y"), 2, "tal: /x/y: Not a directory"),
    ],
)
def test_errors_are_one_message_and_a_code(monkeypatch, capsys, error, code, said):
    def fail(function, name, words):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert cli.main(["list"]) == code
    assert said in capsys.readouterr().err


def test_errors_travel_between_processes():
    import pickle

    error = VideoError("a.mp4", "decode", "bad", cause="cut short", todo="copy it again")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert isinstance(again, VideoError)
    assert str(again) == str(error)
    assert "likely cause: cut short" in str(again)
    assert str(TalError("x", expected="y")) == "x\n  expected: y"
