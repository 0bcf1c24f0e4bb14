"""A run's folder: one run, of one recipe and one set of data, by one process at a time."""

import json
import os
from dataclasses import replace

import pytest

from tal.cli import main
from tal.errors import ConfigError, FeatureError
from tal.features.files import hold
from tal.package import load_model
from tal.pipelines.train import train
from tal.pipelines.train_recipe import build_recipe

from .conftest import recipe_values


def _edit(folder, change):
    path = folder / "annotations.json"
    content = json.loads(path.read_text())
    change(content["database"])
    path.write_text(json.dumps(content))


def test_a_folder_in_which_another_process_trains_is_left_alone(recipe, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    descriptor = os.open(tmp_path / "run" / "checkpoints", os.O_RDONLY)
    assert hold(descriptor, wait=False)
    with pytest.raises(ConfigError, match="another process is training"):
        train(recipe, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoints"]
    os.close(descriptor)
    assert train(recipe, tmp_path / "run").metrics


def test_a_run_goes_on_with_its_own_data_only(recipe, data_folder, tmp_path):
    train(recipe, tmp_path / "run")
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()

    def rename(database):
        for record in database.values():
            for each in record["annotations"]:
                each["label"] = {"jump": "zump"}.get(each["label"], each["label"])

    before = (data_folder / "annotations.json").read_text()
    _edit(data_folder, rename)
    with pytest.raises(ConfigError, match=r"classes .*'jump'.* then, .*'zump'.* now"):
        train(recipe, tmp_path / "run", resume=True)
    (data_folder / "annotations.json").write_text(before)
    _edit(data_folder, lambda database: database.pop("video0"))
    with pytest.raises(ConfigError, match=r"training videos 6, .* then, 5, .* now"):
        train(recipe, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights
    (data_folder / "annotations.json").write_text(before)
    train(recipe, tmp_path / "run", resume=True)


def test_more_processes_than_videos_are_refused(data_folder, tmp_path):
    recipe = build_recipe(recipe_values(data_folder, devices=3))
    with pytest.raises(ConfigError, match="devices of 3 for 2 validation videos"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_training_split_without_instances_is_refused(data_folder, tmp_path):
    _edit(data_folder, lambda database: [each.update(annotations=[]) for each in list(database.values())[:6]])
    with pytest.raises(ConfigError, match="6 training videos with 0 instances"):
        train(build_recipe(recipe_values(data_folder)), tmp_path / "run")


def test_video_scores_are_needed_of_the_videos_that_are_scored(data_folder, tmp_path):
    values = recipe_values(data_folder, max_epochs=2)
    values["model"]["class_agnostic"] = True
    values["data"]["video_scores"] = str(tmp_path / "scores.json")
    scores = {f"video{index}": {"jump": 0.9, "squat": 0.1} for index in (6, 7)}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    assert "mAP" in train(build_recipe(values), tmp_path / "run").metrics
    (tmp_path / "scores.json").write_text(json.dumps({"video6": scores["video6"]}))
    with pytest.raises(FeatureError, match="video7"):
        train(build_recipe(values), tmp_path / "other")


def test_export_replaces_no_file_of_the_package(recipe, tmp_path, capsys):
    train(replace(recipe, trainer=replace(recipe.trainer, max_epochs=2)), tmp_path / "run")
    model = tmp_path / "run" / "model"
    words = ["export-model", str(model), "--format", "torch-export", "--out", str(model / "features.pt2")]
    assert main(words) == 2
    assert "is not of an exported network" in capsys.readouterr().err
    assert load_model(model).classes == ("jump", "squat")
