"""TriDet's and TemporalMaxer's checkpoints and settings: every released one, at full size; conversion; refusals."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from tal.cli import main
from tal.errors import ConfigError, PackageError
from tal.methods.originals import ORIGINALS, find_original
from tal.package import load_model
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.registry import METHODS

sys.path.insert(0, str(Path(__file__).parent))
from original_layouts import PUBLISHED, check_fits, layout

SMALL = {
    "tridet": {
        "dataset": {"input_dim": 10, "num_classes": 3, "max_seq_len": 48, "feat_stride": 4, "num_frames": 16},
        "model": {
            "backbone_arch": [2, 1, 2], "n_sgp_win_size": [1, 3, 5], "k": 1.5, "sgp_mlp_dim": 20, "num_bins": 4,
            "embd_dim": 16, "fpn_dim": 16, "head_dim": 12, "regression_range": [[0, 4], [4, 8], [8, 10000]],
            "downsample_type": "avg", "boudary_kernel_size": 1,
        },
    },
    "temporalmaxer": {
        "dataset": {"input_dim": 10, "num_classes": 3, "max_seq_len": 48, "feat_stride": 4, "num_frames": 16},
        "model": {
            "backbone_arch": [2, 2], "embd_dim": 16, "fpn_dim": 16, "head_dim": 12, "fpn_norm": "layernorm",
            "regression_range": [[0, 4], [4, 8], [8, 10000]],
        },
    },
}  # fmt: skip


def _small(method, section="model", **changes):
    return {**SMALL[method], section: {**SMALL[method].get(section, {}), **changes}}


def _configured(method, values):
    original = ORIGINALS.load(method)
    settings = original.settings(values)
    classes = tuple(f"class {i}" for i in range(settings["dataset"]["num_classes"]))
    return original, settings, original.configure(settings, classes)


def _weights(method, settings, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = layout(method, settings)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    if method == "temporalmaxer":  # one norm, saved once per level
        weights |= {name: weights[re.sub(r"norms\.\d", "norms.0", name)] for name in weights if "fpn_norms" in name}
    return weights


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_the_recipe_is_what_the_original_released(recipe):
    method, values = PUBLISHED[recipe]
    _, settings, config = _configured(method, values)
    ours = build_recipe(read_recipe(recipe)).model
    agnostic = settings["dataset"]["num_classes"] == 1
    expected = replace(
        config,
        streams=ours.streams,
        classes=ours.classes,
        class_agnostic=agnostic,
        regression_ranges=ours.ranges,
        neck_width=None,
        head_width=ours.head_width,
        nms=replace(config.nms, voting_tiou=ours.nms.voting_tiou) if config.nms.per_class else config.nms,
    )
    assert ours == replace(expected, regression_ranges=ours.regression_ranges)
    assert config.head_width == (ours.head_width or ours.width)
    last = (*ours.ranges[:-1], (ours.ranges[-1][0], 10000.0))
    assert config.ranges == last


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_a_full_size_checkpoint_fits(recipe):
    """With random values where that is quick, by names and shapes alone elsewhere."""
    method, values = PUBLISHED[recipe]
    _, settings, config = _configured(method, values)
    with torch.device("cpu" if method == "temporalmaxer" or recipe.startswith("activitynet") else "meta") as device:
        model = METHODS.load(method)(config)
        if device.type == "cpu":
            weights = _weights(method, settings)
        else:
            weights = {name: torch.empty(shape) for name, shape in layout(method, settings).items()}
    check_fits(method, model, weights)


def test_plain_convolutions_are_told_apart_by_the_head():
    keys = ["backbone.embd.0.conv.weight", "backbone.stem.0.conv1.weight", "cls_head.cls_head.conv.bias"]
    assert find_original(keys).method == "actionformer"
    assert find_original([*keys, "start_head.head.0.conv.weight"]).method == "tridet"


@pytest.mark.parametrize("method", SMALL)
def test_every_entry_of_the_checkpoint_is_used(method):
    original, settings, config = _configured(method, SMALL[method])
    model, weights = METHODS.load(method)(config), _weights(method, settings)
    original.load(model, weights)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in weights.items():
        changed = dict(weights) | {name: value + 1}
        if "fpn_norms" in name and method == "temporalmaxer":
            with pytest.raises(PackageError, match="differs from the other levels'"):
                original.load(model, changed)
            continue
        original.load(model, changed)
        assert sum(not torch.equal(value, before[key]) for key, value in model.state_dict().items()) == 1, name


@pytest.mark.parametrize("method", SMALL)
def test_a_checkpoint_becomes_a_package(method, tmp_path, capsys):
    original, settings, config = _configured(method, SMALL[method])
    weights = _weights(method, settings)
    model = METHODS.load(method)(config).eval()
    original.load(model, weights)
    torch.save({"state_dict_ema": {f"module.{name}": x for name, x in weights.items()}}, tmp_path / "epoch_039.pth.tar")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(SMALL[method] | {"dataset_name": "thumos"}))
    words = [str(tmp_path / "epoch_039.pth.tar"), "--config", str(tmp_path / "settings.yaml")]
    assert main(["convert", *words, "--out", str(tmp_path / "model")]) == 0
    package = load_model(tmp_path / "model")
    assert package.method == method
    assert package.model.config == config
    assert original.title in package.card
    assert package.layouts["features"].stride_frames == 4
    for name, value in model.state_dict().items():
        torch.testing.assert_close(package.model.state_dict()[name], value)

    other = next(name for name in SMALL if name != method)
    assert main(["convert", *words, "--out", str(tmp_path / "other"), "--method", other]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_switches_of_tridet():
    def config(**changes):
        return _configured("tridet", _small("tridet", **changes))[2]

    plain = config()
    assert (plain.downsampling, plain.window, plain.boundary_kernel, plain.bins) == ("average", (1, 3, 5), 1, 4)
    assert (plain.init_std, plain.tiou_power, plain.trident, plain.nms.voting_weight) == (0, 1.0, True, "score")
    assert not config(use_trident_head=False).trident
    assert config(init_conv_vars=0.3).init_std == 0.3
    assert config(use_abs_pe=True).absolute_positions
    convolutions = config(backbone_type="conv", use_abs_pe=True)
    assert (convolutions.encoder, convolutions.absolute_positions) == ("conv", False)


def test_switches_of_temporalmaxer():
    def config(**changes):
        return _configured("temporalmaxer", _small("temporalmaxer", **changes))[2]

    left_out = config()
    assert (left_out.center_radius, left_out.tiou_weight, left_out.keep_share) == (2.5, 3.0, 0.65)
    assert (left_out.confused_weight, left_out.class_weight, left_out.neck_norm) == (0.1, 1.0, "layer")
    set_ = config(assigner={"center_radius": 1.5, "iou_weight": 2, "cls_weight": 0.5}, fpn_norm=None)
    assert (set_.center_radius, set_.tiou_weight, set_.class_weight, set_.neck_norm) == (1.5, 2, 0.5, "none")
    values = _small("temporalmaxer", "train_cfg", center_sample="none", center_sample_radius=9)
    assert _configured("temporalmaxer", values)[2].center_radius == 2.5
    without = {key: value for key, value in SMALL["temporalmaxer"]["model"].items() if key != "fpn_norm"}
    assert _configured("temporalmaxer", {**SMALL["temporalmaxer"], "model": without})[2].neck_norm == "group"


@pytest.mark.parametrize(
    ("method", "change", "message"),
    [
        ("tridet", {"backbone_type": "convTransformer"}, "one of SGP, conv"),
        ("tridet", {"downsample_type": "stride"}, "one of max, avg"),
        ("tridet", {"scale_factor": 4}, "model.scale_factor"),
        ("tridet", {"n_sgp_win_size": -1}, "odd numbers from 1"),
        ("temporalmaxer", {"backbone_type": "convTransformer"}, "convPooler"),
        ("temporalmaxer", {"fpn_norm": "batchnorm"}, "one of layernorm, groupnorm"),
        ("temporalmaxer", {"fpn_type": "fpn"}, "model.fpn_type"),
    ],
)
def test_settings_without_an_equivalent_are_refused(method, change, message):
    with pytest.raises(ConfigError) as caught:
        _configured(method, _small(method, **change))
    assert message in str(caught.value)
