"""Each recipe's dataset, laid out as its card and its recipe say, has nothing wrong with it; and a wrong grid shows."""

import json
from pathlib import Path

import numpy as np
import pytest

from tal.cli import main
from tal.features import FeatureSpec, FeatureStore, Layout
from tal.pipelines.packaged import recipe_names
from tal.pipelines.train_recipe import read_recipe
from tal.timeline import SnippetGrid

DURATION_S, FPS, WIDTH = 42.0, 30.0, 3


def _lay_out(recipe, *, stretch=1.0):
    """Mock files in the working directory, under the names that the recipe gives; features `stretch` times too long."""
    data = read_recipe(recipe)["data"]
    videos = _annotate(data)
    rng = np.random.default_rng(0)
    for stream in data["features"].values():
        folder = Path(stream["folder"])
        folder.mkdir(parents=True)
        if stream.get("layout") is None:
            _store(folder, videos, rng)
            continue
        layout = Layout.from_dict(stream["layout"])
        for video in videos:
            count = layout.resampled_to or round(stretch * DURATION_S * (layout.fps or FPS) / layout.stride_frames)
            width = WIDTH if layout.columns is None else 2 * layout.columns[1]
            rows = rng.random((count, width)).astype(np.float32)
            path = folder / f"{layout.prefix}{video}"
            if layout.key:
                np.savez(path.with_name(f"{path.name}.npz"), **{layout.key: rows})
            else:
                np.save(path.with_name(f"{path.name}.npy"), rows)


def _annotate(data):
    """The annotations; returns the ids of the videos."""
    path = Path(data["annotations"])
    path.parent.mkdir(parents=True)
    if "queries" in data:
        rows = [
            {
                "qid": number,
                "query": f"someone moves {number}",
                "vid": f"video_{number}",
                "duration": DURATION_S,
                "relevant_windows": [[2, 10]],
                "relevant_clip_ids": [1, 2, 3, 4],
                "saliency_scores": [[1, 2, 3]] * 4,
            }
            for number in range(2)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return [row["vid"] for row in rows]
    subsets = [*data["train_subsets"], *data["validation_subsets"]]
    database = {
        f"video_{number}": {
            "subset": subset,
            "duration": DURATION_S,
            "fps": FPS,
            "annotations": [{"segment": [2.0, 9.5], "label": "run", "label_id": 0}],
        }
        for number, subset in enumerate(subsets)
    }
    path.write_text(json.dumps({"database": database}))
    return list(database)


def _store(folder, videos, rng):
    store = FeatureStore.create(folder, FeatureSpec(backbone="none", width=WIDTH, stride_s=1.0, window_s=1.0))
    for video in videos:
        grid = SnippetGrid(stride_s=1.0, window_s=1.0, count=int(DURATION_S))
        store.write(video, rng.random((grid.count, WIDTH)).astype(np.float32), grid, duration_s=DURATION_S, source={})


@pytest.mark.parametrize("recipe", recipe_names())
def test_the_described_layout_is_sound(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _lay_out(recipe)
    assert main(["check", recipe]) == 0, capsys.readouterr().out
    assert "nothing wrong" in capsys.readouterr().out


@pytest.mark.parametrize("recipe", ["thumos14/actionformer_i3d", "hacs/tridet_i3d", "qvhighlights/moment_detr"])
def test_features_of_another_rate_are_found(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _lay_out(recipe, stretch=1.3)
    assert main(["check", recipe]) == 1
    assert "video_0" in capsys.readouterr().out
