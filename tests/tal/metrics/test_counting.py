"""Counting errors against their definitions, one video at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal.metrics.counting import PLAIN_OFFSET, density_count, relative_error, rmse, within

PAIRS = st.lists(st.tuples(st.floats(-1, 40), st.integers(0, 30)), min_size=1, max_size=12)


@settings(max_examples=50, deadline=None)
@given(PAIRS, st.booleans(), st.sampled_from([0.1, 1e-9]))
def test_equal_to_the_definitions(pairs, rounded, offset):
    total, close, exact, squares = 0.0, 0, 0, 0.0
    for p, g in pairs:
        value = round(p) if rounded else p
        total += abs(value - g) / (g + offset)
        close += abs(value - g) <= 1
        exact += value == g
        squares += (value - g) ** 2
    p, g = zip(*pairs, strict=True)
    assert relative_error(p, g, offset=offset, rounded=rounded).mean() == pytest.approx(total / len(pairs))
    assert within(p, g, rounded=rounded).mean() == pytest.approx(close / len(pairs))
    assert within(p, g, tolerance=0, rounded=rounded).mean() == pytest.approx(exact / len(pairs))
    assert rmse(p, g, rounded=rounded) == pytest.approx(math.sqrt(squares / len(pairs)))


def test_by_hand():
    assert relative_error([9.6, 0.4], [8, 0]).tolist() == pytest.approx([2 / 8.1, 0])
    assert relative_error([9.6], [8], rounded=False).tolist() == pytest.approx([1.6 / 8.1])
    assert relative_error([3], [4], offset=PLAIN_OFFSET).tolist() == pytest.approx([0.25])
    assert relative_error([2], [0])[0] == pytest.approx(20)
    assert within([2.5, 3.5], [1, 3]).tolist() == [True, True]  # Halves go to the even number: 2 and 4.
    assert within([2.4], [1], rounded=False).tolist() == [False]
    assert np.isnan(rmse([], []))


def _slow_density(cycles, frames, bins, later_only):
    """Sums of small steps in place of the integral."""
    places = sorted(min(math.ceil(frame / frames * bins), bins - 1) for cycle in cycles for frame in cycle)
    density = [0.0] * bins
    for at in range(0, len(places), 2):
        a, b = places[at], places[at + 1]
        for j in range(a, b + 1):
            steps = [j - 0.5 + (k + 0.5) / 200 for k in range(200)]
            sigma = (b - a) / 6
            mass = 1.0 if a == b else sum(math.exp(-(((x - (a + b) / 2) / sigma) ** 2) / 2) for x in steps) / 200
            mass = mass if a == b else mass / (sigma * math.sqrt(2 * math.pi))
            density[j] = mass if later_only else density[j] + mass
    return sum(density)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=24, unique=True))
def test_density_equal_to_small_steps(boundaries):
    frames = sorted(boundaries)
    cycles = list(zip(frames[::2], frames[1::2], strict=False))
    slow = _slow_density(cycles, 301, 16, later_only=True)
    assert abs(density_count(cycles, 301, bins=16) - slow) <= 0.5 + 1e-3


def test_cycles_that_share_bins_are_lost_from_the_density():
    apart = [(0, 90), (110, 190), (210, 290)]
    assert density_count(apart, 300) == 3
    touching = [(5 * place, 5 * place + 5) for place in range(60)]
    assert density_count(touching, 300) < 60
    assert _slow_density(touching, 300, 64, later_only=False) == pytest.approx(60, abs=0.5)
    assert density_count([], 300) == 0
