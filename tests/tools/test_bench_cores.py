"""The benchmark of one core runs, and tells a rate for every size."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from bench_cores import main


def test_rates_are_told(capsys):
    words = "--backbones tiny --sizes 360p --gops 12 250 --seconds 1 --rounds 1"
    assert main(words.split()) == 0
    name, *rates = capsys.readouterr().out.splitlines()[-1].split()
    assert name == "tiny"
    assert len(rates) == 4
    assert float(rates[0]) == 7.5
    assert all(float(rate) > 0 for rate in rates)
