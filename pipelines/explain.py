"""`tal explain`: a recipe's settings, with those that its data decides, and why."""

from collections.abc import Mapping, Sequence
from typing import Any

from tal.errors import TalError
from tal.pipelines.train import recipe_of_words
from tal.pipelines.train_derive import Derived, Lengths, derive
from tal.pipelines.train_recipe import recipe_values
from tal.pipelines.train_samples import TrainingData, open_data
from tal.pipelines.train_settings import Recipe


def explain(recipe: Recipe) -> int:
    """Print a recipe's settings; where its data is at hand, also what the data decides, and the reasons.

    Returns:
        0, or 1 where the data cannot be used: the settings are printed all the same, and what is wrong with the data.
    """
    try:
        data = open_data(recipe.data)
        derived = derive(recipe, data)
    except TalError as error:
        print("\n".join(_lines(recipe_values(recipe), {})))
        print(f"\nWhat depends on the data could not be derived.\n{error}")
        return 1
    reasons = {name: f"{_short(value)}  <- {why}" for name, (value, why) in derived.reasons.items()}
    values = recipe_values(derived.recipe)
    values.pop("auto")
    print("\n".join(_lines(values, reasons)))
    print("\n".join(["", *_facts(data, derived)]))
    return 0


def _lines(values: Mapping[str, Any], reasons: Mapping[str, str]) -> list[str]:
    """One line per setting, sections set apart; what was derived says why."""
    lines = []
    for section, entries in values.items():
        if not isinstance(entries, Mapping):
            lines.append(f"{section}: {_short(entries)}")
            continue
        lines += ["", f"{section}:"]
        told = {name.partition(".")[2]: text for name, text in reasons.items() if name.startswith(f"{section}.")}
        lines += [f"  {name}: {told.pop(name, None) or _short(value)}" for name, value in _flat(entries)]
        lines += [f"  {name}: {text}" for name, text in told.items()]
    return lines


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        nested = isinstance(value, Mapping) and value
        rows += _flat(value, f"{prefix}{name}.") if nested else [(prefix + name, value)]
    return rows


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_short(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else "none" if value is None else str(value)


def _facts(data: TrainingData, derived: Derived) -> list[str]:
    """What was found in the data, and what follows for the pyramid."""
    config, lengths = derived.config, derived.lengths or Lengths.of(data.train)
    videos, instances = ("videos", "instance") if data.text is None else ("queries", "moment")
    lines = [
        f"data: {len(data.train)} training and {len(data.validation)} validation {videos}, "
        f"{len(lengths.instances)} training {instances}s",
        f"  snippets per training video: {_spread(lengths.videos)}",
        f"  snippets per {instances}: {_spread(lengths.instances)}",
    ]
    ranges = getattr(config, "ranges", None)
    if ranges is not None and len(lengths.instances):
        lines.append("pyramid: level, stride, answers for distances to the farther end of (snippets), instances")
        for level, (stride, (low, high)) in enumerate(zip(config.strides, ranges, strict=True)):
            # A point near the centre sees half an instance to either side.
            share = float(((lengths.instances / 2 >= low) & (lengths.instances / 2 <= high)).mean())
            lines.append(f"  {level}  {stride:>4}  {low:>5g} to {high:<6g} {share:6.1%}")
    lines += [f"note: {note}" for note in (*data.notes, *derived.notes)]
    return lines


def _spread(values: Any) -> str:
    import numpy as np

    if not len(values):
        return "none"
    low, middle, high = np.percentile(values, [0, 50, 100])
    return f"{low:.0f} to {high:.0f}, half of them below {middle:.0f}"


def run_words(words: Sequence[str]) -> int:
    """`tal explain RECIPE [--section.setting VALUE ...]`."""
    recipe, _ = recipe_of_words(words, "explain", lambda parser: None)
    return explain(recipe)


explain.run_words = run_words  # type: ignore[attr-defined]
