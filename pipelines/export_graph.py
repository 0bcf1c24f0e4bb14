"""A method's network as a graph without Python: tensors in and out by name, checked by whoever exports it."""

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tal.errors import ConfigError, TalError
from tal.methods.base import Batch, Method
from tal.timeline import SnippetGrid

_INTERNAL = {"features", "memory", "states"}
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_SHORT = 48


class Graph(nn.Module):
    """What is exported: named tensors to named tensors.

    Inputs: "streams.NAME" (B, C, T), "mask" (B, 1, T) bool; where queries are asked "text" (B, L, C) and "text_mask"
    (B, L) bool. Outputs: the fields of the method's outputs, "NAME.LEVEL" where there is one tensor per level, and
    "members.NUMBER.NAME.LEVEL" where several networks are averaged; what networks keep for their losses is left out.
    Both in alphabetical order.
    """

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run the network on inputs that are padded as `padded_lengths` says."""
        return self._named(as_batch(inputs, 1))

    @torch.no_grad()
    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The same in Python, where the method pads by itself: to the inputs' length, if they are padded right."""
        return self._named(as_batch(inputs, int(inputs["mask"].sum(-1).max())))

    def _named(self, batch: Batch) -> dict[str, Tensor]:
        return dict(sorted(named_tensors(self.method(batch))))


def as_batch(inputs: Mapping[str, Tensor], count: int) -> Batch:
    """A batch of named tensors of which `count` snippets are valid; networks read no times."""
    videos = 1 if count == 1 else len(inputs["mask"])
    return Batch(
        streams={name.partition(".")[2]: x for name, x in inputs.items() if name.startswith("streams.")},
        mask=inputs["mask"],
        grids=(SnippetGrid(stride_s=1.0, window_s=1.0, count=count),) * videos,
        durations_s=(float(count),) * videos,
        videos=("",) * videos,
        text=inputs.get("text"),
        text_mask=inputs.get("text_mask"),
    )


