"""Progress on a terminal, and silence elsewhere."""

import io
import sys

import pytest

from tal.console import meter


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
