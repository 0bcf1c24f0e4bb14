"""One training step of every method at the size of one of its recipes, on synthetic features."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.registry import METHODS

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

from methods_small import small_batch

_I3D, _QUERIES = {"i3d": 2048}, {"slowfast": 2304, "clip": 512}
RECIPES = {
    "thumos14/actionformer_i3d": (_I3D, 20),
    "thumos14/asl_i3d": (_I3D, 20),
    "activitynet/bmn_tsn": ({"tsn": 400}, 200),
    "activitynet/csa_bmn_tsn": ({"tsn": 400}, 200),
    "thumos14/csa_actionformer_i3d": (_I3D, 20),
    "thumos14/tridet_i3d": (_I3D, 20),
    "thumos14/temporalmaxer_i3d": (_I3D, 20),
    "epic_kitchens/temporalmaxer_noun": ({"slowfast": 2304}, 300),
    "thumos14/mrav_ff_i3d": (_I3D | {"audio": 128}, 20),
    "thumos14/mrav_ff_tridet_i3d": (_I3D | {"audio": 128}, 20),
    "utkinect/tal": ({"joints": 60}, 10),
    "qvhighlights/moment_detr": (_QUERIES, 0),
    "qvhighlights/denoiseloc": (_QUERIES, 0),
    "thumos14/denoiseloc_i3d": (_I3D, 20),
}
"""Recipe -> widths of its streams, number of classes; 0: it answers queries."""


def test_no_method_is_left_out():
    assert {read_recipe(name)["method"] for name in RECIPES} == set(METHODS)


@pytest.mark.full
@pytest.mark.parametrize("name", RECIPES)
def test_a_training_step(name):
    streams, outputs = RECIPES[name]
    recipe = build_recipe(read_recipe(name))
    said = {"classes": tuple(f"class {i}" for i in range(outputs))} if outputs else {"text_width": 512}
    torch.manual_seed(0)
    model = METHODS.load(recipe.method)(replace(recipe.model, streams=streams, **said)).train()
    batch = small_batch(model, 2, snippets=model.inputs.train_snippets)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.05)
    losses = model.loss(model(batch), batch)
    losses["loss"].backward()
    optimiser.step()
    assert all(value.isfinite() for value in losses.values())
    still = [name for name, value in model.named_parameters() if torch.equal(value, before[name])]
    # What starts at zero without a gradient stays there: TriDet's depthwise convolutions as published.
    assert all(not before[name].any() for name in still)
    assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())
