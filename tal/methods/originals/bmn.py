"""The original BMN in PyTorch, JJBOY/BMN-Boundary-Matching-Network, and OpenTAD's, sming256/OpenTAD."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from tal.methods.bmn_config import BmnConfig
from tal.methods.originals.base import Described, Original, Settings
from tal.ops.nms import NmsConfig

_GROUPS = 4

_JJBOY_KEYS: tuple[tuple[str, str], ...] = (
    (r"^x_1d_b\.0\.", "base.conv.0."),
    (r"^x_1d_b\.2\.", "base.conv.1."),
    (r"^x_1d_s\.0\.", "boundaries.hidden.0."),
    (r"^x_1d_s\.2\.", "boundaries.score.0."),
    (r"^x_1d_e\.0\.", "boundaries.hidden.1."),
    (r"^x_1d_e\.2\.", "boundaries.score.1."),
    (r"^x_1d_p\.0\.", "segments.reduce."),
    (r"^x_3d_p\.0\.", "segments.sampled."),
    (r"^x_2d_p\.0\.", "segments.shrink."),
    (r"^x_2d_p\.2\.", "segments.smooth.0."),
    (r"^x_2d_p\.4\.", "segments.smooth.1."),
    (r"^x_2d_p\.6\.", "segments.score."),
)

_JJBOY_DEFAULTS: Mapping[str, Any] = {
    "temporal_scale": 100,
    "feat_dim": 400,
    "num_sample": 32,
    "num_sample_perbin": 3,
    "prop_boundary_ratio": 0.5,
    "soft_nms_alpha": 0.4,
    "soft_nms_low_thres": 0.5,
    "soft_nms_high_thres": 0.9,
    "hidden_dim_1d": 256,
    "hidden_dim_2d": 128,
    "hidden_dim_3d": 512,
}
"""Of opts.py; the last three are written in models.py."""

_OPENTAD_KEYS: tuple[tuple[str, str], ...] = (
    (r"^projection\.convs\.(\d+)\.conv\.", r"base.conv.\1."),
    (r"^rpn_head\.tem\.0\.conv\.", "boundaries.hidden.0."),
    (r"^rpn_head\.tem\.1\.conv\.", "boundaries.score.0."),
    (r"^rpn_head\.tem\.(\d+)\.0\.conv\.", r"boundaries.hidden.\1."),
    (r"^rpn_head\.tem\.(\d+)\.1\.conv\.", r"boundaries.score.\1."),
    (r"^roi_head\.proposal_roi_extractor\.reduce_dim\.0\.", "segments.reduce."),
    (r"^roi_head\.proposal_roi_extractor\.conv3d\.0\.", "segments.sampled."),
    (r"^roi_head\.proposal_roi_extractor\.conv2d\.0\.", "segments.shrink."),
    (r"^roi_head\.proposal_head\.head\.(\d+)\.0\.", r"segments.smooth.\1."),
    (r"^roi_head\.proposal_head\.head\.\d+\.", "segments.score."),
)

_OPENTAD_DEFAULTS: Mapping[str, Any] = {
    "in_channels": 400,
    "out_channels": 256,
    "num_convs": 2,
    "groups": _GROUPS,
    "shared": False,
    "tscale": 128,
    "dscale": 128,
    "hid_channels": 128,
    "roi_channels": 512,
    "feat_channels": 128,
    "map_convs": 2,
    "kernel_size": 3,
    "num_sample": 32,
    "num_sample_perbin": 3,
    "prop_extend_ratio": 0.5,
    "window_overlap_ratio": None,
    "fps": None,
    "feature_stride": None,
    "window_frames": None,
    "sigma": 0.5,
    "max_seg_num": 100,
    "min_score": 0.01,
    "voting_thresh": 0.95,
}
"""Of configs/_base_/models/bmn.py and configs/bmn/anet_tsn.py, whose sections are joined. `map_convs` is the PEM head's
`num_convs`; a `window_overlap_ratio` makes sliding windows of `tscale`; `window_frames` is not among its settings."""


def _flat(defaults: Mapping[str, Any]) -> Any:
    def settings(values: Mapping[str, Any]) -> Settings:
        told = values.get("opt") or {}
        return {"opt": {**defaults, **told, **{name: values[name] for name in defaults if name in values}}}

    return settings


def _jjboy_config(settings: Settings, classes: Sequence[str], stream: str) -> BmnConfig:
    opt = settings["opt"]
    return BmnConfig(
        streams={stream: opt["feat_dim"]},
        classes=tuple(classes),
        train_snippets=opt["temporal_scale"],
        width=opt["hidden_dim_1d"],
        groups=_GROUPS,
        samples=opt["num_sample"],
        samples_per_bin=opt["num_sample_perbin"],
        extension=opt["prop_boundary_ratio"],
        reduced_width=opt["hidden_dim_1d"],
        sampled_width=opt["hidden_dim_3d"],
        map_width=opt["hidden_dim_2d"],
        nms=NmsConfig(
            sigma=opt["soft_nms_alpha"],
            near_tiou=(opt["soft_nms_low_thres"], opt["soft_nms_high_thres"]),
            min_score=0.0,
            max_segments=100,
            per_class=False,
            voting_tiou=0.0,
        ),
    )


def _opentad_config(settings: Settings, classes: Sequence[str], stream: str) -> BmnConfig:
    opt = settings["opt"]
    slides = opt["window_overlap_ratio"] is not None
    return BmnConfig(
        streams={stream: opt["in_channels"]},
        classes=tuple(classes),
        train_snippets=opt["tscale"],
        windows="slide" if slides else "resize",
        window_overlap=opt["window_overlap_ratio"] or 0.0,
        origin="centers" if slides else "cells",
        width=opt["out_channels"],
        base_layers=opt["num_convs"],
        groups=opt["groups"],
        shared_boundaries=opt["shared"],
        layout="duration_start",
        durations=opt["dscale"],
        samples=opt["num_sample"],
        samples_per_bin=opt["num_sample_perbin"],
        extension=opt["prop_extend_ratio"],
        sampled_to="last",
        reduced_width=opt["hid_channels"],
        sampled_width=opt["roi_channels"],
        map_width=opt["feat_channels"],
        map_layers=opt["map_convs"],
        map_kernel=opt["kernel_size"],
        initial="xavier",
        anchors="cells",
        whole_anchors=True,
        zero_cells=True,
        epsilon=0.0,
        peaks=True,
        score="map",
        nms=NmsConfig(
            sigma=opt["sigma"],
            min_score=opt["min_score"],
            max_segments=opt["max_seg_num"],
            per_class=False,
            voting_tiou=opt["voting_thresh"],
            voting_weight="score",
        ),
        window_nms=slides,
        fuse_first=slides,
    )


def _jjboy_described(settings: Settings) -> Described:
    return Described(outputs=1, rows=settings["opt"]["temporal_scale"], prefix="v_", name="TSN class scores")


def _opentad_described(settings: Settings) -> Described:
    opt = settings["opt"]
    return Described(outputs=1, fps=opt["fps"], stride_frames=opt["feature_stride"], window_frames=opt["window_frames"])


def _jjboy_told(weights: Mapping[str, Tensor]) -> Settings:
    found: dict[str, Any] = {}
    if "x_1d_b.0.weight" in weights:
        base = weights["x_1d_b.0.weight"]
        found |= {"hidden_dim_1d": base.shape[0], "feat_dim": base.shape[1] * _GROUPS}
    if "x_3d_p.0.weight" in weights:
        found |= {"hidden_dim_3d": weights["x_3d_p.0.weight"].shape[0]}
        found |= {"num_sample": weights["x_3d_p.0.weight"].shape[2]}
    if "x_2d_p.0.weight" in weights:
        found["hidden_dim_2d"] = weights["x_2d_p.0.weight"].shape[0]
    if "sample_mask" in weights:
        found["temporal_scale"] = weights["sample_mask"].shape[0]
    return {"opt": found}


def _opentad_told(weights: Mapping[str, Tensor]) -> Settings:
    found: dict[str, Any] = {"shared": "rpn_head.tem.0.conv.weight" in weights}
    found["num_convs"] = _count(weights, r"^projection\.convs\.\d+\.conv\.weight$")
    found["map_convs"] = _count(weights, r"^roi_head\.proposal_head\.head\.\d+\.0\.weight$")
    if {"projection.convs.0.conv.weight", "projection.convs.1.conv.weight"} <= weights.keys():
        first, second = (weights[f"projection.convs.{layer}.conv.weight"] for layer in (0, 1))
        groups = second.shape[0] // second.shape[1]
        found |= {"out_channels": first.shape[0], "groups": groups, "in_channels": first.shape[1] * groups}
    extractor = "roi_head.proposal_roi_extractor."
    if extractor + "conv3d.0.weight" in weights:
        sampled = weights[extractor + "conv3d.0.weight"]
        found |= {"roi_channels": sampled.shape[0], "hid_channels": sampled.shape[1], "num_sample": sampled.shape[2]}
    if extractor + "conv2d.0.weight" in weights:
        found["feat_channels"] = weights[extractor + "conv2d.0.weight"].shape[0]
    if "roi_head.proposal_head.head.0.0.weight" in weights:
        found["kernel_size"] = weights["roi_head.proposal_head.head.0.0.weight"].shape[-1]
    return {"opt": found}


def _count(weights: Mapping[str, Tensor], pattern: str) -> int:
    return sum(re.search(pattern, key) is not None for key in weights)


def _opentad_prepared(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Its map says classification first, ours regression."""
    last = re.compile(r"^roi_head\.proposal_head\.head\.\d+\.(weight|bias)$")
    return {key: value.flip(0) if last.match(key) else value for key, value in weights.items()}


ORIGINAL = Original(
    method="bmn",
    title="BMN",
    keys=_JJBOY_KEYS,
    signature=r"^x_1d_p\.0\.",
    settings=_flat(_JJBOY_DEFAULTS),
    config=_jjboy_config,
    described=_jjboy_described,
    needs_settings=False,
    from_weights=_jjboy_told,
    spare=r"^sample_mask$",
)
"""The sampling mask, which it saves with the weights, is not among what is learned."""

OPENTAD = Original(
    method="bmn",
    title="BMN (OpenTAD)",
    keys=_OPENTAD_KEYS,
    signature=r"^roi_head\.proposal_roi_extractor\.reduce_dim\.",
    settings=_flat(_OPENTAD_DEFAULTS),
    config=_opentad_config,
    described=_opentad_described,
    needs_settings=False,
    from_weights=_opentad_told,
    prepared=_opentad_prepared,
)
