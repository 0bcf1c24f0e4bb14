"""The original DenoiseLoc: frostinassiky/denoiseloc, for moments of QVHighlights."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from tal.methods.denoiseloc import DenoiseLocConfig
from tal.methods.originals.base import Settings, refuse_others
from tal.methods.originals.moments import encoder_keys, moment_fields, moment_original, told_by_weights
from tal.modules.refinement import CLASS_LAYERS, SPAN_LAYERS, RefinementConfig

_HEAD = r"^head\.head_series\.(\d+)\."
_LAYER = r"refine.layers.\1."


def _tower_keys(theirs: str, ours: str, layers: int) -> tuple[tuple[str, str], ...]:
    """Of a list of linear map, layer norm and ReLU in turn."""
    return tuple(
        (rf"{_HEAD}{theirs}\.{3 * layer + place}\.", rf"{_LAYER}{ours}.{kind}.{layer}.")
        for layer in range(layers)
        for place, kind in enumerate(("linears", "norms"))
    )


_KEYS: tuple[tuple[str, str], ...] = (
    *encoder_keys(r"^backbone\."),
    (_HEAD + r"self_attn\.", _LAYER + "attention.heads."),
    (_HEAD + r"inst_interact\.dynamic_layer\.", _LAYER + "interact.maps."),
    (_HEAD + r"inst_interact\.norm1\.", _LAYER + "interact.norm_inner."),
    (_HEAD + r"inst_interact\.norm2\.", _LAYER + "interact.norm_outer."),
    (_HEAD + r"inst_interact\.out_layer\.", _LAYER + "interact.project."),
    (_HEAD + r"inst_interact\.norm3\.", _LAYER + "interact.norm."),
    (_HEAD + r"linear_align\.", _LAYER + "join."),
    (_HEAD + r"linear1\.", _LAYER + "mlp.expand."),
    (_HEAD + r"linear2\.", _LAYER + "mlp.contract."),
    (_HEAD + r"norm1\.", _LAYER + "norm_attention."),
    (_HEAD + r"norm2\.", _LAYER + "norm_interact."),
    (_HEAD + r"norm3\.", _LAYER + "norm_mlp."),
    (_HEAD + r"class_logits\.", _LAYER + "logits."),
    (_HEAD + r"bboxes_delta\.", _LAYER + "deltas."),
    *_tower_keys("cls_module", "class_tower", CLASS_LAYERS),
    *_tower_keys("reg_module", "span_tower", SPAN_LAYERS),
    (r"^init_proposal_features\.weight$", "refine.proposals"),
    (r"^init_proposal_boxes\.weight$", "refine.first.learned"),
)

_SPARE = (
    r"^(query_embed\.|txt_position_embed\.|(log_|sqrt_)?(one_minus_|recip_|recipm1_)?(betas|alphas_cumprod)"
    rf"|{_HEAD[1:]}(self_attn|norm1|inst_interact|norm2|linear_align)\.)"
)
"""Queries of the decoder that it replaced, what follows from the noise schedule, parts that its switches turn off."""

_OPTIONS: Mapping[str, Any] = {
    "enc_layers": 8,
    "dec_layers": 8,
    "num_queries": 30,
    "set_cost_giou": 1.3,
    "set_cost_class": 2,
    "giou_loss_coef": 1.3,
    "label_loss_coef": 2,
    "nms_thd": 0.8,
    "snr_scale": 4.0,
    "use_sparse_rcnn": 1,
    "use_dynamic_conv": 1,
    "use_attention": 1,
    "roi_bins": 14,
    "dim_dynamic": 64,
}
"""Of moment_detr/config.py; the last two are written in head.py."""


def _config(settings: Settings, classes: Sequence[str], stream: str) -> DenoiseLocConfig:
    refuse_others(settings, {("opt", "span_loss_type"): "l1"})
    opt = settings["opt"]
    dynamic_conv, attention = bool(opt["use_dynamic_conv"]), bool(opt["use_attention"])
    sparse = bool(opt["use_sparse_rcnn"])
    return DenoiseLocConfig(
        **moment_fields(settings, stream),
        refinement=RefinementConfig(
            bins=opt["roi_bins"],
            dynamic_conv=dynamic_conv,
            dynamic_width=opt["dim_dynamic"],
            attention=attention,
            snr_scale=float(opt["snr_scale"]),
            denoise=not sparse,
            first_spans="learned" if sparse else "gaussian",
            batch_order=not (dynamic_conv and attention),
        ),
    )


def _from_weights(weights: Mapping[str, Tensor]) -> Settings:
    """Sizes, and whether spans are learned; the attention's heads and the other switches they do not tell."""
    told = told_by_weights(
        weights,
        layers={"enc_layers": "backbone.layers.", "dec_layers": "head.head_series."},
        rows={
            "num_queries": "init_proposal_features.weight",
            "dim_feedforward": "head.head_series.0.linear1.weight",
            "dim_dynamic": "head.head_series.0.inst_interact.norm1.weight",
        },
    )
    return {"opt": told | {"use_sparse_rcnn": int("init_proposal_boxes.weight" in weights)}}


ORIGINAL = moment_original(
    method="denoiseloc",
    title="DenoiseLoc",
    keys=_KEYS,
    signature=r"^head\.head_series\.0\.inst_interact\.",
    options=_OPTIONS,
    config=_config,
    from_weights=_from_weights,
    spare=_SPARE,
)
