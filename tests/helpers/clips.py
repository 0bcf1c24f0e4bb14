"""Synthetic clips that a localizer learns in seconds: noise in which every instance adds its class's pattern.

sys.path.insert(0, str(Path(__file__).parents[N] / "helpers"))
from clips import clips, learns
"""

import numpy as np
import torch

from tal.methods.base import Batch
from tal.segments import Segments, tiou
from tal.timeline import SnippetGrid

CLASSES = ("run", "jump")
WIDTH = 8


def clips(videos=2, *, counts=None, T=64, seed=0, stride_s=0.5):
    """A batch of videos with two instances each, 4 to 12 seconds long.

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


def learns(model, batch, *, steps=60, lr=4e-3):
    """Train on the batch; its two best detections per video are then the instances, with their classes."""
    optimiser = torch.optim.AdamW(model.train().parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        loss = model.loss(model(batch), batch)
        optimiser.zero_grad()
        loss["loss"].backward()
        optimiser.step()
        losses.append(loss["classification"].item())
    assert losses[-1] < 0.3 * losses[0]
    for found, wanted in zip(model.eval().predict(batch), batch.targets, strict=True):
        overlap = tiou(wanted.start_s, wanted.end_s, found[:2].start_s, found[:2].end_s)
        assert overlap.max(axis=1).min() > 0.75
        assert found[:2].label[overlap.argmax(axis=1)].tolist() == wanted.label.tolist()
