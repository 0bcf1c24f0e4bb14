"""What every family can do beyond pooled vectors in float32: tokens, layers by name, half precision, compilation."""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tal.backbones.base import FEATURES, Backbone, FrameStage, Output, Precision
from tal.errors import TalError, unknown_name

_PRECISIONS: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Adapted(Backbone):
    """A backbone asked for more than its pooled vector.

    Half precision is torch's autocast: matrix products and convolutions in the narrow type, sums that need the range
    (normalisation, softmax) in float32; what comes out is float32.

    Args:
        inner: In inference mode.
        tokens: Give every place's vector in place of the pooled one.
        layers: Names of modules of `inner`'s network, "features" for what it gives at its end.
        dtype: Of the computation.
        compiled: Run the network through torch.compile, which needs a C++ compiler on a CPU.

    Raises:
        TalError: no such layer, no tokens, or no such precision.
    """

    def __init__(
        self, inner: Backbone, *, tokens: bool, layers: Sequence[str], dtype: Precision, compiled: bool
    ) -> None:
        super().__init__()
        if dtype not in _PRECISIONS:
            raise TalError(f"precision {dtype!r}", expected=f"one of {', '.join(_PRECISIONS)}")
        self.inner, self._tokens, self._layers = inner, tokens, tuple(layers)
        self._precision = _PRECISIONS[dtype]
        self._taken: dict[str, Any] = {}
        for name in self._layers:
            if name != FEATURES:
                _layer(inner, name).register_forward_hook(partial(_keep, self._taken, name))
        if tokens and inner.token_layer:
            _layer(inner, inner.token_layer).register_forward_hook(partial(_keep, self._taken, FEATURES))
        self.spec = replace(inner.spec, dtype=dtype)
        if tokens or layers:
            self._measure()
        self._run = _compiled(self._given) if compiled else self._given

    def stage(self) -> FrameStage | None:
        """See `Backbone.stage`; always in float32."""
        return self.inner.stage()

    def blank(self, clips: int = 1) -> Tensor:
        """See `Backbone.blank`."""
        return self.inner.blank(clips)

    def forward(self, clips: Tensor) -> Tensor | Mapping[str, Tensor]:
        """See `Backbone.forward`."""
        given = self._run(clips)
        return given if self._layers else given[FEATURES]

    def _given(self, clips: Tensor) -> dict[str, Tensor]:
        """Output name -> (B, C), or (B, tokens, C) where tokens were asked for; float32."""
        self._taken.clear()
        narrow = self._precision != torch.float32
        with torch.autocast(clips.device.type, self._precision) if narrow else nullcontext():
            by_layer = not self._tokens or self.inner.token_layer
            last = self.inner(clips) if by_layer else self.inner.tokens(clips)
        if self._tokens and by_layer:
            last = self._places(FEATURES, len(clips))
        given = {FEATURES: last.float()}
        for name in self._layers:
            if name != FEATURES:
                places = self._places(name, len(clips))
                given[name] = places if self._tokens else places.mean(dim=1)
        return {name: given[name] for name in self._layers or (FEATURES,)}

    def _places(self, layer: str, clips: int) -> Tensor:
        """(B, tokens, C) float32 of a layer that has run."""
        if layer not in self._taken:
            raise TalError(f"layer {layer!r} of {self.spec.name} is not run", todo="name another layer")
        return self.inner.places(self._taken[layer], clips).float()

    def _measure(self) -> None:
        """Widths and tokens of the outputs, from one blank clip."""
        spec, blank = self.spec, self.inner.blank()
        with torch.inference_mode():
            given = self._given(blank)
        outputs = tuple(
            Output(name=name, width=value.shape[-1], tokens=value.shape[1] if value.ndim == 3 else None)
            for name, value in given.items()
        )
        first = outputs[0]
        self.spec = replace(spec, width=first.width, tokens=first.tokens, layers=outputs if self._layers else ())


def _layer(backbone: Backbone, name: str) -> nn.Module:
    """The module that a layer's name means: as the backbone's network calls it.

    Raises:
        TalError: no such module; the message names those as deep as the name.
    """
    modules = dict(backbone.get_submodule(backbone.root).named_modules())
    if not name or name not in modules:
        alike = [known for known in modules if known and known.count(".") <= name.count(".")]
        raise unknown_name(f"layer of {backbone.spec.name}", name, [FEATURES, *alike])
    return modules[name]


def _keep(taken: dict[str, Any], name: str, _module: nn.Module, _given: Any, value: Any) -> None:
    """A hook: what a layer returned, under its name."""
    taken[name] = value


def _compiled(run: Callable[[Tensor], dict[str, Tensor]]) -> Callable[[Tensor], dict[str, Tensor]]:
    """Through torch.compile, for batches of one size.

    Raises:
        TalError: no compiler.
    """
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    if not any(shutil.which(name) for name in names if name):
        raise TalError(
            "torch.compile needs a C++ compiler", expected="g++ or clang++", todo="install one, or do not compile"
        )
    return torch.compile(run, dynamic=False)
