"""What the originals of ActionFormer, TriDet and TemporalMaxer share: one grew from the other."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from tal.errors import ConfigError
from tal.methods.originals.base import Described, Original, Settings, one_of, refuse_others, with_defaults
from tal.ops.nms import NmsConfig

DATASET: Mapping[str, Any] = {
    "feat_stride": 16,
    "num_frames": 32,
    "default_fps": None,
    "input_dim": 2304,
    "num_classes": 97,
    "downsample_rate": 1,
    "max_seq_len": 2304,
    "force_upsampling": False,
}
MODEL: Mapping[str, Any] = {
    "fpn_type": "identity",
    "scale_factor": 2,
    "regression_range": ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)),
    "embd_kernel_size": 3,
    "embd_dim": 512,
    "embd_with_ln": True,
    "fpn_dim": 512,
    "fpn_with_ln": True,
    "fpn_start_level": 0,
    "head_dim": 512,
    "head_num_layers": 3,
    "head_kernel_size": 3,
    "head_with_ln": True,
}
TRAIN: Mapping[str, Any] = {
    "center_sample": "radius",
    "center_sample_radius": 1.5,
    "loss_weight": 1.0,
    "cls_prior_prob": 0.01,
    "init_loss_norm": 2000,
    "head_empty_cls": (),
    "dropout": 0.0,
    "droppath": 0.1,
    "label_smoothing": 0.0,
}
TEST: Mapping[str, Any] = {
    "pre_nms_thresh": 0.001,
    "pre_nms_topk": 5000,
    "iou_threshold": 0.1,
    "min_score": 0.01,
    "max_seg_num": 1000,
    "nms_method": "soft",
    "nms_sigma": 0.5,
    "duration_thresh": 0.05,
    "multiclass_nms": True,
    "voting_thresh": 0.75,
}
"""What the settings are where the YAML leaves them out (libs/core/config.py of all three)."""

FIXED: Mapping[tuple[str, str], Any] = {
    ("model", "scale_factor"): 2,
    ("model", "embd_with_ln"): True,
    ("model", "fpn_with_ln"): True,
    ("model", "head_with_ln"): True,
    ("model", "fpn_start_level"): 0,
    ("dataset", "downsample_rate"): 1,
}
"""Settings of which all released configurations, and so this package, know one value."""

KEYS: tuple[tuple[str, str], ...] = (
    (r"^backbone\.proj\.(\d+)\.conv\.", r"streams.project.{stream \1}."),
    (r"^backbone\.embd\.(\d+)\.conv\.", r"embed.conv.\1."),
    (r"^backbone\.embd_norm\.", "embed.norm."),
    (r"^neck\.fpn_norms\.", "neck.norm."),
    (r"^neck\.lateral_convs\.(\d+)\.conv\.", r"neck.lateral.\1."),
    (r"^neck\.fpn_convs\.(\d+)\.conv\.", r"neck.smooth.\1."),
    (r"^cls_head\.cls_head\.conv\.", "classify.logits."),
    (r"^reg_head\.offset_head\.conv\.", "regress.offsets."),
    (r"^cls_head\.head\.(\d+)\.conv\.", r"classify.trunk.conv.\1."),
    (r"^reg_head\.head\.(\d+)\.conv\.", r"regress.trunk.conv.\1."),
    (r"^cls_head\.norm\.", "classify.trunk.norm."),
    (r"^reg_head\.norm\.", "regress.trunk.norm."),
    (r"^reg_head\.scale\.(\d+)\.scale$", r"regress.scale[\1]"),
)
"""Keys outside of the encoder's blocks."""

BLOCK = r"^backbone\.(stem|branch)\.(\d+)\."
"""How keys of the encoder's blocks begin."""

CONV_BLOCK_KEYS: tuple[tuple[str, str], ...] = (
    (BLOCK + r"conv1\.conv\.", r"\1.\2.expand."),
    (BLOCK + r"conv2\.conv\.", r"\1.\2.contract."),
    (BLOCK + r"downsample\.conv\.", r"\1.\2.skip."),
)
"""Keys of the plain convolutional blocks (backbone_type "conv")."""


def pyramid_original(*, keys: tuple[tuple[str, str], ...], model: Mapping[str, Any], **facts: Any) -> Original:
    """An original of this family.

    Args:
        keys: Those of its encoder, and others that go before `KEYS`.
        model: What its section "model" has beside `MODEL`.
        facts: Further ones of `Original`.
    """
    defaults = {"dataset": DATASET, "model": {**MODEL, **model}, "train_cfg": TRAIN, "test_cfg": TEST}
    return Original(
        keys=(*keys, *KEYS),
        settings=partial(pyramid_settings, defaults=defaults),
        described=pyramid_described,
        **facts,
    )


