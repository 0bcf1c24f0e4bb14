"""The comparison: recipes that differ by the method alone, cells that resume, tables that say what is missing."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import compare
import compare_methods
from compare import Cell, Places, cells_of, finished, run_all, run_cell, settings_of
from compare_methods import METHODS, SETS, Compared, NotApplicable, recipe_values_of
from compare_metrics import metrics_of
from compare_table import table

from tal.pipelines.train_recipe import build_recipe, recipe_values
from tal.pipelines.train_samples import open_data
from tal.segments import Segments

SMALL = {
    "model": {"width": 16, "heads": 2, "window": 5, "branch_layers": 2, "train_snippets": 96},
    "optim": {"warmup_epochs": 1},
    "trainer": {"max_epochs": 2},
}


def write_utkinect(folder, *, videos=4, rows=60, seed=0):
    """A folder like that of utkinect, of noise with two actions."""
    rng = np.random.default_rng(seed)
    (folder / "utkinect/features").mkdir(parents=True)
    database = {}
    for index in range(videos):
        name, duration_s = f"s{index}_e1", rows * 4 / 30
        np.save(folder / f"utkinect/features/{name}.npy", rng.standard_normal((rows, 60), np.float32))
        database[name] = {
            "subset": "validation" if index == videos - 1 else "training",
            "duration": duration_s,
            "fps": 30.0,
            "annotations": [{"label": "walk", "segment": [1.0, 3.0]}, {"label": "throw", "segment": [4.0, 6.0]}],
        }
    (folder / "utkinect/annotations.json").write_text(json.dumps({"version": "test", "database": database}))


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A small set in the place of utkinect, and a small ActionFormer."""
    write_utkinect(tmp_path / "cases")
    small = Compared(about="the host, small", changes=SMALL)
    monkeypatch.setattr(compare_methods, "METHODS", {**METHODS, "actionformer": small})
    return Places(cases=tmp_path / "cases", out=tmp_path / "out")


def options(places, **more):
    chosen = {"methods": ["actionformer"], "sets": ["utkinect"], "seeds": [0, 1], "jobs": 2}
    return argparse.Namespace(cases=places.cases, out=places.out, **{**chosen, **more})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SETS)
def test_every_recipe_builds_and_shares_what_the_set_decides(method, name, tmp_path):
    places = Places(cases=tmp_path, out=tmp_path)
    if isinstance(METHODS[method].on(name), NotApplicable):
        with pytest.raises(ValueError, match=METHODS[method].not_on[name]):
            recipe_values_of(method, name, places.annotations, places.features)
        return
    values = recipe_values_of(method, name, places.annotations, places.features)
    host = recipe_values_of("actionformer", name, places.annotations, places.features)
    if METHODS[method].recipe == "small_data":
        changed = METHODS[method].on(name)
        for section in ("windows", "optim", "trainer"):
            kept = {key: value for key, value in values[section].items() if key not in changed.get(section, {})}
            assert kept.items() <= host[section].items(), section
        kept = {key: value for key, value in values["model"].items() if key not in changed.get("model", {})}
        assert kept.items() <= host["model"].items()
        assert kept["width"] == host["model"]["width"]
    for key in ("protocol", "tiou", "train_subsets", "validation_subsets"):
        assert values["data"][key] == host["data"][key]
    assert SETS[name].stream in values["data"]["features"]
    build_recipe(values)


def test_a_cell_holds_what_the_table_needs_and_is_redone_only_with_other_settings(places, monkeypatch):
    cell = Cell(method="actionformer", set="utkinect", seed=1)
    assert finished(cell, places) is None
    result = run_cell(cell, places)
    assert 0 <= result["metrics"]["mAP"] <= 1
    assert 0 <= result["metrics"]["AUC"] <= 1
    assert result["parameters"] > 1000
    assert result["train_s"] > 0
    assert result["infer_s"] > 0
    assert result["peak_mib"] >= result["loaded_mib"] > 0
    assert result["video_s"] == pytest.approx(8.0)
    assert result["settings"]["trainer"]["seed"] == 1
    cell.path(places.out).parent.mkdir(parents=True)
    cell.path(places.out).write_text(json.dumps(result))
    assert finished(cell, places) == json.loads(json.dumps(result))

    moved = Places(cases=places.cases.rename(places.cases.with_name("elsewhere")), out=places.out)
    assert finished(cell, moved) is not None  # where the files are decides nothing

    wider = {**SMALL, "model": {**SMALL["model"], "width": 32}}
    monkeypatch.setattr(compare_methods, "METHODS", {**METHODS, "actionformer": Compared(about="", changes=wider)})
    assert finished(cell, places) is None


