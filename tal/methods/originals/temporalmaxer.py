"""The original TemporalMaxer: TuanTNG/TemporalMaxer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from tal.errors import PackageError
from tal.methods.originals.base import Settings, one_of, refuse_others
from tal.methods.originals.pyramids import architecture, pyramid_fields, pyramid_original
from tal.methods.temporalmaxer import TemporalMaxerConfig

_NECK = r"^neck\.fpn_norms\.(\d+)\."

_ASSIGNER: Mapping[str, Any] = {
    "center_radius": 2.5,
    "iou_weight": 3.0,
    "cls_weight": 1.0,
    "keep_percent": 0.65,
    "confuse_weight": 0.1,
}
"""What its assigner takes where the YAML leaves it out; all released ones set all five."""

_MODEL: Mapping[str, Any] = {
    "backbone_type": "convPooler",
    "backbone_arch": (2, 5),
    "fpn_norm": "groupnorm",
    "num_group": 4,
    "assigner": {},
}
"""What its section "model" has beside the family's."""


def _config(settings: Settings, classes: Sequence[str], stream: str) -> TemporalMaxerConfig:
    refuse_others(settings, {("model", "backbone_type"): "convPooler", ("model", "fpn_type"): "identity"})
    model = settings["model"]
    assigner = {**_ASSIGNER, **model["assigner"]}
    embed, branch = architecture(model, 2)
    fields = pyramid_fields(settings, classes, stream)
    # Its train_cfg names a center_sample that its code never reads; the assigner's radius always holds.
    fields |= {"center_sampling": "radius", "center_radius": assigner["center_radius"]}
    return TemporalMaxerConfig(
        **fields,
        embed_layers=embed,
        branch_layers=branch,
        neck_norm=one_of(model, "fpn_norm", {"layernorm": "layer", "groupnorm": "group", None: "none"}),
        neck_groups=model["num_group"],
        class_weight=assigner["cls_weight"],
        tiou_weight=assigner["iou_weight"],
        keep_share=assigner["keep_percent"],
        confused_weight=assigner["confuse_weight"],
    )


def _one_norm(weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Its neck has one norm, which it saves once per level."""
    kept: dict[str, Tensor] = {}
    for key, value in weights.items():
        name = re.sub(_NECK, "neck.norm.", key)
        if name != key and name in kept and not torch.equal(kept[name], value):
            raise PackageError(
                f"{key} differs from the other levels'",
                expected="one norm for all levels, as in the original's code",
                cause="weights of a re-implementation, or of another method",
            )
        kept[name] = value
    return kept


ORIGINAL = pyramid_original(
    method="temporalmaxer",
    title="TemporalMaxer",
    keys=((r"^neck\.norm\.", "neck.norm."),),
    model=_MODEL,
    signature=r"^backbone\.embd\.",
    config=_config,
    prepared=_one_norm,
)
