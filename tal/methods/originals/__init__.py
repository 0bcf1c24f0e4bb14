"""Original implementations: their settings and weights in our terms.

One file per original, which gives an `Original` (see `tal.methods.originals.base`) and has its line in `ORIGINALS`.
"""

from collections.abc import Iterable

from tal.errors import PackageError
from tal.methods.originals.base import ENTRIES, Described, Original
from tal.registry import Registry

ORIGINALS = Registry(
    "original implementation",
    {
        "tridet": ("tal.methods.originals.tridet:ORIGINAL", "dingfengshi/TriDet"),
        "actionformer": ("tal.methods.originals.actionformer:ORIGINAL", "happyharrycn/actionformer_release"),
        "bmn": ("tal.methods.originals.bmn:ORIGINAL", "JJBOY/BMN-Boundary-Matching-Network"),
        "bmn_opentad": ("tal.methods.originals.bmn:OPENTAD", "sming256/OpenTAD, its BMN"),
        "temporalmaxer": ("tal.methods.originals.temporalmaxer:ORIGINAL", "TuanTNG/TemporalMaxer"),
        "moment_detr": ("tal.methods.originals.moment_detr:ORIGINAL", "jayleicn/moment_detr"),
        "denoiseloc": ("tal.methods.originals.denoiseloc:ORIGINAL", "frostinassiky/denoiseloc"),
    },
)
"""Method of ours -> the `Original` whose settings and weights it takes, and where that is published."""


def find_original(keys: Iterable[str]) -> Original:
    """The implementation whose weights have such keys.

    Args:
        keys: Of a state dict, without the prefix "module.".

    Raises:
        PackageError: keys of none of them.
    """
    keys = tuple(keys)
    for name in ORIGINALS:
        original: Original = ORIGINALS.load(name)
        if original.recognises(keys):
            return original
    raise PackageError(
        f"weights of no known implementation: {', '.join(sorted(keys)[:4])}{', ...' if len(keys) > 4 else ''}",
        expected="weights of " + ", ".join(f"{name} ({entry.about})" for name, entry in ORIGINALS.items()),
        cause="a checkpoint of another program, or of a method that is not here",
        todo="name the method with --method to see how the weights differ from its own",
    )


__all__ = ["ENTRIES", "ORIGINALS", "Described", "Original", "find_original"]