def pyramid_settings(values: Mapping[str, Any], defaults: Settings) -> dict[str, dict[str, Any]]:
    """The settings with their defaults filled in.

    Args:
        values: A YAML file, or a mapping with the same sections; "model" may hold the sections "train_cfg" and
            "test_cfg" and what the original copies there from "dataset".
        defaults: Per section.

    Raises:
        ConfigError: sections that are no mappings.
    """
    settings = with_defaults(values, defaults)
    model = values.get("model") or {}
    nested = with_defaults(model, {name: defaults[name] for name in ("train_cfg", "test_cfg")})
    for name, section in nested.items():
        settings[name] = {**section, **(values.get(name) or {})}
    copied = {key: model[key] for key in ("input_dim", "num_classes", "max_seq_len") if key in model}
    settings["dataset"] = {**defaults["dataset"], **copied, **(values.get("dataset") or {})}
    settings["dataset"]["name"] = str(values.get("dataset_name", ""))
    return settings


def pyramid_described(settings: Settings) -> Described:
    """What the settings say of outputs and features."""
    data = settings["dataset"]
    strided = data["feat_stride"] > 0
    return Described(
        outputs=data["num_classes"],
        fps=data["default_fps"],
        stride_frames=data["feat_stride"] if strided else None,
        window_frames=data["num_frames"] if strided else None,
        rows=data["max_seq_len"] if data["force_upsampling"] and not strided else None,
        prefix=data.get("file_prefix") or "",
        name=data["name"],
    )


def architecture(model: Mapping[str, Any], parts: int) -> tuple[int, ...]:
    """How many layers the network's parts have: the embedding, blocks at full rate (if any), blocks that subsample.

    Raises:
        ConfigError: another number of parts.
    """
    given = model["backbone_arch"]
    if not isinstance(given, list | tuple) or len(given) != parts:
        raise ConfigError(f"backbone_arch of {given}", expected=f"{parts} numbers")
    return tuple(given)


def pyramid_fields(settings: Settings, classes: Sequence[str], stream: str) -> dict[str, Any]:
    """The fields of `PyramidConfig` but for the number of embedding convolutions and of levels.

    Raises:
        ConfigError: a setting that has no equal here, or another number of classes.
    """
    refuse_others(settings, FIXED)
    data, model, train, test = (settings[name] for name in ("dataset", "model", "train_cfg", "test_cfg"))
    agnostic = data["num_classes"] == 1 and len(classes) > 1
    if len(classes) != data["num_classes"] and not agnostic:
        raise ConfigError(f"{len(classes)} class names", expected=f"num_classes, {data['num_classes']}")
    several = isinstance(data["input_dim"], list | tuple)
    names = [f"{stream}_{index}" for index in range(len(data["input_dim"]))] if several else [stream]
    widths = data["input_dim"] if several else [data["input_dim"]]
    return {
        "streams": dict(zip(names, widths, strict=True)),
        "classes": tuple(classes),
        "class_agnostic": agnostic,
        "train_snippets": data["max_seq_len"],
        "resize": data["force_upsampling"],
        "projection": dict(zip(names, model["embd_dim"], strict=True)) if several else None,
        "width": sum(model["embd_dim"]) if several else model["embd_dim"],
        "embed_kernel": model["embd_kernel_size"],
        "neck": one_of(model, "fpn_type", {"identity": "identity", "fpn": "top_down"}),
        "neck_width": model["fpn_dim"],
        "head_width": model["head_dim"],
        "head_layers": model["head_num_layers"],
        "head_kernel": model["head_kernel_size"],
        "regression_ranges": tuple((float(low), float(high)) for low, high in model["regression_range"]),
        "center_sampling": train["center_sample"],
        "center_radius": train["center_sample_radius"],
        "prior_prob": train["cls_prior_prob"],
        "empty_classes": () if agnostic else tuple(classes[index] for index in train["head_empty_cls"]),
        "init_loss_norm": train["init_loss_norm"],
        "label_smoothing": train["label_smoothing"],
        "loss_weight": train["loss_weight"],
        "score_threshold": test["pre_nms_thresh"],
        "candidates_per_level": test["pre_nms_topk"],
        "min_length_snippets": test["duration_thresh"],
        "nms": NmsConfig(
            method=one_of(test, "nms_method", {"soft": "gaussian", "hard": "hard", "none": "none"}),
            sigma=test["nms_sigma"],
            tiou=test["iou_threshold"],
            min_score=test["min_score"],
            max_segments=_most_segments(model, test),
            per_class=test["multiclass_nms"],
            voting_tiou=max(test["voting_thresh"], 0.0),
        ),
    }


def _most_segments(model: Mapping[str, Any], test: Mapping[str, Any]) -> int:
    """Detections that the original keeps at most: without suppression all candidates of all levels."""
    if test["nms_method"] == "none":
        return int(test["pre_nms_topk"]) * len(model["regression_range"])
    return int(test["max_seg_num"])
