"""Original implementations: their settings and weights in our terms."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from tal.errors import ConfigError, PackageError
from tal.methods.actionformer import ActionFormerConfig
from tal.methods.base import Method
from tal.ops.nms import NmsConfig

_BLOCK = r"^backbone\.(stem|branch)\.(\d+)\."

ACTIONFORMER_KEYS: tuple[tuple[str, str], ...] = (
    (r"^backbone\.proj\.(\d+)\.conv\.", r"streams.project.{stream \1}."),
    (r"^backbone\.embd\.(\d+)\.conv\.", r"embed.conv.\1."),
    (r"^backbone\.embd_norm\.", "embed.norm."),
    (_BLOCK + r"ln1\.", r"\1.\2.norm_attention."),
    (_BLOCK + r"ln2\.", r"\1.\2.norm_mlp."),
    (_BLOCK + r"attn\.(query|key|value)_conv\.conv\.", r"\1.\2.attention.\3_conv."),
    (_BLOCK + r"attn\.rel_pe$", r"\1.\2.attention.position_bias"),
    (_BLOCK + r"attn\.", r"\1.\2.attention."),
    (_BLOCK + r"mlp\.0\.", r"\1.\2.expand."),
    (_BLOCK + r"mlp\.3\.", r"\1.\2.contract."),
    (_BLOCK + r"drop_path_attn\.scale$", r"\1.\2.scale_attention.scale"),
    (_BLOCK + r"drop_path_mlp\.scale$", r"\1.\2.scale_mlp.scale"),
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
"""Pattern of a key in happyharrycn/actionformer_release -> ours; "name[i]" is entry i of a parameter."""

OURS_ONLY = re.compile(r"^(positives\.value|streams\.standardize\..*)$")
"""Entries that the original keeps elsewhere (the running number of positives) or does not have."""


def load_original(method: Method, weights: Mapping[str, Tensor]) -> None:
    """Fill `method` with the weights of the original code.

    Args:
        method: An ActionFormer of the same configuration.
        weights: The original's state dict, without the prefix "module.".

    Raises:
        PackageError: weights that are missing, too many, or of another shape.
    """
    ours = {name: value.clone() for name, value in method.state_dict().items()}
    streams = tuple(method.inputs.streams)
    filled: dict[str, int] = {}
    unexpected, misshapen = [], []
    for key, value in weights.items():
        name, entry = _ours(key, streams)
        if name not in ours or (entry is not None and entry >= len(ours[name])):
            unexpected.append(key)
            continue
        target = ours[name] if entry is None else ours[name][entry]
        if target.numel() != value.numel() or target.squeeze().shape != value.squeeze().shape:
            misshapen.append(f"{key} {tuple(value.shape)} (expected {tuple(target.shape)})")
            continue
        target.copy_(value.reshape(target.shape))
        filled[name] = filled.get(name, 0) + target.numel()
    missing = [n for n, value in ours.items() if filled.get(n, 0) != value.numel() and not OURS_ONLY.match(n)]
    if unexpected or misshapen or missing:
        raise PackageError(
            "these weights do not fit the configuration"
            + "".join(
                f"\n  {len(names)} {kind}: {', '.join(sorted(names)[:4])}{', ...' if len(names) > 4 else ''}"
                for kind, names in (("unexpected", unexpected), ("of another shape", misshapen), ("missing", missing))
                if names
            ),
            expected=f"weights of the original {type(method).__name__}, of the same configuration",
            cause="a checkpoint of another method, or settings of another checkpoint",
        )
    method.load_state_dict(ours)


def _ours(key: str, streams: tuple[str, ...]) -> tuple[str, int | None]:
    """Our parameter's name, and the entry of it where the original has a parameter per entry."""
    for pattern, replacement in ACTIONFORMER_KEYS:
        name, count = re.subn(pattern, replacement, key)
        if count:
            break
    else:
        return "", None
    name = re.sub(r"\{stream (\d+)\}", lambda match: _nth(streams, int(match[1])), name)
    entry = re.search(r"\[(\d+)\]$", name)
    return (name, None) if entry is None else (name[: entry.start()], int(entry[1]))


def _nth(streams: tuple[str, ...], index: int) -> str:
    return streams[index] if index < len(streams) else ""


_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "dataset": {
        "feat_stride": 16,
        "num_frames": 32,
        "default_fps": None,
        "input_dim": 2304,
        "num_classes": 97,
        "downsample_rate": 1,
        "max_seq_len": 2304,
        "force_upsampling": False,
    },
    "model": {
        "backbone_type": "convTransformer",
        "fpn_type": "identity",
        "backbone_arch": (2, 2, 5),
        "scale_factor": 2,
        "regression_range": ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000)),
        "n_head": 4,
        "n_mha_win_size": -1,
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
        "use_abs_pe": False,
        "use_rel_pe": False,
    },
    "train_cfg": {
        "center_sample": "radius",
        "center_sample_radius": 1.5,
        "loss_weight": 1.0,
        "cls_prior_prob": 0.01,
        "init_loss_norm": 2000,
        "head_empty_cls": (),
        "dropout": 0.0,
        "droppath": 0.1,
        "label_smoothing": 0.0,
    },
    "test_cfg": {
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
    },
}
"""What the original's settings are where its YAML leaves them out (libs/core/config.py)."""

