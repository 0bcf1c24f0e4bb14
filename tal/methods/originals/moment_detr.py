"""The original Moment-DETR: jayleicn/moment_detr."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from tal.methods.moment_detr import MomentDetrConfig
from tal.methods.originals.base import Original, Settings, one_of
from tal.methods.originals.moments import (
    INPUT_KEYS,
    OPTIONS,
    UNUSED,
    encoder_keys,
    moment_fields,
    option_described,
    option_settings,
    told_by_weights,
)

_DECODER = r"^transformer\.decoder\.layers\.(\d+)\."

_KEYS: tuple[tuple[str, str], ...] = (
    *INPUT_KEYS,
    *encoder_keys(r"^transformer\.encoder\."),
    (_DECODER + r"self_attn\.", r"decoder.layers.\1.self_attention.heads."),
    (_DECODER + r"multihead_attn\.", r"decoder.layers.\1.attention.heads."),
    (_DECODER + r"linear1\.", r"decoder.layers.\1.mlp.expand."),
    (_DECODER + r"linear2\.", r"decoder.layers.\1.mlp.contract."),
    (_DECODER + r"norm1\.", r"decoder.layers.\1.norm_self."),
    (_DECODER + r"norm2\.", r"decoder.layers.\1.norm_attention."),
    (_DECODER + r"norm3\.", r"decoder.layers.\1.norm_mlp."),
    (r"^transformer\.decoder\.norm\.", "decoder.norm."),
    (r"^query_embed\.", "queries."),
    (r"^class_embed\.", "label."),
    (r"^span_embed\.layers\.0\.", "span.0."),
    (r"^span_embed\.layers\.1\.", "span.2."),
    (r"^span_embed\.layers\.2\.", "span.4."),
    (r"^contrastive_align_projection_query\.", "align_queries."),
    (r"^contrastive_align_projection_txt\.", "align_text."),
    (r"^contrastive_align_projection_vid\.", "align_video."),
)

_DEFAULTS: Mapping[str, Any] = {
    **OPTIONS,
    "contrastive_align_loss": False,
    "contrastive_hdim": 64,
    "contrastive_align_loss_coef": 0.0,
    "temperature": 0.07,
}


def _settings(values: Mapping[str, Any]) -> Settings:
    return option_settings(values, _DEFAULTS)


def _config(settings: Settings, classes: Sequence[str], stream: str) -> MomentDetrConfig:
    opt = settings["opt"]
    return MomentDetrConfig(
        **moment_fields(settings, stream),
        span_loss=one_of(opt, "span_loss_type", {"l1": "l1", "ce": "bins"}),
        alignment=bool(opt["contrastive_align_loss"]),
        alignment_width=opt["contrastive_hdim"],
        alignment_weight=float(opt["contrastive_align_loss_coef"]),
        temperature=float(opt["temperature"]),
    )


def _from_weights(weights: Mapping[str, Tensor]) -> Settings:
    """Sizes; how many heads the attention has, the weights do not tell."""
    layers = {
        name: len({key.split(".")[3] for key in weights if key.startswith(f"transformer.{part}.layers.")})
        for name, part in (("enc_layers", "encoder"), ("dec_layers", "decoder"))
    }
    found: dict[str, Any] = {**told_by_weights(weights)["opt"], **layers}
    if "query_embed.weight" in weights:
        found["num_queries"] = len(weights["query_embed.weight"])
    if "transformer.decoder.layers.0.linear1.weight" in weights:
        found["dim_feedforward"] = len(weights["transformer.decoder.layers.0.linear1.weight"])
    if "contrastive_align_projection_txt.weight" in weights:
        found |= {
            "contrastive_align_loss": True,
            "contrastive_hdim": len(weights["contrastive_align_projection_txt.weight"]),
        }
    return {"opt": found}


ORIGINAL = Original(
    method="moment_detr",
    title="Moment-DETR",
    keys=_KEYS,
    signature=r"^transformer\.decoder\.layers\.0\.multihead_attn\.",
    settings=_settings,
    config=_config,
    described=option_described,
    needs_settings=False,
    from_weights=_from_weights,
    spare=UNUSED,
)
