"""`tal demo`: the whole job, and what it keeps when it is run again."""

import json
import os
import re

import pytest

from tal.cli import main
from tal.pipelines.demo import _unless_newer


def test_a_stage_is_done_again_only_if_something_it_is_made_from_is_newer(tmp_path):
    source, made, runs = tmp_path / "source", tmp_path / "made", []

    def make():
        runs.append(1)
        made.write_text("x")

    source.write_text("x")
    os.utime(source, (1, 1))
    _unless_newer(made, [source], make)
    _unless_newer(made, [source], make)
    assert len(runs) == 1
    os.utime(source, (2e9 * 2, 2e9 * 2))
    _unless_newer(made, [source], make)
    assert len(runs) == 2


@pytest.mark.parametrize(("videos", "tested"), [("15", 3), pytest.param("40", 8, marks=pytest.mark.full)])
def test_the_demo_finds_the_actions_and_keeps_what_is_finished(videos, tested, tmp_path, capsys):
    """With fewer videos than `make demo` takes, and with as many."""
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--videos", videos]) == 0
    said = capsys.readouterr().out
    row = next(line for line in said.splitlines() if line.startswith("mAP "))
    columns = next(line for line in said.splitlines() if line.startswith("tIoU")).split()
    at_half = float(row.split()[columns.index("0.50")])
    assert at_half >= 0.80
    page = (out / "report.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert len(data["videos"]) == tested
    assert dict(data["metrics"])["mAP@0.50"] == pytest.approx(at_half, abs=1e-3)
    package = (out / "run" / "model" / "model.safetensors").stat().st_mtime_ns
    assert main(["demo", "--out", str(out), "--videos", videos]) == 0
    assert (out / "run" / "model" / "model.safetensors").stat().st_mtime_ns == package
