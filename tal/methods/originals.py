"""Weights of original implementations: which of our parameters each of theirs is."""

import re
from collections.abc import Mapping

from torch import Tensor

from tal.errors import PackageError
from tal.methods.base import Method

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
    ours = method.state_dict()
    streams = tuple(method.inputs.streams)
    filled: dict[str, int] = {}
    unexpected, misshapen = [], []
    for key, value in weights.items():
        name, entry = _ours(key, streams)
        if name not in ours:
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
