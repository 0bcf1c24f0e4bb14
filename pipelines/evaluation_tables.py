"""An evaluation as tables for people."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tal.evaluation import Evaluation, threshold_name

if TYPE_CHECKING:
    from rich.table import Table

_NUMBER_CELLS = 8
_ROUNDING = 1e-4
_NAME_CELLS = 40
_AT_THRESHOLD = re.compile(r"(?P<stem>.+)@(?P<at>(TD<=)?\d+(\.\d+)?)")
_SHOWN_BY_ITSELF = ("subset", "source", "tiou", "iou", "annotation_format")
_COUNTS_BY_THEMSELVES = {
    "videos",
    "videos_with_predictions",
    "missing_videos",
    "classes",
    "ground_truth",
    "ground_truth_excluded",
    "duplicates_removed",
    "predictions",
    "predictions_evaluated",
    "predictions_dropped",
}


def show(result: Evaluation, *, per_class: bool = False) -> None:
    """Print a result: metrics, the rules that were applied, what was left out, and the classes if asked for."""
    from rich.console import Console
    from rich.markup import escape

    grouped, single = _by_threshold(result.metrics)
    widest = max((len(thresholds) for thresholds in grouped), default=0)
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _NAME_CELLS + _NUMBER_CELLS * (widest + 2))  # A number is never cut.
    console.print(f"[bold]{escape(result.title)}[/] ({escape(result.protocol)})")
    for thresholds, stems in grouped.items():
        console.print(_threshold_table(result, thresholds, stems))
    if single:
        console.print(_single_table({name: result.metrics[name] for name in single}))
    for line in told(result):
        console.print(escape(line), style="dim")
    for warning in result.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    if per_class:
        console.print(_class_table(result.per_class))


def _by_threshold(metrics: Mapping[str, float]) -> tuple[dict[tuple[str, ...], list[str]], list[str]]:
    """({thresholds: stems of the metrics that stand at all of these}, names of the others)."""
    thresholds: dict[str, list[str]] = {}
    for name in metrics:
        if found := _AT_THRESHOLD.fullmatch(name):
            thresholds.setdefault(found["stem"], []).append(found["at"])
    grouped: dict[tuple[str, ...], list[str]] = {}
    for stem, values in thresholds.items():
        if len(values) > 1 or stem in metrics:
            grouped.setdefault(tuple(values), []).append(stem)
    stems = {stem for each in grouped.values() for stem in each}
    shown = {f"{stem}@{at}" for stem in stems for at in thresholds[stem]}
    shown |= {stem for stem in stems if _is_mean(metrics, stem, thresholds[stem])}
    return grouped, [name for name in metrics if name not in shown]


def _is_mean(metrics: Mapping[str, float], stem: str, thresholds: Sequence[str]) -> bool:
    """Whether the value without a threshold is the mean of those that are shown beside it, up to official rounding."""
    if stem not in metrics:
        return False
    mean = sum(metrics[f"{stem}@{at}"] for at in thresholds) / len(thresholds)
    return math.isnan(mean) or abs(mean - metrics[stem]) < _ROUNDING


def _threshold_table(result: Evaluation, thresholds: tuple[str, ...], stems: list[str]) -> "Table":
    from rich.table import Table

    kinds = (("tIoU", result.options.get("tiou")), ("IoU", result.options.get("iou")))
    asked = {name: set(map(threshold_name, values)) for name, values in kinds if values}
    kind = next((name for name, values in asked.items() if values >= set(thresholds)), "")
    means = {stem for stem in stems if _is_mean(result.metrics, stem, thresholds)}
    header = (kind, *thresholds, *(["mean"] if means else []))
    table = Table(*header, box=None, pad_edge=False, header_style="dim")
    for stem in stems:
        values = [_number(result.metrics[f"{stem}@{threshold}"]) for threshold in thresholds]
        mean = [f"[bold]{_number(result.metrics[stem])}[/]" if stem in means else ""] if means else []
        table.add_row(stem, *values, *mean)
    return table


def _single_table(metrics: Mapping[str, float]) -> "Table":
    from rich.table import Table

    table = Table("metric", "value", box=None, pad_edge=False, header_style="dim")
    for name, value in metrics.items():
        table.add_row(name, _number(value))
    return table


def _number(value: float | None) -> str:
    return "" if value is None else "-" if math.isnan(value) else f"{value:.4f}"


def told(result: Evaluation) -> list[str]:
    """What was evaluated and by which rules, in words."""
    counts, options = result.counts, result.options
    subset = f" of subset {options['subset']}" if options.get("subset") else ""
    classes = f" of {counts['classes']} classes" if "classes" in counts else ""
    lines = [
        f"{counts['videos']} video{'' if counts['videos'] == 1 else 's'}{subset}, "
        f"{counts['videos_with_predictions']} with predictions; "
        f"ground truth: {counts['ground_truth']}{classes}; "
        f"{counts['predictions_evaluated']} of {counts['predictions']} predictions evaluated"
    ]
    further = {name: value for name, value in counts.items() if name not in _COUNTS_BY_THEMSELVES}
    if further:
        lines.append("; ".join(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in further.items()))
    rules = {name: value for name, value in options.items() if name not in _SHOWN_BY_ITSELF and _is_given(value)}
    lines += [f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in rules.items()]
    if counts["duplicates_removed"]:
        lines.append(f"duplicates removed: {counts['duplicates_removed']}")
    if options.get("source"):
        lines.append(f"as: {options['source']}")
    if counts["missing_videos"]:
        shown = ", ".join(result.missing[:5]) + (", ..." if len(result.missing) > 5 else "")
        lines.append(f"without predictions: {counts['missing_videos']} videos: {shown}")
    lines += [f"ground truth left out: {count} ({reason})" for reason, count in counts["ground_truth_excluded"].items()]
    lines += [f"predictions left out: {count} ({reason})" for reason, count in counts["predictions_dropped"].items()]
    return lines


def _is_given(value: object) -> bool:
    return value not in (None, False, "", [], {})


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _class_table(per_class: Mapping[str, Mapping[str, float]]) -> "Table":
    """One row per class, best first by the first value; "ground_truth" stands first."""
    from rich.markup import escape
    from rich.table import Table

    names = list(dict.fromkeys(name for values in per_class.values() for name in values))
    names = [name for name in names if name != "ground_truth"]
    counted = any("ground_truth" in values for values in per_class.values())
    header = ("class", *(["instances"] if counted else []), *(name.removeprefix("AP@") for name in names))
    table = Table(*header, box=None, pad_edge=False, header_style="dim")
    for label, values in sorted(per_class.items(), key=lambda item: -_first(item[1], names)):
        count = [str(values.get("ground_truth", ""))] if counted else []
        table.add_row(escape(label), *count, *(_number(values.get(name)) for name in names))
    return table


def _first(values: Mapping[str, float], names: list[str]) -> float:
    value = values.get(names[0], math.nan) if names else math.nan
    return -math.inf if math.isnan(value) else value
