"""A data set small enough to train on in a test: two classes, each a bump of its own channels."""

import json

import numpy as np
import pytest
import torch

from tal.pipelines.train_recipe import build_recipe

FPS, STRIDE, WINDOW = 10.0, 2, 2

# Autograd counts the devices at its first backward. Were that among the pretended tensors of an exported network, it
# would find some and start their threads, and processes that are forked afterwards could not learn.
torch.ones(1, requires_grad=True).sum().backward()


def write_data(folder, *, videos=8, width=6, seed=0, spoil=None):
    """Write annotations.json and features/ for `videos` videos, the last quarter of them for validation."""
    rng = np.random.default_rng(seed)
    (folder / "features").mkdir(parents=True)
    database = {}
    for index in range(videos):
        count = int(rng.integers(60, 90))
        features = rng.normal(0, 0.3, (count, width)).astype(np.float32)
        annotations = []
        for place in range(3):
            first, length = 3 + place * 19 + int(rng.integers(0, 4)), int(rng.integers(6, 12))
            label = int(rng.integers(0, 2))
            features[first : first + length, label * 2 : label * 2 + 2] += 2.0
            segment = [first * STRIDE / FPS, (first + length) * STRIDE / FPS]
            annotations.append({"label": ("jump", "squat")[label], "segment": segment})
        name = f"video{index}"
        np.save(folder / "features" / f"{name}.npy", features if spoil is None else spoil(index, features))
        subset = "validation" if index >= videos * 3 // 4 else "training"
        database[name] = {"subset": subset, "duration": count * STRIDE / FPS, "fps": FPS, "annotations": annotations}
    (folder / "annotations.json").write_text(json.dumps({"version": "test", "database": database}))
    return folder


def recipe_values(folder, **trainer):
    """A tiny recipe over `write_data`'s folder."""
    return {
        "method": "actionformer",
        "model": {
            "train_snippets": 96,
            "width": 16,
            "heads": 2,
            "window": 5,
            "branch_layers": 3,
            "standardize": True,
            "init_loss_norm": 20,
            "drop_path": 0.0,
        },
        "data": {
            "annotations": str(folder / "annotations.json"),
            "features": {
                "rgb": {
                    "folder": str(folder / "features"),
                    "layout": {"stride_frames": STRIDE, "window_frames": WINDOW, "fps": FPS},
                }
            },
        },
        "optim": {"lr": 3e-3, "warmup_epochs": 1, "ema_warmup": True},
        "trainer": {"accelerator": "cpu", "max_epochs": 3, **trainer},
    }


@pytest.fixture
def data_folder(tmp_path):
    """Annotations and features of eight small videos."""
    return write_data(tmp_path / "data")


@pytest.fixture
def recipe(data_folder):
    """A recipe that trains three epochs on `data_folder`."""
    return build_recipe(recipe_values(data_folder))
