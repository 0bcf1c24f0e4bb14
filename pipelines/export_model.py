"""`tal export-model`: a trained network as a file for other programs."""

import json as json_format
import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tal.atomic import write_text
from tal.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from tal.methods.base import Method
    from tal.package import Package

_log = logging.getLogger("tal.export-model")

SUFFIX = {"torch-export": ".pt2", "onnx": ".onnx"}
_TOLERANCE = 1e-4


def export_model(
    package: Path,
    *,
    out: Path,
    format: Literal["torch-export", "onnx"] = "onnx",  # noqa: A002  # what a person types
    snippets: int | None = None,
) -> None:
    """Write a model package's network as a graph that needs no Python of ours, and what to know about it beside it.

    The graph takes features and gives what the heads say: times, suppression and class names are the caller's, and
    OUT.json says what he needs for them. Its outputs are compared with the package's own before it is kept.

    Args:
        package: Folder of the model package.
        out: The file; its suffix is .pt2 or .onnx.
        format: "torch-export" for torch and what reads its graphs, "onnx" for ONNX Runtime and others; the latter needs
            the extra onnx.
        snippets: Compare with so many snippets too.
    """
    from tal.atomic import replacing
    from tal.package import load_model
    from tal.pipelines.export_graph import check_onnx_extra, export_program, save_onnx, save_torch

    if out.suffix != SUFFIX[format]:
        raise ConfigError(f"--out {out} for {format}", expected=f"a file name that ends with {SUFFIX[format]}")
    _check_facts(out.with_suffix(".json"))
    if format == "onnx":
        check_onnx_extra()
    loaded = load_model(package)
    _check_length(loaded, snippets)
    program = export_program(loaded.model)
    facts = facts_of(loaded, format)
    with replacing(out) as temporary:
        (save_onnx if format == "onnx" else save_torch)(program, temporary, facts)
        apart = compare(loaded, temporary, format, snippets)
        if apart > _TOLERANCE:
            raise ConfigError(
                f"the exported network's outputs differ from the package's by {apart:.2g}",
                expected=f"at most {_TOLERANCE:g}",
                todo="try --format torch-export, or newer versions of torch and onnxscript",
            )
    write_text(out.with_suffix(".json"), json_format.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    _log.info("%s: %s, outputs equal to the package's within %.1g", out, loaded.method, max(apart, 1e-7))


def _check_facts(path: Path) -> None:
    """Refuse to replace a json file that says something else, such as a package's own."""
    if not path.exists():
        return
    try:
        ours = json_format.loads(path.read_text(encoding="utf-8"))["schema"] == "tal.export/1"
    except (OSError, ValueError, KeyError, TypeError):
        ours = False
    if not ours:
        raise ConfigError(
            f"{path} is there, and is not of an exported network",
            expected="a name whose .json is free: it tells what the network reads",
            todo="choose another --out",
        )


def facts_of(package: "Package", kind: str) -> dict[str, Any]:
    """What a caller of the graph has to know: tensors, classes, time, padding."""
    from tal.pipelines.export_graph import (
        Graph,
        check_counts,
        described,
        example_inputs,
        fixed_length,
        longest_length,
        padded_lengths,
    )

    model, inputs = package.model, package.model.inputs
    found = example_inputs(model, check_counts(model)[0])
    return {
        "schema": "tal.export/1",
        "method": package.method,
        "format": kind,
        "classes": list(package.classes),
        "thresholds": dict(package.thresholds),
        "inputs": described(found, model),
        "outputs": [{"name": name} for name in Graph(model).run(found)],
        "snippets": {
            "multiple_of": inputs.multiple_of,
            "exactly": fixed_length(model),
            "at_most": longest_length(model),
            "resize_to": inputs.resize_to,
            # (snippets up to which, T): for the package's own results pad with zeros to T, False in the mask
            "padded_to": padded_lengths(model, _longest_read(model)),
        },
        "strides_snippets": list(getattr(model.config, "strides", ())),
        "features": {name: spec.as_dict() for name, spec in package.features.items()},
    }


def _longest_read(model: "Method") -> int:
    """Snippets of the longest window that the package itself gives its network."""
    from tal.methods.windows import WHOLE_SNIPPETS
    from tal.pipelines.export_graph import longest_length

    read = model.inputs
    fixed = read.resize_to or read.window_snippets or longest_length(model)
    return fixed or max(WHOLE_SNIPPETS, read.train_snippets)


def compare(package: "Package", path: Path, kind: str, snippets: int | None = None) -> float:
    """The largest difference of a file's outputs from the package's own, over two lengths and `snippets`."""
    from tal.pipelines.export_graph import Graph, check_counts, example_inputs, run_onnx, run_torch

    graph, differences = Graph(package.model.eval()), [0.0]
    for videos, count in enumerate((*check_counts(package.model), *([] if snippets is None else [snippets])), start=1):
        inputs = example_inputs(package.model, count, videos=videos, tokens=4 + videos)
        theirs = (run_onnx if kind == "onnx" else run_torch)(path, inputs)
        differences += [difference(x, theirs[name]) for name, x in graph.run(inputs).items()]
    return max(differences)


def difference(ours: "Tensor", theirs: "Tensor") -> float:
    """The largest difference; infinite where shapes differ, or where one alone is not a number."""
    if ours.shape != theirs.shape:
        return math.inf
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    found = float((ours.float() - theirs.float()).abs().masked_fill(same, 0.0).max())
    return math.inf if math.isnan(found) else found


def _check_length(package: "Package", snippets: int | None) -> None:
    from tal.pipelines.export_graph import fixed_length, longest_length

    if snippets is None:
        return
    most = package.model.inputs.window_snippets or fixed_length(package.model) or longest_length(package.model)
    if snippets < 1 or (most is not None and snippets > most):
        raise ConfigError(
            f"--snippets {snippets}", expected="a positive number" + (f", {most} at most" if most else "")
        )
