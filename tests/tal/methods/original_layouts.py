"""Names and shapes of the original TriDet's and TemporalMaxer's state dicts, and their released settings."""

import pytest
import torch

from tal.errors import PackageError
from tal.methods.originals import ORIGINALS, find_original


def check_fits(method, model, weights):
    """A pyramid's checkpoint is known as the method's and fits the model, and is refused without one of its weights.

    Args:
        method: Name.
        model: Its values are compared too, unless it is on the meta device.
        weights: By the original's names.
    """
    original = ORIGINALS.load(method)
    original.load(model, weights)
    assert find_original(weights).method == method
    if model.embed.conv[0].weight.device.type == "cpu":
        torch.testing.assert_close(model.embed.conv[0].weight.data, weights["backbone.embd.0.conv.weight"])
        torch.testing.assert_close(model.regress.scale[2].data, weights["reg_head.scale.2.scale"])
    rest = {name: value for name, value in weights.items() if name != "cls_head.cls_head.conv.bias"}
    with pytest.raises(PackageError, match=r"1 missing: classify\.logits\.bias"):
        original.load(model, rest)


def layout(method, settings):
    """Name -> shape of every entry of a checkpoint with these complete settings (channel norms as (1, C, 1))."""
    model, shapes = settings["model"], {}
    width, fpn, head = model["embd_dim"], model["fpn_dim"], model["head_dim"]
    levels = model["backbone_arch"][-1] + 1
    outputs = settings["dataset"]["num_classes"]

    def conv(name, before, after, kernel, bias=True):
        shapes[f"{name}.weight"] = (after, before, kernel)
        if bias:
            shapes[f"{name}.bias"] = (after,)

    def norm(name, channels):
        shapes.update({f"{name}.weight": (1, channels, 1), f"{name}.bias": (1, channels, 1)})

    for i in range(model["backbone_arch"][0]):
        before = width if i else settings["dataset"]["input_dim"]
        conv(f"backbone.embd.{i}.conv", before, width, model["embd_kernel_size"], bias=False)
        norm(f"backbone.embd_norm.{i}", width)
    if method == "tridet":
        _blocks(shapes, conv, norm, settings)
    if method == "tridet" or model["fpn_norm"] == "layernorm":
        for level in range(levels):
            norm(f"neck.fpn_norms.{level}", fpn)
    heads = {"cls_head": model["head_kernel_size"], "reg_head": model["head_kernel_size"]}
    if model.get("use_trident_head"):
        heads |= dict.fromkeys(("start_head", "end_head"), model["boudary_kernel_size"])
    for name, kernel in heads.items():
        for i in range(model["head_num_layers"] - 1):
            conv(f"{name}.head.{i}.conv", head if i else fpn, head, kernel, bias=False)
            norm(f"{name}.norm.{i}", head)
        if name != "reg_head":
            conv(f"{name}.cls_head.conv", head, outputs, kernel)
    bins = model["num_bins"] if model.get("use_trident_head") else 0
    conv("reg_head.offset_head.conv", head, 2 * (bins + 1), model["head_kernel_size"])
    shapes.update({f"reg_head.scale.{level}.scale": () for level in range(levels)})
    return shapes


def _blocks(shapes, conv, norm, settings):
    model = settings["model"]
    width, hidden = model["embd_dim"], model["sgp_mlp_dim"]
    _, stem, branch = model["backbone_arch"]
    windows = model["n_sgp_win_size"]
    windows = [windows] * (branch + 1) if isinstance(windows, int) else windows
    blocks = [(f"backbone.stem.{i}", 1) for i in range(stem)]
    blocks += [(f"backbone.branch.{i}", windows[i + 1]) for i in range(branch)]
    for name, window in blocks:
        wide = round((window + 1) * model["k"])
        kernels = {"psi": window, "fc": 1, "convw": window, "convkw": wide + 1 - wide % 2, "global_fc": 1}
        for part, kernel in kernels.items():
            conv(f"{name}.{part}", 1, width, kernel)
        norm(f"{name}.ln", width)
        shapes.update({f"{name}.gn.weight": (width,), f"{name}.gn.bias": (width,)})
        conv(f"{name}.mlp.0", width, hidden, 1)
        conv(f"{name}.mlp.2", hidden, width, 1)
        if "branch" in name and settings["train_cfg"]["droppath"] > 0:
            shapes.update({f"{name}.drop_path_{part}.scale": (1, width, 1) for part in ("out", "mlp")})
        if "branch" in name and model["downsample_type"] == "avg":
            conv(f"{name}.downsample.1", width, width, 1)


_EPIC_RANGES = [[0, 4], [2, 8], [4, 16], [8, 32], [16, 64], [32, 10000]]
_EPIC = {"input_dim": 2304, "feat_stride": 16, "num_frames": 32, "default_fps": 30, "max_seq_len": 2304}
_EPIC_TEST = {"pre_nms_topk": 5000, "max_seg_num": 2000, "min_score": 0.001, "nms_sigma": 0.4}
_THUMOS = {"num_classes": 20, "input_dim": 2048, "feat_stride": 4, "num_frames": 16, "max_seq_len": 2304}
_TSP = {
    "input_dim": 512, "feat_stride": 16, "num_frames": 16, "default_fps": 15, "max_seq_len": 768, "file_prefix": "v_",
}  # fmt: skip
_WIDE = {"embd_dim": 1024, "sgp_mlp_dim": 1024, "fpn_dim": 1024, "head_dim": 1024, "head_kernel_size": 5}
_HACS = {**_WIDE, "boudary_kernel_size": 1, "use_abs_pe": True, "iou_weight_power": 1, "k": 1.2, "init_conv_vars": 0.1}
_HACS_TRAIN = {"init_loss_norm": 400, "label_smoothing": 0.1}
_HACS_TEST = {"voting_thresh": 0.95, "pre_nms_topk": 2000, "max_seg_num": 250, "min_score": 0.001, "nms_sigma": 0.75}
_ASSIGNER = {"iou_weight": 2, "cls_weight": 1.0, "center_radius": 1.5, "keep_percent": 1.0, "confuse_weight": 0.0}
_POOLED = {"backbone_type": "convPooler", "assigner": _ASSIGNER}