def test_what_has_no_classes_is_measured_by_its_proposals(places, monkeypatch):
    narrow = {
        "width": 16,
        "train_snippets": 32,
        "durations": 16,
        "reduced_width": 8,
        "sampled_width": 8,
        "map_width": 8,
    }
    changes = {**SMALL, "model": {"windows": "slide", "origin": "centers", **narrow}, "windows": {"choice": "all"}}
    changes["windows"] |= {"crop_ratio": None, "trunc": 0.9}
    monkeypatch.setattr(compare_methods, "METHODS", {**METHODS, "bmn": Compared(about="", changes=changes)})
    result = run_cell(Cell(method="bmn", set="utkinect", seed=0), places)
    assert set(result["metrics"]) == {"AR@10", "AR@100", "AUC"}
    assert result["metrics"]["AR@100"] > 0


def test_one_segment_under_two_classes_is_one_proposal(places):
    recipe = build_recipe(recipe_values_of("actionformer", "utkinect", places.annotations, places.features))
    data = open_data(recipe.data)
    (video,) = (each.video for each in data.validation.records)
    truth = data.annotations.videos[video].instances
    twice = Segments(
        start_s=np.tile(truth.start_s, 10),
        end_s=np.tile(truth.end_s, 10),
        score=np.repeat([0.9, 0.5], [10, 10]),
        label=np.tile([0, 1], 10),
        classes=data.classes,
    )
    assert metrics_of({video: twice}, recipe, data)["AR@10"] == 1.0
    assert metrics_of({video: twice[:0]}, recipe, data)["AUC"] == 0.0


def test_cells_that_are_there_are_kept_and_those_that_fail_are_counted(places, monkeypatch):
    settings = {}
    for seed in (0, 1, 2):
        values = recipe_values_of("actionformer", "utkinect", places.annotations, places.features)
        values["trainer"] = {**values["trainer"], "seed": seed, "validate_every": 0, "accelerator": "cpu"}
        settings[seed] = settings_of(recipe_values(build_recipe(values)))
    started = []

    def start(cell, _options):
        started.append(cell.seed)
        path = cell.path(places.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
        if cell.seed == 2:
            code = "raise SystemExit(3)"
        return subprocess.Popen([sys.executable, "-c", code, path, json.dumps({"settings": settings[cell.seed]})])

    monkeypatch.setattr(compare, "_start", start)
    chosen = options(places, seeds=[0, 1])
    assert run_all(list(cells_of(chosen)), chosen) == 0
    more = options(places, seeds=[0, 1, 2])
    assert run_all(list(cells_of(more)), more) == 1
    assert started == [0, 1, 2]


def test_seeds_come_first_so_that_a_stopped_run_has_compared_all(places):
    chosen = options(places, methods=["actionformer", "tal"], sets=["utkinect", "playground"], seeds=[0, 1])
    assert [(cell.seed, cell.set) for cell in cells_of(chosen)] == [
        (seed, name) for seed in (0, 1) for name in ("utkinect", "playground") for _ in range(2)
    ]


def test_the_table_counts_seeds_and_says_what_is_missing():
    def cell(method, name, seed, **metrics):
        return {
            "method": method,
            "set": name,
            "seed": seed,
            "metrics": metrics,
            "parameters": 12345,
            "train_s": 10.0,
            "infer_s": 2.0,
            "video_s": 1800.0,
            "peak_mib": 700.0,
            "loaded_mib": 500.0,
        }

    proposals = {"AR@10": 0.2, "AR@100": 0.4, "AUC": 0.3}
    results = [
        cell("actionformer", "utkinect", 0, mAP=0.5, **proposals),
        cell("actionformer", "utkinect", 1, mAP=0.7),
        cell("actionformer", "playground", 0, mAP=0.1, **proposals),
        cell("bmn", "utkinect", 0, **proposals),
    ]
    text = table(results, methods=["actionformer", "bmn", "tal"], sets=["utkinect", "playground"], seeds=[0, 1])
    by_class, as_proposals, utkinect, playground = text.split("\n\n")[:2] + text.split("\n\n")[3::2]
    assert "| `actionformer` | 0.600 (0.141), 2 seeds | 0.100, 1 seed | 0.300, 1 seed |" in by_class
    assert "bmn" not in by_class
    assert "| `tal` | not run | not run | - |" in by_class
    assert "| `actionformer` | 0.300, 1 seed | 0.300, 1 seed | 0.300, 1 seed |" in as_proposals
    assert "| `bmn` | 0.300, 1 seed | not run | - |" in as_proposals
    scores = "0.600 (0.141), 2 seeds | 0.500, 0.700 | 0.200, 0.400, 0.300"
    assert f"| `actionformer` | {scores} | 12,345 | 10 | 4.0 | 700 (200) |" in utkinect
    assert "| `bmn` | no classes |  | 0.200, 0.400, 0.300 | 12,345 |" in utkinect
    assert "| `bmn` | not run |" in playground
