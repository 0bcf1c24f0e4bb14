"""What tools/compare.py compares: the sets, and how a method's recipe follows from a set's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from tal.methods.actionformer import ActionFormerConfig
from tal.methods.pyramid_config import PyramidConfig
from tal.pipelines.train_recipe import read_recipe
from tal.registry import METHODS as KNOWN


@dataclass(frozen=True, kw_only=True)
class Set:
    """A data set of the comparison.

    Args:
        stream: The first of its streams.
        backbones: Stream -> backbone, where features are extracted here.
        about: One line.
    """

    stream: str
    backbones: Mapping[str, str] = field(default_factory=dict)
    about: str


@dataclass(frozen=True)
class NotApplicable:
    """Why a method is not measured on a set."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How a method is trained, beyond the set's common recipe.

    Args:
        method: Its name in the registry; None: the same as in the table.
        recipe: Last part of its recipe's name, SET/RECIPE.
        changes: Section -> setting -> value, of what it needs in addition.
        changes_on: Set -> the same, for that set only.
        about: One line: its block, and what was changed.
        not_on: Set -> why not.
    """

    method: str | None = None
    recipe: str = "small_data"
    changes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    changes_on: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    about: str
    not_on: Mapping[str, str] = field(default_factory=dict)

    def on(self, name: str) -> "NotApplicable | Mapping[str, Mapping[str, Any]]":
        """The changes on a set, or why there is nothing to measure."""
        if name in self.not_on:
            return NotApplicable(self.not_on[name])
        more = self.changes_on.get(name, {})
        return {part: {**self.changes.get(part, {}), **more.get(part, {})} for part in {*self.changes, *more}}


SETS: Mapping[str, Set] = {
    "utkinect": Set(stream="joints", about="UTKinect-Action3D, 10 training and 6 validation recordings, 10 actions"),
    "repcount_pose": Set(stream="pose", about="RepCount-A poses, 80 training and 42 validation videos, 9 exercises"),
    "playground": Set(
        stream="tiny",
        backbones={"tiny": "tiny", "sound": "logmel"},
        about="playground hard, seen and heard; seed 7, 60 training and 40 held-out videos, 13 actions; synthetic",
    ),
}

_SILENT = dict.fromkeys(("utkinect", "repcount_pose"), "the set has no sound")

_HEARING = {"audio": "sound", "gate_bias": 2.0, "audio_dropout": 0.0}

_SPANS = {"window_overlap": 0.5, "heads": 4, "hidden": 256, "encoder_layers": 2, "decoder_layers": 3}

_MAPS = {  # OpenTAD's settings, with narrower maps
    "layout": "duration_start",
    "sampled_to": "last",
    "initial": "xavier",
    "anchors": "cells",
    "whole_anchors": True,
    "zero_cells": True,
    "epsilon": 0.0,
    "peaks": True,
    "score": "map",
    "reduced_width": 64,
    "sampled_width": 128,
    "map_width": 32,
    "nms": {
        "sigma": 0.3,
        "min_score": 1e-4,
        "max_segments": 200,
        "per_class": False,
        "voting_tiou": 0.95,
        "voting_weight": "score",
    },
}

_SLIDING: Mapping[str, Mapping[str, Any]] = {
    "model": {"windows": "slide", "origin": "centers", "window_nms": True},
    "windows": {"choice": "all", "crop_ratio": None, "trunc": 0.9},
    "optim": {"batch_size": 4},
}

_PROPOSALS: Mapping[str, Any] = {
    "changes": {"model": _MAPS},
    "changes_on": {
        "utkinect": {"model": {"train_snippets": 256, "durations": 64}, "trainer": {"max_epochs": 100}},
        "repcount_pose": {
            **_SLIDING,
            "model": {**_SLIDING["model"], "train_snippets": 256, "durations": 128},
            "optim": {**_SLIDING["optim"], "warmup_epochs": 1},
            "trainer": {"max_epochs": 5},
        },
        "playground": {**_SLIDING, "model": {**_SLIDING["model"], "durations": 48}},
    },
}

METHODS: Mapping[str, Compared] = {
    "actionformer": Compared(about="the host: transformer blocks"),
    "temporalmaxer": Compared(about="max pooling in the blocks' place; its own assigner"),
    "tridet": Compared(about="SGP blocks and Trident head; losses weighted by tIoU"),
    "tridet_zero": Compared(
        method="tridet",
        changes={"model": {"init_std": 0.0}},
        about="the same, its depthwise convolutions at zero to begin with and so for ever, as published for THUMOS14",
    ),
    "asl": Compared(
        changes={"model": {"evaluator_width": 64}},
        about="the host, its losses weighted; evaluators as wide as the network",
    ),
    "csa_actionformer": Compared(about="the host, its embedding weighed by class semantics"),
    "mrav_ff": Compared(
        changes={"model": _HEARING},
        not_on=_SILENT,
        about="the host; sound by gated attention at every level in place of side by side; gates open, never silent",
    ),
    "mrav_ff_tridet": Compared(
        changes={"model": _HEARING}, not_on=_SILENT, about="the same on TriDet in the host's place"
    ),
    "denoiseloc_segments": Compared(
        changes={"model": {**_SPANS, "input_dropout": 0.1}, "windows": {"choice": "all"}, "optim": {"lr": 2e-4}},
        changes_on={
            "utkinect": {"model": {"train_snippets": 256, "queries": 20}, "trainer": {"max_epochs": 150}},
            "repcount_pose": {"model": {"train_snippets": 256, "queries": 60}, "trainer": {"max_epochs": 60}},
            "playground": {"model": {"train_snippets": 128, "queries": 40}, "trainer": {"max_epochs": 150}},
        },
        about="spans from noise, all windows of a fixed length, a fifth of the learning rate, three times the epochs",
    ),
    "bmn": Compared(
        **_PROPOSALS,
        about="a map of all segments of a window, without classes; UTKinect's recordings interpolated to 256 snippets, "
        "elsewhere all windows of a fixed length; OpenTAD's settings, narrower maps",
    ),
    "csa_bmn": Compared(**_PROPOSALS, about="the same, its features weighed by class semantics"),
    "tal": Compared(recipe="tal", about="ours, with recipes of its own"),
}


def recipe_values_of(
    method: str,
    name: str,
    annotations: Callable[[str], Path],
    features: Callable[[str, str], Path],
) -> dict[str, Any]:
    """The recipe's values of a method on a set.

    The set's recipe with the method in the host's place: settings of the host's own block fall away, everything else
    stays, then come the method's changes.

    Args:
        method: A key of `METHODS`.
        name: A key of `SETS`.
        annotations: Set -> its annotation file.
        features: Set and stream -> the folder.
    """
    compared = METHODS[method]
    changes = compared.on(name)
    if isinstance(changes, NotApplicable):
        raise ValueError(f"{method} on {name}: {changes.why}")
    values = read_recipe(f"{name}/{compared.recipe}")
    values["method"] = compared.method or method
    values["model"] = _understood(values["model"], KNOWN.load(values["method"]).Config)
    for section, settings in changes.items():
        values[section] = {**values.get(section, {}), **settings}
    values["data"]["annotations"] = str(annotations(name))
    streams = values["data"]["features"]
    for stream in streams:
        streams[stream] = {**streams[stream], "folder": str(features(name, stream))}
    return values


def _understood(model: Mapping[str, Any], config: type) -> dict[str, Any]:
    """Of the host's settings those that mean the same to a method: all to its kin, the pyramid's to other pyramids.

    A name alone says little: `window` is attention to one, a kernel to another.
    """
    common = next((kin for kin in (ActionFormerConfig, PyramidConfig) if issubclass(config, kin)), config)
    known = {each.name for each in fields(common)}
    return {key: value for key, value in model.items() if key in known}