_FIXED = {
    ("model", "backbone_type"): "convTransformer",
    ("model", "scale_factor"): 2,
    ("model", "embd_with_ln"): True,
    ("model", "fpn_with_ln"): True,
    ("model", "head_with_ln"): True,
    ("model", "fpn_start_level"): 0,
    ("dataset", "downsample_rate"): 1,
}
"""Settings of which all released configurations, and so this package, know one value."""


def original_settings(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The original's settings with its defaults filled in.

    Args:
        values: Its YAML file, or a mapping with the same sections; "model" may hold the sections "train_cfg" and
            "test_cfg" and what the original copies there from "dataset".

    Raises:
        ConfigError: sections that are no mappings.
    """
    model = values.get("model") or {}
    sections = {name: values.get(name) or {} for name in _DEFAULTS}
    if not all(isinstance(section, Mapping) for section in (model, *sections.values())):
        raise ConfigError("the original's settings", expected=f"mappings under {', '.join(_DEFAULTS)}")
    for name in ("train_cfg", "test_cfg"):
        sections[name] = {**(model.get(name) or {}), **sections[name]}
    copied = {key: model[key] for key in ("input_dim", "num_classes", "max_seq_len") if key in model}
    sections["dataset"] = {**copied, **sections["dataset"]}
    return {name: {**defaults, **sections[name]} for name, defaults in _DEFAULTS.items()}


def actionformer_config(
    settings: Mapping[str, Mapping[str, Any]], classes: Sequence[str], *, stream: str = "features"
) -> ActionFormerConfig:
    """Our configuration from the original's settings.

    Args:
        settings: From `original_settings`.
        classes: Class names in the order of the outputs. Several names for a network of one output make it
            class-agnostic.
        stream: Name of the feature stream; several projected ones are numbered.

    Raises:
        ConfigError: a setting that has no equal here, or another number of classes.
    """
    try:
        return _config(settings, classes, stream)
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(
            f"the original's settings cannot be read: {type(error).__name__} {error}",
            expected="values of the kinds that its own configurations have",
        ) from error


def _config(settings: Mapping[str, Mapping[str, Any]], classes: Sequence[str], stream: str) -> ActionFormerConfig:
    for (section, key), known in _FIXED.items():
        if settings[section][key] != known:
            raise ConfigError(f"{section}.{key} of {settings[section][key]!r}", expected=f"{known!r}")
    data, model, train, test = (settings[name] for name in ("dataset", "model", "train_cfg", "test_cfg"))
    agnostic = data["num_classes"] == 1 and len(classes) > 1
    if len(classes) != data["num_classes"] and not agnostic:
        raise ConfigError(f"{len(classes)} class names", expected=f"num_classes, {data['num_classes']}")
    several = isinstance(data["input_dim"], list | tuple)
    names = [f"{stream}_{index}" for index in range(len(data["input_dim"]))] if several else [stream]
    widths = data["input_dim"] if several else [data["input_dim"]]
    projected = model["embd_dim"] if several else None
    width = sum(model["embd_dim"]) if several else model["embd_dim"]
    embed, stem, branch = model["backbone_arch"]
    windows = model["n_mha_win_size"]
    return ActionFormerConfig(
        streams=dict(zip(names, widths, strict=True)),
        classes=tuple(classes),
        class_agnostic=agnostic,
        train_snippets=data["max_seq_len"],
        resize=data["force_upsampling"],
        projection=None if projected is None else dict(zip(names, projected, strict=True)),
        width=width,
        heads=model["n_head"],
        embed_layers=embed,
        stem_layers=stem,
        branch_layers=branch,
        embed_kernel=model["embd_kernel_size"],
        window=_window(windows) if isinstance(windows, int) else tuple(map(_window, windows)),
        absolute_positions=model["use_abs_pe"],
        relative_positions=model["use_rel_pe"],
        dropout=train["dropout"],
        drop_path=train["droppath"],
        neck=_choice(model, "fpn_type", {"identity": "identity", "fpn": "top_down"}),
        neck_width=model["fpn_dim"],
        head_width=model["head_dim"],
        head_layers=model["head_num_layers"],
        head_kernel=model["head_kernel_size"],
        regression_ranges=tuple((float(low), float(high)) for low, high in model["regression_range"]),
        center_sampling=train["center_sample"],
        center_radius=train["center_sample_radius"],
        prior_prob=train["cls_prior_prob"],
        empty_classes=() if agnostic else tuple(classes[index] for index in train["head_empty_cls"]),
        init_loss_norm=train["init_loss_norm"],
        label_smoothing=train["label_smoothing"],
        loss_weight=train["loss_weight"],
        score_threshold=test["pre_nms_thresh"],
        candidates_per_level=test["pre_nms_topk"],
        min_length_snippets=test["duration_thresh"],
        nms=NmsConfig(
            method=_choice(test, "nms_method", {"soft": "gaussian", "hard": "hard", "none": "none"}),
            sigma=test["nms_sigma"],
            tiou=test["iou_threshold"],
            min_score=test["min_score"],
            max_segments=test["max_seg_num"],
            per_class=test["multiclass_nms"],
            voting_tiou=max(test["voting_thresh"], 0.0),
        ),
    )


def _choice(section: Mapping[str, Any], key: str, ours: Mapping[str, str]) -> Any:
    if section[key] not in ours:
        raise ConfigError(f"{key} of {section[key]!r}", expected=f"one of {', '.join(ours)}")
    return ours[section[key]]


def _window(size: int) -> int:
    """0 where the original sees the whole sequence: any size of 1 or less."""
    return size if size > 1 else 0
