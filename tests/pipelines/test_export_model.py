"""Exported networks give what the packages give, at two lengths and two numbers of videos."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tal.cli import main
from tal.features.foreign import layout_spec
from tal.features.layout import Layout
from tal.methods.base import Batch
from tal.methods.windows import WHOLE_SNIPPETS
from tal.package import load_model, save_package
from tal.pipelines.export_graph import (
    check_counts,
    example_inputs,
    export_program,
    fixed_length,
    padded_lengths,
    run_onnx,
    save_onnx,
    save_torch,
)
from tal.pipelines.export_model import compare, facts_of
from tal.registry import METHODS
from tal.timeline import SnippetGrid

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from methods_small import CLASSES, STREAM, WIDTH, small_method


def _package(name, **settings):
    method = small_method(name, **settings).eval()
    return SimpleNamespace(method=name, model=method, classes=method.classes, thresholds={}, features={})


@pytest.mark.parametrize("name", METHODS)
def test_every_network_is_exported(name, tmp_path):
    _exported(_package(name), tmp_path)


@pytest.mark.parametrize("name", ["actionformer", "tridet", "asl", "mrav_ff_tridet"])
def test_networks_with_positions_are_exported(name, tmp_path):
    _exported(_package(name, absolute_positions=True), tmp_path)


def test_the_challenge_network_of_asl_is_exported(tmp_path):
    _exported(_package("asl", channel_share=0.2, bridge="xlnet"), tmp_path)


def _exported(package, tmp_path):
    program, facts = export_program(package.model), facts_of(package, "onnx")
    save_torch(program, tmp_path / "model.pt2", facts)
    assert compare(package, tmp_path / "model.pt2", "torch-export") < 1e-5
    save_onnx(program, tmp_path / "model.onnx", facts)
    assert compare(package, tmp_path / "model.onnx", "onnx") < 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_two_lengths_are_compared_where_the_network_has_two(name):
    method = small_method(name)
    first, second = (method.network_length(count) for count in check_counts(method))
    assert (first == second) == (fixed_length(method) is not None)
    assert set(example_inputs(method, 20, videos=3)) >= {"mask", f"streams.{STREAM}"}


def test_padding_is_the_methods_own():
    """What the json tells is what a method pads a video of so many snippets to."""
    for name in ("actionformer", "tridet", "temporalmaxer"):
        method = small_method(name).eval()
        steps = padded_lengths(method, 70)
        assert [count for count, _ in steps] == sorted({count for count, _ in steps})
        for count in (1, 17, 63, 64, 65, 70):
            grid = SnippetGrid(stride_s=1.0, window_s=1.0, count=count)
            whole = Batch(
                streams={STREAM: torch.zeros(1, WIDTH, count)},
                mask=torch.ones(1, 1, count, dtype=torch.bool),
                grids=(grid,),
                durations_s=(1.0,),
                videos=("v",),
            )
            with torch.no_grad():
                found = method(whole).masks[0].shape[-1]
            assert found == next(length for upto, length in steps if count <= upto)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A small TemporalMaxer's package: the smallest graph."""
    folder = tmp_path_factory.mktemp("package") / "model"
    layout = Layout(stride_frames=4, window_frames=16, fps=30)
    save_package(
        folder,
        method="temporalmaxer",
        model=small_method("temporalmaxer", branch_layers=1, head_layers=1),
        features={STREAM: layout_spec(layout, width=WIDTH)},
        layouts={STREAM: layout},
        thresholds={"run": 0.5},
        card="small",
    )
    return folder


def test_a_package_becomes_an_onnx_file(package, tmp_path, capsys):
    out = tmp_path / "files" / "small.onnx"
    assert main(["export-model", str(package), "--out", str(out), "--snippets", "37"]) == 0
    assert "outputs equal to the package's" in capsys.readouterr().err
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["classes"] == list(CLASSES)
    assert facts["thresholds"]["run"] == 0.5
    assert facts["strides_snippets"] == [1, 2]
    assert facts["features"][STREAM]["width"] == WIDTH
    assert facts["inputs"] == [
        {"name": "mask", "shape": ["videos", 1, "snippets"], "type": "bool"},
        {"name": f"streams.{STREAM}", "shape": ["videos", WIDTH, "snippets"], "type": "float32"},
    ]
    assert facts["snippets"]["padded_to"][-1] == [WHOLE_SNIPPETS, WHOLE_SNIPPETS]  # the longest that is read at once
    assert [each["name"] for each in facts["outputs"]][:2] == ["logits.0", "logits.1"]

    import onnx

    properties = {each.key: each.value for each in onnx.load(out).metadata_props}
    assert json.loads(properties["tal"]) == facts
    model = load_model(package).model
    inputs = example_inputs(model, 100, videos=3)
    found = run_onnx(out, inputs)
    grid = SnippetGrid(stride_s=1.0, window_s=1.0, count=100)
    with torch.no_grad():
        ours = model(
            Batch(
                streams={STREAM: inputs[f"streams.{STREAM}"]},
                mask=inputs["mask"],
                grids=(grid,) * 3,
                durations_s=(100.0,) * 3,
                videos=("a", "b", "c"),
            )
        )
    for level, logits in enumerate(ours.logits):
        np.testing.assert_allclose(found[f"logits.{level}"], logits, atol=1e-4)
    assert {path.name for path in out.parent.iterdir()} == {"small.onnx", "small.json"}


def test_a_package_becomes_a_torch_program(package, tmp_path):
    out = tmp_path / "small.pt2"
    assert main(["export-model", str(package), "--out", str(out), "--format", "torch-export"]) == 0
    files = {"tal.json": ""}
    torch.export.load(out, extra_files=files)
    assert json.loads(files["tal.json"])["method"] == "temporalmaxer"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--out", "x.pt"], "ends with .onnx"),
        (["--out", "x.onnx", "--format", "torch-export"], "ends with .pt2"),
        (["--out", "x.onnx", "--snippets", "0"], "--snippets 0"),
    ],
)
def test_misuse_is_told(package, words, text, capsys):
    assert main(["export-model", str(package), *words]) == 2
    assert text in capsys.readouterr().err


def test_a_missing_extra_is_told(package, monkeypatch, capsys):
    monkeypatch.setattr("tal.pipelines.export_graph.find_spec", lambda name: None)
    assert main(["export-model", str(package), "--out", "x.onnx"]) == 2
    assert "pip install 'tal[onnx]'" in capsys.readouterr().err


def test_a_file_that_differs_is_not_kept(package, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tal.pipelines.export_model.compare", lambda *_: 0.5)
    out = tmp_path / "small.pt2"
    assert main(["export-model", str(package), "--out", str(out), "--format", "torch-export"]) == 2
    assert "differ from the package's by 0.5" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
