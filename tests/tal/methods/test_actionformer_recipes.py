"""ActionFormer's recipes hold what the original released: its YAML files, read as a checkpoint's; its weights fit."""

import sys
from pathlib import Path

import pytest
import torch

from tal.methods.originals import ORIGINALS
from tal.pipelines.train_recipe import build_recipe, read_recipe
from tal.registry import METHODS

sys.path.insert(0, str(Path(__file__).parent))
from original_layouts import check_fits
from slow_actionformer import layout, random_weights

_EPIC_RANGES = [[0, 4], [2, 8], [4, 16], [8, 32], [16, 64], [32, 10000]]
_EGO4D_RANGES = [*_EPIC_RANGES[:-1], [32, 128], [64, 256], [128, 10000]]
_EPIC = {
    "dataset": {"input_dim": 2304, "max_seq_len": 2304},
    "model": {"regression_range": _EPIC_RANGES, "n_mha_win_size": 9},
    "train_cfg": {"init_loss_norm": 250},
    "test_cfg": {"pre_nms_topk": 5000, "max_seg_num": 2000, "min_score": 0.001, "nms_sigma": 0.4},
}
_ANET = {
    "dataset": {"num_classes": 1, "max_seq_len": 192, "force_upsampling": True},
    "model": {
        "n_mha_win_size": [7, 7, 7, 7, 7, -1],
        "n_head": 4,
        "embd_dim": 256,
        "fpn_dim": 256,
        "head_dim": 256,
        "use_abs_pe": True,
    },
    "train_cfg": {"init_loss_norm": 200, "label_smoothing": 0.1, "loss_weight": 2.0},
    "test_cfg": {
        "voting_thresh": 0.9,
        "pre_nms_topk": 2000,
        "max_seg_num": 100,
        "min_score": 0.001,
        "multiclass_nms": False,
        "nms_sigma": 0.75,
        "duration_thresh": 0.001,
    },
}


def _ego4d(input_dim, width, *, heads=4, embedding=None, levels=8):
    ranges = _EGO4D_RANGES if levels == 8 else [*_EGO4D_RANGES[:-2], [64, 10000]]
    return {
        "dataset": {"input_dim": input_dim, "num_classes": 110, "max_seq_len": 1024},
        "model": {
            "regression_range": ranges,
            "backbone_arch": [2, 2, levels - 1],
            "n_mha_win_size": 9,
            "n_head": heads,
            "embd_dim": embedding or width,
            "fpn_dim": width,
            "head_dim": width,
            "use_abs_pe": True,
        },
        "train_cfg": {"init_loss_norm": 100, "dropout": 0.1, "droppath": 0.1},
        "test_cfg": {"pre_nms_topk": 5000, "max_seg_num": 2000, "min_score": 0.001, "nms_sigma": 0.9},
    }


PUBLISHED = {
    "thumos14/actionformer_i3d": {
        "dataset": {"input_dim": 2048, "num_classes": 20, "max_seq_len": 2304},
        "model": {"n_mha_win_size": 19},
        "train_cfg": {"init_loss_norm": 100},
        "test_cfg": {"voting_thresh": 0.7, "pre_nms_topk": 2000, "max_seg_num": 200, "min_score": 0.001},
    },
    "activitynet/actionformer_tsp": {**_ANET, "dataset": {**_ANET["dataset"], "input_dim": 512}},
    "activitynet/actionformer_i3d": {**_ANET, "dataset": {**_ANET["dataset"], "input_dim": 2048}},
    "epic_kitchens/actionformer_verb": {**_EPIC, "dataset": {**_EPIC["dataset"], "num_classes": 97}},
    "epic_kitchens/actionformer_noun": {
        **_EPIC,
        "dataset": {**_EPIC["dataset"], "num_classes": 300},
        "train_cfg": {"init_loss_norm": 250, "label_smoothing": 0.1},
    },
    "ego4d_mq/actionformer_slowfast": _ego4d(2304, 512, levels=7),
    "ego4d_mq/actionformer_omnivore": _ego4d(1536, 512),
    "ego4d_mq/actionformer_egovlp": _ego4d(256, 384),
    "ego4d_mq/actionformer_slowfast_egovlp": _ego4d(2560, 768, heads=12),
    "ego4d_mq/actionformer_omnivore_egovlp": _ego4d(1792, 768, heads=12),
    "ego4d_mq/actionformer_slowfast_omnivore_egovlp": _ego4d(
        [2304, 1536, 256], 1024, heads=16, embedding=[256, 384, 384]
    ),
}
"""Recipe -> the original's YAML, without what does not reach the network, its losses or its detections."""

WHOLE = ("streams", "classes", "class_agnostic", "projection", "neck_width", "head_width", "regression_ranges", "nms")
"""Fields that say the same in another way, or of which only a part counts; compared by themselves."""


def _configured(name):
    original = ORIGINALS.load("actionformer")
    settings = original.settings(PUBLISHED[name])
    outputs = settings["dataset"]["num_classes"]
    return settings, original.configure(settings, tuple(f"class {i}" for i in range(outputs)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_full_size_checkpoint_fits(name):
    """With random values where that is quick, by names and shapes alone elsewhere."""
    settings, config = _configured(name)
    with torch.device("cpu" if name.startswith("activitynet") else "meta") as device:
        model = METHODS.load("actionformer")(config)
        if device.type == "cpu":
            weights = random_weights(settings)
        else:
            weights = {key: torch.empty(shape) for key, shape in layout(settings).items()}
    check_fits("actionformer", model, weights)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_recipe_is_what_the_original_released(name):
    settings, theirs = _configured(name)
    outputs = settings["dataset"]["num_classes"]
    ours = build_recipe(read_recipe(name)).model
    same = [field for field in vars(theirs) if field not in WHOLE]
    assert {field: getattr(ours, field) for field in same} == {field: getattr(theirs, field) for field in same}

    assert ours.class_agnostic == (outputs == 1)
    assert (ours.neck_width or ours.width, ours.head_width or ours.width) == (theirs.neck_width, theirs.head_width)
    assert [*ours.ranges[:-1], ours.ranges[-1][0]] == [*theirs.ranges[:-1], theirs.ranges[-1][0]]
    widths = (None if each is None else list(each.values()) for each in (ours.projection, theirs.projection))
    assert next(widths) == next(widths)  # in the order of the streams
    counted = ("method", "sigma", "min_score", "max_segments", "per_class")
    counted += () if theirs.nms.per_class else ("voting_tiou", "voting_weight")  # classes apart do not vote
    assert [getattr(ours.nms, field) for field in counted] == [getattr(theirs.nms, field) for field in counted]
