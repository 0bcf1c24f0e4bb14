"""`tal evaluate`: score predictions by a benchmark's official protocol."""

import json as json_format
import sys
from pathlib import Path
from typing import Any, Literal

from tal.atomic import write_text
from tal.errors import ConfigError
from tal.evaluation import Evaluation, threshold_name
from tal.evaluation import evaluate as evaluate_protocol


def evaluate(
    protocol: str,
    *,
    annotations: Path,
    predictions: Path,
    subset: str | None = None,
    tiou: list[str] | None = None,
    duplicates: Literal["keep", "remove"] | None = None,
    outside: Literal["count", "drop"] | None = None,
    per_class: bool = False,
    json: str | None = None,
) -> int:
    """Score predictions by a benchmark's official protocol.

    Prints the metric, the rules that were applied, and everything that was left out. `tal list protocols` names them.

    Args:
        protocol: thumos14, activitynet, generic, ...
        annotations: Ground truth, as published or your own: JSON, CSV, ELAN, Label Studio, VIA.
        predictions: ActivityNet results JSON, as tal localize writes it, or CSV with video, start, end, label, score.
        subset: The split to evaluate, in any case; the protocol's own by default.
        tiou: Thresholds, as 0.5 0.75 or 0.5,0.75; the protocol's own by default.
        duplicates: keep duplicated ground truth as the ActivityNet toolkit does, or remove it as ActionFormer's
            evaluator does; the protocol's own rule by default.
        outside: count predictions on videos that are not in the split as false positives, as the ActivityNet toolkit
            does, or drop them; the protocol's own rule by default.
        per_class: Print the table of classes too.
        json: Also write everything as JSON to this file; - writes it to standard output instead of the table.
    """
    result = evaluate_protocol(
        protocol,
        annotations,
        predictions,
        subset=subset,
        tiou=None if tiou is None else _thresholds(tiou),
        duplicates=duplicates,
        outside=outside,
    )
    text = json_format.dumps(result.as_dict(), indent=1) + "\n"
    if json == "-":
        sys.stdout.write(text)
        return 0
    show(result, per_class=per_class)
    if json is not None:
        write_text(Path(json), text)
    return 0


def _thresholds(words: list[str]) -> tuple[float, ...]:
    """Numbers from words that may hold several, separated by commas."""
    parts = [part for word in words for part in word.strip("[]").split(",") if part.strip()]
    try:
        return tuple(float(part) for part in parts)
    except ValueError:
        raise ConfigError(f"tIoU thresholds {' '.join(words)}", expected="numbers, as 0.5 0.75 or 0.5,0.75") from None


_CELLS = 8
_CLASS_CELLS = 40


def show(result: Evaluation, *, per_class: bool = False) -> None:
    """Print a result as tables."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    thresholds = [threshold_name(value) for value in result.options["tiou"]]
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, _CLASS_CELLS + _CELLS * (len(thresholds) + 2))  # A number is never cut.
    console.print(f"[bold]{escape(result.title)}[/] ({escape(result.protocol)})")
    table = Table("tIoU", *thresholds, "mean", box=None, pad_edge=False, header_style="dim")
    kinds = [name for name in result.metrics if f"{name}@{thresholds[0]}" in result.metrics]
    for kind in kinds:
        values = [result.metrics[f"{kind}@{threshold}"] for threshold in thresholds]
        table.add_row(kind, *(f"{value:.4f}" for value in values), f"[bold]{result.metrics[kind]:.4f}[/]")
    console.print(table)
    for line in _lines(result):
        console.print(escape(line), style="dim")
    for warning in result.warnings:
        console.print(f"[yellow]note:[/] {escape(warning)}")
    if per_class:
        console.print(_class_table(result, thresholds))


def _lines(result: Evaluation) -> list[str]:
    """What was evaluated, in words."""
    counts = result.counts
    subset = result.options["subset"]
    lines = [
        f"{counts['videos']} videos{f' of subset {subset}' if subset else ''}, "
        f"{counts['videos_with_predictions']} with predictions; "
        f"{counts['ground_truth']} instances of {counts['classes']} classes; "
        f"{counts['predictions_evaluated']} of {counts['predictions']} predictions evaluated",
        f"duplicates: {result.options['duplicates']}; {counts['duplicates_removed']} removed",
        f"videos outside: {result.options['outside']}; ties: {result.options['ties']}",
    ]
    if counts["missing_videos"]:
        shown = ", ".join(result.missing[:5]) + (", ..." if len(result.missing) > 5 else "")
        lines.append(f"without predictions: {counts['missing_videos']} videos: {shown}")
    lines += [f"ground truth left out: {count} ({reason})" for reason, count in counts["ground_truth_excluded"].items()]
    lines += [f"predictions left out: {count} ({reason})" for reason, count in counts["predictions_dropped"].items()]
    return lines


def _class_table(result: Evaluation, thresholds: list[str]) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("class", "instances", *thresholds, "AP", box=None, pad_edge=False, header_style="dim")
    for name, values in sorted(result.per_class.items(), key=lambda item: -item[1]["AP"]):
        cells = (f"{values[f'AP@{threshold}']:.4f}" for threshold in thresholds)
        table.add_row(escape(name), str(values["ground_truth"]), *cells, f"{values['AP']:.4f}")
    return table
