"""The original TriDet: dingfengshi/TriDet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tal.methods.originals.base import Settings, one_of
from tal.methods.originals.pyramids import BLOCK, CONV_BLOCK_KEYS, architecture, pyramid_fields, pyramid_original
from tal.methods.tridet import TriDetConfig

_KEYS: tuple[tuple[str, str], ...] = (
    (BLOCK + r"ln\.", r"\1.\2.norm."),
    (BLOCK + r"gn\.", r"\1.\2.norm_mlp."),
    (BLOCK + r"psi\.", r"\1.\2.gate."),
    (BLOCK + r"fc\.", r"\1.\2.instant."),
    (BLOCK + r"convw\.", r"\1.\2.narrow."),
    (BLOCK + r"convkw\.", r"\1.\2.wide."),
    (BLOCK + r"global_fc\.", r"\1.\2.overall."),
    (BLOCK + r"downsample\.1\.", r"\1.\2.shrink."),
    (BLOCK + r"mlp\.0\.", r"\1.\2.expand."),
    (BLOCK + r"mlp\.2\.", r"\1.\2.contract."),
    (BLOCK + r"drop_path_out\.scale$", r"\1.\2.scale.scale"),
    (BLOCK + r"drop_path_mlp\.scale$", r"\1.\2.scale_mlp.scale"),
    *CONV_BLOCK_KEYS,
    (r"^(start|end)_head\.cls_head\.conv\.", r"boundaries.\1.logits."),
    (r"^(start|end)_head\.head\.(\d+)\.conv\.", r"boundaries.\1.trunk.conv.\2."),
    (r"^(start|end)_head\.norm\.", r"boundaries.\1.trunk.norm."),
)

_MODEL: Mapping[str, Any] = {
    "backbone_type": "SGP",
    "backbone_arch": (2, 2, 5),
    "n_sgp_win_size": -1,
    "sgp_mlp_dim": None,
    "boudary_kernel_size": 3,
    "use_abs_pe": False,
    "use_trident_head": True,
    "downsample_type": "max",
    "k": 1.5,
    "init_conv_vars": 0,
    "num_bins": 16,
    "iou_weight_power": 1.0,
    "input_noise": 0,
}
"""What its section "model" has beside the family's."""


def _config(settings: Settings, classes: Sequence[str], stream: str) -> TriDetConfig:
    model = settings["model"]
    embed, stem, branch = architecture(model, 3)
    windows = model["n_sgp_win_size"]
    fields = pyramid_fields(settings, classes, stream)
    encoder = one_of(model, "backbone_type", {"SGP": "sgp", "conv": "conv"})
    return TriDetConfig(
        **{**fields, "nms": replace(fields["nms"], voting_weight="score")},
        embed_layers=embed,
        branch_layers=branch,
        absolute_positions=model["use_abs_pe"] and encoder == "sgp",
        encoder=encoder,
        stem_layers=stem,
        window=windows if isinstance(windows, int) else tuple(windows),
        growth=model["k"],
        mlp_width=model["sgp_mlp_dim"],
        downsampling=one_of(model, "downsample_type", {"max": "max", "avg": "average"}),
        drop_path=settings["train_cfg"]["droppath"],
        init_std=model["init_conv_vars"],
        trident=model["use_trident_head"],
        bins=model["num_bins"],
        boundary_kernel=model["boudary_kernel_size"],
        tiou_power=model["iou_weight_power"],
        input_noise=model["input_noise"],
    )


ORIGINAL = pyramid_original(
    method="tridet",
    title="TriDet",
    keys=_KEYS,
    model=_MODEL,
    signature=r"^(start_head\.|backbone\.(stem|branch)\.\d+\.psi\.)",
    config=_config,
)
