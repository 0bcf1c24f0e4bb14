"""Reading files of weights that others made: tensors and plain values, never code."""

import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

from tal.errors import PackageError


def read_checkpoint(path: Path) -> Any:
    """What a .safetensors file, or one that `torch.save` wrote, holds; on the CPU.

    Options as argparse keeps them, which some checkpoints hold beside the weights, become a mapping.

    Raises:
        PackageError: no such file, a damaged one, or objects other than tensors and plain values in it.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise PackageError(f"{path}: no such file", expected="a file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([Namespace]):  # a bag of names without code of its own
            found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            return found
        return {name: vars(value) if isinstance(value, Namespace) else value for name, value in found.items()}
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        OSError,
        TypeError,
        AttributeError,
        SafetensorError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        if isinstance(error, pickle.UnpicklingError):  # torch's own words advise to trust the file.
            reason = "it does not hold tensors and plain values alone"
        raise PackageError(
            f"{path} cannot be read as weights: {reason}",
            expected="a .safetensors file, or tensors and plain values that torch.save wrote",
            cause="a damaged file, or one that holds other Python objects, which are never unpickled",
        ) from error
