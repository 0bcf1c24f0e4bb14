"""`tal convert`: an original checkpoint gives a package with the same outputs; anything else is refused in words."""

import importlib.util
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tal.cli import main
from tal.errors import PackageError
from tal.features import Layout, open_features
from tal.methods.originals import ORIGINALS
from tal.package import load_model
from tal.pipelines.convert import read_classes

_SPEC = importlib.util.spec_from_file_location(
    "slow_actionformer", Path(__file__).parents[1] / "tal/methods/slow_actionformer.py"
)
slow = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(slow)

YAML = {
    "dataset_name": "thumos",
    "dataset": {
        "input_dim": 10,
        "num_classes": 3,
        "max_seq_len": 48,
        "feat_stride": 4,
        "num_frames": 16,
        "default_fps": 30,
        "file_prefix": None,
    },
    "model": {
        "backbone_arch": [2, 1, 2],
        "n_head": 2,
        "n_mha_win_size": 5,
        "embd_dim": 16,
        "fpn_dim": 16,
        "head_dim": 12,
        "max_buffer_len_factor": 6.0,
        "regression_range": [[0, 4], [4, 8], [8, 10000]],
    },
    "train_cfg": {"init_loss_norm": 100, "clip_grad_l2norm": 1.0},
    "test_cfg": {"voting_thresh": 0.7, "max_seg_num": 200, "multiclass_nms": False, "ext_score_file": "x.pkl"},
    "output_folder": "./ckpt/",
}


@pytest.fixture
def original(tmp_path):
    """A checkpoint as the original saves it: last weights, their moving average, optimiser state; and its YAML."""
    settings = ORIGINALS.load("actionformer").settings(YAML)
    last, mean = slow.random_weights(settings, seed=1), slow.random_weights(settings, seed=2)
    checkpoint = {
        "epoch": 34,
        "state_dict": {f"module.{name}": value for name, value in last.items()},
        "state_dict_ema": {f"module.{name}": value for name, value in mean.items()},
        "scheduler": {"last_epoch": 10},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(checkpoint, tmp_path / "epoch_034.pth.tar")
    (tmp_path / "thumos.yaml").write_text(yaml.safe_dump(YAML))
    (tmp_path / "classes.txt").write_text("BaseballPitch\nDiving\nShot put\n")
    return tmp_path


def _convert(folder, *more):
    words = [str(folder / "epoch_034.pth.tar"), "--config", str(folder / "thumos.yaml"), "--out", str(folder / "model")]
    return main(["convert", *words, *map(str, more)])


def test_a_checkpoint_becomes_a_package_with_the_same_outputs(original):
    assert _convert(original, "--classes", original / "classes.txt") == 0
    package = load_model(original / "model")
    assert package.classes == ("BaseballPitch", "Diving", "Shot put")
    assert package.layouts["features"] == Layout(stride_frames=4, window_frames=16, fps=30, name="thumos")
    assert "state_dict_ema" in package.card

    features = original / "features"
    features.mkdir()
    values = np.random.default_rng(0).normal(size=(40, 10)).astype(np.float32)
    np.save(features / "v.npy", values)
    source = open_features(features, layout=package.layouts["features"])
    package.check_features({"features": source.spec})

    from tal.methods.base import Sample
    from tal.methods.batching import collate

    loaded = source.load("v")
    sample = Sample(
        video="v",
        streams={"features": torch.from_numpy(np.asarray(loaded.features, np.float32))},
        grid=loaded.grid,
        duration_s=5.6,
    )
    batch = collate([sample], package.model.inputs, train=False)
    settings = ORIGINALS.load("actionformer").settings(YAML)
    with torch.no_grad():
        outputs = package.model(batch)
        logits, offsets, masks = slow.slow_network(
            slow.random_weights(settings, seed=2), settings, torch.from_numpy(values.T), 48
        )
    for level, mask in enumerate(masks):
        valid = int(mask.sum())
        for ours, theirs in ((outputs.logits, logits), (outputs.offsets, offsets)):
            torch.testing.assert_close(ours[level][0, :, :valid], theirs[level][:, :valid], rtol=1e-4, atol=1e-4)


def test_the_last_weights_serve_where_there_is_no_mean(original):
    checkpoint = torch.load(original / "epoch_034.pth.tar", weights_only=True)
    del checkpoint["state_dict_ema"]
    torch.save(checkpoint, original / "epoch_034.pth.tar")
    assert _convert(original) == 0
    package = load_model(original / "model")
    assert package.classes == ("class 0", "class 1", "class 2")
    expected = checkpoint["state_dict"]["module.cls_head.cls_head.conv.weight"]
    torch.testing.assert_close(package.model.classify.logits.weight.data, expected)


def test_options_replace_the_layout_of_the_yaml(original):
    assert _convert(original, "--fps", 25, "--stride-frames", 8, "--window-frames", 32, "--stream", "i3d") == 0
    layout = load_model(original / "model").layouts["i3d"]
    assert (layout.fps, layout.stride_frames, layout.window_frames) == (25, 8, 32)


def _refused(capsys, folder, *more):
    assert _convert(folder, *more) == 2
    assert not (folder / "model").exists()
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_a_checkpoint_of_another_method_is_refused(original, capsys):
    path = original / "epoch_034.pth.tar"
    checkpoint = torch.load(path, weights_only=True)
    mean = checkpoint["state_dict_ema"]
    mean["module.cls_head.second.conv.weight"] = torch.zeros(3)
    del mean["module.backbone.stem.0.attn.query.bias"]
    torch.save(checkpoint, path)
    said = _refused(capsys, original)
    assert "cls_head.second.conv.weight" in said
    assert "stem.0.attention.query.bias" in said
    assert "another method" in said


def test_settings_have_to_be_given(original, capsys):
    words = [str(original / "epoch_034.pth.tar"), "--out", str(original / "model")]
    assert main(["convert", *words]) == 2
    assert "--config with the YAML file that this ActionFormer was trained with" in capsys.readouterr().err


def test_the_method_can_be_named(original, capsys):
    assert _convert(original, "--method", "actionformer") == 0
    assert load_model(original / "model").method == "actionformer"
    assert _convert(original, "--method", "actionfromer") == 2
    assert "did you mean actionformer" in capsys.readouterr().err


def test_a_checkpoint_of_another_program_is_refused(original, capsys):
    torch.save({"model": {"weight": torch.zeros(3)}}, original / "epoch_034.pth.tar")
    assert "another program" in _refused(capsys, original)


class _Bomb:
    def __reduce__(self):
        return pytest.fail, ("unpickled",)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint", pickle.dumps({"state_dict": _Bomb()})],
    ids=["empty", "text", "objects"],
)
def test_files_that_are_no_checkpoints(original, capsys, content):
    (original / "epoch_034.pth.tar").write_bytes(content)
    assert "cannot be read as weights" in _refused(capsys, original)


