"""The original's settings and weights, in many configurations, against a slow network of its own."""

import sys
from pathlib import Path

import pytest
import torch

from tal.errors import ConfigError, PackageError
from tal.methods.actionformer import ActionFormer
from tal.methods.base import Batch
from tal.methods.originals import ORIGINALS
from tal.timeline import SnippetGrid

sys.path.insert(0, str(Path(__file__).parent))
from slow_actionformer import random_weights, slow_network

ORIGINAL = ORIGINALS.load("actionformer")

SMALL = {
    "dataset": {"input_dim": 10, "num_classes": 3, "max_seq_len": 48},
    "model": {
        "backbone_arch": [2, 1, 2],
        "n_head": 2,
        "n_mha_win_size": 5,
        "embd_dim": 16,
        "fpn_dim": 16,
        "head_dim": 12,
        "regression_range": [[0, 4], [4, 8], [8, 10000]],
    },
    "train_cfg": {},
    "test_cfg": {},
}

CHANGES = {
    "local attention": {},
    "global attention": {"model": {"n_mha_win_size": -1}},
    "local, then global": {"model": {"n_mha_win_size": [7, 3, 1]}},
    "absolute positions": {"model": {"use_abs_pe": True, "n_mha_win_size": [7, 7, -1]}},
    "relative positions": {"model": {"use_rel_pe": True}},
    "top-down pyramid": {"model": {"fpn_type": "fpn", "fpn_dim": 20}},
    "projected streams": {"dataset": {"input_dim": [4, 6]}, "model": {"embd_dim": [6, 10]}},
    "no path dropped": {"train_cfg": {"droppath": 0.0}},
    "overlapping ranges": {"model": {"regression_range": [[0, 4], [2, 8], [4, 10000]]}},
    "no stem, three convolutions": {"model": {"backbone_arch": [3, 0, 2]}},
}


def _settings(change):
    return ORIGINAL.settings({name: {**SMALL[name], **change.get(name, {})} for name in SMALL})


