"""The command: its options, its answer, its errors."""

import json
import subprocess
import sys

import pytest

from tal.cli import main

SMALL = ["--duration-s", "5", "--size", "64x48", "--fps", "10", "--workers", "1"]


def test_the_command_renders_a_dataset_and_prints_where(tmp_path, capsys):
    words = [
        "--out",
        str(tmp_path / "pg"),
        "--split",
        "testing",
        "--videos",
        "2",
        "--difficulty",
        "hard",
        "--seed",
        "9",
    ]
    assert main(["playground", *words, *SMALL]) == 0
    printed = capsys.readouterr().out.strip()
    assert printed == str(tmp_path / "pg" / "annotations.json")
    data = json.loads((tmp_path / "pg" / "annotations.json").read_text())
    assert "hard, seed 9" in data["version"]
    assert list(data["database"]) == ["testing_0000", "testing_0001"]
    assert data["database"]["testing_0000"]["resolution"] == "64x48"
    assert len(list((tmp_path / "pg" / "videos").glob("*.mp4"))) == 2


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--size", "64"], "WIDTHxHEIGHT"),
        (["--size", "64x-48"], "WIDTHxHEIGHT"),
        (["--size", "63x48"], "even numbers"),
        (["--videos", "0"], "0 videos"),
        (["--duration-s", "1"], "5 to 3600"),
    ],
)
def test_misuse_is_told_in_one_message(tmp_path, capsys, words, shown):
    assert main(["playground", "--out", str(tmp_path / "pg"), *SMALL, *words]) == 2
    told = capsys.readouterr().err
    assert shown in told
    assert "Traceback" not in told
    assert not (tmp_path / "pg").exists()


def test_another_seed_into_the_same_folder_is_refused(tmp_path, capsys):
    words = ["playground", "--out", str(tmp_path), "--split", "testing", "--videos", "1", *SMALL]
    assert main([*words, "--seed", "1"]) == 0
    assert main([*words, "--seed", "2"]) == 2
    told = capsys.readouterr().err
    assert "seed 1" in told
    assert "another folder" in told


def test_help_explains_the_split():
    done = subprocess.run(
        [sys.executable, "-m", "tal", "playground", "--help"], capture_output=True, text=True, check=True
    )
    assert "60 %" in done.stdout
    assert "{all,training,validation,testing}" in done.stdout.replace("\n", "")
