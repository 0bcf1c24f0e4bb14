"""What a recipe leaves to its data: classes and widths always, other settings where the recipe says "auto"."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tal.console import track
from tal.errors import ConfigError
from tal.methods.augment import Augmentation
from tal.pipelines.train_samples import Samples, TrainingData
from tal.pipelines.train_settings import Recipe

_LONGEST_WINDOW = 2304
_POINTS_PER_INSTANCE = 3
_STEPS_WANTED = 2000


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A recipe with nothing left open.

    Args:
        recipe: With every "auto" replaced.
        config: The method's config, complete.
        reasons: Setting -> (value, why), for what the data decided.
        notes: What a person should know about the data.
        lengths: Of the training split, where a setting was derived from them.
    """

    recipe: Recipe
    config: Any
    reasons: Mapping[str, tuple[Any, str]]
    notes: tuple[str, ...]
    lengths: "Lengths | None"


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """Of the training split, in snippets.

    Args:
        videos: (V,) snippets per video.
        instances: (N,) length of every instance.
    """

    videos: np.ndarray
    instances: np.ndarray

    @classmethod
    def of(cls, samples: Samples) -> "Lengths":
        """Read every training video once."""
        videos, instances = [], []
        for sample in track(samples, "lengths"):
            videos.append(sample.grid.count)
            if sample.instances is not None:
                instances.append(sample.instances.length_s / sample.grid.stride_s)
        return cls(videos=np.array(videos), instances=np.concatenate([*instances, np.empty(0)]))


def derive(recipe: Recipe, data: TrainingData) -> Derived:
    """Replace every "auto" of a recipe, and complete the method's config.

    Raises:
        ConfigError: no training videos or instances, or a setting that cannot be derived.
    """
    _check_task(recipe, data)
    count = sum(len(record.instances) for record in data.train.records)
    if not count and data.text is None:
        raise ConfigError(
            f"{len(data.train)} training videos with {count} instances",
            expected="at least one video with an instance",
            todo="check data.train_subsets and the annotations",
        )
    widths = {name: spec.width for name, spec in data.specs.items()}
    reasons: dict[str, tuple[Any, str]] = {
        "model.classes": (len(data.classes), "classes with instances in the splits: " + ", ".join(data.classes)),
        "model.streams": (widths, "width of the features"),
    }
    recipe, chosen, lengths = _without_auto(recipe, data)
    reasons |= chosen
    config = replace(recipe.model, streams=widths, classes=data.classes)
    if data.text is not None:
        del reasons["model.classes"]
        config = replace(config, text_width=data.text.width)
        reasons["model.text_width"] = (data.text.width, "width of the text features")
    trained = {name for record in data.train.records for name in record.instances.names}
    never = tuple(name for name in data.classes if name not in trained)
    if never and getattr(config, "empty_classes", None) == ():
        config = replace(config, empty_classes=never)
        reasons["model.empty_classes"] = (never, "no training instance; their scores start near zero")
    recipe = replace(recipe, model=replace(config, streams={}, classes=(), **_no_text(config)))
    return Derived(recipe=recipe, config=config, reasons=reasons, notes=_notes(recipe, data), lengths=lengths)


def _check_task(recipe: Recipe, data: TrainingData) -> None:
    """Refuse a method that answers queries without them, and queries for one that does not."""
    answers = hasattr(recipe.model, "text_width")
    if answers != (data.text is not None):
        raise ConfigError(
            f"method {recipe.method} {'without' if answers else 'with'} data.queries.text",
            expected="text features of queries for methods that answer sentences, and for them only",
        )


def _no_text(config: Any) -> dict[str, int]:
    """The width of the text left to the data, where there is such a setting."""
    return {"text_width": 0} if hasattr(config, "text_width") else {}


def method_config(recipe: Recipe, widths: Mapping[str, int], classes: tuple[str, ...]) -> Any:
    """The method's complete config for a recipe without open settings, where there is no data to look at."""
    return replace(recipe.model, streams=dict(widths), classes=classes)