def _original_length(count, settings):
    """The original pads to the training length, beyond it to a multiple of what its chunks need."""
    longest, windows = settings["dataset"]["max_seq_len"], settings["model"]["n_mha_win_size"]
    windows = [windows] * 3 if isinstance(windows, int) else windows
    unit = max(stride * (size // 2 * 2 if size > 1 else 1) for stride, size in zip((1, 2, 4), windows, strict=True))
    return longest if count <= longest else -(-count // unit) * unit


@pytest.mark.parametrize("count", [48, 47, 33, 1, 49, 56, 60, 118])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_outputs_equal_the_slow_network(change, count):
    settings = _settings(change)
    model = ActionFormer(ORIGINAL.configure(settings, ("a", "b", "c"))).eval()
    weights = random_weights(settings)
    ORIGINAL.load(model, weights)
    features = torch.randn(10, count, generator=torch.Generator().manual_seed(count))
    widths = list(model.inputs.streams.values())
    batch = Batch(
        streams=dict(zip(model.inputs.streams, features[None].split(widths, dim=1), strict=True)),
        mask=torch.ones(1, 1, count, dtype=torch.bool),
        grids=(SnippetGrid(stride_s=1.0, window_s=1.0, count=count),),
        durations_s=(float(count),),
        videos=("v",),
    )
    with torch.no_grad():
        outputs = model(batch)
        logits, offsets, masks = slow_network(weights, settings, features, _original_length(count, settings))
    for level, mask in enumerate(masks):
        valid = int(mask.sum())
        assert int(outputs.masks[level].sum()) == valid
        for ours, theirs in ((outputs.logits, logits), (outputs.offsets, offsets)):
            torch.testing.assert_close(ours[level][0, :, :valid], theirs[level][:, :valid], rtol=1e-4, atol=1e-4)


def test_every_entry_of_the_checkpoint_is_used():
    settings = _settings({"model": {"fpn_type": "fpn", "use_rel_pe": True}})
    model = ActionFormer(ORIGINAL.configure(settings, ("a", "b", "c")))
    weights = random_weights(settings)
    ORIGINAL.load(model, weights)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for name in weights:
        changed = dict(weights) | {name: weights[name] + 1}
        ORIGINAL.load(model, changed)
        assert sum(not torch.equal(value, before[key]) for key, value in model.state_dict().items()) == 1, name


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda w: w.pop("cls_head.norm.0.bias"), "1 missing: classify.trunk.norm.0.bias"),
        (lambda w: w.update({"start_head.head.0.conv.weight": torch.zeros(3)}), "1 unexpected: start_head"),
        (lambda w: w.update({"backbone.embd.0.conv.weight": torch.zeros(16, 11, 3)}), "of another shape"),
        (lambda w: w.update({"reg_head.scale.3.scale": torch.ones(())}), "unexpected: reg_head.scale.3.scale"),
        (lambda w: w.pop("reg_head.scale.2.scale"), "missing: regress.scale"),
    ],
)
def test_other_weights_are_refused_and_named(edit, message):
    settings = _settings({})
    model = ActionFormer(ORIGINAL.configure(settings, ("a", "b", "c")))
    weights = random_weights(settings)
    edit(weights)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(PackageError) as caught:
        ORIGINAL.load(model, weights)
    assert message in str(caught.value)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"backbone_type": "SGP"}}, "one of convTransformer, conv"),
        ({"model": {"scale_factor": 4}}, "model.scale_factor"),
        ({"model": {"embd_with_ln": False}}, "model.embd_with_ln"),
        ({"dataset": {"num_classes": 4}}, "num_classes, 4"),
        ({"model": {"n_mha_win_size": [5, 5]}}, "window has 2 entries"),
        ({"model": {"fpn_type": "pan"}}, "fpn_type"),
        ({"test_cfg": {"nms_method": "matrix"}}, "nms_method"),
        ({"model": {"backbone_arch": 5}}, "3 numbers"),
        ({"model": {"backbone_arch": [2, 2]}}, "3 numbers"),
        ({"model": {"n_head": "four"}}, "cannot be read"),
    ],
)
def test_settings_without_an_equivalent_are_refused(change, message):
    with pytest.raises(ConfigError) as caught:
        ORIGINAL.configure(_settings(change), ("a", "b", "c"))
    assert message in str(caught.value)


def test_one_output_and_many_names_are_class_agnostic():
    settings = _settings({"dataset": {"num_classes": 1}})
    assert ORIGINAL.configure(settings, ("a", "b", "c")).class_agnostic
    assert not ORIGINAL.configure(settings, ("action",)).class_agnostic


def test_plain_convolutions_in_place_of_attention():
    config = ORIGINAL.configure(_settings({"model": {"backbone_type": "conv", "use_abs_pe": True}}), ("a", "b", "c"))
    assert (config.encoder, config.absolute_positions) == ("conv", False)
    names = {
        ORIGINAL.translate(f"backbone.branch.1.{name}.conv.weight")[0] for name in ("conv1", "conv2", "downsample")
    }
    assert (
        names
        == {f"branch.1.{name}.weight" for name in ("expand", "contract", "skip")}
        <= set(ActionFormer(config).state_dict())
    )


def test_without_suppression_all_candidates_stay():
    limits = {"nms_method": "none", "max_seg_num": 10, "pre_nms_topk": 50}
    config = ORIGINAL.configure(_settings({"test_cfg": limits}), ("a", "b", "c"))
    assert config.nms.max_segments == 50 * config.levels


@pytest.mark.parametrize(("stride", "forced", "rows"), [(4, False, None), (-1, True, 48), (-1, False, None)])
def test_rows_are_a_videos_share_only_where_all_have_as_many(stride, forced, rows):
    settings = _settings({"dataset": {"feat_stride": stride, "force_upsampling": forced, "max_seq_len": 48}})
    described = ORIGINAL.describe(settings)
    assert (described.rows, described.stride_frames) == (rows, 4 if stride > 0 else None)


def test_settings_that_do_not_describe_features_are_told():
    with pytest.raises(ConfigError, match="cannot be read"):
        ORIGINAL.describe(_settings({"dataset": {"feat_stride": None}}))