def test_a_checkpoint_that_smuggles_objects(original, capsys):
    torch.save({"state_dict": {"a": _Bomb()}}, original / "epoch_034.pth.tar")
    assert "never unpickled" in _refused(capsys, original)


def test_missing_files(original, capsys):
    (original / "thumos.yaml").rename(original / "other.yaml")
    assert "thumos.yaml" in _refused(capsys, original)
    (original / "other.yaml").rename(original / "thumos.yaml")
    (original / "epoch_034.pth.tar").unlink()
    assert "no such file" in _refused(capsys, original)


@pytest.mark.parametrize("text", ["- 1\n", "{", "!!python/object/apply:os.getcwd []", "model: 3"])
def test_settings_that_are_none(original, capsys, text):
    (original / "thumos.yaml").write_text(text)
    assert _refused(capsys, original)


def test_too_few_class_names(original, capsys):
    (original / "classes.txt").write_text("one\ntwo\n")
    assert "2 class names" in _refused(capsys, original, "--classes", original / "classes.txt")


def test_class_names_from_text_json_and_annotations(tmp_path):
    (tmp_path / "a.txt").write_text("run\n\nlong jump\n")
    assert read_classes(tmp_path / "a.txt") == ("run", "long jump")
    (tmp_path / "a.json").write_text('["run", "jump"]')
    assert read_classes(tmp_path / "a.json") == ("run", "jump")
    instances = [{"label": "run", "label_id": 2, "segment": [0, 1]}, {"label": "jump", "label_id": 0}]
    (tmp_path / "b.json").write_text(json.dumps({"database": {"v": {"annotations": instances}}}))
    assert read_classes(tmp_path / "b.json") == ("jump", "class 1", "run")


@pytest.mark.parametrize(
    ("instances", "said"),
    [
        ([{"label": "run"}], "without label_id"),
        ([{"label": "run", "label_id": "x"}], "without label_id"),
        ([{"label": "run", "label_id": 0}, {"label": "jump", "label_id": 0}], "two names"),
    ],
)
def test_annotations_that_number_no_classes(tmp_path, instances, said):
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": {"annotations": instances}}}))
    with pytest.raises(PackageError, match=said):
        read_classes(tmp_path / "a.json")
