"""One seed is one dataset: the same bytes of ground truth on every machine, and splits that share nothing."""

import hashlib
import json
import math
import os
import subprocess
import sys

import pytest

from tal.playground.annotate import annotate, to_json
from tal.playground.exact import Dice, cos_deg, sin_deg
from tal.playground.script import write_script
from tal.playground.settings import SPLITS, Settings

GOLDEN = {
    "easy": "479dde89ab8336d5251c0eb0f24eaa66d42b627d07f21a485b6b9699eef37fd3",
    "hard": "0c48830b4181164f204cf51c9da141076b23cbb2429159493e2c4b6c56f967f5",
}

_DIGEST = """
import hashlib, sys
from tal.playground.annotate import annotate, to_json
from tal.playground.script import write_script
from tal.playground.settings import Settings
entry = annotate(write_script(Settings(difficulty=sys.argv[1], seed=7), "training", 3))
print(hashlib.sha256(to_json(entry).encode()).hexdigest())
print(" ".join(sys.modules))
"""


def _text(difficulty, seed=7, split="training", index=3, **settings):
    return to_json(annotate(write_script(Settings(difficulty=difficulty, seed=seed, **settings), split, index)))


@pytest.mark.parametrize("difficulty", GOLDEN)
def test_the_ground_truth_of_a_seed_never_changes(difficulty):
    """A change here means another dataset: FORMAT_VERSION has to go up with it."""
    assert hashlib.sha256(_text(difficulty).encode()).hexdigest() == GOLDEN[difficulty]


@pytest.mark.parametrize("difficulty", GOLDEN)
def test_another_process_with_another_hash_seed_agrees(difficulty):
    environment = os.environ | {"PYTHONHASHSEED": "12345"}
    done = subprocess.run(
        [sys.executable, "-c", _DIGEST, difficulty], capture_output=True, text=True, check=True, env=environment
    )
    digest, modules = done.stdout.splitlines()
    assert digest == hashlib.sha256(_text(difficulty).encode()).hexdigest()
    assert {"torch", "numba", "scipy"}.isdisjoint(modules.split())


def test_seeds_splits_and_indices_give_different_videos():
    texts = {_text("easy", seed=seed, split=split, index=index)
             for seed in range(3) for split in SPLITS for index in range(3)}  # fmt: skip
    assert len(texts) == 27


def test_size_and_rate_leave_the_actions_alone():
    plain, large = (json.loads(_text("easy", **each)) for each in ({}, {"width": 320, "height": 240, "fps": 30.0}))
    assert plain["annotations"] == large["annotations"]
    assert len(large["tubes"][0]["times"]) == 2 * len(plain["tubes"][0]["times"])


def test_whole_numbers_and_fractions_of_one_value_are_one_dataset():
    assert _text("easy", duration_s=10, fps=15) == _text("easy", duration_s=10.0, fps=15.0)


def test_sine_is_the_sine():
    angles = [each / 7 for each in range(-8000, 8000)]
    assert max(abs(sin_deg(angle) - math.sin(math.radians(angle))) for angle in angles) < 1e-9
    assert max(abs(cos_deg(angle) - math.cos(math.radians(angle))) for angle in angles) < 1e-9


def test_chance_covers_its_range_and_repeats_by_name():
    rolls = [Dice("a", number).whole(1, 6) for number in range(400)]
    assert set(rolls) == set(range(1, 7))
    assert rolls == [Dice("a", number).whole(1, 6) for number in range(400)]
    assert sorted(Dice("b").shuffled("abcdef")) == list("abcdef")
    assert Dice("a").child("b").between(0, 1) == Dice("a", "b").between(0, 1) != Dice("a", "c").between(0, 1)
