"""The plain loop that the benchmark of boxes compares with gives the same numbers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from bench_ava import made, plain_mean_average_precision

from tal.evaluation import evaluate


@pytest.mark.parametrize("seed", [0, 1])
def test_the_plain_loop_is_the_protocol(seed):
    truth, found = made(80, seed)
    assert len(found) == 80 * 50
    value = evaluate("ava", truth, found).metrics["mAP@0.50"]
    assert 0.02 < value < 0.9
    assert plain_mean_average_precision(truth, found) == pytest.approx(value, rel=1e-12)