def _tridet(data, model, train, test):
    return "tridet", {"dataset": data, "model": model, "train_cfg": train, "test_cfg": test}


def _pooled(data, model, norm, test):
    train = {"init_loss_norm": norm, "center_sample": "none"}
    return "temporalmaxer", {"dataset": data, "model": {**_POOLED, **model}, "train_cfg": train, "test_cfg": test}


PUBLISHED = {
    "thumos14/tridet_i3d": _tridet(
        _THUMOS,
        {"n_sgp_win_size": 1, "k": 5, "iou_weight_power": 0.2, "sgp_mlp_dim": 768, "input_noise": 0.0005},
        {"init_loss_norm": 100},
        {"voting_thresh": 0.7, "pre_nms_topk": 2000, "max_seg_num": 2000, "min_score": 0.001},
    ),
    "epic_kitchens/tridet_verb": _tridet(
        {**_EPIC, "num_classes": 97},
        {"regression_range": _EPIC_RANGES, "n_sgp_win_size": 5, "iou_weight_power": 0.25, "sgp_mlp_dim": 1024, "k": 2},
        {"init_loss_norm": 250},
        _EPIC_TEST,
    ),
    "epic_kitchens/tridet_noun": _tridet(
        {**_EPIC, "num_classes": 300},
        {"regression_range": _EPIC_RANGES, "n_sgp_win_size": 1, "iou_weight_power": 0.25, "sgp_mlp_dim": 1024, "k": 4},
        {"init_loss_norm": 250, "label_smoothing": 0.1},
        _EPIC_TEST,
    ),
    "activitynet/tridet_tsp": _tridet(
        {**_TSP, "num_classes": 1},
        {
            "n_sgp_win_size": 15,
            "embd_dim": 256,
            "sgp_mlp_dim": 2048,
            "fpn_dim": 256,
            "head_dim": 512,
            "use_abs_pe": True,
            "num_bins": 12,
            "iou_weight_power": 1,
            "input_noise": 0.5,
            "k": 1.3,
            "init_conv_vars": 0.2,
        },
        {"init_loss_norm": 400, "label_smoothing": 0.1},
        {
            "voting_thresh": 0.95,
            "pre_nms_topk": 2000,
            "max_seg_num": 200,
            "min_score": 0.001,
            "multiclass_nms": False,
            "nms_sigma": 0.70,
            "duration_thresh": 0.1,
        },
    ),
    "hacs/tridet_slowfast": _tridet(
        {
            "num_classes": 200,
            "input_dim": 2304,
            "feat_stride": 8,
            "num_frames": 32,
            "default_fps": 15,
            "max_seq_len": 960,
        },
        {**_HACS, "n_sgp_win_size": 3, "num_bins": 14, "input_noise": 0.2},
        _HACS_TRAIN,
        _HACS_TEST,
    ),
    "hacs/tridet_i3d": _tridet(
        {
            "num_classes": 200,
            "input_dim": 2048,
            "feat_stride": 1,
            "num_frames": 1,
            "default_fps": 2,
            "max_seq_len": 512,
        },
        {
            **_HACS,
            "n_sgp_win_size": 15,
            "num_bins": 12,
            "backbone_arch": [2, 2, 6],
            "regression_range": [[0, 4], [4, 8], [8, 16], [16, 32], [32, 64], [64, 128], [128, 10000]],
        },
        _HACS_TRAIN,
        _HACS_TEST,
    ),
    "thumos14/temporalmaxer_i3d": _pooled(
        _THUMOS,
        {"backbone_arch": [2, 5]},
        100,
        {"voting_thresh": 0.7, "pre_nms_topk": 2000, "max_seg_num": 200, "min_score": 0.001},
    ),
    "multithumos/temporalmaxer_i3d": _pooled(
        {**_THUMOS, "num_classes": 65, "input_dim": 1024},
        {"backbone_arch": [3, 5], "fpn_norm": "layernorm"},
        100,
        {"voting_thresh": 0.7, "pre_nms_topk": 3000, "max_seg_num": 300, "min_score": 0.001},
    ),
    "epic_kitchens/temporalmaxer_verb": _pooled(
        {**_EPIC, "num_classes": 97},
        {"backbone_arch": [2, 5], "regression_range": _EPIC_RANGES, "fpn_norm": "layernorm"},
        250,
        _EPIC_TEST,
    ),
    "epic_kitchens/temporalmaxer_noun": _pooled(
        {**_EPIC, "num_classes": 300},
        {"backbone_arch": [2, 5], "regression_range": _EPIC_RANGES, "fpn_norm": "groupnorm"},
        250,
        _EPIC_TEST,
    ),
}
"""Recipe of ours -> method, and what the original's released YAML says of data, network, targets and decoding."""
