"""One training step at the published size, on synthetic features."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.methods.base import Sample
from tal.methods.batching import collate
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.registry import METHODS
from tal.segments import Segments
from tal.timeline import SnippetGrid

RECIPES = {
    "thumos14/tridet_i3d": ({"i3d": 2048}, 20),
    "thumos14/temporalmaxer_i3d": ({"i3d": 2048}, 20),
    "epic_kitchens/temporalmaxer_noun": ({"slowfast": 2304}, 300),
}
"""Recipe -> widths of its streams, number of classes."""


def _sample(video, streams, classes, count):
    rng = np.random.default_rng(video)
    grid = SnippetGrid(stride_s=0.13, window_s=0.5, count=count)
    start_s = rng.uniform(0, 0.9 * grid.end_s, 15)
    return Sample(
        video=str(video),
        streams={name: torch.randn(count, width) for name, width in streams.items()},
        grid=grid,
        duration_s=grid.end_s,
        instances=Segments(
            start_s=start_s,
            end_s=np.minimum(start_s + rng.uniform(1, 20, 15), grid.end_s),
            label=rng.integers(0, len(classes), 15),
            classes=classes,
        ),
    )


@pytest.mark.full
@pytest.mark.parametrize("name", RECIPES)
def test_a_training_step(name):
    streams, outputs = RECIPES[name]
    recipe, classes = build_recipe(read_recipe(name)), tuple(f"class {i}" for i in range(outputs))
    torch.manual_seed(0)
    model = METHODS.load(recipe.method)(replace(recipe.model, streams=streams, classes=classes)).train()
    T = model.inputs.train_snippets
    batch = collate([_sample(video, streams, classes, T - 100 * video) for video in range(2)], model.inputs, train=True)
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
