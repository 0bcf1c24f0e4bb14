"""The folder of a training run: whose it is, what it holds, and that one process works in it at a time."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tal.atomic import write_text
from tal.errors import ConfigError
from tal.features.files import hold
from tal.pipelines.train_checkpoints import LAST
from tal.pipelines.train_recipe import build_recipe, differences, read_recipe, write_recipe
from tal.pipelines.train_samples import TrainingData
from tal.pipelines.train_settings import Recipe

RECIPE, DATA = "recipe.yaml", "data.json"


@contextmanager
def claimed(out: Path, recipe: Recipe, data: TrainingData, *, resume: bool) -> Iterator[None]:
    """Make the folder ready for a run, and keep other processes out of it meanwhile.

    Args:
        out: The run's folder; it must not hold a run yet, unless `resume`.
        recipe: With everything derived.
        data: What is trained on.
        resume: Go on with the run that is there.

    Raises:
        ConfigError: the folder holds a run, or none to resume, or one of other settings or data; or another process
            trains in it.
    """
    _check(out, recipe, data, resume)
    checkpoints = out / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(checkpoints, os.O_RDONLY)
    try:
        if hold(descriptor, wait=False) is False:
            raise ConfigError(
                f"another process is training in {out}",
                expected="one at a time",
                todo="choose another folder with --out, or wait for it",
            )
        _check(out, recipe, data, resume)  # what it left
        write_recipe(recipe, out / RECIPE)
        write_text(out / DATA, json.dumps(identity(data), indent=1, ensure_ascii=False) + "\n")
        yield
    finally:
        os.close(descriptor)


def identity(data: TrainingData) -> dict[str, Any]:
    """What a run was trained on, as plain values: classes in their order, streams, and both splits' videos."""
    return {
        "classes": list(data.classes),
        "streams": {name: spec.as_dict() for name, spec in data.specs.items()},
        "training videos": _videos([record.video for record in data.train.records]),
        "validation videos": _videos([record.video for record in data.validation.records]),
    }


def _videos(ids: Sequence[str]) -> str:
    """Their number, and a digest of their ids in order."""
    digest = hashlib.sha256("\0".join(ids).encode()).hexdigest()[:16]
    return f"{len(ids)}, {digest}"


def _check(out: Path, recipe: Recipe, data: TrainingData, resume: bool) -> None:
    """Refuse to train over a run, or to resume what is not this run. One that was stopped before it saved is none."""
    written = out / RECIPE
    if not resume:
        if written.exists() and ((out / "checkpoints" / LAST).exists() or (out / "model").exists()):
            raise ConfigError(
                f"{out} already holds a run",
                todo="add --resume to go on with it, or choose another folder with --out",
            )
        return
    if not written.exists():
        raise ConfigError(f"{out} holds no run to resume", todo="train without --resume")
    apart = differences(build_recipe(read_recipe(str(written))), recipe)
    if apart:
        raise ConfigError(
            f"the run in {out} was started with other settings: {'; '.join(apart)}",
            expected="the settings that it was started with",
            todo=f"tal train {written} --out {out} --resume; or, for other settings, another folder with --out",
        )
    if (out / DATA).exists():
        _check_data(out, json.loads((out / DATA).read_text(encoding="utf-8")), identity(data))


def _check_data(out: Path, then: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    apart = [f"{name} {then.get(name)} then, {value} now" for name, value in now.items() if then.get(name) != value]
    if apart:
        raise ConfigError(
            f"the run in {out} was started on other data: {'; '.join(apart)}",
            expected="the annotations and features that it was started on",
            todo="choose another folder with --out and train anew",
        )
