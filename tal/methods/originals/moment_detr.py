"""The original Moment-DETR: jayleicn/moment_detr."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from tal.methods.moment_detr import MomentDetrConfig
from tal.methods.originals.base import Settings, one_of
from tal.methods.originals.moments import UNUSED, encoder_keys, moment_fields, moment_original, told_by_weights

_DECODER = r"^transformer\.decoder\.layers\.(\d+)\."

_KEYS: tuple[tuple[str, str], ...] = (
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

_OPTIONS: Mapping[str, Any] = {
    "contrastive_align_loss": False,
    "contrastive_hdim": 64,
    "contrastive_align_loss_coef": 0.0,
    "temperature": 0.07,
}


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
    told = told_by_weights(
        weights,
        layers={"enc_layers": "transformer.encoder.layers.", "dec_layers": "transformer.decoder.layers."},
        rows={
            "num_queries": "query_embed.weight",
            "dim_feedforward": "transformer.decoder.layers.0.linear1.weight",
            "contrastive_hdim": "contrastive_align_projection_txt.weight",
        },
    )
    return {"opt": told | ({"contrastive_align_loss": True} if "contrastive_hdim" in told else {})}


ORIGINAL = moment_original(
    method="moment_detr",
    title="Moment-DETR",
    keys=_KEYS,
    signature=r"^transformer\.decoder\.layers\.0\.multihead_attn\.",
    options=_OPTIONS,
    config=_config,
    from_weights=_from_weights,
    spare=UNUSED,
)
