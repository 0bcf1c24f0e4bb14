"""The original ActionFormer: happyharrycn/actionformer_release."""

from collections.abc import Mapping, Sequence
from typing import Any

from tal.methods.actionformer import ActionFormerConfig
from tal.methods.originals.base import Settings, one_of
from tal.methods.originals.pyramids import BLOCK, CONV_BLOCK_KEYS, architecture, pyramid_fields, pyramid_original

_KEYS: tuple[tuple[str, str], ...] = (
    (BLOCK + r"ln1\.", r"\1.\2.norm_attention."),
    (BLOCK + r"ln2\.", r"\1.\2.norm_mlp."),
    (BLOCK + r"attn\.(query|key|value)_conv\.conv\.", r"\1.\2.attention.\3_conv."),
    (BLOCK + r"attn\.rel_pe$", r"\1.\2.attention.position_bias"),
    (BLOCK + r"attn\.", r"\1.\2.attention."),
    (BLOCK + r"mlp\.0\.", r"\1.\2.expand."),
    (BLOCK + r"mlp\.3\.", r"\1.\2.contract."),
    (BLOCK + r"drop_path_attn\.scale$", r"\1.\2.scale_attention.scale"),
    (BLOCK + r"drop_path_mlp\.scale$", r"\1.\2.scale_mlp.scale"),
    *CONV_BLOCK_KEYS,
)

_MODEL: Mapping[str, Any] = {
    "backbone_type": "convTransformer",
    "backbone_arch": (2, 2, 5),
    "n_head": 4,
    "n_mha_win_size": -1,
    "use_abs_pe": False,
    "use_rel_pe": False,
}
"""What its section "model" has beside the family's."""


def _config(settings: Settings, classes: Sequence[str], stream: str) -> ActionFormerConfig:
    model, train = settings["model"], settings["train_cfg"]
    embed, stem, branch = architecture(model, 3)
    encoder = one_of(model, "backbone_type", {"convTransformer": "transformer", "conv": "conv"})
    windows = model["n_mha_win_size"]
    return ActionFormerConfig(
        **pyramid_fields(settings, classes, stream),
        encoder=encoder,
        heads=model["n_head"],
        embed_layers=embed,
        stem_layers=stem,
        branch_layers=branch,
        window=_window(windows) if isinstance(windows, int) else tuple(map(_window, windows)),
        absolute_positions=model["use_abs_pe"] and encoder == "transformer",
        relative_positions=model["use_rel_pe"],
        dropout=train["dropout"],
        drop_path=train["droppath"],
    )


def _window(size: int) -> int:
    """0 where the original sees the whole sequence: any size of 1 or less."""
    return size if size > 1 else 0


ORIGINAL = pyramid_original(
    method="actionformer",
    title="ActionFormer",
    keys=_KEYS,
    model=_MODEL,
    signature=r"^backbone\.(stem|branch)\.\d+\.(attn|conv1)\.",
    config=_config,
)
