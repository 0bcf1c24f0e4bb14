"""The original's weights give the original's outputs, targets and losses."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tal.methods.base import Batch
from tal.methods.bmn import Bmn
from tal.methods.originals import ORIGINALS
from tal.segments import Segments
from tal.timeline import SnippetGrid

sys.path.insert(0, str(Path(__file__).parent))
from parity import Case

DURATION_S = 57.0


@pytest.fixture(scope="module")
def case():
    return Case("bmn_small")


@pytest.fixture(scope="module")
def model(case):
    original = ORIGINALS.load("bmn")
    names = {"num_sample_per_bin": "num_sample_perbin"}
    settings = original.complete(case.weights, {names.get(name, name): value for name, value in case.facts.items()})
    model = Bmn(original.configure(settings, ("action",)))
    original.load(model, case.weights)
    return model.eval()


@pytest.fixture(scope="module")
def batch(case):
    features, facts = case.values["input.features"], case.facts
    truth = [np.array(rows) * DURATION_S for rows in facts["ground_truth_fraction_of_video"]]
    instances = [
        Segments.from_names(*rows.T, ["action"] * len(rows), classes=("action",), score=np.ones(len(rows)))
        for rows in truth
    ]
    grid = SnippetGrid.spanning(DURATION_S, facts["temporal_scale"])
    return Batch(
        streams={"features": features},
        mask=torch.ones(len(features), 1, features.shape[-1], dtype=torch.bool),
        grids=(grid,) * len(features),
        durations_s=(DURATION_S,) * len(features),
        videos=tuple(map(str, range(len(features)))),
        targets=tuple(instances),
    )


def test_outputs(model, batch, case):
    values = case.values
    with torch.no_grad():
        outputs = model(batch)
    torch.testing.assert_close(outputs.start, values["output.start"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.end, values["output.end"], rtol=1e-4, atol=1e-5)
    maps = torch.stack([outputs.regression, outputs.classification], dim=1)
    torch.testing.assert_close(maps, values["output.confidence_map"], rtol=1e-4, atol=1e-5)


def test_targets(model, batch, case):
    targets, values = model.targets(batch), case.values
    torch.testing.assert_close(targets.start, values["target.start"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(targets.end, values["target.end"], rtol=1e-4, atol=1e-5)
    expected = values["target.iou_map"].flatten(1)[:, model.segments.place]
    torch.testing.assert_close(targets.segments, expected, rtol=1e-4, atol=1e-5)


def test_losses(model, batch, case):
    losses, expected = model.loss(model(batch), batch), case.facts["loss"]
    assert float(losses["boundaries"]) == pytest.approx(expected["tem"], rel=1e-4)
    assert float(losses["segments"]) == pytest.approx(expected["pem_cls"], rel=1e-4)