def named_tensors(outputs: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a dataclass of tensors, of tuples of tensors, and of tuples of such dataclasses."""
    if not is_dataclass(outputs):
        raise ConfigError(f"a network whose outputs are a {type(outputs).__name__}", expected="a dataclass of tensors")
    for field in fields(outputs):
        value = getattr(outputs, field.name)
        if field.name in _INTERNAL or value is None:
            continue
        if isinstance(value, Tensor):
            yield field.name, value
            continue
        for number, each in enumerate(value):
            inner = [("", each)] if isinstance(each, Tensor) else [(f".{name}", x) for name, x in named_tensors(each)]
            yield from ((f"{field.name}.{number}{name}", x) for name, x in inner)


def fixed_length(method: Method) -> int | None:
    """T of methods that read sequences of one length only."""
    exact = method.inputs.window_snippets or method.inputs.resize_to
    return None if exact is None else method.network_length(exact)


def longest_length(method: Method) -> int | None:
    """The largest T of methods that have one: a table of positions ends there, or they read no further."""
    config = method.config
    limited = method.inputs.text is not None or getattr(config, "absolute_positions", False)
    return int(config.train_snippets) if limited else None


def padded_lengths(method: Method, longest: int) -> list[tuple[int, int]]:
    """(snippets up to which, T): `network_length` of all counts up to `longest`."""
    steps: list[tuple[int, int]] = []
    for count in range(1, longest + 1):
        length = method.network_length(count)
        if steps and steps[-1][1] == length:
            steps.pop()
        steps.append((count, length))
    return steps


def check_counts(method: Method) -> tuple[int, int]:
    """Two numbers of snippets at which an exported network is compared with the method, of different T if it may be."""
    inputs, most = method.inputs, longest_length(method)
    exact = inputs.window_snippets or inputs.resize_to
    if exact is not None:
        return exact - exact // 5, exact
    short = min(_SHORT, method.config.train_snippets - 1)
    return short, most or method.config.train_snippets + 1


def example_inputs(method: Method, count: int, *, videos: int = 2, tokens: int = 7) -> dict[str, Tensor]:
    """Random inputs, padded right; every second video is a little shorter.

    Args:
        method: What reads them.
        count: Snippets.
        videos: B.
        tokens: L, where a query is asked; every second one is a little shorter.
    """
    inputs, generator = method.inputs, torch.Generator().manual_seed(0)
    length, shorter = method.network_length(count), torch.arange(videos)[:, None] % 2
    mask = (torch.arange(length) < count - shorter * (count // 5))[:, None]  # (B, 1, T)
    found = {
        f"streams.{name}": torch.randn(videos, width, length, generator=generator) * mask
        for name, width in inputs.streams.items()
    } | {"mask": mask}
    if inputs.text is not None:
        found["text"] = torch.randn(videos, tokens, inputs.text, generator=generator)
        found["text_mask"] = torch.arange(tokens) < tokens - 2 * shorter
    return dict(sorted(found.items()))


def described(tensors: Mapping[str, Tensor], method: Method) -> list[dict[str, Any]]:
    """Name, shape and type of a graph's inputs, for json; sizes that vary are words."""
    snippets, found = fixed_length(method) or "snippets", []
    for name, tensor in tensors.items():
        shape: list[Any] = ["videos", *tensor.shape[1:]]
        if name.startswith("text"):
            shape[1] = "tokens"
        else:
            shape[-1] = snippets
        found.append({"name": name, "shape": shape, "type": str(tensor.dtype).removeprefix("torch.")})
    return found


def _dynamic(method: Method, inputs: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    """Which sizes may vary: B always, T in the method's units unless it is fixed, L up to the longest query."""
    unit, most = method.inputs.multiple_of, longest_length(method)
    videos = torch.export.Dim("videos", min=1, max=4096)
    snippets: Any = torch.export.Dim("snippets" if unit == 1 else "units", min=1, max=(most or 1 << 20) // unit)
    tokens = torch.export.Dim("tokens", min=1, max=max(method.inputs.text_tokens, 2))
    shapes: dict[str, dict[int, Any]] = {}
    for name in inputs:
        if name.startswith("text"):
            shapes[name] = {0: videos, 1: tokens}
        elif fixed_length(method) is None:
            shapes[name] = {0: videos, 2: snippets if unit == 1 else unit * snippets}
        else:
            shapes[name] = {0: videos}
    return shapes


def export_program(method: Method) -> torch.export.ExportedProgram:
    """The network as an exported program, whose module takes and gives named tensors.

    Raises:
        ConfigError: the network cannot be exported; with torch's words.
    """
    graph, inputs = Graph(method.eval()), example_inputs(method, check_counts(method)[0])
    try:
        with torch.no_grad():
            return torch.export.export(graph, (inputs,), dynamic_shapes=(_dynamic(method, inputs),), strict=False)
    except Exception as error:
        if isinstance(error, TalError):
            raise
        raise ConfigError(
            f"{type(method).__name__} cannot be exported: {str(error).strip().partition(chr(10))[0]}",
            cause="an operation whose sizes torch.export cannot follow",
            todo="try a newer torch, or report the method and its settings",
        ) from error


def save_torch(program: torch.export.ExportedProgram, path: Path, facts: Mapping[str, Any]) -> None:
    """Write a .pt2 file, with the facts in it."""
    with path.open("wb") as file:  # by name, torch wants a name that ends with .pt2
        torch.export.save(program, file, extra_files={"tal.json": json.dumps(facts)})


def check_onnx_extra() -> None:
    """Refuse where the extra is missing.

    Raises:
        TalError: its libraries are not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise TalError(
            f"ONNX files need {' and '.join(missing)}, not installed here",
            expected="the extra onnx",
            todo="pip install 'tal[onnx]', or use --format torch-export",
        )


def save_onnx(program: torch.export.ExportedProgram, path: Path, facts: Mapping[str, Any]) -> None:
    """Write an .onnx file, with the facts among its properties.

    Args:
        program: Of `export_program`.
        path: Where to.
        facts: With the names under "inputs" and "outputs".
    """
    check_onnx_extra()
    for library in ("onnxscript", "onnx_ir"):  # they tell of every folded constant
        logging.getLogger(library).setLevel(logging.ERROR)
    names = {part: [each["name"] for each in facts[part]] for part in ("inputs", "outputs")}
    found = torch.onnx.export(program, input_names=names["inputs"], output_names=names["outputs"], verbose=False)
    assert found is not None
    found.model.metadata_props["tal"] = json.dumps(facts)
    found.save(str(path))


def run_torch(path: Path, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a .pt2 file.

    Raises:
        ConfigError: it refuses the inputs' sizes; with torch's words.
    """
    with torch.no_grad(), path.open("rb") as file:
        module = torch.export.load(file).module()
        try:
            return dict(module(dict(inputs)))
        except AssertionError as error:
            raise ConfigError(
                f"{path} does not run on {len(inputs['mask'])} videos of {inputs['mask'].shape[-1]} snippets: {error}",
                cause="an operation whose sizes torch.export took for fixed",
                todo="try --format onnx or a newer torch, or report the method and its settings",
            ) from error


def run_onnx(path: Path, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of an .onnx file by ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    given = {name: x.numpy() for name, x in inputs.items()}
    return {name: torch.from_numpy(x) for name, x in zip(names, session.run(names, given), strict=True)}
