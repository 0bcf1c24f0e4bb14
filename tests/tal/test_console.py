"""Progress on a terminal, and silence elsewhere."""

import io
import sys

import pytest

from tal.console import meter, tell_failed
from tal.errors import FeatureError, VideoError


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("patience_s", "shown"), [(0.0, True), (60.0, False)])
def test_a_meter_appears_on_a_terminal_after_a_while(monkeypatch, patience_s, shown):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("tal.console._PATIENCE_S", patience_s)
    monkeypatch.setenv("TERM", "xterm")
    with meter("localize", 2) as progress:
        for done in (0.5, 1.0):
            progress(done)
    assert ("localize" in sys.stderr.getvalue()) is shown


def test_a_meter_is_silent_elsewhere(capsys):
    with meter("localize", 2) as progress:
        progress(1.0)
    assert capsys.readouterr().err == ""


def test_failures_are_told_with_their_help_once(capsys):
    missing = [FeatureError(f"no {video}", expected="a file", todo="extract it") for video in "ab"]
    tell_failed({"a": missing[0], "b": missing[1], "c": VideoError("c.mp4", "open", "empty"), "d": FeatureError("odd")})
    assert capsys.readouterr().out.splitlines() == [
        "  failed: a: no a",
        "    expected: a file",
        "    what to do: extract it",
        "  failed: b: no b",
        "  failed: c: open failed: empty",
        "  failed: d: odd",
    ]
