"""Training on queries end to end: learns, saves, resumes exactly, draws as documented, refuses what is wrong."""

import json

import numpy as np
import pytest

from tal.package import load_model
from tal.pipelines.train import train
from tal.pipelines.train_recipe import build_recipe

from .query_data import WIDTHS, query_recipe, write_queries


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_queries(tmp_path_factory.mktemp("queries"))


def test_learns_and_writes_a_package(folder, tmp_path):
    out = tmp_path / "run"
    trained = train(build_recipe(query_recipe(folder)), out, command="tal train this")
    metrics = json.loads((out / "metrics.json").read_text())
    print(metrics)
    assert metrics["MR-R1@0.50"] > 0.6
    assert metrics["mAP"] == metrics["MR-mAP"]
    assert metrics["HL-Fair-mAP"] > 0.6
    package = load_model(out / "model")
    assert package.model.inputs.streams == WIDTHS
    assert package.text is not None
    assert package.text.width == package.model.inputs.text == 8
    assert package.classes == ()
    assert "48 queries" in package.card
    answer = next(iter(trained.detections.values()))
    assert len(answer) == 5
    assert (np.diff(answer.score) <= 0).all()
