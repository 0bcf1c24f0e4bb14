"""Synthetic clips that a localizer learns in seconds, and what every localizer should do with them.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from clips import clips, learns
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tal.methods.base import Batch
from tal.segments import Segments, tiou
from tal.timeline import SnippetGrid

CLASSES = ("run", "jump")
WIDTH = 8


def clips(videos=2, *, counts=None, T=64, seed=0, stride_s=0.5):
    """A batch of videos of noise with two instances each, 4 to 12 seconds long, which add their classes' patterns.

    Args:
        videos: How many, where `counts` does not say it.
        counts: Snippets per video.
        T: Padded length, at least.
        seed: Of everything.
        stride_s: Of the snippets.
    """
    counts = counts or [60] * videos
    rng = np.random.default_rng(seed)
    pattern = np.random.default_rng(7).normal(size=(2, WIDTH)) * 2
    grids = [SnippetGrid(offset_s=3.0, stride_s=stride_s, window_s=1.0, count=count) for count in counts]
    features, targets = np.zeros((len(counts), WIDTH, max(T, *counts, 0)), np.float32), []
    for row, grid in enumerate(grids):
        features[row, :, : grid.count] = rng.normal(size=(WIDTH, grid.count)) * 0.5
        start_s = grid.centers_s[0] + np.array([1.0, 15.0]) + rng.uniform(0, 2, 2)
        end_s = start_s + rng.uniform(4, 12, 2)
        label = rng.permutation(2)
        for s, e, k in zip(start_s, end_s, label, strict=True):
            features[row, :, : grid.count][:, (grid.centers_s > s) & (grid.centers_s < e)] += pattern[k][:, None]
        targets.append(Segments(start_s=start_s, end_s=end_s, label=label, classes=CLASSES))
    return Batch(
        streams={"features": torch.from_numpy(features)},
        mask=torch.arange(features.shape[-1]) < torch.tensor(counts)[:, None, None],
        grids=tuple(grids),
        durations_s=tuple(grid.end_s for grid in grids),
        videos=tuple(map(str, range(len(grids)))),
        targets=tuple(targets),
    )


def learns(model, batch, *, steps=50, lr=4e-3):
    """Train on the batch; its two best detections per video are then the instances, with their classes.

    Returns:
        The first and the last losses, by name.
    """
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=lr)
    history = []
    for _ in range(steps):
        losses = model.loss(model(batch), batch)
        optimiser.zero_grad()
        losses["loss"].backward()
        optimiser.step()
        history.append({name: value.item() for name, value in losses.items()})
    first, last = history[0], history[-1]
    assert last["classification"] < 0.2 * first["classification"]
    for found, wanted in zip(model.eval().predict(batch), batch.targets, strict=True):
        best = found[:2]
        overlap = tiou(wanted.start_s, wanted.end_s, best.start_s, best.end_s)
        assert overlap.max(axis=1).min() > 0.75
        labels = [-1, -1] if model.config.class_agnostic else wanted.label.tolist()
        assert best.label[overlap.argmax(axis=1)].tolist() == labels
    return first, last


def every_parameter_learns(model, batch):
    """A step gives each of them a gradient that is not all zero."""
    model.loss(model(batch), batch)["loss"].backward()
    assert not [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]


def trains_in_bfloat16(make, batch, *, rel=0.05):
    """The loss under autocast is float32 and near that in full precision, and every gradient finite.

    Args:
        make: Gives the same fresh model every time.
        batch: With instances.
        rel: How near.
    """
    model = make()
    full = model.loss(model(batch), batch)["loss"].item()
    model = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.loss(model(batch), batch)
    assert losses["loss"].dtype == torch.float32
    assert losses["loss"].item() == pytest.approx(full, rel=rel)
    losses["loss"].backward()
    assert all(value.grad.isfinite().all() for value in model.parameters())


def trains_without_instances(model, batch):
    """Neither one video of the batch nor all of them need instances: losses and every gradient are finite."""
    none = Segments.empty(batch.targets[0].classes)
    for targets in ((none, *batch.targets[1:]), (none,) * len(batch)):
        model.zero_grad()
        losses = model.loss(model(batch), replace(batch, targets=targets))
        losses["loss"].backward()
        assert all(value.isfinite() for value in losses.values())
        assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())
        assert (losses["regression"].item() > 0) == any(map(len, targets))


def same_in_any_batch(model, count, names):
    """What is said of a window of `count` snippets, alone, padded with anything, and among others of other lengths.

    Args:
        model: In eval mode.
        count: Of the window.
        names: Of its outputs, (B, any, T_l) per level.
    """
    alone, padded = clips(counts=[count], T=1), clips(counts=[count], T=200)
    among = clips(counts=[count, 30, 64, 90], T=1)
    among.streams["features"][:1, :, :count] = alone.streams["features"][..., :count]
    dirty = torch.full_like(padded.streams["features"], 50.0)
    dirty[..., :count] = alone.streams["features"][..., :count]
    with torch.no_grad():
        wanted = model(alone)
        others = [model(replace(padded, streams={"features": dirty})), model(among)]
    for other in others:
        for name in names:
            for ours, theirs, mask in zip(getattr(wanted, name), getattr(other, name), wanted.masks, strict=True):
                valid = int(mask.sum())
                torch.testing.assert_close(theirs[:1, :, :valid], ours[..., :valid], rtol=1e-4, atol=1e-5)
    (found,), (among_others, *_) = model.decode(wanted, alone), model.decode(others[1], among)
    np.testing.assert_allclose(among_others.score, found.score, atol=1e-5)
