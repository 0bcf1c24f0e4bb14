"""What Moment-DETR's and DenoiseLoc's code have in common: flat options, features by folder, names of weights.

Both keep their options in the checkpoint (`opt`) and beside it (opt.json).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor

from tal.errors import ConfigError
from tal.methods.originals.base import Described, Original, Settings, one_of
from tal.ops.matching import MatchWeights

OPTIONS: Mapping[str, Any] = {
    "ctx_mode": "video_tef",
    "v_feat_dirs": (),
    "no_norm_vfeat": False,
    "no_norm_tfeat": False,
    "max_q_l": 32,
    "max_v_l": 75,
    "clip_length": 2,
    "dset_name": "hl",
    "position_embedding": "sine",
    "enc_layers": 2,
    "dec_layers": 2,
    "dim_feedforward": 1024,
    "hidden_dim": 256,
    "input_dropout": 0.5,
    "dropout": 0.1,
    "use_txt_pos": False,
    "nheads": 8,
    "num_queries": 10,
    "pre_norm": False,
    "n_input_proj": 2,
    "lw_saliency": 1.0,
    "saliency_margin": 0.2,
    "aux_loss": True,
    "span_loss_type": "l1",
    "set_cost_span": 10,
    "set_cost_giou": 1,
    "set_cost_class": 4,
    "span_loss_coef": 10,
    "giou_loss_coef": 1,
    "label_loss_coef": 4,
    "eos_coef": 0.1,
    "max_after_nms": 10,
    "nms_thd": -1,
}
"""Defaults that both have (moment_detr/config.py)."""

INPUT_KEYS: tuple[tuple[str, str], ...] = (
    (r"^input_vid_proj\.(\d)\.LayerNorm\.", r"project_video.norms.\1."),
    (r"^input_vid_proj\.(\d)\.net\.1\.", r"project_video.linears.\1."),
    (r"^input_txt_proj\.(\d)\.LayerNorm\.", r"project_text.norms.\1."),
    (r"^input_txt_proj\.(\d)\.net\.1\.", r"project_text.linears.\1."),
    (r"^txt_position_embed\.position_embeddings\.", "text_positions.table."),
    (r"^txt_position_embed\.LayerNorm\.", "text_positions.norm."),
    (r"^saliency_proj\.", "saliency."),
)

UNUSED = r"^txt_position_embed\."
"""Always saved, and read only with `use_txt_pos`."""


def encoder_keys(prefix: str) -> tuple[tuple[str, str], ...]:
    """Keys of an encoder that the original calls by the pattern `prefix`."""
    layer = prefix + r"layers\.(\d+)\."
    return (
        (layer + r"self_attn\.", r"encoder.layers.\1.attention.heads."),
        (layer + r"linear1\.", r"encoder.layers.\1.mlp.expand."),
        (layer + r"linear2\.", r"encoder.layers.\1.mlp.contract."),
        (layer + r"norm1\.", r"encoder.layers.\1.norm_attention."),
        (layer + r"norm2\.", r"encoder.layers.\1.norm_mlp."),
        (prefix + r"norm\.", "encoder.norm."),
    )


_KNOWN_WIDTHS = {"slowfast": 2304, "clip": 512}


def moment_original(*, keys: tuple[tuple[str, str], ...], options: Mapping[str, Any], **facts: Any) -> Original:
    """An original of this family.

    Args:
        keys: Those beside `INPUT_KEYS`.
        options: Defaults beside `OPTIONS`, or other than there.
        facts: Further ones of `Original`.
    """
    return Original(
        keys=(*INPUT_KEYS, *keys),
        settings=partial(option_settings, defaults={**OPTIONS, **options}),
        described=option_described,
        needs_settings=False,
        **facts,
    )


def option_settings(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> Settings:
    """Options as the one section "opt", from a checkpoint's `opt`, from opt.json's content, and the defaults."""
    held = values.get("opt") or {}
    if not isinstance(held, Mapping):
        raise ConfigError(f"options of {type(held).__name__}", expected="names with values, as opt.json holds them")
    flat = {name: values[name] for name in (*defaults, "v_feat_dim", "t_feat_dim") if name in values}
    opt = {**defaults, **held, **flat}
    # Beside the checkpoint the width is written before the two endpoints count, within it after: the weights tell.
    opt["v_feat_dim"] = held.get("video_width", opt.get("v_feat_dim"))
    return {"opt": opt}


def told_by_weights(
    weights: Mapping[str, Tensor], *, layers: Mapping[str, str], rows: Mapping[str, str]
) -> dict[str, Any]:
    """Options that the weights tell: the widths of the inputs, and others.

    Args:
        weights: The original's state dict.
        layers: Option -> prefix of the keys of its layers, before their number.
        rows: Option -> the key whose first axis has so many entries, where there is such a key.
    """
    told: dict[str, Any] = {name: _layers(weights, prefix) for name, prefix in layers.items()}
    told |= {name: len(weights[key]) for name, key in rows.items() if key in weights}
    video, text = weights.get("input_vid_proj.0.net.1.weight"), weights.get("input_txt_proj.0.net.1.weight")
    if video is not None and text is not None:
        told |= {
            "video_width": video.shape[1],
            "t_feat_dim": text.shape[1],
            "hidden_dim": video.shape[0],
            "n_input_proj": sum(f"input_vid_proj.{layer}.net.1.weight" in weights for layer in range(3)),
        }
    return told


def _layers(weights: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).partition(".")[0] for key in weights if key.startswith(prefix)})


def moment_fields(settings: Settings, stream: str) -> dict[str, Any]:
    """The fields of MomentConfig; weights of the losses and of the matching included."""
    opt = settings["opt"]
    one_of(opt, "position_embedding", {"sine": "sine", "v2": "sine"})
    endpoints = "tef" in opt["ctx_mode"]
    if "video" not in opt["ctx_mode"]:
        raise ConfigError(f"ctx_mode {opt['ctx_mode']!r}", expected="a mode with video features")
    nms = float(opt["nms_thd"])
    return {
        "streams": _streams(opt, int(opt["v_feat_dim"]) - 2 * endpoints, stream),
        "text_width": int(opt["t_feat_dim"]),
        "train_snippets": opt["max_v_l"],
        "text_tokens": opt["max_q_l"],
        "normalize_video": not opt["no_norm_vfeat"],
        "normalize_text": not opt["no_norm_tfeat"],
        "endpoints": endpoints,
        "width": opt["hidden_dim"],
        "heads": opt["nheads"],
        "hidden": opt["dim_feedforward"],
        "encoder_layers": opt["enc_layers"],
        "decoder_layers": opt["dec_layers"],
        "pre_norm": bool(opt["pre_norm"]),
        "dropout": opt["dropout"],
        "input_dropout": opt["input_dropout"],
        "input_layers": opt["n_input_proj"],
        "text_positions": bool(opt["use_txt_pos"]),
        "queries": opt["num_queries"],
        "auxiliary": bool(opt["aux_loss"]),
        "match": MatchWeights(
            span=float(opt["set_cost_span"]), giou=float(opt["set_cost_giou"]), label=float(opt["set_cost_class"])
        ),
        "span_weight": float(opt["span_loss_coef"]),
        "giou_weight": float(opt["giou_loss_coef"]),
        "label_weight": float(opt["label_loss_coef"]),
        "saliency_weight": float(opt["lw_saliency"]),
        "background_weight": float(opt["eos_coef"]),
        "saliency_margin": float(opt["saliency_margin"]),
        "round_s": 2.0,
        "limit_s": 150.0,
        "nms_tiou": None if nms < 0 else nms,
        "max_moments": opt["max_after_nms"],
    }


def _streams(opt: Mapping[str, Any], width: int, stream: str) -> dict[str, int]:
    """Streams in the order of the original's folders, each of which it normalises by itself.

    A folder's width is known by its name, or is what the others leave.
    """
    folders = opt["v_feat_dirs"] or ()
    names = [PurePosixPath(str(folder)).name.removesuffix("_features") for folder in folders]
    if len(names) < 2:
        return {stream if not names else names[0]: width}
    known = {name: _KNOWN_WIDTHS[name] for name in names if name in _KNOWN_WIDTHS}
    unknown = [name for name in names if name not in known]
    rest = width - sum(known.values())
    if len(unknown) > 1 or len(set(names)) < len(names) or (rest > 0) != bool(unknown) or rest < 0:
        raise ConfigError(
            f"features of {', '.join(names)} with {width} channels in all",
            expected="folders whose widths are known, " + ", ".join(f"{n}: {w}" for n, w in _KNOWN_WIDTHS.items()),
        )
    return {name: known.get(name, rest) for name in names}


def option_described(settings: Settings) -> Described:
    """No classes; rows of `clip_length` seconds side by side."""
    opt = settings["opt"]
    seconds = float(opt["clip_length"])
    return Described(outputs=0, fps=1.0, stride_frames=seconds, window_frames=seconds, name=str(opt["dset_name"]))
