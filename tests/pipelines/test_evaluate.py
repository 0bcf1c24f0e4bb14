"""The command: its table, its json, its exit codes."""

import json
from pathlib import Path

import pytest

from tal.cli import main

ROWS = [{"segment": [0, 10], "label": "run [fast]"}, {"segment": [20, 30], "label": "walk"}]


@pytest.fixture
def files(tmp_path):
    annotations, predictions = tmp_path / "a.json", tmp_path / "p.json"
    annotations.write_text(json.dumps({"database": {"v": {"subset": "test", "annotations": ROWS}}}))
    found = [row | {"score": 0.5} for row in ROWS[:1]] + [{"segment": [24, 30], "label": "walk", "score": 0.4}]
    predictions.write_text(json.dumps({"results": {"v": found}}))
    return ["--annotations", str(annotations), "--predictions", str(predictions)]


def test_table_and_file(files, tmp_path, capsys):
    assert (
        main(["evaluate", "generic", *files, "--tiou", "0.5,0.7", "--per-class", "--json", str(tmp_path / "o.json")])
        == 0
    )
    shown = capsys.readouterr().out
    assert "0.7500" in shown
    assert "run [fast]" in shown
    written = json.loads((tmp_path / "o.json").read_text())
    assert written["metrics"]["mAP"] == 0.75
    assert written["metrics"]["mAP@0.70"] == 0.5
    assert written["per_class"]["walk"]["AP@0.70"] == 0.0
    assert set(written) >= {"schema", "protocol", "options", "inputs", "counts", "metrics", "per_class"}
    assert [len(digest) for digest in written["inputs"].values()] == [64, 64]


def test_numbers_are_not_cut_where_there_are_many(files, capsys):
    thresholds = [f"{value / 100:.2f}" for value in range(50, 100, 5)]
    assert main(["evaluate", "generic", *files, "--per-class", "--tiou", *thresholds]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.splitlines()[1].split() == ["tIoU", *thresholds, "mean"]


def test_json_alone_on_standard_output(files, capsys):
    assert main(["evaluate", "generic", *files, "--tiou", "0.5", "0.7", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["options"]["tiou"] == [0.5, 0.7]


@pytest.mark.parametrize("words", [["--tiou", "half"], ["--subset", "train"]])
def test_misuse_is_one_message_and_exit_code_2(files, words, capsys):
    assert main(["evaluate", "generic", *files, *words]) == 2
    told = capsys.readouterr().err
    assert told.startswith("tal: ")
    assert "Traceback" not in told


@pytest.mark.parametrize("command", ["evaluate", "diagnose"])
def test_the_files_that_are_read_are_not_written(command, files, capsys):
    for file in files[1::2]:
        before = Path(file).read_text()
        assert main([command, "generic", *files, "--json", file]) == 2
        assert "is a file that is read" in capsys.readouterr().err
        assert Path(file).read_text() == before