def needs_stats(recipe: Recipe) -> bool:
    """Whether the training split's mean and deviation are needed."""
    return bool(getattr(recipe.model, "standardize", False)) or recipe.windows.augmentation != Augmentation()


def _without_auto(recipe: Recipe, data: TrainingData) -> tuple[Recipe, dict[str, tuple[Any, str]], Lengths | None]:
    """Every "auto" replaced, in an order in which each may use those before it; reasons; the lengths, if any asked."""
    unknown = sorted(set(recipe.auto) - set(_RULES))
    if unknown:
        raise ConfigError(f"auto for {', '.join(unknown)}", expected="auto only for " + ", ".join(_RULES))
    if not recipe.auto:
        return recipe, {}, None
    lengths = Lengths.of(data.train)
    if not len(lengths.instances):
        raise ConfigError("the training videos hold no instances", todo="check the annotations and data.train_subsets")
    reasons = {}
    for name, rule in _RULES.items():
        if name in recipe.auto:
            value, why = rule(recipe, lengths)
            section, _, key = name.partition(".")
            recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{key: value})})
            reasons[name] = (value, why)
    return replace(recipe, auto=()), reasons, lengths


def _branch_layers(recipe: Recipe, lengths: Lengths) -> tuple[int, str]:
    """The last level answers for distances over 4 * 2^(levels - 2) snippets; only the longest instances reach it.

    The points that answer stand near an instance's centre, half its length away from its ends.
    """
    longest = float(np.percentile(lengths.instances, 95))
    layers = int(np.clip(math.ceil(math.log2(max(longest / 2, 1.0) / 4)) + 1, 2, 8))
    return layers, f"{layers + 1} levels: 95 % of the instances are shorter than {longest:.0f} snippets"


def _train_snippets(recipe: Recipe, lengths: Lengths) -> tuple[int, str]:
    """Whole videos if they are not too long, in a multiple of what the pyramid needs."""
    unit = 2**recipe.model.branch_layers
    longest = int(lengths.videos.max())
    snippets = min(-(-longest // unit) * unit, _LONGEST_WINDOW // unit * unit)
    fits = "whole" if snippets >= longest else f"cut into windows of at most {_LONGEST_WINDOW}, for memory"
    return snippets, f"the longest training video has {longest} snippets; {fits}"


def _init_loss_norm(recipe: Recipe, lengths: Lengths) -> tuple[float, str]:
    """About how many points of a batch answer for an instance: centre sampling leaves three per instance."""
    per_video = len(lengths.instances) / len(lengths.videos)
    points = max(round(recipe.optim.batch_size * per_video * _POINTS_PER_INSTANCE), 1)
    return float(
        points
    ), f"{per_video:.1f} instances per video, {recipe.optim.batch_size} videos per step, 3 points each"


def _max_epochs(recipe: Recipe, lengths: Lengths) -> tuple[int, str]:
    """About two thousand steps, but every video is seen 20 to 100 times."""
    steps = max(len(lengths.videos) // recipe.optim.batch_size, 1)
    epochs = int(np.clip(round(_STEPS_WANTED / steps), 20, 100)) + recipe.optim.warmup_epochs
    return (
        epochs,
        f"{steps} steps per epoch, about {_STEPS_WANTED} steps wanted, {recipe.optim.warmup_epochs} of warm-up",
    )


_RULES = {
    "model.branch_layers": _branch_layers,
    "model.train_snippets": _train_snippets,
    "model.init_loss_norm": _init_loss_norm,
    "trainer.max_epochs": _max_epochs,
}


def _notes(recipe: Recipe, data: TrainingData) -> tuple[str, ...]:
    notes = []
    if len(data.train) < recipe.optim.batch_size * recipe.trainer.devices:
        notes.append(f"only {len(data.train)} training videos for batches of {recipe.optim.batch_size}")
    return tuple(notes)
